// Store-and-forward: the live window, the backlog window and what moves between them.
#include "agent/telemetry/outbox.h"

#include <algorithm>
#include <cstring>

#include "agent/base/time.h"

namespace dipper::telemetry {
namespace {

// What the outbox needs to know of an encoded message.
struct Described {
  TopicKind topic = TopicKind::kUnknown;
  std::string_view model;  // empty for topics of the device
  int64_t time_ns = 0;
  bool always = false;  // whatever the day's bytes: what an update does, and what explains it
};

template <typename T>
base::Result<Described> DescribeAs(base::ByteView message, TopicKind topic, bool model_topic) {
  DIPPER_ASSIGN_OR_RETURN(const T* table, Decode<T>(message));
  const schema::Envelope* envelope = table->envelope();
  Described described{topic, {}, envelope->time_ns()};
  if (model_topic && envelope->model() != nullptr) {
    described.model = {envelope->model()->c_str(), envelope->model()->size()};
  }
  return described;
}

bool AlwaysTold(schema::EventKind kind) {
  using K = schema::EventKind;
  constexpr std::array kAlways = {
      K::UpdateStep,  K::Rung,         K::SafeMode,        K::Reset,       K::CommandDone,
      K::AgentTooOld, K::Restored,     K::RootChanged,     K::RawDataSent, K::TelemetryCapped,
      K::Wiped,       K::SourceFailed, K::SourceRecovered, K::RootExpired};
  return std::find(kAlways.begin(), kAlways.end(), kind) != kAlways.end();
}

base::Result<Described> DescribeEvent(base::ByteView message) {
  DIPPER_ASSIGN_OR_RETURN(Described described, DescribeAs<schema::Event>(message, TopicKind::kEvent, true));
  DIPPER_ASSIGN_OR_RETURN(const schema::Event* event, Decode<schema::Event>(message));
  described.always = AlwaysTold(event->kind());
  return described;
}

base::Result<Described> Describe(base::ByteView message) {
  switch (KindOf(message)) {
    case MessageKind::kMetrics:
      return DescribeAs<schema::MetricsBatch>(message, TopicKind::kMetrics, true);
    case MessageKind::kEvent:
      return DescribeEvent(message);
    case MessageKind::kUpdate:
      return DescribeAs<schema::UpdateStatus>(message, TopicKind::kUpdate, true);
    case MessageKind::kBirth:
      return DescribeAs<schema::Birth>(message, TopicKind::kBirth, false);
    case MessageKind::kPrediction:
      return DescribeAs<schema::Prediction>(message, TopicKind::kPrediction, true);
    case MessageKind::kUncertain:
      return DescribeAs<schema::UncertainSamples>(message, TopicKind::kUncertain, true);
    case MessageKind::kResponse:
      return DescribeAs<schema::CommandResponse>(message, TopicKind::kResponse, false);
    case MessageKind::kUnknown:
      break;
  }
  return base::Status::kInvalidArgument;
}

bool IsStored(TopicKind kind) { return kind == TopicKind::kMetrics || kind == TopicKind::kEvent; }

}  // namespace

Outbox::Outbox(const OutboxConfig& config, const DeviceTopics& topics, Transport& transport,
               BacklogRing& ring)
    : config_(config),
      topics_(topics),
      transport_(transport),
      ring_(ring),
      budget_(config.max_bytes_per_day),
      ring_dropped_before_(ring.dropped_total()),
      next_position_(ring.oldest_position()) {}

base::Status Outbox::Send(base::ByteView message, bool* live) {
  if (live != nullptr) *live = false;
  const auto described = Describe(message);
  if (!described.ok() || !IsStored(described.value().topic) || message.size() > kOutboxMessageBytes) {
    ++counters_.dropped;
    return base::Status::kInvalidArgument;
  }
  const auto slot = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.used; });
  const bool wait = described->topic == TopicKind::kEvent && !described->always && !budget_.MayTell();
  if (slot == slots_.end() || !transport_.connected() || wait) return Store(message);
  const Topic topic = topics_.Of(described.value().topic, described.value().model);
  uint32_t token = 0;
  if (!base::Ok(Publish(topic, message, Qos::kAtLeastOnce, false, &token))) return Store(message);
  slot->used = true;
  slot->token = token;
  slot->length = static_cast<uint32_t>(message.size());
  slot->order = ++order_;
  std::memcpy(slot->bytes.data(), message.data(), message.size());
  Mirror(message, described.value().topic, described.value().model);
  if (live != nullptr) *live = true;
  return base::Status::kOk;
}

base::Status Outbox::SendNow(base::ByteView message, Qos qos, bool retain) {
  DIPPER_ASSIGN_OR_RETURN(const Described described, Describe(message));
  if (IsStored(described.topic)) return base::Status::kInvalidArgument;
  const Topic topic = topics_.Of(described.topic, described.model);
  DIPPER_RETURN_IF_ERROR(Publish(topic, message, qos, retain, nullptr));
  Mirror(message, described.topic, described.model);
  return base::Status::kOk;
}

base::Status Outbox::SendState(std::string_view json) {
  return SendRetained(topics_.Of(TopicKind::kState), json);
}

/// Every message out goes through here: what it costs is counted.
base::Status Outbox::Publish(const Topic& topic, base::ByteView payload, Qos qos, bool retain,
                             uint32_t* token) {
  DIPPER_RETURN_IF_ERROR(transport_.Publish(topic.view(), payload, qos, retain, token));
  budget_.Spend(topic.view().size() + payload.size());
  return base::Status::kOk;
}

base::Status Outbox::Store(base::ByteView message) {
  const uint64_t before = ring_.dropped_total();
  const base::Status status = ring_.Append(message);
  if (base::Ok(status)) {
    ++counters_.stored;
  } else if (ring_.dropped_total() == before) {
    ++counters_.dropped;  // the ring did not count it itself
  }
  return base::Ok(status) ? base::Status::kOk : base::Status::kUnavailable;
}

void Outbox::OnEvent(const TransportEvent& event) {
  switch (event.kind) {
    case TransportEvent::Kind::kConnected:
      in_flight_.Clear();
      next_position_ = ring_.oldest_position();
      break;
    case TransportEvent::Kind::kDisconnected:
      in_flight_.Clear();
      StoreLive();
      break;
    case TransportEvent::Kind::kPublished:
      OnPublished(event.token, event.reason);
      break;
    default:
      break;
  }
}

void Outbox::OnPublished(uint32_t token, int reason) {
  for (Slot& slot : slots_) {
    if (!slot.used || slot.token != token) continue;
    slot.used = false;
    if (reason < 0) {  // it never reached the broker
      const base::Status stored = Store(base::ByteView(slot.bytes).first(slot.length));
      static_cast<void>(stored);  // a failure is counted
    } else {
      ++(reason == 0 ? counters_.live : counters_.refused);
    }
    return;
  }
  for (BacklogSlot& slot : in_flight_) {
    if (slot.acknowledged || slot.token != token) continue;
    if (reason < 0) {
      in_flight_.Clear();
      next_position_ = ring_.oldest_position();
      return;
    }
    slot.acknowledged = true;
    ++(reason == 0 ? counters_.backlog_sent : counters_.refused);
    DropAcknowledged();
    return;
  }
}

void Outbox::DropAcknowledged() {
  // The ring forgets in order only, so an acknowledged entry waits for the ones before it.
  while (!in_flight_.empty() && in_flight_[0].acknowledged) {
    if (!base::Ok(ring_.Drop(in_flight_[0].position))) return;  // it will come again, with the same sequence
    in_flight_.EraseAt(0);
  }
}

void Outbox::StoreLive() {
  while (true) {
    Slot* oldest = nullptr;
    for (Slot& slot : slots_) {
      if (slot.used && (oldest == nullptr || slot.order < oldest->order)) oldest = &slot;
    }
    if (oldest == nullptr) return;
    oldest->used = false;
    const base::Status stored = Store(base::ByteView(oldest->bytes).first(oldest->length));
    static_cast<void>(stored);  // a failure is counted
  }
}

void Outbox::FlushToBacklog() { StoreLive(); }

void Outbox::Poll(int64_t now_ns) {
  const auto rate = static_cast<double>(config_.backlog_bytes_per_s);
  if (last_poll_ns_ >= 0) {
    allowance_bytes_ +=
        rate * static_cast<double>(now_ns - last_poll_ns_) / static_cast<double>(base::kSecondNs);
  }
  allowance_bytes_ = std::min(allowance_bytes_, rate / 4);  // a burst is at most a quarter of a second
  last_poll_ns_ = now_ns;
  UpdateOldest(now_ns);
  if (!transport_.connected()) return;
  DropAcknowledged();
  const auto live = std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.used; });
  if (live > static_cast<std::ptrdiff_t>(kOutboxWindow / 2)) return;  // live data first
  if (!budget_.MayCatchUp()) return;
  while (allowance_bytes_ > 0 && !in_flight_.full() && SendOldest()) {
  }
}

// Returns whether to go on. The allowance may go below zero by one entry, which later polls wait for.
bool Outbox::SendOldest() {
  const auto entry = ring_.Peek(next_position_, entry_);
  if (entry.status() == base::Status::kResourceExhausted) {
    ++counters_.dropped;  // written by a version with larger messages
    return Queue(next_position_, 0, true);
  }
  if (!entry.ok()) return false;
  const base::ByteView bytes = entry.value().bytes;
  const auto described = Describe(bytes);
  if (!described.ok() || !IsStored(described.value().topic)) {
    ++counters_.dropped;
    return Queue(entry.value().position, 0, true);
  }
  uint32_t token = 0;
  const Topic topic = topics_.Of(TopicKind::kBacklog);
  if (!base::Ok(Publish(topic, bytes, Qos::kAtLeastOnce, false, &token))) return false;
  const uint64_t mirrored = Mirror(bytes, TopicKind::kBacklog, {});
  allowance_bytes_ -= static_cast<double>(topic.view().size() + bytes.size() + mirrored);
  return Queue(entry.value().position, token, false);
}

bool Outbox::Queue(uint64_t position, uint32_t token, bool acknowledged) {
  next_position_ = position + 1;
  const base::Status pushed = in_flight_.PushBack({acknowledged, token, position});
  DIPPER_CHECK(base::Ok(pushed));
  DropAcknowledged();
  return true;
}

/// @returns what it cost.
uint64_t Outbox::Mirror(base::ByteView message, TopicKind kind, std::string_view model) {
  if (!config_.json_mirror) return 0;
  const auto json = ToJson(message, json_);
  if (!json.ok()) return 0;
  const Topic topic = topics_.Of(kind, model, true);
  const base::ByteView text = base::AsBytes(json.value());
  const bool retain = kind == TopicKind::kBirth || kind == TopicKind::kUpdate;
  // The mirror is a convenience: sent once, at most.
  if (!base::Ok(Publish(topic, text, Qos::kAtMostOnce, retain, nullptr))) return 0;
  return topic.view().size() + text.size();
}

void Outbox::UpdateOldest(int64_t now_ns) {
  if (now_ns - oldest_checked_ns_ < base::kSecondNs && oldest_checked_ns_ != 0) return;
  oldest_checked_ns_ = now_ns;
  counters_.oldest_time_ns = 0;
  if (ring_.entries() == 0) return;
  const auto entry = ring_.Peek(ring_.oldest_position(), entry_);
  if (!entry.ok()) return;
  const auto described = Describe(entry.value().bytes);
  if (described.ok()) counters_.oldest_time_ns = described.value().time_ns;
}

OutboxCounters Outbox::counters() const {
  OutboxCounters counters = counters_;
  counters.dropped += ring_.dropped_total() - ring_dropped_before_;
  counters.backlog_entries = ring_.entries();
  return counters;
}

}  // namespace dipper::telemetry
