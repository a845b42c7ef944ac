// MqttSession: one MQTT connection over Eclipse Paho, kept up by itself. The only folder that knows Paho.
//
// One thread calls the Transport side; it never waits for the network and never calls Paho. A thread of the
// session connects, waits between attempts (1 to 64 s, doubling, spread) and hands messages to Paho;
// Paho's own threads only put events into a bounded queue. Paho's offline buffer and its automatic reconnect
// are not used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/telemetry/transport.h"

namespace dipper::link {

enum class MqttVersion : uint8_t { k311, k5 };

struct MqttConfig {
  std::string url;  ///< mqtt://host:port, mqtts://host:port, ws://, wss://; the port has the usual default.
  std::string client_id;
  std::string username;
  std::string password;
  /// Its first line is the password, read anew for every connection; empty: `password` is.
  std::string password_file;
  std::string
      ca_file;  ///< mqtts: who may sign the broker's certificate. Required; the host name is always checked.
  std::string cert_file;  ///< Client certificate and key, both or none.
  std::string key_file;
  MqttVersion version = MqttVersion::k5;
  bool persistent_session =
      true;  ///< The broker keeps our subscriptions and QoS 1 messages while we are away.
  uint32_t session_expiry_s = 7 * 24 * 3600;  ///< MQTT 5.
  uint16_t keepalive_s = 30;
  uint32_t connect_timeout_s = 15;
  std::string will_topic;  ///< Empty: no will. QoS 1, retained.
  std::vector<uint8_t> will_payload;
  uint32_t max_message_bytes = 256 * 1024;    ///< Larger ones are withheld by the broker (MQTT 5) or dropped.
  uint32_t incoming_bytes = 2 * 1024 * 1024;  ///< Of the incoming queue; one group of blocks fits.
  uint32_t incoming_messages = 256;
  uint32_t max_in_flight = 16;
  uint32_t min_backoff_ms = 1000;
  uint32_t max_backoff_ms = 64000;
  /// How often the files above are looked at: a new certificate or password is used at once, by a planned
  /// reconnect, if it is whole and fits together.
  uint32_t look_at_files_ms = 10000;
  bool wait_for_connect = false;  ///< Nothing is connected before Connect().
};

/// What is wrong with a configuration, as a message that says what to do; empty: nothing.
std::string CheckMqttConfig(const MqttConfig& config);

/// Ignores SIGPIPE for the process: Paho writes to closed sockets. Call first thing in main; MqttSession
/// calls it too.
void IgnoreSigpipe();

class MqttSession final : public telemetry::Transport {
 public:
  /// Starts connecting at once. `config` has passed CheckMqttConfig.
  explicit MqttSession(MqttConfig config);
  /// Disconnects and ends all threads, within about 3 s; after a clean disconnect the broker does not send
  /// the will.
  ~MqttSession();
  MqttSession(const MqttSession&) = delete;
  MqttSession& operator=(const MqttSession&) = delete;

  /// From now on it may connect; for sessions that wait for it.
  void Connect();

  bool connected() override;
  base::Status Publish(std::string_view topic, base::ByteView payload, telemetry::Qos qos, bool retain,
                       uint32_t* token) override;
  base::Status Subscribe(std::string_view filter, telemetry::Qos qos) override;
  base::Status Unsubscribe(std::string_view filter) override;
  base::Status Poll(telemetry::TransportEvent* event) override;
  telemetry::TransportStats stats() override;

  /// Why the last attempt or connection failed, in English, or why changed certificates are not used; empty
  /// while connected or before the first failure.
  std::string last_error();

  /// Rises at least every second while the session's own thread lives and no call into the network hangs for
  /// good: a name that nobody resolves takes it half a minute.
  uint64_t beats();

  /// File descriptor that is readable while an event waits: lets the main loop sleep in poll(2). Owned by the
  /// session.
  int event_fd() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dipper::link
