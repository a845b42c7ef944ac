// Plain values of everything a device sends; encoders.h makes bytes of them. Texts are views that must live
// until the encoder returns. Not-a-number stands for "cannot be told".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/schema/telemetry_generated.h"
#include "agent/telemetry/catalogue.h"
#include "agent/telemetry/gate_report.h"

namespace dipper::telemetry {

// What one message may hold. Encoders answer kResourceExhausted above these; decoders kDataLoss.
inline constexpr size_t kMaxValues = 256;     ///< Metric values in a batch.
inline constexpr size_t kMaxTextBytes = 256;  ///< Of any one text.
inline constexpr size_t kMaxContributions = 16;
inline constexpr size_t kMaxProbabilities = 256;
inline constexpr size_t kMaxModels = 8;
inline constexpr size_t kMaxFeatures = 256;  ///< Of one model, in the birth message.
inline constexpr size_t kMaxGroups = 16;
inline constexpr size_t kMaxUncertainSamples = 32;
inline constexpr size_t kMaxUncertainFeatures = 16;

struct Envelope {
  std::string_view boot{};
  uint64_t session = 0;
  uint64_t sequence = 0;  ///< From Outbox::NextSequence for metrics and events, else 0.
  int64_t time_ns = 0;
  std::string_view model{};  ///< Empty: the device.
};

/// One reading.
using MetricValue = schema::MetricValue;
inline MetricValue MakeMetric(MetricId id, double value, int64_t time_ns, uint16_t index = 0) {
  return MetricValue(time_ns, value, static_cast<uint16_t>(id), index);
}

/// The encoder writes a reading of the envelope's time in 8 bytes where nothing but digits beyond a float's
/// is lost of it, else in 24.
struct MetricsBatch {
  Envelope envelope{};
  std::span<const MetricValue> values{};
  bool partial = false;  ///< Values that have not changed since this session sent them are left out.
};

struct PackageInfo {
  base::Digest digest{};  ///< All zero: absent.
  std::string_view name{};
  std::string_view version{};
  base::SecurityVersion security_version{};
};

struct Contribution {
  std::string_view feature{};
  double share = 0;
};

struct Event {
  Envelope envelope{};
  schema::EventKind kind = schema::EventKind::Unknown;
  schema::UpdateState from = schema::UpdateState::Idle;
  schema::UpdateState to = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;
  PackageInfo package{};
  base::Digest image{};  ///< Serves after the event; zero: not told.
  uint64_t sample_id = 0;
  double score = 0;
  double threshold = 0;
  std::span<const Contribution> contributions{};
  const GateReport* gate = nullptr;
  uint64_t count = 0;
  std::string_view detail{};
  schema::Severity severity = schema::Severity::None;  ///< Of alarms, as the next three.
  uint64_t alarm = 0;                                  ///< Sample id at which it was raised; 0: unknown.
  double peak = 0;
  int64_t lasted_ns = 0;
};

struct UpdateStatus {
  Envelope envelope{};
  schema::UpdateState state = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;
  uint64_t offer_number = 0;
  PackageInfo target{};
  PackageInfo serving{};
  schema::SlotName serving_slot = schema::SlotName::None;
  base::Digest serving_image{};
  PackageInfo undo{};
  base::SecurityVersion floor{};
  uint32_t blocks_done = 0;
  uint32_t blocks_total = 0;
  uint8_t tries_left = 0;
  uint8_t rung = 0;
  bool frozen = false;
  const GateReport* gate = nullptr;
};

struct FeatureInfo {
  std::string_view name{};
  std::string_view unit{};
  bool categorical = false;
};

struct ModelInfo {
  std::string_view id{};
  std::string_view task{};
  std::string_view learner{};
  std::string_view target{};
  std::span<const FeatureInfo> features{};
  PackageInfo serving{};
  schema::SlotName slot = schema::SlotName::None;
  uint64_t image_bytes = 0;
  uint64_t max_image_bytes = 0;
  uint64_t slot_bytes = 0;
};

/// The metric catalogue is added by the encoder.
struct Birth {
  Envelope envelope{};
  std::string_view device{};
  std::string_view fleet{};
  std::span<const std::string_view> groups{};
  std::string_view hardware{};
  std::string_view system{};
  std::string_view agent_version{};
  uint32_t numerics_version = 0;
  std::span<const ModelInfo> models{};
  uint32_t interval_ms = 0;
  uint32_t max_message_bytes = 0;
  uint64_t backlog_bytes = 0;
  uint32_t repeat_ms = 0;  ///< Each metric value comes at least that often; 0: in every batch.
};

struct Prediction {
  Envelope envelope{};
  uint64_t id = 0;
  bool cold = false;
  double value = 0;
  int32_t class_index = -1;
  std::span<const double> probabilities{};
  bool has_score = false;
  double anomaly_score = 0;
  bool anomaly_active = false;
  bool has_interval = false;
  bool unbounded = false;
  double low = 0;
  double high = 0;
  uint64_t class_set = 0;
  bool has_uncertainty = false;
  double uncertainty = 0;
  base::Digest package{};
};

struct UncertainSample {
  uint64_t id = 0;
  int64_t time_ns = 0;
  double uncertainty = 0;
  int32_t class_index = -1;
  double value = 0;
  std::span<const float> values{};  ///< One a feature of the message.
};

struct UncertainSamples {
  Envelope envelope{};
  uint64_t command = 0;
  base::Digest package{};
  std::span<const std::string_view> features{};
  std::span<const UncertainSample> samples{};
};

struct CommandResponse {
  Envelope envelope{};
  uint64_t number = 0;
  std::string_view name{};
  schema::CommandStatus status = schema::CommandStatus::Done;
  schema::Reason reason = schema::Reason::None;
  bool repeated = false;
  base::Digest image{};
  std::string_view detail{};
};

/// Retained `state` and the will: JSON only, so that any tool can read it.
struct State {
  bool online = false;
  std::string_view boot{};
  uint64_t session = 0;
  int64_t time_ns = 0;  ///< 0 in a will: its time is not known.
};

}  // namespace dipper::telemetry
