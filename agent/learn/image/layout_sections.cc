// See layout.h: detectors, policies and the places of all sections.
#include <algorithm>

#include "agent/learn/image/image_format.h"
#include "agent/learn/image/planner.h"

namespace dipper::learn {

using base::Status;

namespace {

// Windows of metrics that keep a number for each label: 1,024 from 64 KiB on, in less proportionally fewer.
constexpr uint32_t kMostScores = 1024;
constexpr uint32_t kLeastScores = 64;
constexpr uint64_t kBudgetPerScore = 64;
// The pending ring where the spec leaves it open: 64 samples from 64 KiB on, in less proportionally fewer,
// and where samples are wide no more of them than a quarter of the budget holds.
constexpr uint64_t kMostWaiting = 64;
constexpr uint64_t kLeastWaiting = 8;
constexpr uint64_t kBudgetPerWaiting = 1024;
constexpr uint64_t kWaitingShare = 4;
constexpr double kMetricFading = 0.999;

uint32_t ScoreWindow(uint64_t budget) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(budget / kBudgetPerScore, kLeastScores, kMostScores));
}

uint64_t Sum(std::span<const StageLayout> stages) {
  uint64_t bytes = 0;
  for (const StageLayout& stage : stages) bytes += stage.section.bytes;
  return bytes;
}

uint64_t Sum(std::span<const DetectorLayout> detectors) {
  uint64_t bytes = 0;
  for (const DetectorLayout& detector : detectors) bytes += detector.section.bytes;
  return bytes;
}

const char* DetectorRanges(schema::DriftParams kind) {
  switch (kind) {
    case schema::DriftParams::PageHinkley:
      return "page_hinkley: delta 0 to 10, threshold above 0 and at most 1e6, min_samples at least 2";
    case schema::DriftParams::Adwin:
      return "adwin: delta above 0 and at most 0.5, warning_delta from delta to 0.5, buckets 2 to 8, rows 2 "
             "to "
             "24, clock 4 to 64";
    case schema::DriftParams::Cusum:
      return "cusum: delta above 0 and at most 10, threshold above 0 and at most 1e6, min_samples at least 2";
    default:
      return "hddm_a: alarm_confidence above 0 and at most 0.5, warning_confidence from there to 0.5";
  }
}

}  // namespace

Status Planner::PlanPending() {
  const schema::Pending* pending = table_.pending();
  const uint64_t entry =
      sizeof(PendingEntry) + layout_.entry_outputs * sizeof(double) + layout_.inputs * sizeof(float);
  layout_.pending_entry_bytes = static_cast<uint32_t>(base::AlignUp(entry, 16));
  uint32_t capacity = pending == nullptr ? 0 : pending->capacity();
  if (capacity > kMaxPending) return Refuse("pending.capacity: 0 (by the budget) to 65536 samples");
  if (capacity == 0) capacity = UsualCapacity();
  layout_.min_labels = table_.min_labels();
  layout_.pending_max_age = pending == nullptr ? 0 : pending->max_age_samples();
  layout_.pending_capacity = capacity;
  if (layout_.target.kind == schema::TargetKind::FeatureAhead) {
    // A forecast waits for exactly `ahead` samples; `capacity` then says how many wait for the truth about
    // anomalies.
    layout_.pending_capacity = layout_.target.ahead;
    layout_.pending_max_age = 0;
    layout_.truth_capacity = capacity;
  }
  if (layout_.unsupervised) {
    layout_.pending_capacity = 0;
    layout_.truth_capacity = capacity;
  }
  // A forecast's label comes with a later sample, so its place is not free before the stages have run.
  layout_.in_place =
      layout_.target.kind == schema::TargetKind::LabelColumn && layout_.input_stride == layout_.inputs;
  return Status::kOk;
}

/// Samples that may wait where the spec does not say; always enough for labels that come as late as it says.
uint32_t Planner::UsualCapacity() const {
  const uint64_t budget = table_.budget_bytes();
  const bool label_column = layout_.target.kind == schema::TargetKind::LabelColumn;
  const uint64_t bytes = label_column ? layout_.pending_entry_bytes : sizeof(TruthEntry);
  const uint64_t most = std::min(budget / kBudgetPerWaiting, budget / kWaitingShare / bytes);
  const uint64_t usual = std::clamp(most, kLeastWaiting, kMostWaiting);
  const uint64_t late = label_column ? uint64_t{layout_.target.label_delay} + 1 : 1;
  return static_cast<uint32_t>(std::min<uint64_t>(std::max(usual, late), kMaxPending));
}

Status Planner::PlanAnomaly() {
  const schema::AnomalyScore* in = table_.anomaly();
  layout_.anomaly_enabled = in != nullptr || table_.task() == schema::Task::Anomaly;
  if (!layout_.anomaly_enabled) {
    layout_.truth_capacity = 0;
    return Status::kOk;
  }
  if (layout_.target.classification)
    return Refuse("anomaly: needs a numeric target (task regression or anomaly)");
  if (in == nullptr) {  // AnomalyScoreConfig has the schema's defaults
    // Whether a single row fits is known at once; a forecast's residuals also tell how an event goes on.
    if (layout_.unsupervised) layout_.anomaly.hold = 0.0;
    return Status::kOk;
  }
  layout_.anomaly.raise = in->raise();
  layout_.anomaly.clear = in->clear();
  layout_.anomaly.min_raise_samples = in->min_raise_samples();
  layout_.anomaly.min_clear_samples = in->min_clear_samples();
  layout_.anomaly.decay = in->decay();
  layout_.anomaly.hold = in->hold();
  return Status::kOk;
}

Status Planner::PlanIntervals() {
  const schema::Intervals* in = table_.intervals();
  if (in == nullptr) return Status::kOk;
  if (layout_.unsupervised) return Refuse("intervals: half_space_trees forecasts nothing");
  layout_.intervals_enabled = true;
  layout_.intervals.coverage = in->coverage();
  layout_.intervals.window = in->window();
  return Status::kOk;
}

Status Planner::PlanDrift() {
  const auto* detectors = table_.drift();
  layout_.detector_count = detectors == nullptr ? 0 : detectors->size();
  if (layout_.detector_count > kMaxDetectors) return Refuse("drift: at most 4 detectors");
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    DetectorLayout& out = layout_.detectors[i];
    const schema::Drift& in = *detectors->Get(i);
    out.input = in.input();
    out.on_alarm = in.on_alarm();
    if (out.input > schema::DriftInput::MAX)
      return Refuse("drift.input: unknown input", Status::kUnimplemented);
    if (out.on_alarm > schema::DriftAction::MAX)
      return Refuse("drift.on_alarm: unknown action", Status::kUnimplemented);
    if (out.input == schema::DriftInput::Score && !layout_.anomaly_enabled) {
      return Refuse("drift.input score: needs an [anomaly] section");
    }
    if (out.input == schema::DriftInput::Loss && layout_.unsupervised) {
      return Refuse("drift.input loss: half_space_trees has none; take score or features");
    }
    DIPPER_RETURN_IF_ERROR(PlanAction(out.on_alarm));
    DIPPER_RETURN_IF_ERROR(PlanDetector(in, &out));
  }
  return Status::kOk;
}

Status Planner::PlanAction(schema::DriftAction action) {
  if (action == schema::DriftAction::Report) return Status::kOk;
  if (layout_.unsupervised) return Refuse("drift.on_alarm: half_space_trees forgets by itself; only report");
  if (action == schema::DriftAction::Background) {
    if (layout_.race_enabled)
      return Refuse("drift.on_alarm background: a race keeps its members apart already; reset or report");
    layout_.background_enabled = true;
  }
  if (action == schema::DriftAction::RaiseRate) {
    bool any = false;
    for (uint32_t i = 0; i < layout_.learner_count; ++i) {
      const auto* linear = std::get_if<LinearConfig>(&layout_.learners[i].config);
      any = any || std::holds_alternative<RlsConfig>(layout_.learners[i].config) ||
            (linear != nullptr && (linear->optimizer == LinearOptimizer::kAutostep ||
                                   linear->optimizer == LinearOptimizer::kAdagrad));
    }
    if (!any)
      return Refuse("drift.on_alarm raise_rate: only linear (autostep, adagrad) and rls have rates to raise");
  }
  return Status::kOk;
}

Status Planner::PlanDetector(const schema::Drift& in, DetectorLayout* out) {
  const bool features = out->input == schema::DriftInput::Features;
  if (features) out->copies = layout_.features;
  layout_.watches_features = layout_.watches_features || features;
  switch (in.params_type()) {
    case schema::DriftParams::PageHinkley: {
      const schema::PageHinkley& p = *in.params_as_PageHinkley();
      out->config = PageHinkleyConfig{p.delta(), p.threshold(), p.min_samples()};
      if (features)
        return Refuse("drift.input features: page_hinkley sees only rises; take adwin, cusum or hddm_a");
      return Status::kOk;
    }
    case schema::DriftParams::Adwin: {
      const schema::Adwin& p = *in.params_as_Adwin();
      AdwinConfig config;
      config.delta = p.delta();
      config.warning_delta = p.warning_delta();
      config.buckets = p.buckets();
      config.rows = p.rows();
      config.clock = p.clock();
      config.falls = p.falls() || features;
      out->config = config;
      return Status::kOk;
    }
    case schema::DriftParams::Cusum: {
      const schema::Cusum& p = *in.params_as_Cusum();
      CusumConfig config;
      config.delta = p.delta();
      config.threshold = p.threshold();
      config.min_samples = p.min_samples();
      config.falls = p.falls() || features;
      out->config = config;
      return Status::kOk;
    }
    case schema::DriftParams::HddmA: {
      const schema::HddmA& p = *in.params_as_HddmA();
      HddmAConfig config;
      config.alarm_confidence = p.alarm_confidence();
      config.warning_confidence = p.warning_confidence();
      config.falls = p.falls() || features;
      out->config = config;
      return Status::kOk;
    }
    default:
      return Refuse("drift.kind: unknown detector", Status::kUnimplemented);
  }
}

Status Planner::Place(const base::Result<uint64_t>& bytes, const char* why, Section* section) {
  if (!bytes.ok()) return Refuse(why, bytes.status());
  section->offset = layout_.total_bytes;
  section->bytes = base::AlignUp(bytes.value(), 16);
  layout_.total_bytes += section->bytes;
  return Status::kOk;
}

Status Planner::PlanSections() {
  Layout& l = layout_;
  l.total_bytes = sizeof(ImageHeader);
  DIPPER_RETURN_IF_ERROR(Place(uint64_t{l.table_count} * sizeof(uint16_t), "tables", &l.table_section));
  l.Bind(plan_.tables.data());
  for (uint32_t i = 0; i < l.stage_count; ++i) {
    StageLayout& stage = l.stages[i];
    DIPPER_RETURN_IF_ERROR(Place(PartBytes(stage.config), "stage: parameters out of range", &stage.section));
  }
  DIPPER_RETURN_IF_ERROR(
      Place(uint64_t{l.pending_capacity} * l.pending_entry_bytes, "pending", &l.pending_section));
  DIPPER_RETURN_IF_ERROR(Place(uint64_t{l.truth_capacity} * sizeof(TruthEntry), "pending", &l.truth_section));
  l.classification_metrics = {l.target.classification ? l.target.classes : 2, kMetricFading};
  l.regression_metrics.fading = kMetricFading;
  DIPPER_RETURN_IF_ERROR(Place(l.target.classification
                                   ? ClassificationMetrics::StateBytes(l.classification_metrics)
                                   : RegressionMetrics::StateBytes(l.regression_metrics),
                               "metrics", &l.metrics_section));
  l.loss_window.zero_one = l.target.classification;
  const uint32_t scores = ScoreWindow(table_.budget_bytes());
  if (!l.loss_window.zero_one) l.loss_window.window = scores;  // bits are cheap
  if (!l.unsupervised)
    DIPPER_RETURN_IF_ERROR(Place(LossWindow::StateBytes(l.loss_window), "metrics", &l.window_section));
  l.auc_enabled = l.truth_capacity > 0 || (l.target.classification && l.target.classes == 2);
  l.auc = {scores};
  if (l.auc_enabled) DIPPER_RETURN_IF_ERROR(Place(AucWindow::StateBytes(l.auc), "metrics", &l.auc_section));
  if (l.anomaly_enabled) {
    DIPPER_RETURN_IF_ERROR(
        Place(AnomalyScore::StateBytes(l.anomaly),
              "anomaly: raise and clear between 0 and 1 with clear <= raise, min_raise_samples and "
              "min_clear_samples at least 1, decay 0.5 to below 1, hold 0 to below 1",
              &l.anomaly_section));
  }
  if (l.intervals_enabled) {
    DIPPER_RETURN_IF_ERROR(Place(Conformal::StateBytes(l.intervals),
                                 "intervals: coverage 0.5 to 0.999, window 32 to 1024 and at least "
                                 "1 / (1 - coverage)",
                                 &l.intervals_section));
  }
  for (uint32_t i = 0; i < l.detector_count; ++i) {
    DetectorLayout& detector = l.detectors[i];
    const base::Result<uint64_t> one = PartBytes(detector.config);
    if (!one.ok()) return Refuse(DetectorRanges(table_.drift()->Get(i)->params_type()), one.status());
    detector.stride = base::AlignUp(one.value(), 16);
    DIPPER_RETURN_IF_ERROR(Place(detector.stride * detector.copies, "drift", &detector.section));
  }
  DIPPER_RETURN_IF_ERROR(PlaceLearners());
  return l.total_bytes > table_.budget_bytes() ? RefuseBudget() : Status::kOk;
}

/// Names what takes most of a budget that is too small.
Status Planner::RefuseBudget() {
  const Layout& l = layout_;
  const uint64_t rings = l.pending_section.bytes + l.truth_section.bytes;
  const uint64_t stages = Sum({l.stages.data(), l.stage_count});
  const uint64_t drift = Sum({l.detectors.data(), l.detector_count});
  const uint64_t most = std::max({rings, stages, drift, table_.budget_bytes() / 4});
  const char* why =
      "budget: too small for this learner; raise it, take a smaller learner, or fewer inputs, classes or "
      "trees";
  if (most == rings) {
    why =
        "budget: too small, and the samples that wait for labels take most; raise it, lower "
        "pending.capacity, "
        "or use fewer inputs, classes or race members";
  } else if (most == stages) {
    why =
        "budget: too small, and the stages take most; raise it, or use fewer or shorter lags, rolling "
        "windows "
        "or bands";
  } else if (most == drift) {
    why =
        "budget: too small, and the drift detectors take most; raise it, watch the loss instead of features, "
        "or take cusum";
  }
  return Refuse(why, Status::kResourceExhausted);
}

}  // namespace dipper::learn
