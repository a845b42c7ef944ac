// Delivery in memory.
#include "tests/support/memory_broker.h"

#include <algorithm>

namespace dipper::testing {

using base::Status;
using Kind = telemetry::TransportEvent::Kind;

bool TopicMatches(std::string_view filter, std::string_view topic) {
  while (true) {
    if (filter == "#") return true;
    const size_t filter_end = filter.find('/');
    const size_t topic_end = topic.find('/');
    const std::string_view want = filter.substr(0, filter_end);
    if (want != "+" && want != topic.substr(0, topic_end)) return false;
    if (topic_end == std::string_view::npos) {
      return filter_end == std::string_view::npos || filter.substr(filter_end) == "/#";
    }
    if (filter_end == std::string_view::npos) return false;
    filter.remove_prefix(filter_end + 1);
    topic.remove_prefix(topic_end + 1);
  }
}

void MemoryBroker::Deliver(const std::string& topic, const std::vector<uint8_t>& payload, bool retain) {
  if (retain && payload.empty()) {
    retained.erase(topic);
  } else if (retain) {
    retained[topic] = payload;
  }
  for (MemoryTransport* client : clients_) {
    for (const std::string& filter : client->filters_) {
      if (!client->wire_ || !TopicMatches(filter, topic)) continue;
      client->events_.push_back({Kind::kMessage, false, 0, 0, topic, payload});
      break;
    }
  }
}

MemoryTransport::MemoryTransport(MemoryBroker& broker, uint32_t window) : broker_(broker), window_(window) {
  broker_.clients_.push_back(this);
}

MemoryTransport::~MemoryTransport() { std::erase(broker_.clients_, this); }

void MemoryTransport::Connect() {
  if (wire_ || connected_) return;  // not before the caller knows that it was down
  wire_ = true;
  ++stats_.connects;
  events_.push_back({Kind::kConnected, false, 0, 0, {}, {}});
}

void MemoryTransport::Disconnect() {
  if (!wire_) return;
  wire_ = false;
  held_.clear();
  filters_.clear();
  events_.push_back({Kind::kDisconnected, false, 0, -1, {}, {}});
}

void MemoryTransport::Acknowledge(size_t count) {
  for (; count > 0 && !held_.empty(); --count) {
    const Held held = std::move(held_.front());
    held_.pop_front();
    events_.push_back({Kind::kPublished, false, held.token, refuse_reason, {}, {}, held.asks_answer});
    if (refuse_reason == 0) broker_.Deliver(held.topic, held.payload, held.retain);
  }
}

Status MemoryTransport::Publish(std::string_view topic, base::ByteView payload, telemetry::Qos qos,
                                bool retain, uint32_t* token) {
  if (!connected_) return Status::kUnavailable;
  if (topic.empty() || topic.find_first_of("+#") != std::string_view::npos) return Status::kInvalidArgument;
  if (in_flight_ >= window_) return Status::kResourceExhausted;
  ++in_flight_;
  if (token != nullptr) *token = last_token_ + 1;
  ++last_token_;
  ++stats_.sent_messages;
  stats_.sent_bytes += topic.size() + payload.size();
  if (!wire_) return Status::kOk;  // lost already, the caller does not know it yet
  const bool asks_answer = qos == telemetry::Qos::kAtLeastOnce;
  held_.push_back({last_token_, retain, asks_answer, std::string(topic), {payload.begin(), payload.end()}});
  if (!hold_acknowledgements) Acknowledge(held_.size());
  return Status::kOk;
}

Status MemoryTransport::Subscribe(std::string_view filter, telemetry::Qos) {
  if (!connected_) return Status::kUnavailable;
  if (filter.empty()) return Status::kInvalidArgument;
  ++subscribes;
  if (!wire_) return Status::kOk;
  if (std::find(filters_.begin(), filters_.end(), filter) == filters_.end()) filters_.emplace_back(filter);
  events_.push_back({Kind::kSubscribed, false, 0, 0, std::string(filter), {}});
  const bool wildcard = filter.find_first_of("+#") != std::string_view::npos;
  for (const auto& [topic, payload] : broker_.retained) {
    if (wildcard && !broker_.retained_to_wildcards) break;
    if (TopicMatches(filter, topic)) events_.push_back({Kind::kMessage, true, 0, 0, topic, payload});
  }
  return Status::kOk;
}

Status MemoryTransport::Unsubscribe(std::string_view filter) {
  if (!connected_) return Status::kUnavailable;
  std::erase(filters_, filter);
  events_.push_back({Kind::kSubscribed, false, 0, 0, std::string(filter), {}});
  return Status::kOk;
}

Status MemoryTransport::Poll(telemetry::TransportEvent* event) {
  *event = {};
  if (events_.empty()) return Status::kNotFound;
  current_ = std::move(events_.front());
  events_.pop_front();
  if (current_.kind == Kind::kConnected) connected_ = true;
  if (current_.kind == Kind::kDisconnected) {
    connected_ = false;
    in_flight_ = 0;
  }
  if (current_.kind == Kind::kPublished) --in_flight_;
  event->kind = current_.kind;
  event->retained = current_.retained;
  event->acknowledged = current_.acknowledged;
  event->token = current_.token;
  event->reason = current_.reason;
  event->topic = current_.topic;
  event->payload = current_.payload;
  return Status::kOk;
}

}  // namespace dipper::testing
