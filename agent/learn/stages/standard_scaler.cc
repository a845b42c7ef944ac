// See standard_scaler.h.
#include "agent/learn/stages/standard_scaler.h"

#include <cmath>

#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr double kOutlierDeviations = 20.0;
constexpr double kOutlierCount = 30.0;
// Counts stop here: beyond it a plain running mean would no longer move anyway.
constexpr double kLargestCount = 0x1p40;
// A deviation below this part of the mean is float32 rounding, not variation.
constexpr double kFlatRelativeVariance = 1e-14;
constexpr double kFlatVariance = 1e-70;

uint64_t Stride(const StandardScalerConfig& config) { return base::AlignUp(config.inputs.size(), kLanes); }

// Of two neighbouring inputs: how many values, their mean, their variance.
struct Moments {
  Pair count;
  Pair mean;
  Pair variance;
};

// Values further than 20 deviations from the mean count as 20.
Pair Tame(Pair deviation, Pair bound_squared, const Moments& m) {
  for (int i = 0; i < 2; ++i) {
    if (!(deviation[i] * deviation[i] > bound_squared[i] && m.count[i] >= kOutlierCount &&
          m.variance[i] > 0.0)) {
      continue;
    }
    const double bound = std::sqrt(bound_squared[i]);
    deviation[i] = deviation[i] > 0.0 ? bound : -bound;
  }
  return deviation;
}

// Two inputs learn their values; where `present` is 0 nothing changes.
Moments LearnPair(Pair value, Pair present, Pair slowest, const Moments& m) {
  Pair deviation = (value - m.mean) * present;
  const Pair bound_squared = Both(kOutlierDeviations * kOutlierDeviations) * m.variance;
  const auto far = deviation * deviation > bound_squared;
  if ((far[0] | far[1]) != 0) deviation = Tame(deviation, bound_squared, m);
  const Pair count = Smaller(m.count + present, Both(kLargestCount));
  const Pair own = Both(1.0) / Larger(count, Both(1.0));
  const Pair rate = Larger(own, slowest) * present;
  const Pair step = rate * deviation;
  return {count, m.mean + step, (Both(1.0) - rate) * (m.variance + step * deviation)};
}

Pair ScalePair(Pair value, Pair present, Pair limit, const Moments& m) {
  const Pair least = Larger(Both(kFlatRelativeVariance) * (m.mean * m.mean), Both(kFlatVariance));
  const Pair floored = Larger(m.variance, Both(kFlatVariance));
  const Pair scaled = (value - m.mean) / Pair{std::sqrt(floored[0]), std::sqrt(floored[1])};
  const Pair cut = Larger(Smaller(scaled, limit), -limit);
  return m.variance > least ? cut * present : Both(0.0);
}

}  // namespace

base::Result<uint64_t> StandardScaler::StateBytes(const StandardScalerConfig& config) {
  if (!(config.decay >= 0.0 && config.decay < 1.0) || !(config.clip >= 0.0 && config.clip <= 1e6)) {
    return base::Status::kInvalidArgument;
  }
  for (const uint16_t input : config.inputs) {
    if (input >= config.width) return base::Status::kInvalidArgument;
  }
  return 3 * sizeof(double) * Stride(config);
}

base::Status StandardScaler::Create(const StandardScalerConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status StandardScaler::Validate(const StandardScalerConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const uint64_t stride = Stride(config);
  const double* count = PlaceOf<double>(memory.data());
  for (uint64_t i = 0; i < stride; ++i) {
    const double mean = count[stride + i];
    const double variance = count[2 * stride + i];
    if (!(count[i] >= 0.0 && count[i] <= kLargestCount && std::floor(count[i]) == count[i])) {
      return base::Status::kDataLoss;
    }
    if (!(mean >= -1e31 && mean <= 1e31) || !(variance >= 0.0 && variance <= 1e66))
      return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void StandardScaler::Apply(StageMode mode, float* row) const {
  const uint64_t stride = Stride(config_);
  double* counts = PlaceOf<double>(memory_);
  double* means = counts + stride;
  double* variances = means + stride;
  const uint16_t* inputs = config_.inputs.data();
  const size_t count = config_.inputs.size();
  const bool learn = mode == StageMode::kLearn;
  const Pair slowest = Both(config_.decay > 0.0 ? 1.0 - config_.decay : 0.0);
  const Pair limit = Both(config_.clip > 0.0 ? config_.clip : static_cast<double>(3e38F));
  for (size_t i = 0; i < count; i += 2) {
    float unused = CanonicalNanFloat();
    float& first = row[inputs[i]];
    float& second = i + 1 < count ? row[inputs[i + 1]] : unused;
    const Pair wide = {static_cast<double>(first), static_cast<double>(second)};
    const Pair present = wide == wide ? Both(1.0) : Both(0.0);
    const Pair value = wide == wide ? wide : Both(0.0);
    Moments moments = {LoadPair(counts + i), LoadPair(means + i), LoadPair(variances + i)};
    if (learn) {
      moments = LearnPair(value, present, slowest, moments);
      StorePair(counts + i, moments.count);
      StorePair(means + i, moments.mean);
      StorePair(variances + i, moments.variance);
    }
    const Pair scaled = ScalePair(value, present, limit, moments);
    first = static_cast<float>(scaled[0]);
    second = static_cast<float>(scaled[1]);
  }
}

}  // namespace dipper::learn
