// See model.h: which inputs an answer comes from, and which the learner uses at all.
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <variant>

#include "agent/learn/image/model.h"
#include "agent/learn/learners/score_way.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {

using base::Status;

namespace {

/// Adds `share` times: `slope` times own[i] to terms[i]. own: inputs + 1 places, the bias last.
void AddScaled(std::span<const double> own, double share, double slope, std::span<double> terms) {
  for (size_t i = 0; i + 1 < own.size(); ++i) terms[i] += share * (slope * own[i]);
}

double SumOfInputs(std::span<const double> own) { return Sum(own.first(own.size() - 1)); }

// A linear classifier's terms are of its link, and those of several learners can be blended on the scale of
// probabilities only: see score_way.h.

/// Two classes: one margin.
void AddLogistic(const Linear& linear, std::span<const float> inputs, uint32_t output, double share,
                 std::span<double> own, std::span<double> terms) {
  linear.Contributions(inputs, output, own);
  AddScaled(own, share, MeanLogisticSlope(own.back(), SumOfInputs(own)), terms);
  terms[inputs.size()] += share * Logistic(own.back());
}

void AddSoftmax(const Linear& linear, uint32_t classes, std::span<const float> inputs, uint32_t output,
                double share, std::span<double> own, std::span<double> terms) {
  static_assert(ScoreWay::kMost >= kMaxClasses);
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
  if (!way.MeanSlopes(output, slopes)) return;
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

Status Model::ScoreTerms(std::span<const float> x, std::span<double> terms) const {
  if (!layout_.unsupervised) return Status::kUnimplemented;
  if (x.size() != layout_.features || terms.size() != layout_.inputs) return Status::kInvalidArgument;
  std::array<float, kMaxInputs> row;
  uint64_t ignored = 0;
  Enter(x, row.data(), &ignored, &ignored);
  RunStages(StageMode::kPeek, row.data());
  const std::span<const float> inputs(row.data(), layout_.inputs);
  const HalfSpaceTrees trees(layout_.scorer, At(layout_.scorer_section));
  const double whole = trees.Score(inputs);
  for (uint32_t i = 0; i < layout_.inputs; ++i) {
    const float value = row[i];
    row[i] = CanonicalNanFloat();
    terms[i] = whole - trees.Score(inputs);
    row[i] = value;
  }
  return Status::kOk;
}

}  // namespace dipper::learn
