// Reporter: turns what happens on the device into messages, with the envelope every message carries. Events
// go to the event log and out by the outbox; states are retained and sent again whenever they changed or a
// connection began. Not thread-safe. No heap after construction.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/base/fixed.h"
#include "agent/runtime/metric_filter.h"
#include "agent/store/boot_layout.h"
#include "agent/store/event_log.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/outbox.h"
#include "hal/api/clock.h"
#include "hal/api/identity.h"

namespace dipper::runtime {

/// What a birth says beyond the models; views must outlive the reporter.
struct ReporterConfig {
  std::string_view fleet;
  std::span<const std::string_view> groups;
  std::string_view system;  ///< Operating system and machine, for people.
  std::string_view agent_version;
  uint32_t interval_ms = 0;        ///< Of metrics batches.
  uint32_t max_message_bytes = 0;  ///< What the link accepts.
  uint64_t backlog_bytes = 0;
  uint32_t repeat_ms = 0;  ///< Each metric value is sent at least that often; 0: in every batch.
};

/// What the event log keeps of an event: `encoded` only if it fits. @param place  Of its model; 0xFF: none.
store::Event LogEntry(const telemetry::Event& event, base::ByteView encoded, uint8_t place);

class Reporter {
 public:
  Reporter(const ReporterConfig& config, const hal::DeviceIdentity& identity, uint64_t session,
           hal::Clock& clock, telemetry::Outbox& outbox, store::EventLog& log);

  /// Fills boot, session, sequence (when `counted`), time and model.
  telemetry::Envelope MakeEnvelope(std::string_view model, bool counted);

  /// Writes the event to the log and hands it to the outbox. Its envelope is filled here.
  /// @param model  Empty: the device.
  /// @param place  Of the model in boot, for the log.
  void Send(telemetry::Event event, std::string_view model, uint8_t place = 0);
  /// Hands those readings of a moment to the outbox that readers do not have yet (metric_filter.h): all of
  /// them after a birth, after a loss, and once in repeat_ms. Without any nothing is sent.
  void Send(const MetricBatch& batch, std::string_view model);
  /// Retained or answering messages. False: not now (no connection, window full); send again later.
  bool SendNow(telemetry::UpdateStatus status, std::string_view model);
  bool SendNow(telemetry::CommandResponse response, std::string_view model);
  bool SendNow(telemetry::Prediction prediction, std::string_view model);
  bool SendNow(telemetry::UncertainSamples samples, std::string_view model);
  bool SendBirth(std::span<const telemetry::ModelInfo> models, uint32_t numerics_version);
  /// Whether a birth of these models can be encoded: many features with long names may be too much.
  bool BirthFits(std::span<const telemetry::ModelInfo> models);
  bool SendOnline(bool online);

  uint64_t encode_failures() const { return encode_failures_; }
  /// Events that the log could not be given.
  uint64_t log_failures() const { return log_failures_; }

 private:
  telemetry::Birth MakeBirth(std::span<const telemetry::ModelInfo> models, uint32_t numerics_version);
  struct Sender {
    base::FixedString<telemetry::kMaxIdBytes> model;
    MetricFilter filter;
  };
  Sender& SenderOf(std::string_view model);
  void RenewMetrics();
  bool Deliver(const base::Result<base::ByteView>& encoded, telemetry::Qos qos, bool retain);

  ReporterConfig config_;
  const hal::DeviceIdentity& identity_;
  uint64_t session_;
  hal::Clock& clock_;
  telemetry::Outbox& outbox_;
  store::EventLog& log_;
  uint64_t encode_failures_ = 0;
  uint64_t log_failures_ = 0;
  uint64_t refused_ = 0;  ///< By the broker, when metrics were sent last.
  base::FixedVector<Sender, store::kMaxModels + 1> senders_;
  MetricFilter::Buffer chosen_;
  alignas(16) std::array<uint8_t, telemetry::kBirthBufferBytes> buffer_;
};

}  // namespace dipper::runtime
