// See linear.h. State: a head, then per output row the arrays, each `stride` doubles long: weight, then for
// autostep rate, trace and peak (and, for late labels, two older traces); for adagrad the squares; for ftrl z
// and the root of the squares. The constant input 1 (the bias) follows the last input; an odd stride gets one
// zero more.
#include "agent/learn/learners/linear.h"

#include <cmath>
#include <cstring>

#include "agent/learn/learners/linear_steps.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxLinearInputs = 512;
constexpr uint32_t kMaxLinearOutputs = 64;
constexpr uint32_t kLargestDelay = 1'000'000;
constexpr size_t kRoom = kMaxLinearInputs + 2;

constexpr double kLeastCurvature = 1e-3;    // sure predictions still tell how far a step reaches
constexpr double kLargestCurvature = 20.0;  // of the quantile loss next to its kink
constexpr double kTargetMemory = 1e-4;      // least weight of one target in the target's moments
constexpr double kLeastVariance = 1e-100;   // of a target
constexpr double kLargestError = 5.0;       // of a target, in deviations: one wild label moves little
constexpr double kLargestAnswer = 1e3;      // in deviations of the target
constexpr double kLargestTarget = 1e30;
constexpr double kLargestMargin = 700.0;
constexpr double kLargestScore = 1e100;  // of a class before normalisation
constexpr double kLargestWeight = 1e100;
constexpr double kLargestSquares = 1e200;

uint64_t Stride(const LinearConfig& config) { return base::AlignUp(config.inputs + uint64_t{1}, 2); }
uint32_t Rows(const LinearConfig& config) { return config.loss == LinearLoss::kSoftmax ? config.outputs : 1; }

uint64_t Arrays(const LinearConfig& config) {
  switch (config.optimizer) {
    case LinearOptimizer::kSgd:
      return 1;
    case LinearOptimizer::kAdagrad:
      return 2;
    case LinearOptimizer::kFtrl:
      return 3;
    case LinearOptimizer::kAutostep:
      break;
  }
  return linear_steps::HoldsTraces(config) ? 6 : 4;
}

bool Classifies(const LinearConfig& config) {
  return config.loss == LinearLoss::kLogistic || config.loss == LinearLoss::kSoftmax;
}

// The last pair: what is left of the inputs, the constant 1.
inline Pair LastPair(const float* x, size_t count) {
  if (count % 2 == 0) return Pair{1.0, 0.0};
  return NanToZero(Pair{static_cast<double>(x[count - 1]), 1.0});
}

// Inputs as doubles, missing ones 0, then the constant 1, then a zero if the stride has room for it.
inline void Widen(std::span<const float> x, double* out) {
  const size_t count = x.size();
  size_t i = 0;
  for (; i + 2 <= count; i += 2) StoreAligned(out + i, NanToZero(LoadFloats(x.data() + i)));
  StoreAligned(out + i, LastPair(x.data(), count));
}

// Weights times inputs and the constant 1, in the fixed order of sums.
double Margin(const double* weights, std::span<const float> x) {
  const size_t last = x.size() / 2 * 2;
  const Pair tail = LoadAligned(weights + last) * LastPair(x.data(), x.size());
  return PairSum(last + 2, [&](size_t i) {
    return i == last ? tail : LoadAligned(weights + i) * NanToZero(LoadFloats(x.data() + i));
  });
}

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

double Magnitude(double x) { return std::fabs(x); }

bool Within(double x, double low, double high) { return x >= low && x <= high; }  // false for NaN

bool AllWithin(std::span<const double> values, double low, double high) {
  for (const double value : values) {
    if (!Within(value, low, high)) return false;
  }
  return true;
}

bool Holds(const LinearConfig& config) {
  return config.optimizer == LinearOptimizer::kAutostep && linear_steps::HoldsTraces(config);
}

bool GoodHeldLabels(const LinearConfig& config, double held_labels) {
  const double most = Holds(config) ? static_cast<double>(config.delay - 1) : 0.0;
  return Within(held_labels, 0.0, most) && std::floor(held_labels) == held_labels;
}

// Whether the arrays of one row could have come from learning. What pads an odd stride never has a weight.
bool GoodRow(const LinearConfig& config, const double* first) {
  const uint64_t stride = Stride(config);
  const auto array = [&](uint64_t index) { return std::span<const double>(first + index * stride, stride); };
  const bool padded = stride > config.inputs + uint64_t{1};
  if (!AllWithin(array(0), -kLargestWeight, kLargestWeight)) return false;
  if (padded && array(0)[stride - 1] != 0.0) return false;
  switch (config.optimizer) {
    case LinearOptimizer::kSgd:
      return true;
    case LinearOptimizer::kAdagrad:
      return AllWithin(array(1), 0.0, kLargestSquares);
    case LinearOptimizer::kFtrl:
      return AllWithin(array(1), -kLargestWeight, kLargestWeight) &&
             AllWithin(array(2), 0.0, kLargestWeight) && !(padded && array(1)[stride - 1] != 0.0);
    case LinearOptimizer::kAutostep:
      break;
  }
  return AllWithin(array(1), linear_steps::kLeastRate, linear_steps::kLargestRate) &&
         AllWithin(array(2), -kLargestWeight, kLargestWeight) && AllWithin(array(3), 0.0, kLargestSquares) &&
         (!Holds(config) || (AllWithin(array(4), -kLargestWeight, kLargestWeight) &&
                             AllWithin(array(5), -kLargestWeight, kLargestWeight)));
}

}  // namespace

struct Linear::Head {
  double target_count;
  double target_mean;
  double target_variance;
  double held_labels;  // learned since traces were held last; 0 unless labels are late
};

/// How a loss draws the margin: minus its slope, and how that slope changes on the way.
struct Linear::Pull {
  double error;
  double curvature;
};

inline LinearRow Linear::row(uint32_t index) const {
  const uint64_t stride = Stride(config_);
  return {PlaceOf<double>(memory_ + sizeof(Head)) + index * Arrays(config_) * stride, stride};
}

base::Result<uint64_t> Linear::StateBytes(const LinearConfig& config) {
  static_assert(sizeof(Head) == 32);
  const bool shape =
      Within(config.inputs, 1, kMaxLinearInputs) && Within(config.outputs, 1, kMaxLinearOutputs);
  const bool known = config.loss <= LinearLoss::kQuantile && config.optimizer <= LinearOptimizer::kFtrl;
  const bool outputs = (!Classifies(config) && config.outputs == 1) ||
                       (config.loss == LinearLoss::kLogistic && config.outputs == 2) ||
                       (config.loss == LinearLoss::kSoftmax && config.outputs >= 2);
  const bool parameters = config.rate > 0.0 && config.rate <= 1.0 && Within(config.l2, 0.0, 1.0) &&
                          Within(config.l1, 0.0, 1000.0) && Within(config.huber_delta, 0.001, 5.0) &&
                          Within(config.quantile, 0.001, 0.999) && config.delay <= kLargestDelay;
  if (!shape || !known || !outputs || !parameters) return base::Status::kInvalidArgument;
  return sizeof(Head) + Rows(config) * Arrays(config) * Stride(config) * sizeof(double);
}

base::Status Linear::Create(const LinearConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  if (config.optimizer != LinearOptimizer::kAutostep) return base::Status::kOk;
  const Linear linear(config, memory);
  for (uint32_t i = 0; i < Rows(config); ++i) {
    double* rate = linear.row(i).rate();
    for (uint64_t j = 0; j < Stride(config); ++j) rate[j] = config.rate;
  }
  return base::Status::kOk;
}

base::Status Linear::Validate(const LinearConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Head head = base::Load<Head>(memory.data());
  if (!Within(head.target_count, 0.0, 1e18) || !Within(head.target_mean, -1e31, 1e31) ||
      !Within(head.target_variance, 0.0, 1e62) || !GoodHeldLabels(config, head.held_labels)) {
    return base::Status::kDataLoss;
  }
  const double* first = PlaceOf<double>(memory.data() + sizeof(Head));
  for (uint32_t i = 0; i < Rows(config); ++i, first += Arrays(config) * Stride(config)) {
    if (!GoodRow(config, first)) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

Linear::Head& Linear::head() const { return *PlaceOf<Head>(memory_); }

void Linear::RaiseRate() {
  const uint64_t stride = Stride(config_);
  for (uint32_t k = 0; k < Rows(config_); ++k) {
    const LinearRow at = row(k);
    if (config_.optimizer == LinearOptimizer::kAutostep) {
      double* rates = at.rate();
      for (uint32_t i = 0; i <= config_.inputs; ++i)
        rates[i] = rates[i] > config_.rate ? rates[i] : config_.rate;
    } else if (config_.optimizer == LinearOptimizer::kAdagrad) {
      double* squares = at.squares();
      for (uint64_t i = 0; i < stride; ++i) squares[i] = 0.0;
    }
  }
}

void Linear::Predict(std::span<const float> x, std::span<double> out) const {
  DIPPER_CHECK(x.size() == config_.inputs && out.size() == config_.outputs);
  if (config_.loss == LinearLoss::kSoftmax) return PredictSoftmax(x, out);
  const double margin = Margin(row(0).weight(), x);
  if (config_.loss == LinearLoss::kLogistic) {
    const double odds = Exp(-Magnitude(Cut(margin, kLargestMargin)));
    const double unlikely = odds / (1.0 + odds);
    // By selection: a branch on the answer is one that is often predicted wrong.
    const Pair first = {unlikely, 1.0 - unlikely};
    const Pair second = {1.0 - unlikely, unlikely};
    StorePair(out.data(), Both(margin) < Both(0.0) ? second : first);
    return;
  }
  const Head& target = head();
  out[0] = target.target_mean + Cut(margin, kLargestAnswer) * std::sqrt(target.target_variance);
}

void Linear::PredictSoftmax(std::span<const float> x, std::span<double> out) const {
  double largest = -kLargestScore;
  for (uint32_t i = 0; i < config_.outputs; ++i) {
    out[i] = Cut(Margin(row(i).weight(), x), kLargestScore);
    largest = out[i] > largest ? out[i] : largest;
  }
  for (uint32_t i = 0; i < config_.outputs; ++i) out[i] = Exp(out[i] - largest);
  const double scale = 1.0 / Sum(std::span<const double>(out));
  for (uint32_t i = 0; i < config_.outputs; ++i) out[i] *= scale;
}

void Linear::Step(uint32_t index, double* x, double error, double curvature, double weight) {
  const LinearRow to = row(index);
  switch (config_.optimizer) {
    case LinearOptimizer::kAutostep:
      return linear_steps::AutostepStep(config_, to, x, error, curvature, weight);
    case LinearOptimizer::kSgd:
      return linear_steps::SgdStep(config_, to, x, error, curvature, weight);
    case LinearOptimizer::kAdagrad:
      return linear_steps::AdagradStep(config_, to, x, error, curvature, weight);
    case LinearOptimizer::kFtrl:
      return linear_steps::FtrlStep(config_, to, x, error, curvature, weight);
  }
}

// Moves the target's moments, then tells how the loss draws the standardised answer.
Linear::Pull Linear::TargetPull(double y, double stored) {
  Head& target = head();
  const double value = Cut(y, kLargestTarget);
  const double deviation = value - target.target_mean;
  if (target.target_count < 1e18) target.target_count += 1.0;
  const double own = 1.0 / target.target_count;
  const double share = own > kTargetMemory ? own : kTargetMemory;
  const double step = share * deviation;
  target.target_mean += step;
  const double variance = (1.0 - share) * (target.target_variance + step * deviation);
  target.target_variance = variance > kLeastVariance ? variance : 0.0;
  if (!(target.target_variance > 0.0)) return {0.0, 1.0};
  const double residual = (value - stored) / std::sqrt(target.target_variance);
  double error = Cut(residual, kLargestError);
  if (config_.loss == LinearLoss::kSquared) return {error, 1.0};
  if (config_.loss == LinearLoss::kHuber) {
    error = Cut(residual, config_.huber_delta);
  } else {
    error = residual > 0.0 ? config_.quantile : (residual < 0.0 ? config_.quantile - 1.0 : 0.0);
  }
  // The slope of the chord from here to the target: a step that stays within its reach stops there.
  const double distance = Magnitude(residual);
  const double most = config_.loss == LinearLoss::kHuber ? 1.0 : kLargestCurvature;
  const double size = Magnitude(error);
  return {error, size < most * distance ? size / distance : most};
}

// Every `delay` labels the held trace gives way to the next one, so it is one to two delays old.
void Linear::HoldTraces() {
  double& labels = head().held_labels;
  if (labels == 0.0) {
    const uint64_t bytes = Stride(config_) * sizeof(double);
    for (uint32_t i = 0; i < Rows(config_); ++i) {
      const LinearRow to = row(i);
      std::memcpy(to.held(), to.next(), bytes);
      std::memcpy(to.next(), to.trace(), bytes);
    }
  }
  labels = labels + 1.0 < static_cast<double>(config_.delay) ? labels + 1.0 : 0.0;
}

void Linear::Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight) {
  DIPPER_CHECK(x.size() == config_.inputs && stored_out.size() == config_.outputs);
  if (!(weight > 0.0)) return;
  alignas(16) double wide[kRoom];
  Widen(x, wide);
  if (!Classifies(config_)) {
    const Pull pull = TargetPull(y, stored_out[0]);
    return Step(0, wide, pull.error, pull.curvature, weight);
  }
  if (Holds(config_)) HoldTraces();
  if (config_.loss == LinearLoss::kLogistic) {
    const double p = stored_out[1];
    return Step(0, wide, static_cast<double>(y > 0.5) - p, p * (1.0 - p) + kLeastCurvature, weight);
  }
  for (uint32_t i = 0; i < config_.outputs; ++i) {
    const double p = stored_out[i];
    const double truth = y == static_cast<double>(i) ? 1.0 : 0.0;
    if (i > 0) Widen(x, wide);  // a step may use it as scratch
    Step(i, wide, truth - p, p * (1.0 - p) + kLeastCurvature, weight);
  }
}

void Linear::Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const {
  DIPPER_CHECK(x.size() == config_.inputs && output < config_.outputs && terms.size() == x.size() + 1);
  const bool regression = !Classifies(config_);
  double scale = regression ? std::sqrt(head().target_variance) : 1.0;
  if (config_.loss == LinearLoss::kLogistic && output == 0) scale = -1.0;
  const double* weights = row(config_.loss == LinearLoss::kSoftmax ? output : 0).weight();
  for (size_t i = 0; i < x.size(); ++i)
    terms[i] = IsNan(x[i]) ? 0.0 : scale * weights[i] * static_cast<double>(x[i]);
  terms[x.size()] = scale * weights[x.size()] + (regression ? head().target_mean : 0.0);
}

void Linear::Importance(std::span<double> out) const {
  DIPPER_CHECK(out.size() == config_.inputs);
  const double scale = Classifies(config_) ? 1.0 : std::sqrt(head().target_variance);
  const uint32_t rows = Rows(config_);
  const double share = 1.0 / static_cast<double>(rows);
  for (uint32_t i = 0; i < config_.inputs; ++i) {
    // What all classes have in common moves no probability.
    double mean = 0.0;
    for (uint32_t j = 0; rows > 1 && j < rows; ++j) mean += share * row(j).weight()[i];
    double sum = 0.0;
    for (uint32_t j = 0; j < rows; ++j) sum += Magnitude(row(j).weight()[i] - mean);
    out[i] = scale * share * sum;
  }
}

}  // namespace dipper::learn
