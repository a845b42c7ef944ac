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

Pair SquareRoots(Pair x) { return Pair{std::sqrt(x[0]), std::sqrt(x[1])}; }

// Two inputs learn their values; where `present` is 0 nothing changes.
void LearnPair(Pair value, Pair present, double slowest, const Moments& at) {
  const Pair mean = LoadPair(at.mean);
  const Pair variance = LoadPair(at.variance);
  const Pair seen = LoadPair(at.count);
  Pair deviation = (value - mean) * present;
  const Pair bound_squared = Both(kOutlierDeviations * kOutlierDeviations) * variance;
  for (int i = 0; i < 2; ++i) {
    if (!(deviation[i] * deviation[i] > bound_squared[i] && seen[i] >= kOutlierCount && variance[i] > 0.0)) continue;
    const double bound = std::sqrt(bound_squared[i]);
    deviation[i] = deviation[i] > 0.0 ? bound : -bound;
  }
  const Pair count = Smaller(seen + present, Both(kLargestCount));
  const Pair own = Both(1.0) / Larger(count, Both(1.0));
  const Pair rate = Larger(own, Both(slowest)) * present;
  const Pair step = rate * deviation;
  StorePair(at.count, count);
  StorePair(at.mean, mean + step);
  StorePair(at.variance, (Both(1.0) - rate) * (variance + step * deviation));
}

Pair ScalePair(Pair value, Pair present, double limit, const Moments& at) {
  const Pair mean = LoadPair(at.mean);
  const Pair variance = LoadPair(at.variance);
  const Pair least = Larger(Both(kFlatRelativeVariance) * (mean * mean), Both(kFlatVariance));
  const Pair scaled = (value - mean) / SquareRoots(Larger(variance, Both(kFlatVariance)));
  const Pair cut = Larger(Smaller(scaled, Both(limit)), Both(-limit));
  return variance > least ? cut * present : Both(0.0);
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
  for (size_t i = 0; i < count; i += 2) {
    const bool both = i + 1 < count;
    float& first = row[inputs[i]];
    float unused = CanonicalNanFloat();
    float& second = both ? row[inputs[i + 1]] : unused;
    const bool has_first = !IsNan(first);
    const bool has_second = !IsNan(second);
    const Pair present = {has_first ? 1.0 : 0.0, has_second ? 1.0 : 0.0};
    const Pair value = {has_first ? static_cast<double>(first) : 0.0, has_second ? static_cast<double>(second) : 0.0};
    const Moments at = {moments.count + i, moments.mean + i, moments.variance + i};
    if (learn) LearnPair(value, present, slowest, at);
    const Pair scaled = ScalePair(value, present, limit, at);
    first = static_cast<float>(scaled[0]);
    second = static_cast<float>(scaled[1]);
  }
}

}  // namespace dipper::learn
