// The catalogue's rows, in the order of their ids.
#include "agent/telemetry/catalogue.h"

#include <array>

namespace dipper::telemetry {
namespace {

using schema::MetricScope;
using schema::MetricType;

constexpr MetricRow Device(MetricId id, std::string_view name, std::string_view unit, std::string_view help) {
  return {id,
          name,
          unit,
          name.ends_with("_total") ? MetricType::Counter : MetricType::Gauge,
          MetricScope::Device,
          help};
}
constexpr MetricRow Model(MetricId id, std::string_view name, std::string_view unit, std::string_view help) {
  return {
      id,  name, unit, name.ends_with("_total") ? MetricType::Counter : MetricType::Gauge, MetricScope::Model,
      help};
}

using M = MetricId;
constexpr auto kRows = std::to_array<MetricRow>({
    Device(M::kSystemCpuRatio, "system_cpu_ratio", "ratio", "busy share of all cores since the last reading"),
    Device(M::kSystemLoad1m, "system_load_1m", "1", "load average of one minute"),
    Device(M::kSystemMemoryTotalBytes, "system_memory_total_bytes", "bytes", "memory of the machine"),
    Device(M::kSystemMemoryAvailableBytes, "system_memory_available_bytes", "bytes",
           "memory that programs can still get"),
    Device(M::kSystemTemperatureCelsius, "system_temperature_celsius", "celsius", "hottest thermal zone"),
    Device(M::kSystemDiskFreeBytes, "system_disk_free_bytes", "bytes",
           "free space where the agent keeps its files"),
    Device(M::kSystemUptimeSeconds, "system_uptime_seconds", "seconds", "since the machine started"),
    Device(M::kSystemClockSynchronized, "system_clock_synchronized", "ratio",
           "1: the system calls its clock synchronized"),
    Device(M::kProcessCpuSecondsTotal, "process_cpu_seconds_total", "seconds", "processor time of the agent"),
    Device(M::kProcessRssBytes, "process_rss_bytes", "bytes", "resident memory of the agent"),
    Device(M::kProcessUptimeSeconds, "process_uptime_seconds", "seconds", "since the agent started"),
    Device(M::kLinkConnectsTotal, "link_connects_total", "1", "successful connections to the broker"),
    Device(M::kLinkFailedConnectsTotal, "link_failed_connects_total", "1", "attempts that failed"),
    Device(M::kLinkSentMessagesTotal, "link_sent_messages_total", "1", "messages handed to the broker"),
    Device(M::kLinkSentBytesTotal, "link_sent_bytes_total", "bytes", "their topics and payloads"),
    Device(M::kLinkReceivedMessagesTotal, "link_received_messages_total", "1", "messages received"),
    Device(M::kLinkReceivedBytesTotal, "link_received_bytes_total", "bytes", "their topics and payloads"),
    Device(M::kLinkReceivedDroppedTotal, "link_received_dropped_total", "1",
           "received, but the queue was full"),
    Device(M::kLinkInFlight, "link_in_flight", "1", "messages waiting for their acknowledgement"),
    Device(M::kBacklogEntries, "backlog_entries", "1", "messages waiting for the broker"),
    Device(M::kBacklogStoredTotal, "backlog_stored_total", "1", "messages put in the backlog"),
    Device(M::kBacklogSentTotal, "backlog_sent_total", "1", "messages acknowledged from the backlog"),
    Device(M::kBacklogDroppedTotal, "backlog_dropped_total", "1",
           "messages lost because the backlog was full or failed"),
    Device(M::kBacklogOldestAgeSeconds, "backlog_oldest_age_seconds", "seconds",
           "age of the oldest waiting message"),
    Device(M::kTelemetryRefusedTotal, "telemetry_refused_total", "1", "messages that the broker refused"),
    Model(M::kSamplesTotal, "learner_samples_total", "1", "samples observed"),
    Model(M::kSamplesSkippedTotal, "learner_samples_skipped_total", "1", "samples that could not be used"),
    Model(M::kLabelsTotal, "learner_labels_total", "1", "labels scored and learned"),
    Model(M::kLabelsUnmatchedTotal, "learner_labels_unmatched_total", "1", "labels without a pending sample"),
    Model(M::kLabelsExpiredTotal, "learner_labels_expired_total", "1",
          "pending samples that left without a label"),
    Model(M::kPendingSamples, "learner_pending_samples", "1", "samples waiting for their label"),
    Model(M::kCold, "learner_cold", "ratio", "1: fewer labels than the spec asks for"),
    Model(M::kLatencyP50Seconds, "learner_latency_p50_seconds", "seconds",
          "median time of one observe and learn"),
    Model(M::kLatencyP99Seconds, "learner_latency_p99_seconds", "seconds", "99th percentile of the same"),
    Model(M::kLatencyMaxSeconds, "learner_latency_max_seconds", "seconds", "longest since the start"),
    Model(M::kImageBytes, "learner_image_bytes", "bytes", "model image"),
    Model(M::kCheckpointAgeSeconds, "learner_checkpoint_age_seconds", "seconds",
          "since the champion's newest checkpoint was written, or read at the start; absent without one"),
    Model(M::kCheckpointsTotal, "learner_checkpoints_total", "1", "checkpoints written"),
    Model(M::kLastSampleId, "learner_last_sample_id", "1", "id of the newest sample the model has seen"),
    Model(M::kAccuracyRatio, "prequential_accuracy_ratio", "ratio",
          "right predictions of all labelled samples"),
    Model(M::kKappa, "prequential_kappa", "1", "Cohen's kappa"),
    Model(M::kKappaTemporal, "prequential_kappa_temporal", "1", "kappa against the last-label rival"),
    Model(M::kAuc, "prequential_auc_ratio", "ratio", "area under the ROC curve over the recent scores"),
    Model(M::kMae, "prequential_mae", "target", "mean absolute error"),
    Model(M::kRmse, "prequential_rmse", "target", "root of the mean squared error"),
    Model(M::kLossMean, "prequential_loss_mean", "target", "mean loss: 0-1 error or absolute error"),
    Model(M::kTrivialAccuracyRatio, "trivial_accuracy_ratio", "ratio", "accuracy of the trivial rival"),
    Model(M::kTrivialMae, "trivial_mae", "target", "mean absolute error of the trivial rival"),
    Model(M::kTrivialRmse, "trivial_rmse", "target", "root mean squared error of the trivial rival"),
    Model(M::kTrivialLossMean, "trivial_loss_mean", "target", "mean loss of the trivial rival"),
    Model(M::kRecentLossMean, "prequential_recent_loss_mean", "target", "mean loss over the recent labels"),
    Model(M::kTrivialRecentLossMean, "trivial_recent_loss_mean", "target", "the same of the trivial rival"),
    Model(M::kBalancedAccuracyRatio, "prequential_balanced_accuracy_ratio", "ratio",
          "mean recall of the classes seen"),
    Model(M::kMacroF1Ratio, "prequential_macro_f1_ratio", "ratio", "mean F1 score of the classes seen"),
    Model(M::kLogLoss, "prequential_log_loss", "1", "mean log loss, natural logarithm"),
    Model(M::kBrier, "prequential_brier", "1", "mean squared error of the probabilities, 0 to 2"),
    Model(M::kCalibrationError, "prequential_calibration_error", "ratio",
          "expected gap between the answer's probability and how often it is right"),
    Model(M::kPrAuc, "prequential_pr_auc_ratio", "ratio",
          "area under the precision-recall curve over the recent scores"),
    Model(M::kWindowedLossMean, "prequential_windowed_loss_mean", "target",
          "mean loss over the last 1,024 labels"),
    Model(M::kIntervalCoverageRatio, "interval_coverage_ratio", "ratio",
          "labels that were in their interval or set"),
    Model(M::kIntervalWidthMean, "interval_width_mean", "target",
          "mean width of the bounded ones; classification: classes in the set"),
    Model(M::kIntervalUnboundedRatio, "interval_unbounded_ratio", "ratio",
          "labels whose interval had no ends, because too little was known"),
    Model(M::kRaceWeight0, "race_weight_0", "ratio", "share of member 0 of a race in the answer"),
    Model(M::kRaceWeight1, "race_weight_1", "ratio", "share of member 1 of a race in the answer"),
    Model(M::kRaceWeight2, "race_weight_2", "ratio", "share of member 2 of a race in the answer"),
    Model(M::kRaceWeight3, "race_weight_3", "ratio", "share of member 3 of a race in the answer"),
    Model(M::kRaceWeight4, "race_weight_4", "ratio", "share of member 4 of a race in the answer"),
    Model(M::kRaceWeight5, "race_weight_5", "ratio", "share of member 5 of a race in the answer"),
    Model(M::kRaceWeight6, "race_weight_6", "ratio", "share of member 6 of a race in the answer"),
    Model(M::kRaceWeight7, "race_weight_7", "ratio", "share of member 7 of a race in the answer"),
    Model(M::kDriftStatistic, "drift_statistic", "1", "statistic of detector `index`"),
    Model(M::kDriftWarningsTotal, "drift_warnings_total", "1", "warnings of detector `index`"),
    Model(M::kDriftAlarmsTotal, "drift_alarms_total", "1", "alarms of detector `index`"),
    Model(M::kAnomalyScore, "anomaly_score", "ratio", "calibrated score of the newest sample"),
    Model(M::kAnomalyActive, "anomaly_active", "ratio", "1: an anomaly is raised"),
    Model(M::kAnomaliesTotal, "anomalies_total", "1", "anomalies raised"),
    Model(M::kAnomalyAuc, "anomaly_auc_ratio", "ratio",
          "score against the source's truth column, where there is one"),
    Model(M::kUpdateState, "update_state", "1", "number of UpdateState in update.fbs"),
    Model(M::kUpdateReason, "update_reason", "1",
          "number of Reason in update.fbs: how the last update ended"),
    Model(M::kServingSlot, "update_serving_slot", "1", "0 A, 1 B, 2 factory, 255 none"),
    Model(M::kTriesLeft, "update_tries_left", "1", "trial starts that are left"),
    Model(M::kFloorEpoch, "update_floor_epoch", "1", "floor, role epoch"),
    Model(M::kFloorVersion, "update_floor_version", "1", "floor, security version"),
    Model(M::kRung, "update_rung", "1", "champion's ladder: 0 is the newest checkpoint"),
    Model(M::kConfirmsTotal, "update_confirms_total", "1", "packages confirmed since the agent started"),
    Model(M::kFallBacksTotal, "update_fall_backs_total", "1", "trials that ended in a fall back"),
    Model(M::kRejectsTotal, "update_rejects_total", "1", "offers and packages rejected"),
    Model(M::kGateSamples, "gate_samples", "1", "labelled samples the health gate has counted"),
    Model(M::kGateLower, "gate_lower", "target", "lower bound of challenger's minus champion's loss"),
    Model(M::kGateUpper, "gate_upper", "target", "upper bound of the same"),
    Model(M::kTransferBlocksTotal, "update_transfer_blocks_total", "1", "package blocks that were received"),
    Model(M::kTransferBytesTotal, "update_transfer_bytes_total", "bytes", "bytes of them"),
    Model(M::kTransferReusedBlocksTotal, "update_transfer_reused_blocks_total", "1",
          "package blocks that lay on the device already and were copied"),
    Model(M::kTransferReusedBytesTotal, "update_transfer_reused_bytes_total", "bytes", "bytes of them"),
});

}  // namespace

std::span<const MetricRow> MetricCatalogue() { return kRows; }

const MetricRow* FindMetric(uint16_t id) {
  // Sorted by id (a test holds it), so a binary search would do; a hundred rows do not ask for one.
  for (const MetricRow& row : kRows) {
    if (static_cast<uint16_t>(row.id) == id) return &row;
  }
  return nullptr;
}

}  // namespace dipper::telemetry
