// See imputer.h. State: kLast: float last[inputs], missing until there was a value; kMean: double count and
// mean of each input; kConstant: none.
#include "agent/learn/stages/imputer.h"

#include <cmath>

#include "agent/learn/math/place.h"
#include "agent/learn/stages/selection.h"

namespace dipper::learn {
namespace {

// As in the standard scaler: beyond it a plain running mean would no longer move anyway.
constexpr double kLargestCount = 0x1p40;

struct Mean {
  double count;
  double mean;
};
static_assert(sizeof(Mean) == 16);

// Whether `value` is a category of selected input i, or that input is numeric.
bool FitsInput(const ImputerConfig& config, size_t i, double value) {
  const uint16_t categories = config.categories.empty() ? 0 : config.categories[i];
  if (categories == 0) return true;
  return value >= 0.0 && value <= static_cast<double>(categories) && std::floor(value) == value;
}

uint64_t BytesFor(const ImputerConfig& config) {
  if (config.mode == ImputerMode::kMean) return config.inputs.size() * sizeof(Mean);
  if (config.mode == ImputerMode::kLast) return base::AlignUp(config.inputs.size() * sizeof(float), 16);
  return 0;
}

}  // namespace

uint32_t Imputer::OutWidth(const ImputerConfig& config) {
  return config.width + (config.missing_flags ? static_cast<uint32_t>(config.inputs.size()) : 0);
}

base::Result<uint64_t> Imputer::StateBytes(const ImputerConfig& config) {
  constexpr double kLimit = static_cast<double>(kMaxMagnitude);
  const bool numbers =
      config.constant >= -kLimit && config.constant <= kLimit && config.decay >= 0.0 && config.decay < 1.0;
  const bool lists = IsSelection(config.width, config.inputs) &&
                     (config.categories.empty() || config.categories.size() == config.inputs.size());
  if (!numbers || !lists || config.mode > ImputerMode::kConstant || OutWidth(config) > kMaxInputs) {
    return base::Status::kInvalidArgument;
  }
  for (size_t i = 0; i < config.categories.size(); ++i) {
    if (config.categories[i] == 0) continue;
    if (config.mode == ImputerMode::kMean || !FitsInput(config, i, config.constant)) {
      return base::Status::kInvalidArgument;
    }
  }
  return BytesFor(config);
}

base::Status Imputer::Create(const ImputerConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  Imputer(config, memory).Reset();
  return base::Status::kOk;
}

base::Status Imputer::Validate(const ImputerConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  if (config.mode == ImputerMode::kMean) {
    const Mean* means = PlaceOf<Mean>(memory.data());
    for (size_t i = 0; i < config.inputs.size(); ++i) {
      const Mean m = means[i];
      const bool count = m.count >= 0.0 && m.count <= kLargestCount && std::floor(m.count) == m.count;
      if (!count || !(m.mean >= -1e31 && m.mean <= 1e31)) return base::Status::kDataLoss;
    }
  } else if (config.mode == ImputerMode::kLast) {
    const float* last = PlaceOf<float>(memory.data());
    for (size_t i = 0; i < bytes / sizeof(float); ++i) {
      if (!IsFiniteOrMissing(last[i])) return base::Status::kDataLoss;
      const bool padding = i >= config.inputs.size();
      if (padding ? !IsNan(last[i])
                  : !IsNan(last[i]) && !FitsInput(config, i, static_cast<double>(last[i]))) {
        return base::Status::kDataLoss;
      }
    }
  }
  return base::Status::kOk;
}

void Imputer::Apply(StageMode mode, float* row) const {
  const size_t selected = config_.inputs.size();
  if (config_.missing_flags) {
    for (size_t i = 0; i < selected; ++i)
      row[config_.width + i] = IsNan(row[config_.inputs[i]]) ? 1.0F : 0.0F;
  }
  const float constant = static_cast<float>(config_.constant);
  const double slowest = config_.decay > 0.0 ? 1.0 - config_.decay : 0.0;
  for (size_t i = 0; i < selected; ++i) {
    float& value = row[config_.inputs[i]];
    const bool missing = IsNan(value);
    if (config_.mode == ImputerMode::kConstant) {
      if (missing) value = constant;
    } else if (config_.mode == ImputerMode::kLast) {
      float& last = PlaceOf<float>(memory_)[i];
      if (missing) {
        value = IsNan(last) ? constant : last;
      } else if (mode != StageMode::kPeek) {
        last = value;
      }
    } else {
      Mean& m = PlaceOf<Mean>(memory_)[i];
      if (missing) {
        value = m.count > 0.0 ? ToInput(m.mean) : constant;
      } else if (mode == StageMode::kLearn) {
        m.count = m.count < kLargestCount ? m.count + 1.0 : m.count;
        const double own = 1.0 / m.count;
        m.mean += (own > slowest ? own : slowest) * (static_cast<double>(value) - m.mean);
      }
    }
  }
}

void Imputer::Reset() const {
  if (config_.mode != ImputerMode::kLast) return;
  float* last = PlaceOf<float>(memory_);
  for (size_t i = 0; i < BytesFor(config_) / sizeof(float); ++i) last[i] = CanonicalNanFloat();
}

}  // namespace dipper::learn
