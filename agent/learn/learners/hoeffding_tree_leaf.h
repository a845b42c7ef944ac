// Predictors of a Hoeffding tree's leaf: majority class or mean, naive Bayes over the leaf's observers, and a
// linear model (logistic or squared loss) over standardized inputs; the one with the least faded error
// answers. Internal to hoeffding_tree* and adaptive_forest*. Sources: Pfahringer, Holmes and Kirkby,
// "Handling numeric attributes in Hoeffding trees", PAKDD 2008 (adaptive naive Bayes leaves); Ikonomovska,
// Gama and Dzeroski 2011 (linear leaves). Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"

namespace dipper::learn::tree {

enum class Predictor : uint8_t { kBase, kBayes, kLinear };

/// Fills `sample` from x as far as any leaf reads it.
void Standardize(const View& view, std::span<const float> x, Sample* sample);

/// The predictor that answers at this leaf now.
Predictor BestPredictor(const View& view, const Node& leaf);

/// Index of the greatest value, the first of equals.
inline uint32_t Greatest(std::span<const double> values) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < values.size(); ++i) best = values[i] > values[best] ? i : best;
  return best;
}

/// Class shares of the labels at this leaf, uniform before the first.
void BaseProbabilities(const View& view, const Node& leaf, std::span<double> out);

/// Rows of the linear model: log odds of class 1 (two classes), a score per class (more), or the offset to
/// the leaf's mean (regression).
void LinearScores(const View& view, const Node& leaf, const Sample& sample, std::span<double> out);

/// Of row k of LinearScores what belongs to inputs, which is all but the constant: the sum of their terms;
/// adds each, times `scale`, to terms[input] unless there are no terms.
double AddLinearTerms(const View& view, const Node& leaf, const Sample& sample, uint32_t k, double scale,
                      std::span<double> terms);

/// Turns scores into probabilities in place (softmax).
void Softmax(std::span<double> scores);

/// The linear model's answer: probabilities, or the value.
void LinearAnswer(const View& view, const Node& leaf, const Sample& sample, std::span<double> out);

/// The leaf's answer by its best predictor.
void LeafAnswer(const View& view, const Node& leaf, const Sample& sample, std::span<double> out);

/// One stochastic gradient step of the linear model. `answer` is LinearAnswer's; `rate` is for classes.
void LinearStep(const View& view, const Node& leaf, const Sample& sample, std::span<const double> answer,
                double y, double weight, double rate);

/// Whether regression leaves learn by recursive least squares: up to 32 numeric inputs. Else by normalized
/// steps.
bool UsesLeastSquares(const View& view);
/// The covariance of a model that has seen nothing.
void StartCovariance(const View& view, ModelHead* model);
/// The covariance of a child that has its parent's: what the parent knew counts like a few labels.
void LoosenCovariance(const View& view, ModelHead* model);

/// The running moments that standardize the inputs.
void UpdateMoments(const View& view, const Sample& sample, double weight);

}  // namespace dipper::learn::tree
