// Predictors of a Hoeffding tree's leaf: majority class or mean, naive Bayes over the leaf's observers, and a
// linear model (logistic or squared loss) over standardized inputs; the one with the least faded error
// answers. Internal to hoeffding_tree*. Sources: Pfahringer, Holmes and Kirkby, "Handling numeric attributes
// in Hoeffding trees", PAKDD 2008 (adaptive naive Bayes leaves); Ikonomovska, Gama and Dzeroski 2011 (linear
// leaves). Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"

namespace dipper::learn::tree {

enum class Predictor : uint8_t { kBase, kBayes, kLinear };

/// The predictor that answers at this leaf now.
Predictor BestPredictor(const View& view, const Node& leaf);

/// Index of the greatest value, the first of equals.
uint32_t Greatest(std::span<const double> values);

/// Class shares of the labels at this leaf, uniform before the first.
void BaseProbabilities(const View& view, const Node& leaf, std::span<double> out);

/// Unnormalized log probabilities by naive Bayes; a class never seen here gets -1e300. The leaf has
/// statistics.
void BayesScores(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out);

/// Rows of the linear model at x: log odds of class 1 (two classes), a score per class (more), or the offset
/// to the leaf's mean (regression).
void LinearScores(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out);

/// Turns scores into probabilities in place (softmax).
void Softmax(std::span<double> scores);

/// The linear model's answer: probabilities, or the value.
void LinearAnswer(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out);

/// One stochastic gradient step of the linear model. `answer` is LinearAnswer's.
void LinearStep(const View& view, const Node& leaf, std::span<const float> x, std::span<const double> answer,
                double y, double weight);

/// The running moments that standardize the inputs.
void UpdateInputs(const View& view, std::span<const float> x, double weight);

}  // namespace dipper::learn::tree
