// Naive Bayes: per class one Gaussian per numeric input (weighted moments: Welford 1962; West, "Updating mean
// and variance estimates", CACM 22, 1979) and smoothed frequencies per nominal input (Laplace). A class's
// variance is estimated with one prior observation of the input's overall variance (the posterior mean under
// a conjugate prior: Gelman et al., "Bayesian Data Analysis", 3rd ed., 2013, section 3.3), so that inputs of
// any scale and classes of few labels are judged alike. Inputs that depend on each other tell the same thing
// several times; what they tell is raised to a power that is learned from the labels by gradient descent on
// the log loss (tempering: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML
// 2017, section 4.2, here online and without the class weights). Labels may fade, so that a drifting stream
// is followed. Missing inputs are skipped. A view over caller memory; state is a pure function of the calls.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct NaiveBayesConfig {
  uint32_t inputs = 0;                   ///< 1 .. 512
  uint32_t outputs = 2;                  ///< classes, 2 .. 64
  bool classification = true;            ///< regression is refused
  std::span<const uint16_t> categories;  ///< per input: 0 = numeric, n <= 1024 = nominal 0 .. n - 1
                                         /// < and n = other; empty = all numeric
  double fading = 0.999;                 ///< weight of the past per label, 0.99 .. 1 (forgets nothing)
  bool tempered = true;                  ///< false: inputs count as if they were independent
};

class NaiveBayes {
 public:
  static base::Result<uint64_t> StateBytes(const NaiveBayesConfig& config);
  static base::Status Create(const NaiveBayesConfig& config, base::MutableBytes memory);
  static base::Status Validate(const NaiveBayesConfig& config, base::ByteView memory);
  NaiveBayes(const NaiveBayesConfig& config, base::MutableBytes memory)
      : config_(config), memory_(memory.data()) {}

  /// Class probabilities (sum 1; uniform before the first label; a class without labels is never the
  /// greatest). An input further than 20 deviations from its mean counts as 20. Cost: O(inputs * outputs) and
  /// one exponential per class but the first, no heap, 7.8 KiB of stack.
  void Predict(std::span<const float> x, std::span<double> out) const;

  /// Learns one label. y: class index < outputs; weight finite and >= 0, 0 learns nothing. stored_out: what
  /// Predict gave for these inputs. Cost: O(inputs + outputs), no heap, 2.3 KiB of stack; O(inputs * outputs)
  /// when an input begins to vary, when the first value is missing and when faded weights are scaled back.
  void Learn(std::span<const float> x, std::span<const double> stored_out, double y, double weight);

  /// Adds `share` times: to terms[i] what the likelihoods of input i move the probability of class `output`,
  /// by integrated gradients (ScoreWay), to terms[inputs] the probability by the classes' frequencies alone,
  /// to terms[inputs + 1] the rest, which is what rounding left, or the whole move where ScoreWay cannot
  /// tell. Missing inputs add 0. Cost: O(inputs * outputs) logarithms, no heap, 2 KiB of stack.
  void AddContributions(std::span<const float> x, uint32_t output, double share,
                        std::span<double> terms) const;

  /// out[i]: what input i tells of the class on average, in nats: divergence of the classes' distributions
  /// from that of all labels.
  void Importance(std::span<double> out) const;

 private:
  const NaiveBayesConfig& config_;  // outlives the view: a copy would cost as much as the work
  uint8_t* memory_;
};

}  // namespace dipper::learn
