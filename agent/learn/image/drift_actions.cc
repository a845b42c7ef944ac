// See model.h: what the model does to its learner beyond learning: balancing classes, starting anew, and a
// fresh learner in the background.
#include <array>
#include <cmath>
#include <cstring>

#include "agent/learn/image/entry.h"
#include "agent/learn/image/model.h"

namespace dipper::learn {

namespace {

constexpr double kMostBalance = 100.0;      // of the weight that balancing gives to a rare class
constexpr uint64_t kBackgroundSpan = 256;   // labels between two judgements of a background learner
constexpr uint64_t kBackgroundSpans = 16;   // judgements until it is dropped
constexpr double kBackgroundMargin = 0.95;  // of the learner's loss: what counts as better
constexpr double kLargestLoss = 1e31;       // of one label, so that sums stay in range

double Cut(double x, double limit) { return x > limit ? limit : (x < -limit ? -limit : x); }

}  // namespace

void Model::UpdateDrift(Outcome* out) {
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    const DetectorLayout& detector = layout_.detectors[i];
    if (detector.input == schema::DriftInput::Features) continue;
    const bool on_score = detector.input == schema::DriftInput::Score;
    if (on_score && !out->has_score) continue;
    DriftLevel level = DriftLevel::kStable;
    WithPart(detector.config, At(detector.section),
             [&](auto& part) { level = part.Update(on_score ? out->anomaly_score : out->loss); });
    if (level == DriftLevel::kStable) [[likely]]
      continue;
    out->drift_warning = out->drift_warning || level == DriftLevel::kWarning;
    out->drift_alarm = out->drift_alarm || level == DriftLevel::kAlarm;
    Act(level, detector.on_alarm);
  }
}

/// A scorer has no labels: detectors on its score are fed with the samples.
void Model::WatchScore(double score, Output* out) {
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    const DetectorLayout& detector = layout_.detectors[i];
    if (detector.input != schema::DriftInput::Score) continue;
    WithPart(detector.config, At(detector.section), [&](auto& part) {
      const DriftLevel level = part.Update(score);
      out->drift_warning = out->drift_warning || level == DriftLevel::kWarning;
      out->drift_alarm = out->drift_alarm || level == DriftLevel::kAlarm;
    });
  }
}

/// What the spec wants done at a warning or an alarm. Frozen: nothing.
void Model::Act(DriftLevel level, schema::DriftAction action) {
  if (frozen() || level == DriftLevel::kStable) return;
  if (action == schema::DriftAction::Background) {
    if (header().background_labels == 0) StartBackground();
    return;
  }
  if (level != DriftLevel::kAlarm) return;
  if (action == schema::DriftAction::Reset) ResetLearner();
  if (action == schema::DriftAction::RaiseRate) {
    for (uint32_t i = 0; i < layout_.learner_count; ++i) {
      WithPart(layout_.learners[i].config, At(layout_.learners[i].section), [](auto& learner) {
        if constexpr (requires { learner.RaiseRate(); }) learner.RaiseRate();
      });
    }
  }
}

void Model::WatchFeatures(const float* row, Output* out) {
  const uint16_t* categories = tables() + layout_.categories.first;
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    const DetectorLayout& detector = layout_.detectors[i];
    if (detector.input != schema::DriftInput::Features) continue;
    for (uint32_t feature = 0; feature < layout_.features; ++feature) {
      if (categories[feature] > 0 || IsNan(row[feature])) continue;
      DriftLevel level = DriftLevel::kStable;
      WithPart(detector.config, At(detector.section).subspan(feature * detector.stride, detector.stride),
               [&](auto& part) { level = part.Update(static_cast<double>(row[feature])); });
      if (level == DriftLevel::kStable) continue;
      // One feature can be named; an alarm is more worth it than a warning, the first than later ones.
      const bool alarm = level == DriftLevel::kAlarm;
      if (out->drift_feature < 0 || (alarm && !out->drift_alarm)) {
        out->drift_feature = static_cast<int32_t>(feature);
      }
      out->drift_warning = out->drift_warning || !alarm;
      out->drift_alarm = out->drift_alarm || alarm;
      Act(level, detector.on_alarm);
    }
  }
}

double Model::BalanceOf(double y) const {
  const ClassificationMetrics metrics(layout_.classification_metrics, At(layout_.metrics_section));
  const std::span<const double> weights = metrics.ClassWeights();
  double seen = 0.0;
  double total = 0.0;
  for (const double weight : weights) {
    total += weight;
    seen += weight > 0.0 ? 1.0 : 0.0;
  }
  const double own = weights[static_cast<size_t>(y)];
  // Every class that was seen weighs the same in sum; one that is very rare at most kMostBalance times its
  // own.
  const double factor = own > 0.0 ? total / (seen * own) : 1.0;
  return factor < kMostBalance ? factor : kMostBalance;
}

void Model::ResetLearner() {
  header().resets += 1;  // what waits was answered by another learner
  for (uint32_t i = 0; i < layout_.learner_count; ++i) {
    Renew(layout_.learners[i].config, At(layout_.learners[i].section));
  }
}

void Model::Renew(const LearnerConfig& config, base::MutableBytes memory) {
  std::memset(memory.data(), 0, memory.size());
  if (!base::Ok(CreatePart(config, memory))) DIPPER_CHECK(false);  // it was created with this configuration
}

void Model::StartBackground() {
  Renew(layout_.learners[0].config, At(layout_.background_section));
  header().background_labels = 1;
  header().background_loss = 0.0;
  header().foreground_loss = 0.0;
}

/// Scores both learners on a label, teaches the background learner, and judges: it takes over when it did
/// better over a span of labels, and is dropped when it did not after a long one.
void Model::LearnBackground(const Entry& entry, std::span<const double> answers, double y, double weight) {
  ImageHeader& h = header();
  const base::MutableBytes memory = At(layout_.background_section);
  std::array<double, kMaxClasses> own_room;
  const std::span<double> own(own_room.data(), layout_.outputs);
  WithPart(layout_.learners[0].config, memory, [&](auto& learner) {
    learner.Predict(entry.inputs, own);
    learner.Learn(entry.inputs, own, y, weight);
  });
  h.background_loss += LossOf(own, y);
  h.foreground_loss += LossOf(answers, y);
  h.background_labels += 1;
  const uint64_t labels = h.background_labels - 1;
  if (labels % kBackgroundSpan != 0) return;
  if (h.background_loss < kBackgroundMargin * h.foreground_loss) {
    std::memcpy(At(layout_.learners[0].section).data(), memory.data(), memory.size());
    h.replacements += 1;
    h.background_labels = 0;
  } else if (labels >= kBackgroundSpans * kBackgroundSpan) {
    h.background_labels = 0;
  }
  // Later labels count as much as early ones, when it knew nothing.
  h.background_loss = 0.0;
  h.foreground_loss = 0.0;
  if (h.background_labels == 0) std::memset(memory.data(), 0, memory.size());
}

double Model::LossOf(std::span<const double> answers, double y) const {
  if (layout_.target.classification) return 1.0 - answers[static_cast<size_t>(y)];
  return std::fabs(Cut(y - answers[0], kLargestLoss));
}

}  // namespace dipper::learn
