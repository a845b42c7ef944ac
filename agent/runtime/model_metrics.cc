// Model::ReadMetrics to catalogue ids.
#include "agent/runtime/model_metrics.h"

namespace dipper::runtime {
namespace {

using telemetry::MetricId;

constexpr uint32_t kRaceIds =
    static_cast<uint32_t>(MetricId::kRaceWeight7) - static_cast<uint32_t>(MetricId::kRaceWeight0) + 1;
static_assert(kRaceIds == learn::kMaxRaceMembers, "one id a member place");

void AddClassification(const learn::Metrics& m, MetricBatch* batch) {
  batch->Add(MetricId::kAccuracyRatio, m.accuracy);
  batch->Add(MetricId::kKappa, m.kappa);
  batch->Add(MetricId::kKappaTemporal, m.kappa_temporal);
  batch->Add(MetricId::kLossMean, 1 - m.accuracy);
  batch->Add(MetricId::kTrivialAccuracyRatio, m.trivial_accuracy);
  batch->Add(MetricId::kTrivialLossMean, 1 - m.trivial_accuracy);
  batch->Add(MetricId::kBalancedAccuracyRatio, m.balanced_accuracy);
  batch->Add(MetricId::kMacroF1Ratio, m.macro_f1);
  batch->Add(MetricId::kLogLoss, m.log_loss);
  batch->Add(MetricId::kBrier, m.brier);
  batch->Add(MetricId::kCalibrationError, m.calibration_error);
}

void AddRegression(const learn::Metrics& m, MetricBatch* batch) {
  batch->Add(MetricId::kMae, m.mae);
  batch->Add(MetricId::kRmse, m.rmse);
  batch->Add(MetricId::kLossMean, m.mae);
  batch->Add(MetricId::kTrivialMae, m.trivial_mae);
  batch->Add(MetricId::kTrivialRmse, m.trivial_rmse);
  batch->Add(MetricId::kTrivialLossMean, m.trivial_mae);
}

void AddLosses(const learn::Metrics& m, const learn::Layout& layout, MetricBatch* batch) {
  if (layout.target.classification) {
    AddClassification(m, batch);
  } else {
    AddRegression(m, batch);
  }
  batch->Add(MetricId::kRecentLossMean, m.faded_loss);
  batch->Add(MetricId::kTrivialRecentLossMean, m.faded_trivial_loss);
  batch->Add(MetricId::kWindowedLossMean, m.windowed_loss);
  if (!layout.intervals_enabled) return;
  batch->Add(MetricId::kIntervalCoverageRatio, m.interval_coverage);
  batch->Add(MetricId::kIntervalWidthMean, m.interval_width);
  batch->Add(MetricId::kIntervalUnboundedRatio, m.interval_unbounded);
}

/// Of features where something happened also the counts: a byte saved in each batch of a quiet device.
void AddFeatureDrift(const learn::Model& model, uint32_t features, MetricBatch* batch) {
  for (uint32_t f = 0; f < features && f < kMaxDriftFeatures; ++f) {
    const auto drift = model.ReadFeatureDrift(f);
    if (!drift.ok()) continue;
    batch->AddOf(f, MetricId::kDriftFeatureStatistic, drift->statistic);
    if (drift->warnings > 0)
      batch->AddOf(f, MetricId::kDriftFeatureWarningsTotal, static_cast<double>(drift->warnings));
    if (drift->alarms > 0)
      batch->AddOf(f, MetricId::kDriftFeatureAlarmsTotal, static_cast<double>(drift->alarms));
  }
}

}  // namespace

void AddModelMetrics(const learn::Model& model, const learn::Spec& spec, uint64_t skipped,
                     MetricBatch* batch) {
  const learn::Metrics m = model.ReadMetrics();
  const learn::Layout& layout = spec.plan().layout;
  batch->Count(MetricId::kSamplesTotal, m.samples);
  batch->Count(MetricId::kSamplesSkippedTotal, m.skipped + skipped);
  batch->Count(MetricId::kLabelsTotal, m.labels);
  batch->Count(MetricId::kLabelsUnmatchedTotal, m.unmatched_labels);
  batch->Count(MetricId::kLabelsExpiredTotal, m.lost_samples);
  batch->Count(MetricId::kPendingSamples, m.pending);
  batch->Flag(MetricId::kCold, m.cold);
  batch->Count(MetricId::kImageBytes, model.image().size());
  batch->Count(MetricId::kLastSampleId, model.last_id());
  if (!layout.unsupervised) AddLosses(m, layout, batch);
  // A forecast's truth never reaches the model here: AnomalyScorer has it.
  if (layout.auc_enabled && layout.target.kind != schema::TargetKind::FeatureAhead) {
    batch->Add(MetricId::kAuc, m.auc);
    batch->Add(MetricId::kPrAuc, m.pr_auc);
  }
  for (uint32_t i = 0; i < model.race_members(); ++i) {
    const uint32_t id = static_cast<uint32_t>(MetricId::kRaceWeight0) + i;
    batch->Add(static_cast<MetricId>(id), model.race_weight(i));
  }
  batch->Add(MetricId::kDriftStatistic, m.drift_statistic);
  batch->Count(MetricId::kDriftWarningsTotal, m.drift_warnings);
  batch->Count(MetricId::kDriftAlarmsTotal, m.drift_alarms);
  if (layout.watches_features) AddFeatureDrift(model, spec.feature_count(), batch);
  batch->Add(MetricId::kAnomalyScore, m.anomaly_score);
  batch->Flag(MetricId::kAnomalyActive, m.anomaly_active);
  batch->Count(MetricId::kAnomaliesTotal, m.anomaly_events);
}

}  // namespace dipper::runtime
