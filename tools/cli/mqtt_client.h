// The broker options that publish, watch and command share, and a blocking client over link::MqttSession for
// desk work. Errors are lab::Error: usage (2), unreachable (6), refused (1). Not thread-safe.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/link/mqtt_session.h"

namespace dipper::cli {

struct MqttOptions {
  std::string broker;
  std::string ca;
  std::string user;
  std::string password_file;
  std::string cert;
  std::string key;
  std::string fleet = "demo";
  std::string version = "5";
  std::string session;  ///< Client id of a session that the broker keeps while we are away; empty: none.
};

/// Adds --broker, --ca, --user, --password-file, --cert, --key, --fleet and --mqtt-version.
void AddMqttOptions(CLI::App& command, MqttOptions& options);

/// Milliseconds since 1970.
uint64_t NowMs();

/// A connected client. Every call may block up to the time it says; losing the broker throws.
class MqttClient {
 public:
  using Clock = std::chrono::steady_clock;
  using OnMessage = std::function<void(const telemetry::TransportEvent&)>;

  /// Connects, or throws with the reason after the first failed attempt.
  explicit MqttClient(const MqttOptions& options);

  /// Called for every message that arrives while another call waits.
  void SetOnMessage(OnMessage on_message) { on_message_ = std::move(on_message); }
  /// Called with the number of acknowledged publications so far.
  void SetOnProgress(std::function<void(uint64_t)> on_progress) { on_progress_ = std::move(on_progress); }
  /// True: Run comes back from lost connections instead of throwing, and subscribes again.
  void SetPatient(bool patient) { patient_ = patient; }

  /// QoS 1. Waits while the window is full. Throws when the broker refuses an earlier one.
  void Publish(std::string_view topic, base::ByteView payload, bool retain);
  /// Waits until every publication is acknowledged.
  void WaitForPublications();
  /// Waits for the broker's answer; throws when it refuses.
  void Subscribe(const std::string& filter);
  /// The same for the end of a subscription.
  void Unsubscribe(const std::string& filter);
  bool connected() const { return session_->connected(); }
  uint64_t connections() const { return session_->stats().connects; }  ///< So far.
  /// Handles events for so long, or until `done` says so.
  void Run(Clock::duration time, const std::function<bool()>& done = {});

 private:
  bool Step(Clock::time_point end);
  void WaitForSubscription(uint64_t before);
  void NoteLoss(const telemetry::TransportEvent& event) const;
  void OnEvent(const telemetry::TransportEvent& event);

  std::string broker_;
  std::unique_ptr<link::MqttSession> session_;
  OnMessage on_message_;
  std::function<void(uint64_t)> on_progress_;
  bool patient_ = false;
  std::map<uint32_t, std::string> waiting_;  // token -> topic
  std::vector<std::string> filters_;
  uint64_t acknowledged_ = 0;
  uint64_t subscribed_ = 0;
};

}  // namespace dipper::cli
