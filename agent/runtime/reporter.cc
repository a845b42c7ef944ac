// Envelopes, encoding into one buffer, and the event log's copy of every event.
#include "agent/runtime/reporter.h"

#include "agent/base/time.h"

namespace dipper::runtime {

using base::Status;

Reporter::Reporter(const ReporterConfig& config, const hal::DeviceIdentity& identity, uint64_t session,
                   hal::Clock& clock, telemetry::Outbox& outbox, store::EventLog& log)
    : config_(config),
      identity_(identity),
      session_(session),
      clock_(clock),
      outbox_(outbox),
      log_(log),
      chosen_{},
      buffer_{} {}

telemetry::Envelope Reporter::MakeEnvelope(std::string_view model, bool counted) {
  return {.boot = identity_.boot_id.view(),
          .session = session_,
          .sequence = counted ? outbox_.NextSequence() : 0,
          .time_ns = clock_.WallNs(),
          .model = model};
}

store::Event LogEntry(const telemetry::Event& event, base::ByteView encoded, uint8_t place) {
  store::Event entry;
  entry.time_ns = event.envelope.time_ns;
  entry.kind = static_cast<uint16_t>(event.kind);
  entry.reason = static_cast<uint16_t>(event.reason);
  entry.model = place;
  if (encoded.size() <= store::kMaxEventPayload) entry.payload = encoded;
  return entry;
}

void Reporter::Send(telemetry::Event event, std::string_view model, uint8_t place) {
  event.envelope = MakeEnvelope(model, true);
  const auto encoded = telemetry::Encode(event, buffer_);
  if (!encoded.ok()) {
    ++encode_failures_;
    // The sequence was taken, so that the gap shows; an empty message is counted as dropped.
    if (!Ok(outbox_.Send({}))) return;
    return;
  }
  if (!log_.Append(LogEntry(event, *encoded, model.empty() ? uint8_t{0xFF} : place)).ok()) ++log_failures_;
  if (!Ok(outbox_.Send(*encoded))) return;  // counted by the outbox as dropped
}

Reporter::Sender& Reporter::SenderOf(std::string_view model) {
  for (Sender& sender : senders_) {
    if (sender.model.view() == model) return sender;
  }
  Sender added;
  DIPPER_CHECK(Ok(added.model.Assign(model)) && Ok(senders_.PushBack(added)));
  return senders_[senders_.size() - 1];
}

void Reporter::RenewMetrics() {
  for (Sender& sender : senders_) sender.filter.Renew();
}

void Reporter::Send(const MetricBatch& batch, std::string_view model) {
  if (batch.readings().empty() || !outbox_.MayMeasure()) return;
  // What a broker refused no reader has.
  if (const uint64_t refused = outbox_.counters().refused; refused != refused_) {
    refused_ = refused;
    RenewMetrics();
  }
  MetricFilter& filter = SenderOf(model).filter;
  const int64_t now_ns = clock_.MonotonicNs();
  const auto choice =
      filter.Choose(batch.readings(), now_ns, config_.repeat_ms * base::kMillisecondNs, &chosen_);
  if (choice.values.empty()) return;
  telemetry::Envelope envelope = MakeEnvelope(model, true);
  envelope.time_ns = batch.wall_ns();
  if (choice.partial) envelope.boot = {};
  const auto encoded = telemetry::Encode(
      telemetry::MetricsBatch{.envelope = envelope, .values = choice.values, .partial = choice.partial},
      buffer_);
  if (!encoded.ok()) ++encode_failures_;
  // A failure is counted by the outbox as dropped; its values are told again. So are those that a full wire
  // sent to the backlog, which not every reader reads; after an outage the birth has all of them told.
  bool live = false;
  const bool kept = Ok(outbox_.Send(encoded.ok() ? *encoded : base::ByteView{}, &live));
  if (kept && (live || !outbox_.connected())) {
    filter.Sent(choice, now_ns);
  } else {
    filter.Renew();
  }
}

bool Reporter::Deliver(const base::Result<base::ByteView>& encoded, telemetry::Qos qos, bool retain) {
  if (!encoded.ok()) {
    ++encode_failures_;
    return true;  // trying again would fail again
  }
  const Status status = outbox_.SendNow(*encoded, qos, retain);
  return status != Status::kUnavailable && status != Status::kResourceExhausted;
}

bool Reporter::SendNow(telemetry::UpdateStatus status, std::string_view model) {
  status.envelope = MakeEnvelope(model, false);
  return Deliver(telemetry::Encode(status, buffer_), telemetry::Qos::kAtLeastOnce, true);
}

bool Reporter::SendNow(telemetry::CommandResponse response, std::string_view model) {
  response.envelope = MakeEnvelope(model, false);
  return Deliver(telemetry::Encode(response, buffer_), telemetry::Qos::kAtLeastOnce, false);
}

bool Reporter::SendNow(telemetry::Prediction prediction, std::string_view model) {
  if (!outbox_.MayMeasure()) return true;
  prediction.envelope = MakeEnvelope(model, false);
  return Deliver(telemetry::Encode(prediction, buffer_), telemetry::Qos::kAtMostOnce, false);
}

bool Reporter::SendNow(telemetry::UncertainSamples samples, std::string_view model) {
  samples.envelope = MakeEnvelope(model, false);
  return Deliver(telemetry::Encode(samples, buffer_), telemetry::Qos::kAtLeastOnce, false);
}

telemetry::Birth Reporter::MakeBirth(std::span<const telemetry::ModelInfo> models,
                                     uint32_t numerics_version) {
  return {.envelope = MakeEnvelope({}, false),
          .device = identity_.device_id.view(),
          .fleet = config_.fleet,
          .groups = config_.groups,
          .hardware = identity_.hardware.view(),
          .system = config_.system,
          .agent_version = config_.agent_version,
          .numerics_version = numerics_version,
          .models = models,
          .interval_ms = config_.interval_ms,
          .max_message_bytes = config_.max_message_bytes,
          .backlog_bytes = config_.backlog_bytes,
          .repeat_ms = config_.repeat_ms};
}

bool Reporter::BirthFits(std::span<const telemetry::ModelInfo> models) {
  return telemetry::EncodedBound(MakeBirth(models, 0)) <= buffer_.size();
}

bool Reporter::SendBirth(std::span<const telemetry::ModelInfo> models, uint32_t numerics_version) {
  RenewMetrics();
  return Deliver(telemetry::Encode(MakeBirth(models, numerics_version), buffer_),
                 telemetry::Qos::kAtLeastOnce, true);
}

bool Reporter::SendOnline(bool online) {
  std::array<uint8_t, telemetry::kStateBufferBytes> text;
  const auto state = telemetry::EncodeState(
      {.online = online, .boot = identity_.boot_id.view(), .session = session_, .time_ns = clock_.WallNs()},
      text);
  if (!state.ok()) {
    ++encode_failures_;
    return true;
  }
  const Status status = outbox_.SendState(*state);
  return status != Status::kUnavailable && status != Status::kResourceExhausted;
}

}  // namespace dipper::runtime
