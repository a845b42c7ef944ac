// The optimizers of linear.h: one step of one row of weights. Every one of them first finds how far the step
// would carry the sample's own margin (`reach`: the sum of rate times squared input, times the loss's
// curvature and the sample's weight) and shortens the step if that is beyond its target. Internal to
// linear.cc. Thread-safe: pure functions over caller memory.
#pragma once

#include <cstdint>

#include "agent/learn/learners/linear.h"
#include "agent/learn/learners/pairs.h"

namespace dipper::learn {

/// The arrays of one output, each `stride` doubles long; which of them exist depends on the optimizer.
struct LinearRow {
  double* first;
  uint64_t stride;
  double* weight() const { return first; }
  double* rate() const { return first + stride; }       // autostep: of each coordinate
  double* trace() const { return first + 2 * stride; }  // autostep: recent steps, less what was corrected
  double* peak() const { return first + 3 * stride; }   // autostep: largest recent gradient times trace
  double* held() const { return first + 4 * stride; }   // autostep, late labels: an older trace,
  double* next() const { return first + 5 * stride; }   // and the one that will take its place
  double* squares() const { return first + stride; }    // adagrad: sum of squared gradients
  double* z() const { return first + stride; }          // ftrl: gradients less what the rates took back
  double* root() const { return first + 2 * stride; }   // ftrl: root of the sum of squared gradients
};

// What every step takes: `inputs`, the constant 1 and a 0 if the stride has room for it behind them (scratch,
// may be overwritten); `error`, minus the loss's slope in the margin; `curvature`, how that slope changes on
// the way; and the sample's weight. Single numbers, since a structure would go through memory on the critical
// path.
namespace linear_steps {

constexpr double kMetaRate = 0.05;     // of a rate, per step and in relation to the largest correlation
constexpr double kPeakDecay = 1e-4;    // how fast the largest one is forgotten, in units of learning
constexpr double kLeastPeak = 1e-100;  // far below any gradient that matters, far above denormals
constexpr double kLeastRate = 1e-6, kLargestRate = 1e4;
constexpr double kLargestCut = 1.0 / 1.1;  // of the rates after one step that would have overshot
constexpr double kFtrlBeta = 1.0;          // as McMahan et al. take it

inline double Fit(double reach) { return reach > 1.0 ? 1.0 / reach : 1.0; }

/// Pulls one weight towards 0 by its rate's part of l2 and l1; never through it.
inline double Shrink(double w, double rate, const LinearConfig& config) {
  const double decay = rate * config.l2;
  const double kept = decay < 1.0 ? w * (1.0 - decay) : 0.0;
  const double pull = rate * config.l1;
  return kept > pull ? kept - pull : (kept < -pull ? kept + pull : 0.0);
}

inline bool Shrinks(const LinearConfig& config) { return config.l1 > 0.0 || config.l2 > 0.0; }

[[gnu::noinline]] inline void SgdStep(const LinearConfig& config, LinearRow row, double* inputs, double error,
                                      double curvature, double weight) {
  const double rate = config.rate * weight;
  const double reach = rate * curvature * PairDot(inputs, inputs, row.stride);
  const Pair step = Both(rate * error * Fit(reach));
  if (Shrinks(config)) {
    for (uint32_t i = 0; i < config.inputs; ++i)
      row.weight()[i] = Shrink(row.weight()[i], config.rate, config);
  }
  for (uint64_t i = 0; i < row.stride; i += 2)
    StorePair(row.weight() + i, LoadPair(row.weight() + i) + step * LoadPair(inputs + i));
}

[[gnu::noinline]] inline void AdagradStep(const LinearConfig& config, LinearRow row, double* inputs,
                                          double error, double curvature, double weight) {
  const Pair pull = Both(error * weight);
  // First the rates; x becomes rate * x.
  const double reach = PairSum(row.stride, [&](size_t i) {
    const Pair x = LoadPair(inputs + i);
    const Pair gradient = pull * x;
    const Pair squares = LoadPair(row.squares() + i) + gradient * gradient;
    const Pair pace = Both(config.rate) * x / SquareRoot(Larger(squares, Both(kLeastPeak)));
    StorePair(row.squares() + i, squares);
    StorePair(inputs + i, pace);
    return pace * x;
  });
  const Pair step = pull * Both(Fit(reach * curvature * weight));
  for (uint64_t i = 0; i < row.stride; i += 2)
    StorePair(row.weight() + i, LoadPair(row.weight() + i) + step * LoadPair(inputs + i));
  if (!Shrinks(config)) return;
  for (uint32_t i = 0; i < config.inputs; ++i) {
    if (!(row.squares()[i] > kLeastPeak)) continue;  // nothing was learned yet
    row.weight()[i] = Shrink(row.weight()[i], config.rate / std::sqrt(row.squares()[i]), config);
  }
}

[[gnu::noinline]] inline void FtrlStep(const LinearConfig& config, LinearRow row, double* inputs,
                                       double error, double curvature, double weight) {
  const Pair inverse_alpha = Both(1.0 / config.rate);
  const Pair beta = Both(kFtrlBeta);
  const Pair l1 = Both(config.l1);
  const Pair l2 = Both(config.l2);
  const double reach = PairSum(row.stride, [&](size_t i) {
    const Pair x = LoadPair(inputs + i);
    return x * x / ((beta + LoadPair(row.root() + i)) * inverse_alpha + l2);
  });
  const Pair pull = Both(error * weight * Fit(reach * curvature * weight));
  for (uint64_t i = 0; i < row.stride; i += 2) {
    const Pair gradient = pull * LoadPair(inputs + i);  // its negative, to be exact
    const Pair root = LoadPair(row.root() + i);
    const Pair grown = SquareRoot(root * root + gradient * gradient);
    const Pair sigma = (grown - root) * inverse_alpha;
    const Pair z = LoadPair(row.z() + i) - gradient - sigma * LoadPair(row.weight() + i);
    const Pair beyond = Larger(Absolute(z) - l1, Both(0.0));
    const Pair size = beyond / ((beta + grown) * inverse_alpha + l2);
    StorePair(row.root() + i, grown);
    StorePair(row.z() + i, z);
    StorePair(row.weight() + i, z > Both(0.0) ? -size : size);
  }
  // The bias is not pulled to 0.
  const uint32_t bias = config.inputs;
  row.weight()[bias] = -row.z()[bias] / ((kFtrlBeta + row.root()[bias]) / config.rate);
}

/// Late labels: a prediction knew no step that was learned while its label was on its way, so the rates are
/// to be judged by the trace of that time. Judged by today's, neighbouring labels that resemble each other
/// would make every step look too small.
inline bool HoldsTraces(const LinearConfig& config) {
  return config.delay > 0 && (config.loss == LinearLoss::kLogistic || config.loss == LinearLoss::kSoftmax);
}

// Autostep's table 1 with the overshoot judged by the rates before they are tuned (they change by at most
// kMetaRate): so all of a coordinate's step is one pass, and only the error waits for the prediction.
[[gnu::always_inline]] inline void AutostepStep(const LinearConfig& config, LinearRow row, double* inputs,
                                                double error, double curvature, double weight) {
  const uint64_t stride = row.stride;
  double* weights = row.weight();
  double* rates = row.rate();
  double* traces = row.trace();
  const double* judged = HoldsTraces(config) ? row.held() : traces;
  double* peaks = row.peak();
  const double reach_factor = curvature * weight;
  const double fit = Fit(reach_factor * PairSum(stride, [&](size_t i) {
                           const Pair x = LoadAligned(inputs + i);
                           return LoadAligned(rates + i) * (x * x);
                         }));
  const Pair cut = Both(fit > kLargestCut ? fit : kLargestCut);
  const Pair errors = Both(error);
  const Pair pull = Both(fit * (error * weight));
  const Pair reaching = Both(fit * reach_factor);
  for (uint64_t i = 0; i < stride; i += 2) {
    const Pair x = LoadAligned(inputs + i);
    const Pair rate = LoadAligned(rates + i);
    const Pair trace = LoadAligned(traces + i);
    const Pair peak = LoadAligned(peaks + i);
    // What waits for the prediction (reaching, error) comes last in every product: that chain is the step's
    // whole time.
    const Pair length = rate * (x * x);
    const Pair way = reaching * length;  // this coordinate's part of the way to the target, at most 1
    const Pair meta = x * LoadAligned(judged + i) * errors;
    const Pair size = Absolute(meta);
    const Pair faded = peak + reaching * (Both(kPeakDecay) * length) * (size - peak);
    const Pair bound = Larger(Larger(size, faded), Both(kLeastPeak));
    const Pair move = Both(kMetaRate) * meta / bound;
    // 1 + m + m^2 / 2 for e^m: m is at most kMetaRate.
    const Pair tuned = rate * (Both(1.0) + move + Both(0.5) * (move * move));
    const Pair change = tuned * (pull * x);
    const Pair moved = trace * (Both(1.0) - way) + change;
    StoreAligned(weights + i, LoadAligned(weights + i) + change);
    StoreAligned(rates + i, Smaller(Larger(tuned * cut, Both(kLeastRate)), Both(kLargestRate)));
    StoreAligned(traces + i, OrZero(Absolute(moved) > Both(kLeastPeak), moved));
    StoreAligned(peaks + i, bound);
  }
  if (!Shrinks(config)) return;
  for (uint32_t i = 0; i < config.inputs; ++i) weights[i] = Shrink(weights[i], rates[i], config);
}

}  // namespace linear_steps
}  // namespace dipper::learn
