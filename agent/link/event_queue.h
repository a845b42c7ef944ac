// EventQueue: what Paho's threads saw, on its way to the session's caller. Messages are bounded in number and
// bytes; control events need no bound of their own because each answers one request of the caller.
// Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "agent/telemetry/transport.h"

namespace dipper::link {

/// A TransportEvent that owns its bytes.
struct OwnedEvent {
  telemetry::TransportEvent::Kind kind = telemetry::TransportEvent::Kind::kNone;
  bool session_present = false;
  bool retained = false;
  bool acknowledged = false;
  uint32_t token = 0;
  int reason = 0;
  std::string topic;
  std::vector<uint8_t> payload;  // from operator new: aligned to 8 at least
  std::string detail;
};

class EventQueue {
 public:
  EventQueue(uint32_t max_messages, uint32_t max_bytes);
  ~EventQueue();
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  void PushControl(OwnedEvent event);
  /// False: full, dropped.
  bool PushMessage(OwnedEvent event);
  bool Pop(OwnedEvent* event);
  uint32_t messages();
  /// Readable while an event waits.
  int fd() const { return fd_; }

 private:
  void PushLocked(OwnedEvent event);

  const uint32_t max_messages_;
  const uint32_t max_bytes_;
  const int fd_;
  std::mutex mutex_;
  std::deque<OwnedEvent> events_;
  uint32_t messages_ = 0;
  uint32_t bytes_ = 0;
};

}  // namespace dipper::link
