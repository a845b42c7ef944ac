// The metric catalogue: every metric a device can send, with its fixed id (docs/reference/metrics.md).
// Base units, snake_case, `_total` on counters, ratios 0 to 1. Ids are never reused. Thread-safe: constants.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "agent/schema/telemetry_generated.h"

namespace dipper::telemetry {

enum class MetricId : uint16_t {
  // system
  kSystemCpuRatio = 1,
  kSystemLoad1m = 2,
  kSystemMemoryTotalBytes = 3,
  kSystemMemoryAvailableBytes = 4,
  kSystemTemperatureCelsius = 5,
  kSystemDiskFreeBytes = 6,
  kSystemUptimeSeconds = 7,
  kSystemClockSynchronized = 8,
  kSystemResetReason = 9,
  kSystemClockOffsetSeconds = 10,
  kSystemClockErrorSeconds = 11,
  kProcessCpuSecondsTotal = 16,
  kProcessRssBytes = 17,
  kProcessUptimeSeconds = 18,
  // trust
  kTrustRootExpires = 24,
  kCommandsRefusedTotal = 25,
  // link
  kLinkConnectsTotal = 32,
  kLinkFailedConnectsTotal = 33,
  kLinkSentMessagesTotal = 34,
  kLinkSentBytesTotal = 35,
  kLinkReceivedMessagesTotal = 36,
  kLinkReceivedBytesTotal = 37,
  kLinkReceivedDroppedTotal = 38,
  kLinkInFlight = 39,
  kTelemetryDayBytes = 40,
  kTelemetryDayProjectedBytes = 41,
  kTelemetryCappedTotal = 42,
  kSourceFailedTotal = 45,
  kSourceAvailable = 46,
  kSourceRefusedWritersTotal = 47,
  kBacklogEntries = 48,
  kBacklogStoredTotal = 49,
  kBacklogSentTotal = 50,
  kBacklogDroppedTotal = 51,
  kBacklogOldestAgeSeconds = 52,
  kTelemetryRefusedTotal = 53,
  // sources
  kSourceDroppedTotal = 54,
  kSourceUnreadableTotal = 55,
  kSourceIgnoredTotal = 56,
  kSourceAnswersDroppedTotal = 57,
  kJoinSupersededTotal = 58,
  kJoinStaleTotal = 59,
  kJoinLateTotal = 60,
  kJoinSkippedTotal = 61,
  kStorageFailuresTotal = 62,
  // learner (per model)
  kSamplesTotal = 64,
  kSamplesSkippedTotal = 65,
  kLabelsTotal = 66,
  kLabelsUnmatchedTotal = 67,
  kLabelsExpiredTotal = 68,
  kPendingSamples = 69,
  kCold = 70,
  kLatencyP50Seconds = 71,
  kLatencyP99Seconds = 72,
  kLatencyMaxSeconds = 73,
  kImageBytes = 74,
  kCheckpointAgeSeconds = 75,
  kCheckpointsTotal = 76,
  kLastSampleId = 77,
  kLabelsLimitedTotal = 78,
  kCheckpointFailuresTotal = 79,
  // flight recorder (per model)
  kRecorderActive = 80,
  kRecorderLeftOutTotal = 81,
  kRecorderFailuresTotal = 82,
  kRecorderOverwrittenTotal = 83,
  // prequential (per model)
  kAccuracyRatio = 96,
  kKappa = 97,
  kKappaTemporal = 98,
  kAuc = 99,
  kMae = 100,
  kRmse = 101,
  kLossMean = 102,
  kTrivialAccuracyRatio = 103,
  kTrivialMae = 104,
  kTrivialRmse = 105,
  kTrivialLossMean = 106,
  kRecentLossMean = 107,
  kTrivialRecentLossMean = 108,
  kBalancedAccuracyRatio = 109,
  kMacroF1Ratio = 110,
  kLogLoss = 111,
  kBrier = 112,
  kCalibrationError = 113,
  kPrAuc = 114,
  kWindowedLossMean = 115,
  kIntervalCoverageRatio = 116,
  kIntervalWidthMean = 117,
  kIntervalUnboundedRatio = 118,
  // race (per model): share of each member place in the answer, one id after the other
  kRaceWeight0 = 120,
  kRaceWeight1 = 121,
  kRaceWeight2 = 122,
  kRaceWeight3 = 123,
  kRaceWeight4 = 124,
  kRaceWeight5 = 125,
  kRaceWeight6 = 126,
  kRaceWeight7 = 127,
  // drift and anomaly (per model; `index` is the feature)
  kDriftStatistic = 128,
  kDriftWarningsTotal = 129,
  kDriftAlarmsTotal = 130,
  kAnomalyScore = 131,
  kAnomalyActive = 132,
  kAnomaliesTotal = 133,
  kAnomalyAuc = 134,
  kAnomalySeverity = 135,
  kAnomaliesLeftOutTotal = 136,
  kDriftFeatureStatistic = 137,
  kDriftFeatureWarningsTotal = 138,
  kDriftFeatureAlarmsTotal = 139,
  // update (per model)
  kUpdateState = 160,
  kUpdateReason = 161,
  kServingSlot = 162,
  kTriesLeft = 163,
  kFloorEpoch = 164,
  kFloorVersion = 165,
  kRung = 166,
  kConfirmsTotal = 167,
  kFallBacksTotal = 168,
  kRejectsTotal = 169,
  kGateSamples = 170,
  kGateLower = 171,
  kGateUpper = 172,
  kTransferBlocksTotal = 173,
  kTransferBytesTotal = 174,
  kTransferReusedBlocksTotal = 175,
  kTransferReusedBytesTotal = 176,
  kUndoSlot = 177,
  kGateLabelCoverage = 178,
  kGateAlarmExcess = 179,
  kGateScoreShift = 180,
};

struct MetricRow {
  MetricId id;
  std::string_view name;  ///< Unique; for example "learner_samples_total".
  std::string_view
      unit;  ///< "seconds", "bytes", "ratio", "celsius", "1" or "target" (the model target's unit).
  schema::MetricType type;
  schema::MetricScope scope;
  std::string_view help;  ///< One line.
};

/// All metrics in the order of their ids.
std::span<const MetricRow> MetricCatalogue();

/// Null: no such id.
const MetricRow* FindMetric(uint16_t id);

}  // namespace dipper::telemetry
