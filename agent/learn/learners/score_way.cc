// See score_way.h.
#include "agent/learn/learners/score_way.h"

#include <cmath>

#include "agent/learn/math/functions.h"

namespace dipper::learn {
namespace {

constexpr double kLargestMargin = 700.0;
constexpr double kSameMargin = 1e-6;  // margins closer than this have the slope between them, to rounding
// Simpson's rule over a softmax: steps of at most a quarter in the scores are good to 1e-6.
constexpr double kStepsPerScore = 4.0;
constexpr double kWidest = 256.0;
constexpr uint32_t kLeastSteps = 16;

}  // namespace

double Logistic(double margin) {
  const double size = std::fabs(margin);
  const double odds = Exp(-(size < kLargestMargin ? size : kLargestMargin));
  return (margin < 0.0 ? odds : 1.0) / (1.0 + odds);
}

double MeanLogisticSlope(double before, double move) {
  const double p = Logistic(before);
  return std::fabs(move) > kSameMargin ? (Logistic(before + move) - p) / move : p * (1.0 - p);
}

void ScoreWay::At(double part, double* p) const {
  double largest = first[0] + part * move[0];
  for (uint32_t j = 0; j < classes; ++j) {
    p[j] = first[j] + part * move[j];
    largest = p[j] > largest ? p[j] : largest;
  }
  double sum = 0;
  for (uint32_t j = 0; j < classes; ++j) {
    p[j] = Exp(p[j] - largest);
    sum += p[j];
  }
  for (uint32_t j = 0; j < classes; ++j) p[j] /= sum;
}

/// How far the scores part on the way.
double ScoreWay::Width() const {
  double least = move[0];
  double greatest = move[0];
  for (uint32_t j = 1; j < classes; ++j) {
    least = move[j] < least ? move[j] : least;
    greatest = move[j] > greatest ? move[j] : greatest;
  }
  return greatest - least;
}

bool ScoreWay::MeanSlopes(uint32_t output, double* slopes) const {
  if (classes == 2) {
    const uint32_t other = 1 - output;
    const double slope = MeanLogisticSlope(first[output] - first[other], move[output] - move[other]);
    slopes[output] = slope;
    slopes[other] = -slope;
    return true;
  }
  const double width = Width();
  if (!(width <= kWidest)) return false;
  double p[kMost];
  const uint32_t wanted = static_cast<uint32_t>(width * kStepsPerScore) / 2 * 2 + 2;
  const uint32_t steps = wanted > kLeastSteps ? wanted : kLeastSteps;
  const double scale = 1.0 / (3.0 * static_cast<double>(steps));
  for (uint32_t j = 0; j < classes; ++j) slopes[j] = 0;
  for (uint32_t k = 0; k <= steps; ++k) {
    const double weight = scale * (k == 0 || k == steps ? 1.0 : (k % 2 == 1 ? 4.0 : 2.0));
    At(static_cast<double>(k) / static_cast<double>(steps), p);
    for (uint32_t j = 0; j < classes; ++j)
      slopes[j] += weight * p[output] * ((j == output ? 1.0 : 0.0) - p[j]);
  }
  return true;
}

}  // namespace dipper::learn
