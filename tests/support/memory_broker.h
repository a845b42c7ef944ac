// An MQTT broker and its clients in memory, for tests: retained messages, wildcard subscriptions,
// acknowledgements that can be held back or refused, connections that can be cut. Everything happens inside
// the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/telemetry/transport.h"

namespace dipper::testing {

/// MQTT 3.1.1 section 4.7.
bool TopicMatches(std::string_view filter, std::string_view topic);

class MemoryTransport;

class MemoryBroker {
 public:
  std::map<std::string, std::vector<uint8_t>> retained;
  bool retained_to_wildcards = true;  ///< False: kept messages come only to whom names their topic.

 private:
  friend class MemoryTransport;
  void Deliver(const std::string& topic, const std::vector<uint8_t>& payload, bool retain);
  std::vector<MemoryTransport*> clients_;
};

class MemoryTransport final : public telemetry::Transport {
 public:
  explicit MemoryTransport(MemoryBroker& broker, uint32_t window = 16);
  ~MemoryTransport();
  MemoryTransport(const MemoryTransport&) = delete;
  MemoryTransport& operator=(const MemoryTransport&) = delete;

  // Script.
  void Connect();     ///< Does nothing while a kDisconnected waits to be polled.
  void Disconnect();  ///< What is not acknowledged yet did not reach the broker.
  bool hold_acknowledgements = false;
  void Acknowledge(size_t count);  ///< Held publications reach the broker, oldest first.
  int refuse_reason = 0;           ///< Not 0: publications are refused with it.
  uint64_t subscribes = 0;         ///< Filters asked for so far.

  // Transport.
  bool connected() override { return connected_; }
  base::Status Publish(std::string_view topic, base::ByteView payload, telemetry::Qos qos, bool retain,
                       uint32_t* token) override;
  base::Status Subscribe(std::string_view filter, telemetry::Qos qos) override;
  base::Status Unsubscribe(std::string_view filter) override;
  base::Status Poll(telemetry::TransportEvent* event) override;
  telemetry::TransportStats stats() override { return stats_; }

 private:
  friend class MemoryBroker;
  struct Event {
    telemetry::TransportEvent::Kind kind = telemetry::TransportEvent::Kind::kNone;
    bool retained = false;
    uint32_t token = 0;
    int reason = 0;
    std::string topic;
    std::vector<uint8_t> payload;
    bool acknowledged = false;
  };
  struct Held {
    uint32_t token;
    bool retain;
    bool asks_answer;
    std::string topic;
    std::vector<uint8_t> payload;
  };

  MemoryBroker& broker_;
  const uint32_t window_;
  bool connected_ = false;  // as the caller knows it
  bool wire_ = false;
  uint32_t in_flight_ = 0;
  uint32_t last_token_ = 0;
  std::deque<Event> events_;
  std::deque<Held> held_;
  std::vector<std::string> filters_;
  Event current_;
  telemetry::TransportStats stats_;
};

}  // namespace dipper::testing
