// See standard_scaler.h.
#include "agent/learn/stages/standard_scaler.h"

#include <cmath>

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

// Three arrays of `stride` doubles: how many values, their mean, their variance.
struct Moments {
  double* count;
  double* mean;
  double* variance;
};

Moments At(uint8_t* memory, uint64_t stride) {
  double* first = PlaceOf<double>(memory);
  return {first, first + stride, first + 2 * stride};
}

void LearnOne(double value, double slowest, double& count, double& mean, double& variance) {
  double deviation = value - mean;
  const double bound_squared = (kOutlierDeviations * kOutlierDeviations) * variance;
  if (deviation * deviation > bound_squared && count >= kOutlierCount && variance > 0.0) {
    const double bound = std::sqrt(bound_squared);
    deviation = deviation > 0.0 ? bound : -bound;
  }
  count = count < kLargestCount ? count + 1.0 : count;
  const double own = 1.0 / count;
  const double rate = own > slowest ? own : slowest;
  const double step = rate * deviation;
  mean += step;
  variance = (1.0 - rate) * (variance + step * deviation);
}

float Scale(double value, double mean, double variance, double limit) {
  const double flat = kFlatRelativeVariance * (mean * mean);
  if (!(variance > flat && variance > kFlatVariance)) return 0.0F;
  double scaled = (value - mean) / std::sqrt(variance);
  scaled = scaled > limit ? limit : scaled;
  scaled = scaled < -limit ? -limit : scaled;
  return static_cast<float>(scaled);
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
  return memory.size() == bytes ? base::Status::kOk : base::Status::kInvalidArgument;  // a fresh state is all zero
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
    if (!(mean >= -1e31 && mean <= 1e31) || !(variance >= 0.0 && variance <= 1e66)) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void StandardScaler::Apply(StageMode mode, float* row) const {
  const Moments moments = At(memory_, Stride(config_));
  const uint16_t* inputs = config_.inputs.data();
  const size_t count = config_.inputs.size();
  const bool learn = mode == StageMode::kLearn;
  const double slowest = config_.decay > 0.0 ? 1.0 - config_.decay : 0.0;
  const double limit = config_.clip > 0.0 ? config_.clip : static_cast<double>(3e38F);
  for (size_t i = 0; i < count; ++i) {
    float& place = row[inputs[i]];
    if (IsNan(place)) {
      place = 0.0F;
      continue;
    }
    const double value = static_cast<double>(place);
    if (learn) LearnOne(value, slowest, moments.count[i], moments.mean[i], moments.variance[i]);
    place = Scale(value, moments.mean[i], moments.variance[i], limit);
  }
}

}  // namespace dipper::learn
