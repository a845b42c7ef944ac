// A session and what it saw, for the tests of the link.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "agent/link/mqtt_session.h"

namespace dipper::link {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Until `condition` holds or the time is over; what it says last.
inline bool Soon(const std::function<bool()>& condition, seconds limit = seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return condition();
    std::this_thread::sleep_for(milliseconds(20));
  }
  return true;
}

/// With short waits and short looks, for tests.
inline MqttConfig QuickConfig(const std::string& url, MqttVersion version) {
  MqttConfig config;
  config.url = url;
  config.client_id = "device";
  config.version = version;
  config.min_backoff_ms = 50;
  config.max_backoff_ms = 400;
  config.look_at_files_ms = 100;
  return config;
}

class LinkClient {
 public:
  using Kind = telemetry::TransportEvent::Kind;

  explicit LinkClient(const MqttConfig& config) : session(config) { EXPECT_EQ(CheckMqttConfig(config), ""); }

  /// Takes events until one of this kind came.
  bool Wait(Kind kind, seconds limit = seconds(20)) {
    return Soon(
        [&] {
          telemetry::TransportEvent event;
          while (base::Ok(session.Poll(&event))) {
            detail = std::string(event.detail);
            payload = std::string(base::AsText(event.payload));
            reason = event.reason;
            if (event.kind == kind) return true;
          }
          return false;
        },
        limit);
  }
  /// Takes no event but those of a connection that goes.
  bool WaitForError(const std::string& part) {
    return Soon([&] {
      telemetry::TransportEvent event;
      while (base::Ok(session.Poll(&event))) EXPECT_NE(event.kind, Kind::kConnected);
      return Contains(session.last_error(), part);
    });
  }

  std::string detail;
  std::string payload;
  int reason = 0;
  MqttSession session;
};

}  // namespace dipper::link
