// See naive_bayes.h: what each input tells.
#include <cmath>

#include "agent/learn/learners/naive_bayes.h"
#include "agent/learn/learners/naive_bayes_layout.h"
#include "agent/learn/learners/score_way.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {
namespace {

using namespace bayes;  // NOLINT(google-build-using-namespace): this learner's own layout

constexpr double kUnseenScore = -1e300;  // of a class without labels; its probability is 0

/// The inputs of a learner one by one, with their places in its memory.
class Walk {
 public:
  Walk(const NaiveBayesConfig& config, const View& view) : config_(config), counts_(view.nominal) {}

  /// Calls numeric(input, column) or nominal(input, counts, categories) for each input.
  template <typename Numeric, typename Nominal>
  void Each(Numeric numeric, Nominal nominal) const {
    uint64_t column = 0;
    const double* counts = counts_;
    for (uint32_t i = 0; i < config_.inputs; ++i) {
      const uint32_t categories = config_.categories.empty() ? 0 : config_.categories[i];
      if (categories == 0) {
        numeric(i, column++);
        continue;
      }
      nominal(i, counts, categories);
      counts += CountsOf(categories, config_.outputs);
    }
  }

 private:
  const NaiveBayesConfig& config_;
  const double* counts_;
};

/// Logarithm of the density of a numeric input in class c, but for what is the same in all classes.
double NumericScore(const View& view, uint32_t c, uint64_t column, float x) {
  const double* moments = view.class_moments(c);
  const double inverse = moments[3 * view.stride + column];
  if (IsNan(x) || !(inverse > 0.0)) return 0.0;
  const double low = view.overall[3 * view.stride + column];
  const double high = view.overall[4 * view.stride + column];
  double value = static_cast<double>(x);
  value = value < low ? low : (value > high ? high : value);
  const double deviation = value - moments[view.stride + column];
  return 0.5 * (Log(inverse) - deviation * deviation * inverse);
}

double NominalScore(const NaiveBayesConfig& config, const View& view, const double* counts,
                    uint32_t categories, uint32_t c, float x) {
  if (IsNan(x)) return 0.0;
  const double prior = kPriorCount * view.head->unit;
  const double* same = counts + (1 + uint64_t{NominalValue(x, categories)}) * config.outputs;
  return Log((same[c] + prior) / (counts[c] + prior * (static_cast<double>(categories) + 1.0)));
}

/// Calls use(input, its score in class c) for each input.
template <typename Use>
void EachScore(const NaiveBayesConfig& config, const View& view, std::span<const float> x, uint32_t c,
               Use use) {
  const double temper = view.head->temper;
  Walk(config, view)
      .Each([&](uint32_t i, uint64_t column) { use(i, temper * NumericScore(view, c, column, x[i])); },
            [&](uint32_t i, const double* counts, uint32_t categories) {
              use(i, temper * NominalScore(config, view, counts, categories, c, x[i]));
            });
}

/// Divergence of a class's normal distribution from that of all labels, in nats.
double NumericDivergence(const View& view, uint32_t c, uint64_t column) {
  const double* moments = view.class_moments(c);
  const double inverse = moments[3 * view.stride + column];
  const double all = view.overall[2 * view.stride + column];
  if (!(inverse > 0.0) || !(all > 0.0)) return 0.0;
  const double part = 1.0 / (inverse * all);
  const double moved = moments[view.stride + column] - view.overall[view.stride + column];
  return 0.5 * (part - 1.0 - Log(part) + moved * moved / all);
}

double NominalDivergence(const NaiveBayesConfig& config, const View& view, const double* counts,
                         uint32_t categories, uint32_t c) {
  const double prior = kPriorCount * view.head->unit;
  const double values = static_cast<double>(categories) + 1.0;
  double whole = 0.0;
  for (uint32_t j = 0; j < config.outputs; ++j) whole += counts[j];
  double sum = 0.0;
  for (uint32_t v = 0; v <= categories; ++v) {
    const double* same = counts + (1 + uint64_t{v}) * config.outputs;
    double all = 0.0;
    for (uint32_t j = 0; j < config.outputs; ++j) all += same[j];
    const double own = (same[c] + prior) / (counts[c] + prior * values);
    sum += own * Log(own * (whole + prior * values) / (all + prior));
  }
  return sum > 0.0 ? sum : 0.0;
}

}  // namespace

void NaiveBayes::AddContributions(std::span<const float> x, uint32_t output, double share,
                                  std::span<double> terms) const {
  DIPPER_CHECK(x.size() == config_.inputs && output < config_.outputs && terms.size() == x.size() + 2);
  const View view(config_, memory_);
  const uint32_t classes = config_.outputs;
  double answers[kMaxClasses];
  Predict(x, {answers, classes});
  ScoreWay way;
  way.classes = classes;
  for (uint32_t c = 0; c < classes; ++c) {
    const double weight = view.classes[c].weight;
    way.first[c] = weight > 0.0 ? Log(weight + kPriorCount * view.head->unit) : kUnseenScore;
    if (weight > 0.0) EachScore(config_, view, x, c, [&](uint32_t, double score) { way.move[c] += score; });
  }
  double slopes[kMaxClasses];
  way.At(0.0, slopes);
  // The answer is this much the softmax of the scores, the rest uniform.
  const double sure = view.head->labels > 0 ? 1.0 - view.head->doubt : 0.0;
  const double base = sure * slopes[output] + (1.0 - sure) / static_cast<double>(classes);
  double rest = answers[output] - base;
  if (sure > 0.0 && way.MeanSlopes(output, slopes)) {
    for (uint32_t c = 0; c < classes; ++c) {
      if (!(view.classes[c].weight > 0.0)) continue;
      EachScore(config_, view, x, c, [&](uint32_t i, double score) {
        const double term = sure * slopes[c] * score;
        terms[i] += share * term;
        rest -= term;
      });
    }
  }
  terms[x.size()] += share * base;
  terms[x.size() + 1] += share * rest;
}

void NaiveBayes::Importance(std::span<double> out) const {
  DIPPER_CHECK(out.size() == config_.inputs);
  const View view(config_, memory_);
  const double whole = view.head->weight;
  for (double& one : out) one = 0.0;
  if (!(whole > 0.0)) return;
  for (uint32_t c = 0; c < config_.outputs; ++c) {
    const double part = view.classes[c].weight / whole;
    if (!(part > 0.0)) continue;
    Walk(config_, view)
        .Each([&](uint32_t i, uint64_t column) { out[i] += part * NumericDivergence(view, c, column); },
              [&](uint32_t i, const double* counts, uint32_t categories) {
                out[i] += part * NominalDivergence(config_, view, counts, categories, c);
              });
  }
}

}  // namespace dipper::learn
