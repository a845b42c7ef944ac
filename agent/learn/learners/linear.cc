// See linear.h. State: a head, then per output row the arrays weight and, if adaptive, rate, trace and peak,
// each `stride` doubles long; the constant input 1 (the bias) follows the last input; an odd stride gets one
// zero more.
#include "agent/learn/learners/linear.h"

#include <cmath>

#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxLinearInputs = 512;
constexpr uint32_t kMaxLinearOutputs = 64;
constexpr size_t kRoom = kMaxLinearInputs + 2;

constexpr double kMetaRate =
    0.05;  // of a coordinate's rate, per step and in relation to its largest gradient
constexpr double kPeakDecay = 1e-4;    // how fast the largest gradient is forgotten, in units of learning
constexpr double kLeastPeak = 1e-100;  // far below any gradient that matters, far above denormals
constexpr double kLeastRate = 1e-6, kLargestRate = 1e4;
constexpr double kLargestCut = 1.0 / 1.1;  // of the rates after one step that would have overshot
constexpr double kLeastCurvature = 1e-3;   // sure predictions still tell how far a step reaches
constexpr double kTargetMemory = 1e-4;     // least weight of one target in the target's moments
constexpr double kLargestError = 5.0;      // of a target, in deviations: one wild label moves little
constexpr double kLargestAnswer = 1e3;     // in deviations of the target
constexpr double kLargestTarget = 1e30;

uint64_t Stride(const LinearConfig& config) { return base::AlignUp(config.inputs + uint64_t{1}, 2); }
uint32_t Rows(const LinearConfig& config) { return config.loss == LinearLoss::kSoftmax ? config.outputs : 1; }
uint64_t Arrays(const LinearConfig& config) { return config.adaptive ? 4 : 1; }

// Inputs as doubles, missing ones 0, then the constant 1, then a zero if the stride has room for it.
void Widen(std::span<const float> x, double* out) {
  const size_t count = x.size();
  for (size_t i = 0; i < count; ++i) out[i] = IsNan(x[i]) ? 0.0 : static_cast<double>(x[i]);
  out[count] = 1.0;
  out[count + 1] = 0.0;
}

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

double Magnitude(double x) { return std::fabs(x); }

// One coordinate pair's share of a step: tunes the rates, moves the peaks, and returns rate * input^2.
Pair TuneRates(Pair x, Pair trace, Pair error, Pair forgetting, Pair* rate, Pair* peak) {
  const Pair square = x * x;
  const Pair meta = error * x * trace;
  const Pair size = Absolute(meta);
  const Pair fading = Smaller(forgetting * *rate * square, Both(1.0));
  const Pair bound = Larger(Larger(size, *peak + fading * (size - *peak)), Both(kLeastPeak));
  const Pair move = Both(kMetaRate) * meta / bound;
  *peak = bound;
  *rate = *rate * (Both(1.0) + move + Both(0.5) * (move * move));
  return *rate * square;
}

}  // namespace

struct Linear::Head {
  double target_count;
  double target_mean;
  double target_variance;
  double reserved;
};

struct Linear::Row {
  double* weight;
  double* rate;
  double* trace;
  double* peak;
};

base::Result<uint64_t> Linear::StateBytes(const LinearConfig& config) {
  static_assert(sizeof(Head) == 32);
  const bool shape = config.inputs >= 1 && config.inputs <= kMaxLinearInputs && config.outputs >= 1 &&
                     config.outputs <= kMaxLinearOutputs;
  const bool outputs = (config.loss == LinearLoss::kSquared && config.outputs == 1) ||
                       (config.loss == LinearLoss::kLogistic && config.outputs == 2) ||
                       (config.loss == LinearLoss::kSoftmax && config.outputs >= 2);
  if (!shape || !outputs || !(config.rate > 0.0 && config.rate <= 1.0) ||
      !(config.l2 >= 0.0 && config.l2 <= 1.0)) {
    return base::Status::kInvalidArgument;
  }
  return sizeof(Head) + Rows(config) * Arrays(config) * Stride(config) * sizeof(double);
}

base::Status Linear::Create(const LinearConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  if (!config.adaptive) return base::Status::kOk;
  const Linear linear(config, memory);
  for (uint32_t i = 0; i < Rows(config); ++i) {
    double* rate = linear.row(i).rate;
    for (uint64_t j = 0; j < Stride(config); ++j) rate[j] = config.rate;
  }
  return base::Status::kOk;
}

base::Status Linear::Validate(const LinearConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Head head = base::Load<Head>(memory.data());
  if (!(head.target_count >= 0.0 && head.target_count <= 1e18) || !(Magnitude(head.target_mean) <= 1e31) ||
      !(head.target_variance >= 0.0 && head.target_variance <= 1e62) || head.reserved != 0.0) {
    return base::Status::kDataLoss;
  }
  const uint64_t stride = Stride(config);
  const double* at = PlaceOf<double>(memory.data() + sizeof(Head));
  for (uint32_t row = 0; row < Rows(config); ++row, at += Arrays(config) * stride) {
    for (uint64_t i = 0; i < stride; ++i) {
      const bool used = i <= config.inputs;
      if (!(Magnitude(at[i]) <= (used ? 1e100 : 0.0))) return base::Status::kDataLoss;
      if (!config.adaptive) continue;
      const double rate = at[stride + i];
      const bool rate_good = rate >= kLeastRate * 0.5 && rate <= kLargestRate * 2.0;
      const double peak = at[3 * stride + i];
      if (!rate_good || !(Magnitude(at[2 * stride + i]) <= 1e100) || !(peak >= 0.0 && peak <= 1e200)) {
        return base::Status::kDataLoss;
      }
    }
  }
  return base::Status::kOk;
}

Linear::Head& Linear::head() const { return *PlaceOf<Head>(memory_); }

Linear::Row Linear::row(uint32_t index) const {
  const uint64_t stride = Stride(config_);
  double* first = PlaceOf<double>(memory_ + sizeof(Head)) + index * Arrays(config_) * stride;
  if (!config_.adaptive) return {first, nullptr, nullptr, nullptr};
  return {first, first + stride, first + 2 * stride, first + 3 * stride};
}

void Linear::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  alignas(16) double wide[kRoom];
  Widen(x, wide);
  const uint64_t stride = Stride(config_);
  switch (config_.loss) {
    case LinearLoss::kSquared: {
      const Head& target = head();
      const double answer = Cut(PairDot(row(0).weight, wide, stride), kLargestAnswer);
      out[0] = target.target_mean + answer * std::sqrt(target.target_variance);
      return;
    }
    case LinearLoss::kLogistic: {
      const double margin = Cut(PairDot(row(0).weight, wide, stride), 700.0);
      const double odds = Exp(-Magnitude(margin));
      const double unlikely = odds / (1.0 + odds);
      out[1] = margin < 0.0 ? unlikely : 1.0 - unlikely;
      out[0] = margin < 0.0 ? 1.0 - unlikely : unlikely;
      return;
    }
    case LinearLoss::kSoftmax: {
      double largest = -1e300;
      for (uint32_t i = 0; i < config_.outputs; ++i) {
        out[i] = Cut(PairDot(row(i).weight, wide, stride), 1e100);
        largest = out[i] > largest ? out[i] : largest;
      }
      for (uint32_t i = 0; i < config_.outputs; ++i) out[i] = Exp(out[i] - largest);
      const double scale = 1.0 / Sum(std::span<const double>(out));
      for (uint32_t i = 0; i < config_.outputs; ++i) out[i] *= scale;
      return;
    }
  }
}

void Linear::StepAtOneRate(double* w, const double* x, double error, double curvature, double weight) {
  const uint64_t stride = Stride(config_);
  const double reach = config_.rate * weight * curvature * PairDot(x, x, stride);
  const double step = config_.rate * weight * error / (reach > 1.0 ? reach : 1.0);
  const double keep = 1.0 - config_.rate * config_.l2;
  for (uint32_t i = 0; i < config_.inputs; ++i) w[i] *= keep;
  for (uint64_t i = 0; i < stride; ++i) w[i] += step * x[i];
}

void Linear::Step(const Row& to, const double* x, double error, double curvature, double weight) {
  if (!config_.adaptive) return StepAtOneRate(to.weight, x, error, curvature, weight);
  const uint64_t stride = Stride(config_);
  const double reach_factor = curvature * weight;
  const Pair forgetting = Both(kPeakDecay * reach_factor);
  PairLanes lanes;
  for (uint64_t i = 0; i < stride; i += 2) {
    Pair rate = LoadPair(to.rate + i);
    Pair peak = LoadPair(to.peak + i);
    lanes.lane[(i / 2) % 4] +=
        TuneRates(LoadPair(x + i), LoadPair(to.trace + i), Both(error), forgetting, &rate, &peak);
    StorePair(to.rate + i, rate);
    StorePair(to.peak + i, peak);
  }
  const double reach = lanes.Combine() * reach_factor;
  const Pair fit = Both(reach > 1.0 ? 1.0 / reach : 1.0);
  const Pair cut = Larger(fit, Both(kLargestCut));
  const Pair pull = Both(error * weight);
  const Pair reaching = Both(reach_factor);
  for (uint64_t i = 0; i < stride; i += 2) {
    const Pair in = LoadPair(x + i);
    const Pair rate = LoadPair(to.rate + i);
    const Pair step = rate * fit;
    const Pair change = step * pull * in;
    const Pair fading = Larger(Both(1.0) - step * reaching * (in * in), Both(0.0));
    const Pair trace = LoadPair(to.trace + i) * fading + change;
    StorePair(to.weight + i, LoadPair(to.weight + i) + change);
    StorePair(to.trace + i, Absolute(trace) > Both(kLeastPeak) ? trace : Both(0.0));
    StorePair(to.rate + i, Smaller(Larger(rate * cut, Both(kLeastRate)), Both(kLargestRate)));
  }
  if (config_.l2 <= 0.0) return;
  for (uint32_t i = 0; i < config_.inputs; ++i) {
    const double decay = to.rate[i] * config_.l2;
    to.weight[i] *= decay < 1.0 ? 1.0 - decay : 0.0;
  }
}

double Linear::TargetError(double y, double stored) {
  Head& target = head();
  const double value = Cut(y, kLargestTarget);
  const double deviation = value - target.target_mean;
  if (target.target_count < 1e18) target.target_count += 1.0;
  const double own = 1.0 / target.target_count;
  const double share = own > kTargetMemory ? own : kTargetMemory;
  const double step = share * deviation;
  target.target_mean += step;
  const double variance = (1.0 - share) * (target.target_variance + step * deviation);
  target.target_variance = variance > kLeastPeak ? variance : 0.0;
  if (!(target.target_variance > 0.0)) return 0.0;
  return Cut((value - stored) / std::sqrt(target.target_variance), kLargestError);
}

void Linear::Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight) {
  DIPPER_CHECK(x.size() == config_.inputs && stored_out.size() == config_.outputs);
  if (!(weight > 0.0)) return;
  alignas(16) double wide[kRoom];
  Widen(x, wide);
  switch (config_.loss) {
    case LinearLoss::kSquared:
      Step(row(0), wide, TargetError(y, stored_out[0]), 1.0, weight);
      return;
    case LinearLoss::kLogistic: {
      const double p = stored_out[1];
      Step(row(0), wide, (y > 0.5 ? 1.0 : 0.0) - p, p * (1.0 - p) + kLeastCurvature, weight);
      return;
    }
    case LinearLoss::kSoftmax:
      for (uint32_t i = 0; i < config_.outputs; ++i) {
        const double p = stored_out[i];
        const double truth = y == static_cast<double>(i) ? 1.0 : 0.0;
        Step(row(i), wide, truth - p, p * (1.0 - p) + kLeastCurvature, weight);
      }
      return;
  }
}

}  // namespace dipper::learn
