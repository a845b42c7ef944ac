// See layout.h: detectors, policies and the places of all sections.
#include <algorithm>

#include "agent/learn/image/image_format.h"
#include "agent/learn/image/planner.h"

namespace dipper::learn {

using base::Status;

namespace {

constexpr uint32_t kAucWindow = 1024;
constexpr double kMetricFading = 0.999;

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
  const uint32_t capacity = pending == nullptr ? 64 : pending->capacity();
  if (capacity < 1 || capacity > kMaxPending) return Refuse("pending.capacity: 1 to 65536 samples");
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
  const uint64_t bytes =
      sizeof(PendingEntry) + layout_.entry_outputs * sizeof(double) + layout_.inputs * sizeof(float);
  layout_.pending_entry_bytes = static_cast<uint32_t>(base::AlignUp(bytes, 16));
  return Status::kOk;
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
  if (!l.unsupervised)
    DIPPER_RETURN_IF_ERROR(Place(LossWindow::StateBytes(l.loss_window), "metrics", &l.window_section));
  l.auc_enabled = l.truth_capacity > 0 || (l.target.classification && l.target.classes == 2);
  l.auc = {kAucWindow};
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
  if (l.total_bytes > table_.budget_bytes()) {
    return Refuse(
        "budget: the model needs more bytes; raise it, or use fewer inputs, lags, classes or pending samples",
        Status::kResourceExhausted);
  }
  return Status::kOk;
}

}  // namespace dipper::learn
