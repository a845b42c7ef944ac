// See model.h: observing, predicting, learning. Creation, checks and metrics: model_image.cc.
#include "agent/learn/image/model.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "agent/learn/image/entry.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {

using base::Status;

namespace {

constexpr double kLargestAnswer = 1e31;
constexpr double kStepFading = 0.99;   // memory of the errors of the step shares
constexpr double kScaleMemory = 0.01;  // least weight of one residual in the residual scale
constexpr double kCutResiduals = 4.0;  // while anomalous, residuals are learned up to this many scales
constexpr double kLeastScale = 1e-100;
constexpr double kRawHalvings = 32.0;  // halvings of the density from raw score 0 to 1
constexpr double kLog2 = 0x1.62e42fefa39efp-1;

constexpr Output kNoOutput;

// What runs once a sample is put in its one place: a call would save and load a dozen registers.
#define DIPPER_IN_PLACE [[gnu::always_inline]] inline

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

/// Copies x, four at a time; false if a value of it is missing or too large, and the copy must be looked at.
inline bool CopyTame(std::span<const float> x, float* row) {
  // The bits of floats without their sign are in the order of their magnitudes, NaN and infinity above all.
  constexpr int32_t kMagnitude = INT32_MAX;
  constexpr int32_t kMost = std::bit_cast<int32_t>(kMaxMagnitude);
  using Words = int32_t __attribute__((vector_size(16)));
  Words wild = {};
  size_t i = 0;
  for (; i + 4 <= x.size(); i += 4) {
    Words bits;
    std::memcpy(&bits, x.data() + i, sizeof bits);
    std::memcpy(row + i, &bits, sizeof bits);
    wild |= (bits & kMagnitude) > kMost;
  }
  int32_t rest = 0;
  for (; i < x.size(); ++i) {
    const auto bits = std::bit_cast<int32_t>(x[i]);
    row[i] = x[i];
    rest |= (bits & kMagnitude) > kMost ? 1 : 0;
  }
  const auto halves = std::bit_cast<std::array<uint64_t, 2>>(wild);
  return (halves[0] | halves[1]) == 0 && rest == 0;
}

}  // namespace

void Model::Enter(std::span<const float> x, float* row, uint64_t* missing, uint64_t* clamped) const {
  if (layout_.all_numeric && CopyTame(x, row)) return;
  const uint16_t* categories = tables() + layout_.categories.first;
  for (uint32_t i = 0; i < layout_.features; ++i) {
    float value = x[i];
    if (!IsFinite(value)) {
      ++*missing;
      row[i] = CanonicalNanFloat();
      continue;
    }
    if (categories[i] > 0) {
      const uint32_t category = SaturatingToInt<uint32_t>(static_cast<double>(value));
      const bool known = category < categories[i] && static_cast<float>(category) == value;
      value = known ? value : static_cast<float>(categories[i]);
    } else if (std::fabs(value) > kMaxMagnitude) {
      ++*clamped;
      value = value > 0.0F ? kMaxMagnitude : -kMaxMagnitude;
    }
    row[i] = value;
  }
}

void Model::RunStages(StageMode mode, float* row) const {
  for (uint32_t i = 0; i < layout_.stage_count; ++i) {
    const StageLayout& stage = layout_.stages[i];
    WithPart(stage.config, At(stage.section), [&](auto& part) { part.Apply(mode, row); });
  }
}

DIPPER_IN_PLACE void Model::PredictAnswers(std::span<const float> inputs, double trivial,
                                           std::span<double> answers) const {
  const uint32_t outputs = layout_.outputs;
  const std::span<double> members = layout_.race_enabled ? answers.subspan(outputs) : answers;
  for (uint32_t i = 0; i < layout_.learner_count; ++i) {
    const std::span<double> own = members.subspan(size_t{i} * outputs, outputs);
    WithPart(layout_.learners[i].config, At(layout_.learners[i].section),
             [&](auto& learner) { learner.Predict(inputs, own); });
  }
  if (!layout_.race_enabled) return;
  if (layout_.race_trivial) FillTrivial(trivial, members.last(outputs));
  Race(layout_.race, At(layout_.race_section)).Blend(members, answers.first(outputs));
}

/// The no-change rival as a member: all of what it was right lately on its class, the rest on the others.
void Model::FillTrivial(double trivial, std::span<double> out) const {
  if (!layout_.target.classification) {
    // The learner of a forecast says how far the target goes from its last value.
    out[0] = layout_.target.kind == schema::TargetKind::FeatureAhead ? 0.0 : trivial;
    return;
  }
  const double faded = ClassificationMetrics(layout_.classification_metrics, At(layout_.metrics_section))
                           .Read()
                           .faded_trivial_loss;
  const auto others = static_cast<double>(out.size() - 1);
  const double error = IsNan(faded) ? others / (others + 1.0) : faded;  // uniform before the first label
  const double rest = error / others;
  for (double& p : out) p = rest;
  out[static_cast<size_t>(trivial)] = 1.0 - error;
}

double Model::Answer(std::span<const double> outputs, double base) const {
  if (!layout_.target.classification) {
    const double share = layout_.target.kind == schema::TargetKind::FeatureAhead ? StepShare() : 1.0;
    return Cut(base + share * outputs[0], kLargestAnswer);
  }
  if (outputs.size() == 2) return outputs[1] > outputs[0] ? 1.0 : 0.0;
  size_t best = 0;
  for (size_t i = 1; i < outputs.size(); ++i) {
    if (outputs[i] > outputs[best]) best = i;
  }
  return static_cast<double>(best);
}

double Model::Trivial(double actual) const {
  if (layout_.target.kind == schema::TargetKind::FeatureAhead) {
    const double last = IsNan(actual) ? header().last_actual : actual;
    return IsNan(last) ? 0.0 : last;
  }
  const base::MutableBytes metrics = At(layout_.metrics_section);
  if (layout_.target.classification) {
    return ClassificationMetrics(layout_.classification_metrics, metrics).Trivial();
  }
  return RegressionMetrics(layout_.regression_metrics, metrics).Trivial();
}

void Model::FillAnswer(std::span<const double> outputs, double value, Output* out) const {
  out->cold = header().learned < layout_.min_labels;
  if (layout_.target.classification) {
    out->class_index = static_cast<int32_t>(value);
    out->probabilities = outputs;
  } else {
    out->value = value;
  }
}

double Model::IssueInterval() const {
  return layout_.intervals_enabled ? Conformal(layout_.intervals, At(layout_.intervals_section)).Issue()
                                   : 0.0;
}

void Model::FillInterval(std::span<const double> outputs, double issued, Output* out) const {
  if (!layout_.intervals_enabled) return;
  out->has_interval = true;
  out->unbounded = Conformal::Unbounded(issued);
  if (layout_.target.classification) {
    out->class_set = Conformal::Set(outputs, issued);
  } else if (!out->unbounded) {
    out->low = out->value - issued;
    out->high = out->value + issued;
  }
}

DIPPER_IN_PLACE Status Model::CheckId(uint64_t id) {
  ImageHeader& h = header();
  if (h.samples == 0 || id > h.last_id) return Status::kOk;
  bool waits = id == h.last_id || FindWaiting(id).head != nullptr;
  for (uint64_t i = 0; i < h.truth_count && !waits; ++i) {
    waits = PlaceOf<TruthEntry>(At(layout_.truth_section).data())[(h.truth_head + i) % layout_.truth_capacity]
                .id == id;
  }
  if (waits) return Status::kAlreadyExists;
  StartSeries();
  return Status::kOk;
}

Status Model::Observe(uint64_t id, int64_t time_ns, std::span<const float> x, Output* out) {
  if (out == nullptr) {
    Output unwanted;
    return Observe(id, time_ns, x, &unwanted);
  }
  ImageHeader& h = header();
  if (x.size() != layout_.features) {
    h.skipped += 1;
    return Status::kInvalidArgument;
  }
  if (const Status status = CheckId(id); !base::Ok(status)) {
    h.skipped += 1;
    return status;
  }
  *out = kNoOutput;  // from memory: built in place it would be stored in bytes and read back in words
  out->id = id;
  if (layout_.in_place) {
    const Entry entry = NextEntry(id);
    Prepare(x, entry.inputs.data(), out);
    Forecast(entry, out);
  } else {
    ObserveAside(id, x, out);
  }
  h.samples += 1;
  h.last_id = id;
  h.last_time_ns = time_ns;
  return Status::kOk;
}

DIPPER_IN_PLACE void Model::Prepare(std::span<const float> x, float* row, Output* out) {
  ImageHeader& h = header();
  Enter(x, row, &h.missing_values, &h.clamped_values);
  if (layout_.target.kind == schema::TargetKind::FeatureAhead) {
    ComeDue(static_cast<double>(row[layout_.target.feature]), out);
  }
  if (layout_.watches_features) WatchFeatures(row, out);
  RunStages((h.flags & kFlagFrozen) != 0 ? StageMode::kFrozen : StageMode::kLearn, row);
}

/// Observe where the inputs cannot be made in the place that keeps them.
void Model::ObserveAside(uint64_t id, std::span<const float> x, Output* out) {
  std::array<float, kMaxInputs> row;
  Prepare(x, row.data(), out);
  if (layout_.unsupervised) {
    ScoreSample({row.data(), layout_.inputs}, out);
  } else {
    const Entry entry = NextEntry(id);
    std::memcpy(entry.inputs.data(), row.data(), entry.inputs.size() * sizeof(float));
    Forecast(entry, out);
  }
  if (out->has_score && layout_.truth_capacity > 0) KeepTruth(id, out->anomaly_score);
}

DIPPER_IN_PLACE void Model::Forecast(const Entry& entry, Output* out) {
  const double last = header().last_actual;
  PendingEntry& e = *entry.head;
  e.trivial = Trivial(last);
  PredictAnswers(entry.inputs, e.trivial, entry.answers);
  const bool ahead = layout_.target.kind == schema::TargetKind::FeatureAhead;
  e.base = ahead && !layout_.target.classification && !IsNan(last) ? last : 0.0;
  e.value = Answer(entry.outputs, e.base);
  e.issued = IssueInterval();
  FillAnswer(entry.outputs, e.value, out);
  FillInterval(entry.outputs, e.issued, out);
}

void Model::ScoreSample(std::span<const float> inputs, Output* out) {
  HalfSpaceTrees trees(layout_.scorer, At(layout_.scorer_section));
  out->anomaly_raw = frozen() ? trees.Score(inputs) : trees.ScoreAndLearn(inputs, 1.0);
  if (!frozen()) header().learned += 1;
  out->cold = trees.cold() || header().learned < layout_.min_labels;
  if (trees.cold()) return;
  // The raw score is a logarithm, and the calibration takes another of a ratio: what it gets is the density's
  // inverse, so that its places are even steps of the raw score.
  const double rarity = Exp(kRawHalvings * kLog2 * out->anomaly_raw);
  const AnomalyScore::Result result =
      AnomalyScore(layout_.anomaly, At(layout_.anomaly_section)).Update(rarity);
  out->has_score = true;
  out->anomaly_score = result.score;
  out->anomaly_active = result.active;
  out->anomaly_raised = result.raised;
  out->anomaly_cleared = result.cleared;
  WatchScore(result.score, out);
}

Status Model::Predict(std::span<const float> x, Output* out) const {
  if (x.size() != layout_.features || out == nullptr) return Status::kInvalidArgument;
  const ImageHeader& h = header();
  std::array<float, kMaxInputs> row;
  uint64_t ignored = 0;
  Enter(x, row.data(), &ignored, &ignored);
  const double now = static_cast<double>(row[layout_.target.feature]);
  RunStages(StageMode::kPeek, row.data());
  if (layout_.unsupervised) {
    const HalfSpaceTrees trees(layout_.scorer, At(layout_.scorer_section));
    *out = Output();
    out->anomaly_raw = trees.Score({row.data(), layout_.inputs});
    out->cold = trees.cold() || h.learned < layout_.min_labels;
    return Status::kOk;
  }
  const std::span<double> answers(scratch_.data(), layout_.entry_outputs);
  const std::span<double> outputs = answers.first(layout_.outputs);
  PredictAnswers({row.data(), layout_.inputs}, Trivial(now), answers);
  double base = 0.0;
  if (layout_.target.kind == schema::TargetKind::FeatureAhead && !layout_.target.classification) {
    base = !IsNan(now) ? now : (IsNan(h.last_actual) ? 0.0 : h.last_actual);
  }
  *out = Output();
  FillAnswer(outputs, Answer(outputs, base), out);
  FillInterval(outputs, IssueInterval(), out);
  return Status::kOk;
}

void Model::ComeDue(double actual, Output* out) {
  ImageHeader& h = header();
  const bool due = h.pending_count == layout_.pending_capacity;
  if (IsNan(actual)) {
    if (due) {
      h.lost_samples += 1;  // its label is missing
      DropOldest();
    }
    return;
  }
  if (due) {
    const Entry entry = EntryAt(h.pending_head);
    Outcome& outcome = out->outcome;
    ScoreAndLearn(entry, actual, 1.0, &outcome);
    DropOldest();
    out->has_score = outcome.has_score;
    out->anomaly_score = outcome.anomaly_score;
    out->anomaly_active = outcome.anomaly_active;
    out->anomaly_raised = outcome.anomaly_raised;
    out->anomaly_cleared = outcome.anomaly_cleared;
    out->anomaly_residual = outcome.has_score ? h.anomaly_residual : 0.0;
  }
  h.last_actual = actual;
}

double Model::StepShare() const {
  const ImageHeader& h = header();
  uint32_t best = 0;
  for (uint32_t i = 1; i < kStepShares; ++i) {
    if (h.step_losses[i] < h.step_losses[best]) best = i;
  }
  return static_cast<double>(best) / static_cast<double>(kStepShares - 1);
}

void Model::ScoreStep(double step, double truth) {
  for (uint32_t i = 0; i < kStepShares; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(kStepShares - 1);
    double& loss = header().step_losses[i];
    loss = kStepFading * loss + (1.0 - kStepFading) * std::fabs(truth - share * step);
    if (!(loss > kLeastScale)) loss = 0.0;
  }
}

bool Model::ScoreResidual(double residual, Outcome* out) {
  const AnomalyScore::Result result =
      AnomalyScore(layout_.anomaly, At(layout_.anomaly_section)).Update(residual);
  out->has_score = true;
  out->anomaly_score = result.score;
  out->anomaly_active = result.active;
  out->anomaly_raised = result.raised;
  out->anomaly_cleared = result.cleared;
  header().anomaly_residual = residual;
  return result.active || result.score >= layout_.anomaly.raise;
}

double Model::TameTarget(double target, double answer, bool anomalous) {
  // What looks anomalous is learned only up to a few usual residuals, so that a burst does not bend the
  // model. The scale grows with what was cut, so a lasting change is followed soon.
  ImageHeader& h = header();
  const double limit =
      anomalous && h.residual_scale > 0.0 ? kCutResiduals * h.residual_scale : kLargestAnswer;
  const double residual = Cut(target - answer, limit);
  const double own = 1.0 / static_cast<double>(h.labels);
  const double share = own > kScaleMemory ? own : kScaleMemory;
  const double scale = h.residual_scale + share * (std::fabs(residual) - h.residual_scale);
  h.residual_scale = scale > kLeastScale ? scale : 0.0;
  return answer + residual;
}

void Model::UpdateLearner(const Entry& entry, double y, double weight) {
  // A gradient needs the answer of today's learner: with late labels, steps that each repeat the correction
  // which the ones before already made drive it apart; and after a reset the stored answer is of another
  // learner. Scores always use the stored answer.
  const ImageHeader& h = header();
  const bool moved =
      entry.head->learned != h.learned || entry.head->resets != static_cast<uint32_t>(h.resets);
  const bool rivalled = h.background_labels > 0;
  if (layout_.target.balanced) weight *= BalanceOf(y);
  const size_t outputs = layout_.outputs;
  const std::span<double> fresh(scratch_.data(), outputs);
  std::span<const double> own;
  for (uint32_t i = 0; i < layout_.learner_count; ++i) {
    own = entry.answers.subspan(layout_.race_enabled ? (size_t{i} + 1) * outputs : 0, outputs);
    WithPart(layout_.learners[i].config, At(layout_.learners[i].section), [&](auto& learner) {
      if (moved && (kLearnsFromAnswer<std::decay_t<decltype(learner)>> || rivalled)) {
        learner.Predict(entry.inputs, fresh);
        own = fresh;
      }
      learner.Learn(entry.inputs, own, y, weight);
    });
  }
  if (rivalled) LearnBackground(entry, own, y, weight);  // then there is one learner
}

double Model::ScoreRegression(const Entry& entry, double y, double weight, Outcome* out) {
  const PendingEntry& e = *entry.head;
  RegressionMetrics metrics(layout_.regression_metrics, At(layout_.metrics_section));
  const auto losses = metrics.Score(e.value, e.trivial, y, weight);
  out->loss = losses.loss;
  out->trivial_loss = losses.trivial_loss;
  if (layout_.intervals_enabled) {
    Conformal(layout_.intervals, At(layout_.intervals_section))
        .UpdateValue(e.value, y, e.issued, header().learned - e.learned, weight);
  }
  double target = y - e.base;  // the learner forecasts the step from `base`
  if (layout_.target.kind == schema::TargetKind::FeatureAhead) ScoreStep(entry.outputs[0], target);
  if (layout_.anomaly_enabled) {
    const bool anomalous = ScoreResidual(y - e.value, out);
    target = TameTarget(target, entry.outputs[0], anomalous);
  }
  return target;
}

/// Weight 0: the label lets its sample go. It says what was lost, and no metric and nothing learned moves.
void Model::JudgeOnly(const PendingEntry& e, Outcome* out) const {
  if (layout_.target.classification) {
    out->loss = e.value != out->label ? 1.0 : 0.0;
    out->trivial_loss = e.trivial != out->label ? 1.0 : 0.0;
    return;
  }
  const auto losses = RegressionMetrics(layout_.regression_metrics, At(layout_.metrics_section))
                          .Score(e.value, e.trivial, out->label, 0.0);
  out->loss = losses.loss;
  out->trivial_loss = losses.trivial_loss;
}

void Model::ScoreAndLearn(const Entry& entry, double y, double weight, Outcome* out) {
  ImageHeader& h = header();
  const PendingEntry& e = *entry.head;
  *out = Outcome();
  out->valid = true;
  out->id = e.id;
  out->label = y;
  out->predicted = e.value;
  if (!(weight > 0.0)) return JudgeOnly(e, out);
  h.labels += 1;
  double target = y;
  if (layout_.target.classification) {
    const auto actual = static_cast<uint32_t>(y);
    ClassificationMetrics metrics(layout_.classification_metrics, At(layout_.metrics_section));
    const auto losses = metrics.Score(static_cast<uint32_t>(e.value), std::span<const double>(entry.outputs),
                                      static_cast<uint32_t>(e.trivial), actual, weight);
    out->loss = losses.loss;
    out->trivial_loss = losses.trivial_loss;
    if (layout_.intervals_enabled) {
      Conformal(layout_.intervals, At(layout_.intervals_section))
          .UpdateClass(entry.outputs, actual, e.issued, h.learned - e.learned, weight);
    }
    if (layout_.auc_enabled) {
      AucWindow(layout_.auc, At(layout_.auc_section)).Add(entry.outputs[1], actual == 1);
    }
  } else {
    target = ScoreRegression(entry, y, weight, out);
  }
  LossWindow(layout_.loss_window, At(layout_.window_section)).Add(out->loss);
  // The first losses of a learner that knows nothing yet would be the detectors' idea of normal.
  const bool watched = h.learned >= layout_.min_labels;
  if ((h.flags & kFlagFrozen) == 0) {
    if (layout_.race_enabled) {
      Race(layout_.race, At(layout_.race_section))
          .Learn(entry.answers.subspan(layout_.outputs), target, weight, h.learned - e.learned);
    }
    UpdateLearner(entry, target, weight);
    h.learned += 1;
  }
  if (watched) UpdateDrift(out);
}

Status Model::Learn(uint64_t id, double y, double weight, Outcome* out) {
  if (out == nullptr) {
    Outcome unwanted;
    return Learn(id, y, weight, &unwanted);
  }
  out->valid = false;
  ImageHeader& h = header();
  const TargetLayout& target = layout_.target;
  const bool flags = target.kind == schema::TargetKind::FeatureAhead || layout_.unsupervised;
  const double classes = flags ? 2.0 : static_cast<double>(target.classes);
  const bool good_class = y >= 0.0 && y < classes && static_cast<double>(static_cast<int32_t>(y)) == y;
  const bool good = flags || target.classification ? good_class : IsFinite(y);
  if (!good || !(weight >= 0.0) || !IsFinite(weight)) {
    h.rejected_labels += 1;
    return Status::kInvalidArgument;
  }
  if (flags) return LearnTruth(id, y, weight, out);
  const Entry entry = FindWaiting(id);
  if (entry.head == nullptr) {
    h.unmatched_labels += 1;
    return Status::kNotFound;
  }
  const double value = target.classification ? y : Cut(y, static_cast<double>(kMaxMagnitude));
  ScoreAndLearn(entry, value, weight < kMaxWeight ? weight : kMaxWeight, out);
  entry.head->waiting = 0;
  DropDone();
  return Status::kOk;
}

}  // namespace dipper::learn
