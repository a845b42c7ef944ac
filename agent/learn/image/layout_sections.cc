// See layout.h: learner, detectors and the places of all sections.
#include <algorithm>

#include "agent/learn/image/image_format.h"
#include "agent/learn/image/planner.h"

namespace dipper::learn {

using base::Status;

namespace {

constexpr uint32_t kAucWindow = 1024;
constexpr double kMetricFading = 0.999;

bool Between(double x, double low, double high) { return x >= low && x <= high; }

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
  const uint64_t bytes =
      sizeof(PendingEntry) + layout_.outputs * sizeof(double) + layout_.inputs * sizeof(float);
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
  if (in == nullptr) return Status::kOk;  // AnomalyScoreConfig has the schema's defaults
  layout_.anomaly.raise = in->raise();
  layout_.anomaly.clear = in->clear();
  layout_.anomaly.min_raise_samples = in->min_raise_samples();
  layout_.anomaly.min_clear_samples = in->min_clear_samples();
  layout_.anomaly.decay = in->decay();
  layout_.anomaly.hold = in->hold();
  return Status::kOk;
}

Status Planner::PlanDrift() {
  const auto* detectors = table_.drift();
  layout_.detector_count = detectors == nullptr ? 0 : detectors->size();
  if (layout_.detector_count > kMaxDetectors) return Refuse("drift: at most 4 detectors");
  for (uint32_t i = 0; i < layout_.detector_count; ++i) {
    DetectorLayout& out = layout_.detectors[i];
    const schema::PageHinkley* in = detectors->Get(i)->params_as_PageHinkley();
    if (in == nullptr) return Refuse("drift.kind: unknown detector", Status::kUnimplemented);
    out.input = in->input();
    if (out.input > schema::DriftInput::MAX)
      return Refuse("drift.input: unknown input", Status::kUnimplemented);
    if (out.input == schema::DriftInput::Score && !layout_.anomaly_enabled) {
      return Refuse("drift.input score: needs an [anomaly] section");
    }
    out.config = PageHinkleyConfig{in->delta(), in->threshold(), in->min_samples()};
  }
  return Status::kOk;
}

Status Planner::PlanLinear(const schema::Linear& in, LearnerConfig* config) {
  LinearConfig& out = config->emplace<LinearConfig>();
  const bool classification = layout_.target.classification;
  out.inputs = layout_.inputs;
  out.outputs = layout_.outputs;
  out.rate = in.rate();
  out.l2 = in.l2();
  out.adaptive = in.adaptive();
  switch (in.loss()) {
    case schema::Loss::Default:
      out.loss = !classification        ? LinearLoss::kSquared
                 : layout_.outputs == 2 ? LinearLoss::kLogistic
                                        : LinearLoss::kSoftmax;
      break;
    case schema::Loss::Logistic:
      if (!classification || layout_.outputs != 2)
        return Refuse("linear.loss logistic: needs exactly 2 classes");
      out.loss = LinearLoss::kLogistic;
      break;
    case schema::Loss::Softmax:
      if (!classification) return Refuse("linear.loss softmax: needs classification");
      out.loss = LinearLoss::kSoftmax;
      break;
    case schema::Loss::Squared:
      if (classification)
        return Refuse("linear.loss squared: needs regression; rls does least squares on classes");
      out.loss = LinearLoss::kSquared;
      break;
    default:
      return Refuse("linear.loss: unknown loss", Status::kUnimplemented);
  }
  if (!(out.rate > 0.0 && out.rate <= 1.0)) return Refuse("linear.rate: above 0, at most 1");
  if (!Between(out.l2, 0.0, 1.0)) return Refuse("linear.l2: 0 to 1");
  return Status::kOk;
}

Status Planner::PlanRls(const schema::Rls& in, LearnerConfig* config) {
  if (layout_.inputs > 256) return Refuse("rls: at most 256 inputs after the stages");
  if (!Between(in.forgetting(), 0.9, 1.0)) return Refuse("rls.forgetting: 0.9 to 1");
  if (!Between(in.regularization(), 1e-9, 1e6)) return Refuse("rls.regularization: 1e-9 to 1e6");
  *config = RlsConfig{layout_.inputs, layout_.outputs, layout_.target.classification, in.forgetting(),
                      in.regularization()};
  return Status::kOk;
}

Status Planner::PlanTree(const schema::HoeffdingTree& in, LearnerConfig* config) {
  HoeffdingTreeConfig& out = config->emplace<HoeffdingTreeConfig>();
  out.inputs = layout_.inputs;
  out.outputs = layout_.outputs;
  out.classification = layout_.target.classification;
  out.pool_bytes = in.pool_bytes();
  out.grace_labels = in.grace_labels();
  out.delta = in.delta();
  out.tie = in.tie();
  out.max_depth = in.max_depth();
  if (out.grace_labels < 1) return Refuse("hoeffding_tree.grace_labels: at least 1");
  if (!(out.delta > 0.0 && out.delta < 1.0)) return Refuse("hoeffding_tree.delta: between 0 and 1");
  if (!Between(out.tie, 0.0, 1.0)) return Refuse("hoeffding_tree.tie: 0 to 1");
  if (out.max_depth < 1 || out.max_depth > 64) return Refuse("hoeffding_tree.max_depth: 1 to 64");
  return Status::kOk;
}

Status Planner::PlanLearner() {
  if (table_.learner_type() != schema::LearnerParams::HoeffdingTree) {
    for (uint32_t i = 0; i < width_; ++i) {
      if (categories_[i] > 0) return Refuse("learner: a categorical input reaches it; add a one_hot stage");
    }
  }
  LearnerConfig* config = &layout_.learner.config;
  switch (table_.learner_type()) {
    case schema::LearnerParams::Linear:
      return PlanLinear(*table_.learner_as_Linear(), config);
    case schema::LearnerParams::Rls:
      return PlanRls(*table_.learner_as_Rls(), config);
    case schema::LearnerParams::HoeffdingTree:
      return PlanTree(*table_.learner_as_HoeffdingTree(), config);
    default:
      return Refuse("learner.kind: unknown learner", Status::kUnimplemented);
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
  l.regression_metrics = {kMetricFading};
  DIPPER_RETURN_IF_ERROR(Place(l.target.classification
                                   ? ClassificationMetrics::StateBytes(l.classification_metrics)
                                   : RegressionMetrics::StateBytes(l.regression_metrics),
                               "metrics", &l.metrics_section));
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
  for (uint32_t i = 0; i < l.detector_count; ++i) {
    DIPPER_RETURN_IF_ERROR(
        Place(PartBytes(l.detectors[i].config),
              "page_hinkley: delta 0 to 10, threshold above 0 and at most 1e6, min_samples at least 2",
              &l.detectors[i].section));
  }
  // What is left of the budget is the pool of a learner that asks for none.
  const uint64_t left =
      table_.budget_bytes() > l.total_bytes ? (table_.budget_bytes() - l.total_bytes) / 16 * 16 : 0;
  std::visit(
      [left](auto& config) {
        if constexpr (requires { config.pool_bytes; }) {
          if (config.pool_bytes == 0) config.pool_bytes = left;
        }
      },
      l.learner.config);
  DIPPER_RETURN_IF_ERROR(Place(PartBytes(l.learner.config),
                               "learner: the budget is too small for it, or a parameter is out of range",
                               &l.learner.section));
  if (l.total_bytes > table_.budget_bytes()) {
    return Refuse(
        "budget: the model needs more bytes; raise it, or use fewer inputs, lags, classes or pending samples",
        Status::kResourceExhausted);
  }
  return Status::kOk;
}

}  // namespace dipper::learn
