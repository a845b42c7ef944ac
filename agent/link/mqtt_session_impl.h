// The insides of MqttSession: the session's own thread, its bookkeeping of requests, and the callbacks that
// Paho runs on its threads.
//
// Locks: `mutex_` guards what the caller, the session thread and the callbacks share. No call into Paho is
// made while it is held, because Paho holds a lock of its own when it calls back.
#pragma once

#include <mqtt/async_client.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/link/backoff.h"
#include "agent/link/broker_address.h"
#include "agent/link/credential_files.h"
#include "agent/link/event_queue.h"
#include "agent/link/mqtt_session.h"

namespace dipper::link {

class MqttSession::Impl final : public mqtt::callback, public mqtt::iaction_listener {
 public:
  using Qos = telemetry::Qos;
  using TransportEvent = telemetry::TransportEvent;
  using SteadyClock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  enum class OpKind : uint8_t { kPublish, kSubscribe, kUnsubscribe };

  // A request on its way to Paho. Slots are swapped, not copied, so that their memory is reused.
  struct Op {
    OpKind kind = OpKind::kPublish;
    Qos qos = Qos::kAtMostOnce;
    bool retain = false;
    uint32_t token = 0;
    std::string topic;
    std::vector<uint8_t> payload;
  };

  // A request that Paho has and has not answered.
  struct Pending {
    uint32_t token = 0;
    OpKind kind = OpKind::kPublish;
    Qos qos = Qos::kAtMostOnce;
    std::string topic;
  };

  static constexpr uint32_t kMaxSubscribeRequests = 64;
  static constexpr size_t kMaxTopicBytes = 1024;

  explicit Impl(MqttConfig config);
  ~Impl() override;

  // The caller's side.
  bool IsConnected() const { return caller_connected_; }
  base::Status Enqueue(OpKind kind, std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                       uint32_t* token);
  base::Status Poll(TransportEvent* event);
  telemetry::TransportStats Stats();
  std::string LastError();
  void Connect();
  uint64_t Beats() const { return beats_; }
  int event_fd() const { return events_.fd(); }

 private:
  enum class Wire : uint8_t { kDown, kConnecting, kUp };

  // Callbacks of Paho: copy and return.
  void connection_lost(const std::string& cause) override;
  void message_arrived(mqtt::const_message_ptr message) override;
  void on_success(const mqtt::token& token) override;
  void on_failure(const mqtt::token& token) override;

  void Run();
  bool Attempt();
  void Serve();
  void HandOver(const Op& op);
  void Answer(uint32_t token, int reason);
  void Lost(const std::string& why, int reason);
  void Fail(const std::string& why);
  void OnConnected(bool session_present);
  template <typename Done>
  bool WaitBeating(std::unique_lock<std::mutex>& lock, SteadyClock::time_point end, const Done& done);
  bool MustRenew();
  void Renew();
  void CloseWire();

  const MqttConfig config_;
  const BrokerAddress address_;
  EventQueue events_;
  OwnedEvent current_;  // what the views of the last Poll point into
  bool caller_connected_ = false;
  uint32_t caller_window_ = 0;      // publications whose answer was not polled yet
  uint32_t caller_subscribes_ = 0;  // likewise

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> beats_{0};
  bool may_connect_ = true;
  Wire wire_ = Wire::kDown;
  bool down_polled_ = true;  // the caller knows that the connection is down; only then is a new one made
  int connect_reason_ = 0;
  std::vector<Op> ops_;  // ring
  size_t ops_head_ = 0;
  size_t ops_count_ = 0;
  std::vector<Pending> pending_;
  uint32_t last_token_ = 0;
  Backoff backoff_;
  SteadyClock::time_point connected_at_;
  telemetry::TransportStats stats_;
  std::string last_error_;

  // The session thread's own.
  CredentialFiles files_;
  SteadyClock::time_point look_at_;

  std::unique_ptr<mqtt::async_client> client_;
  std::thread thread_;
};

}  // namespace dipper::link
