// See model.h: which inputs an answer comes from, and which the learner uses at all.
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <variant>

#include "agent/learn/image/model.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/lanes.h"

namespace dipper::learn {

using base::Status;

namespace {

constexpr double kLargestMargin = 700.0;
constexpr double kSameMargin = 1e-6;  // margins closer than this have the slope between them, to rounding
// Simpson's rule over a softmax: steps of at most a quarter in the scores are good to 1e-6. Scores that part
// by more than kWidest belong to inputs far from any scale; nothing is told then.
constexpr double kStepsPerScore = 4.0;
constexpr double kWidest = 256.0;
constexpr uint32_t kLeastSteps = 16;

double Sigmoid(double margin) {
  const double size = std::fabs(margin);
  const double odds = Exp(-(size < kLargestMargin ? size : kLargestMargin));
  return (margin < 0.0 ? odds : 1.0) / (1.0 + odds);
}

/// Adds `share` times: `slope` times own[i] to terms[i]. own: inputs + 1 places, the bias last.
void AddScaled(std::span<const double> own, double share, double slope, std::span<double> terms) {
  for (size_t i = 0; i + 1 < own.size(); ++i) terms[i] += share * (slope * own[i]);
}

double SumOfInputs(std::span<const double> own) { return Sum(own.first(own.size() - 1)); }

// A linear classifier's terms are of its link, and those of several learners can be blended on the scale of
// probabilities only. The change of a probability from all inputs 0 to x is divided by integrated gradients
// (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017), which sum to it. On the
// way scores move straight, so that an input's part is its terms times factors that all inputs share.

/// Two classes: one margin, so the factor is the mean slope of the logistic function, a difference quotient.
void AddLogistic(const Linear& linear, std::span<const float> inputs, uint32_t output, double share,
                 std::span<double> own, std::span<double> terms) {
  linear.Contributions(inputs, output, own);
  const double bias = own.back();
  const double move = SumOfInputs(own);
  const double before = Sigmoid(bias);
  const double slope =
      std::fabs(move) > kSameMargin ? (Sigmoid(bias + move) - before) / move : before * (1.0 - before);
  AddScaled(own, share, slope, terms);
  terms[inputs.size()] += share * before;
}

/// A straight way of the scores of all classes.
struct ScoreWay {
  uint32_t classes = 0;
  double first[kMaxClasses] = {};
  double move[kMaxClasses] = {};

  /// The probabilities after a part of the way.
  void At(double part, double* p) const {
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
  double Width() const {
    double least = move[0];
    double greatest = move[0];
    for (uint32_t j = 1; j < classes; ++j) {
      least = move[j] < least ? move[j] : least;
      greatest = move[j] > greatest ? move[j] : greatest;
    }
    return greatest - least;
  }

  /// slopes[j]: mean on the way of what the score of class j moves the probability of class `output`.
  void MeanSlopes(uint32_t output, double* slopes) const {
    double p[kMaxClasses];
    const uint32_t wanted = static_cast<uint32_t>(Width() * kStepsPerScore) / 2 * 2 + 2;
    const uint32_t steps = wanted > kLeastSteps ? wanted : kLeastSteps;
    const double scale = 1.0 / (3.0 * static_cast<double>(steps));
    for (uint32_t j = 0; j < classes; ++j) slopes[j] = 0;
    for (uint32_t k = 0; k <= steps; ++k) {
      const double weight = scale * (k == 0 || k == steps ? 1.0 : (k % 2 == 1 ? 4.0 : 2.0));
      At(static_cast<double>(k) / static_cast<double>(steps), p);
      for (uint32_t j = 0; j < classes; ++j)
        slopes[j] += weight * p[output] * ((j == output ? 1.0 : 0.0) - p[j]);
    }
  }
};

void AddSoftmax(const Linear& linear, uint32_t classes, std::span<const float> inputs, uint32_t output,
                double share, std::span<double> own, std::span<double> terms) {
  ScoreWay way;
  way.classes = classes;
  for (uint32_t j = 0; j < classes; ++j) {
    linear.Contributions(inputs, j, own);
    way.first[j] = own.back();
    way.move[j] = SumOfInputs(own);
  }
  double slopes[kMaxClasses] = {};
  way.At(0.0, slopes);
  terms[inputs.size()] += share * slopes[output];
  if (!(way.Width() <= kWidest)) return;
  way.MeanSlopes(output, slopes);
  for (uint32_t j = 0; j < classes; ++j) {
    linear.Contributions(inputs, j, own);
    AddScaled(own, share, slopes[j], terms);
  }
}

void AddLinear(const LinearConfig& config, const Linear& linear, std::span<const float> inputs,
               uint32_t output, double share, std::span<double> own, std::span<double> terms) {
  switch (config.loss) {
    case LinearLoss::kLogistic:
      return AddLogistic(linear, inputs, output, share, own, terms);
    case LinearLoss::kSoftmax:
      return AddSoftmax(linear, config.outputs, inputs, output, share, own, terms);
    case LinearLoss::kSquared:
    case LinearLoss::kHuber:
    case LinearLoss::kQuantile:
      break;
  }
  linear.Contributions(inputs, output, own);
  AddScaled(own, share, 1.0, terms);
  terms[inputs.size()] += share * own.back();
}

}  // namespace

/// Adds a learner's terms; false if it cannot tell.
bool Model::AddTerms(const LearnerLayout& member, std::span<const float> inputs, uint32_t output,
                     double share, std::span<double> terms) const {
  static_assert(kMaxAnswers >= kMaxInputs + 1);
  const std::span<double> own(scratch_.data(), inputs.size() + 1);
  bool told = false;
  WithPart(member.config, At(member.section), [&](const auto& learner) {
    if constexpr (std::is_same_v<decltype(learner), const Linear&>) {
      AddLinear(std::get<LinearConfig>(member.config), learner, inputs, output, share, own, terms);
      told = true;
    } else if constexpr (requires { learner.AddContributions(inputs, output, share, terms); }) {
      learner.AddContributions(inputs, output, share, terms);
      told = true;
    }
  });
  return told;
}

Status Model::Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const {
  if (layout_.unsupervised) return Status::kUnimplemented;
  const bool classification = layout_.target.classification;
  if (x.size() != layout_.features || output >= layout_.outputs || terms.size() != layout_.inputs + size_t{2})
    return Status::kInvalidArgument;
  Output predicted;
  DIPPER_RETURN_IF_ERROR(Predict(x, &predicted));
  const double learned = scratch_[output];  // the learner's answer
  const double answer = classification ? learned : predicted.value;

  std::array<float, kMaxInputs> row;
  uint64_t ignored = 0;
  Enter(x, row.data(), &ignored, &ignored);
  RunStages(StageMode::kPeek, row.data());
  bool told = false;
  for (double& term : terms) term = 0.0;
  for (uint32_t i = 0; i < layout_.learner_count; ++i) {
    const bool tells = AddTerms(layout_.learners[i], {row.data(), layout_.inputs}, output, ShareOf(i), terms);
    told = told || tells;
  }
  if (!told) return Status::kUnimplemented;
  if (layout_.target.kind == schema::TargetKind::FeatureAhead && !classification) {
    // The learner forecasts the step from the last value, and the model goes a share of it.
    const double step = StepShare();
    for (double& term : terms) term *= step;
    terms[layout_.inputs] += answer - step * learned;
  }
  terms[layout_.inputs + 1] = 0.0;
  terms[layout_.inputs + 1] = answer - Sum(std::span<const double>(terms));
  return Status::kOk;
}

Status Model::Importance(std::span<double> out) const {
  if (layout_.unsupervised) return Status::kUnimplemented;
  if (out.size() != layout_.inputs) return Status::kInvalidArgument;
  const std::span<double> own(scratch_.data(), out.size());
  bool told = false;
  for (double& x : out) x = 0.0;
  for (uint32_t i = 0; i < layout_.learner_count; ++i) {
    WithPart(layout_.learners[i].config, At(layout_.learners[i].section), [&](const auto& learner) {
      if constexpr (requires { learner.Importance(own); }) {
        told = true;
        learner.Importance(own);
        const double sum = Sum(std::span<const double>(own));
        if (!(sum > 0.0)) return;
        for (size_t j = 0; j < out.size(); ++j) out[j] += ShareOf(i) * (own[j] / sum);
      }
    });
  }
  if (!told) return Status::kUnimplemented;
  const double sum = Sum(std::span<const double>(out));
  for (double& x : out) x = sum > 0.0 ? x / sum : 0.0;
  return Status::kOk;
}

}  // namespace dipper::learn
