// Session: one MQTT connection on a shared Loop, kept up by itself, in a few kilobytes: telemetry::Transport
// for thousands of simulated devices in one process. TCP to a numeric IPv4 address only. The agent uses
// agent/link; what a Transport promises is tested for both (tests/contract/link). Not thread-safe.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "agent/link/event_queue.h"
#include "agent/link/mqtt_session.h"
#include "agent/telemetry/transport.h"
#include "tools/epoll_mqtt/loop.h"
#include "tools/epoll_mqtt/mqtt_codec.h"

namespace dipper::epoll_mqtt {

/// What is wrong with it for a Session here; empty: nothing.
std::string CheckConfig(const MqttConfig& config);

class Session final : public telemetry::Transport {
 public:
  /// Starts connecting with the loop's next turns.
  /// @param config  url `mqtt://a.b.c.d:port`; passed CheckConfig. TLS files and incoming_messages unused.
  /// @param source  Numeric IPv4 address to connect from, so that ports do not run out; empty: any.
  Session(Loop& loop, MqttConfig config, const std::string& source = {});
  /// Says goodbye as far as the wire takes it at once.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  bool connected() override { return caller_connected_; }
  base::Status Publish(std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                       uint32_t* token) override;
  base::Status Subscribe(std::string_view filter, Qos qos) override;
  base::Status Unsubscribe(std::string_view filter) override;
  base::Status Poll(telemetry::TransportEvent* event) override;
  telemetry::TransportStats stats() override;

  /// Why the last attempt or connection failed; empty while connected or before the first failure.
  const std::string& last_error() const { return last_error_; }
  /// The owner's mark, to find what belongs to this session.
  void* owner = nullptr;

 private:
  friend class Loop;
  enum class Wire : uint8_t { kDown, kTcp, kConnack, kUp };
  struct Pending {
    uint16_t id = 0;
    bool publish = false;
    uint32_t token = 0;
    std::string filter;
  };
  struct Unwritten {  ///< A message of QoS 0 whose end is at that place of the stream.
    uint64_t end = 0;
    uint32_t token = 0;
  };

  // Called by the loop.
  void OnWire(uint32_t events);
  void OnTick(int64_t now_ns);

  void Connect(int64_t now_ns);
  void Close();
  void Lost(const std::string& why, int reason);
  void Retry(int64_t now_ns);
  void Receive();
  size_t Consume(base::ByteView bytes);
  bool OnPacket(const PacketHead& head, base::ByteView body);
  bool OnConnack(base::ByteView body);
  bool OnPublish(const PacketHead& head, base::ByteView body);
  bool OnAck(const PacketHead& head, base::ByteView body);
  size_t SkipLarge(const PacketHead& head, base::ByteView bytes);
  void Flush();
  void Rewatch();
  base::Status Ask(std::string_view filter, Qos qos, bool subscribe);
  uint16_t NewId();
  void Push(link::OwnedEvent event);
  bool QueueFull() const { return queued_bytes_ >= config_.incoming_bytes; }

  Loop& loop_;
  const MqttConfig config_;
  uint32_t source_ = 0;
  uint16_t port_ = 0;
  uint32_t host_ = 0;
  size_t place_ = 0;    // in the loop's list
  bool ready_ = false;  // in the loop's list of those with events

  // as the caller knows it
  bool caller_connected_ = false;
  uint32_t caller_window_ = 0, caller_subscribes_ = 0;
  std::deque<link::OwnedEvent> events_;
  uint64_t queued_bytes_ = 0;
  link::OwnedEvent current_;

  Wire wire_ = Wire::kDown;
  int fd_ = -1;
  uint32_t watched_ = 0;
  bool down_polled_ = true;
  uint32_t attempts_ = 0, random_ = 1;
  uint32_t window_ = 0;  // messages in flight that both sides allow
  uint32_t keepalive_s_ = 0;
  int64_t due_ns_ = 0;  // down: next attempt; connecting: given up
  int64_t up_at_ns_ = 0, sent_at_ns_ = 0, pinged_at_ns_ = 0;
  uint16_t last_id_ = 0;
  uint32_t last_token_ = 0;
  std::vector<Pending> pending_;
  std::deque<Unwritten> unwritten_;
  Buffer out_, in_;
  size_t out_begin_ = 0;
  uint64_t out_end_ = 0;     // place in the stream of out_'s end
  uint64_t skip_bytes_ = 0;  // of a packet that is too large to keep
  telemetry::TransportStats stats_;
  std::string last_error_;
};

}  // namespace dipper::epoll_mqtt
