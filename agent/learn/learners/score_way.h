// How the move of a probability is divided between inputs that each add to scores: integrated gradients
// (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017) on the straight way from
// the scores without any input to those with all. An input's part is its terms times factors that all inputs
// share, and the parts sum to the move. Thread-safe: plain values.
#pragma once

#include <cstdint>

namespace dipper::learn {

/// 1 / (1 + e^-margin).
double Logistic(double margin);

/// Mean slope of the logistic function from `before` to `before` + `move`.
double MeanLogisticSlope(double before, double move);

/// A straight way of the scores of all classes, whose softmax is the answer.
struct ScoreWay {
  static constexpr uint32_t kMost = 64;

  uint32_t classes = 0;
  double first[kMost] = {};
  double move[kMost] = {};

  /// The probabilities after a part of the way, 0 .. 1.
  void At(double part, double* p) const;

  /// slopes[j]: mean on the way of what the score of class j moves the probability of class `output`. Two
  /// classes: exact to rounding; more: to 1e-6. False, and nothing told, where the scores of more than two
  /// classes part by more than 256 on the way: such inputs are far from any scale. Cost: O(classes * (16 + 4
  /// * width)) exponentials.
  bool MeanSlopes(uint32_t output, double* slopes) const;

 private:
  double Width() const;
};

}  // namespace dipper::learn
