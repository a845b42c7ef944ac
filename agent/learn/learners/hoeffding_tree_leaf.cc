// See hoeffding_tree_leaf.h.
#include "agent/learn/learners/hoeffding_tree_leaf.h"

#include <cmath>

#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::tree {
namespace {

constexpr double kLogisticRate = 0.1;
constexpr double kSquaredRate = 0.02;  // of normalized least mean squares, after the leaf's first labels
constexpr double kFirstLabels = 10;
constexpr double kLargestInput = 5.0;  // standard deviations that one input counts in the linear model
constexpr double kUnseen = -1e300;

double Standardized(const InputInfo& info, float x) {
  const double z = (static_cast<double>(x) - info.mean) * info.inverse_deviation;
  return z > kLargestInput ? kLargestInput : (z < -kLargestInput ? -kLargestInput : z);
}

/// Calls visit(weight index, input value) for the bias and for every input that is present.
template <typename Visit>
void VisitTerms(const View& view, std::span<const float> x, Visit visit) {
  visit(0U, 1.0);
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    if (!IsFinite(x[i])) continue;
    const InputInfo& info = view.inputs[i];
    if (info.categories == 0) {
      visit(info.linear_float, Standardized(info, x[i]));
    } else {
      visit(info.linear_float + NominalValue(x[i], info.categories), 1.0);
    }
  }
}

}  // namespace

Predictor BestPredictor(const View& view, const Node& leaf) {
  const ModelHead& head = *view.model(leaf.model);
  Predictor best = Predictor::kBase;
  double least = head.base_error;
  if (leaf.stats != kNone && view.header->classification != 0 && head.bayes_error <= least) {
    best = Predictor::kBayes;
    least = head.bayes_error;
  }
  return head.linear_error < least ? Predictor::kLinear : best;
}

uint32_t Greatest(std::span<const double> values) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < values.size(); ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best;
}

void BaseProbabilities(const View& view, const Node& leaf, std::span<double> out) {
  const double* weights = view.class_weights(view.model(leaf.model));
  double total = 0;
  for (size_t c = 0; c < out.size(); ++c) total += weights[c];
  for (size_t c = 0; c < out.size(); ++c)
    out[c] = total > 0.0 ? weights[c] / total : 1.0 / static_cast<double>(out.size());
}

void BayesScores(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out) {
  const uint32_t classes = view.header->outputs;
  const double* weights = view.class_weights(view.model(leaf.model));
  const float* observers = View::observers(view.stats_head(leaf.stats));
  double squares[kMaxOutputs] = {};  // sum of squared standardized distances
  double product[kMaxOutputs];       // of densities' factors; its logarithm is taken as seldom as possible
  double logs[kMaxOutputs] = {};
  for (uint32_t c = 0; c < classes; ++c) product[c] = weights[c];
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    if (!IsFinite(x[i])) continue;
    const InputInfo& info = view.inputs[i];
    BayesFactors(info, observers + info.stats_float, x[i], classes, squares, product);
    for (uint32_t c = 0; c < classes; ++c) {
      if (product[c] > 1e-150 && product[c] < 1e150) continue;
      if (!(product[c] > 0.0)) continue;
      logs[c] += Log(product[c]);
      product[c] = 1.0;
    }
  }
  for (uint32_t c = 0; c < classes; ++c) {
    out[c] = weights[c] > 0.0 && product[c] > 0.0 ? logs[c] + Log(product[c]) - 0.5 * squares[c] : kUnseen;
  }
}

void LinearScores(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out) {
  const float* row = view.linear(view.model(leaf.model));
  for (uint32_t k = 0; k < view.header->linear_outputs; ++k, row += view.header->linear_width) {
    double sum = 0;
    VisitTerms(view, x, [&](uint32_t at, double value) { sum += static_cast<double>(row[at]) * value; });
    out[k] = sum;
  }
}

void Softmax(std::span<double> scores) {
  const double greatest = scores[Greatest(scores)];
  double sum = 0;
  for (double& score : scores) {
    score = Exp(score - greatest);
    sum += score;
  }
  for (double& score : scores) score /= sum;
}

void LinearAnswer(const View& view, const Node& leaf, std::span<const float> x, std::span<double> out) {
  if (view.header->classification == 0) {
    double offset = 0;
    LinearScores(view, leaf, x, {&offset, 1});
    out[0] = view.model(leaf.model)->mean + offset;
  } else if (view.header->linear_outputs == 1) {
    double score = 0;
    LinearScores(view, leaf, x, {&score, 1});
    out[1] = 1.0 / (1.0 + Exp(-score));
    out[0] = 1.0 - out[1];
  } else {
    LinearScores(view, leaf, x, out);
    Softmax(out);
  }
}

void LinearStep(const View& view, const Node& leaf, std::span<const float> x, std::span<const double> answer,
                double y, double weight) {
  float* row = view.linear(view.model(leaf.model));
  const bool classification = view.header->classification != 0;
  double norm = 0;
  if (!classification) {
    VisitTerms(view, x, [&](uint32_t, double value) { norm += value * value; });
  }
  // A heavy weight may not step past the optimum of a sample.
  const double capped = weight < 4.0 ? weight : 4.0;
  for (uint32_t k = 0; k < view.header->linear_outputs; ++k, row += view.header->linear_width) {
    double step = 0;
    if (!classification) {
      const double rate = kSquaredRate + 1.0 / (kFirstLabels + view.model(leaf.model)->weight);
      step = capped * rate * (y - answer[0]) / (1.0 + norm * rate);
    } else {
      const uint32_t row_class = view.header->linear_outputs == 1 ? 1 : k;
      step = capped * kLogisticRate * ((y == static_cast<double>(row_class) ? 1.0 : 0.0) - answer[row_class]);
    }
    VisitTerms(view, x, [&](uint32_t at, double value) {
      row[at] = ToFloat(static_cast<double>(row[at]) + step * value);
    });
  }
}

void UpdateInputs(const View& view, std::span<const float> x, double weight) {
  // The deviation is refreshed now and then: a square root and a division for every input and label would be
  // half the cost of learning.
  const bool refresh = view.header->labels < 64.0 || static_cast<uint64_t>(view.header->labels) % 64 == 0;
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    InputInfo& info = view.inputs[i];
    if (info.categories != 0 || !IsFinite(x[i])) continue;
    const double before = static_cast<double>(x[i]) - info.mean;
    info.weight += weight;
    info.mean += before * (weight / info.weight);
    const double square = info.square + weight * before * (static_cast<double>(x[i]) - info.mean);
    info.square = square > 0.0 ? square : 0.0;  // rounding of the mean can make a zero term negative
    if (refresh) {
      const double variance = info.square / info.weight;
      info.inverse_deviation = variance > 1e-60 ? 1.0 / std::sqrt(variance) : 0.0;
    }
  }
}

}  // namespace dipper::learn::tree
