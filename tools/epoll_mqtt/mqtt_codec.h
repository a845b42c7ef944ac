// MQTT 3.1.1 and 5 on the wire, as much as a client of QoS 0 and 1 needs: packets appended to a buffer and
// taken from one. Thread-safe: pure functions. Sources: OASIS MQTT 3.1.1 and MQTT 5.0.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/link/mqtt_session.h"

namespace dipper::epoll_mqtt {

using link::MqttConfig;
using link::MqttVersion;
using telemetry::Qos;

enum class PacketType : uint8_t {
  kConnect = 1,
  kConnack = 2,
  kPublish = 3,
  kPuback = 4,
  kSubscribe = 8,
  kSuback = 9,
  kUnsubscribe = 10,
  kUnsuback = 11,
  kPingreq = 12,
  kPingresp = 13,
  kDisconnect = 14,
};

/// What topic, properties and head may add to a message's payload.
inline constexpr uint32_t kPacketOverhead = 2048;

using Buffer = std::vector<uint8_t>;

void AppendConnect(const MqttConfig& config, Buffer* out);
/// @param id  Packet identifier; ignored at QoS 0.
void AppendPublish(MqttVersion version, uint16_t id, std::string_view topic, base::ByteView payload, Qos qos,
                   bool retain, Buffer* out);
void AppendSubscribe(MqttVersion version, uint16_t id, std::string_view filter, Qos qos, Buffer* out);
void AppendUnsubscribe(MqttVersion version, uint16_t id, std::string_view filter, Buffer* out);
void AppendPuback(uint16_t id, Buffer* out);
void AppendPingreq(Buffer* out);
void AppendDisconnect(Buffer* out);

/// First byte and length of a packet.
struct PacketHead {
  PacketType type = PacketType::kConnect;
  uint8_t flags = 0;
  uint32_t head_bytes = 0;  ///< 2 to 5.
  uint32_t body_bytes = 0;
};
enum class Taken : uint8_t { kOk, kMore, kBad };
/// Reads the head of the packet that `bytes` begins with. kMore: not all of it is there yet.
Taken ReadHead(base::ByteView bytes, PacketHead* head);

struct Connack {
  bool session_present = false;
  int reason = 0;
  uint32_t receive_maximum = 65535;
  uint32_t keepalive_s = 0;  ///< 0: the client's own.
};
bool ParseConnack(MqttVersion version, base::ByteView body, Connack* out);

struct Message {
  std::string_view topic;
  base::ByteView payload;
  bool retained = false;
  uint8_t qos = 0;
  uint16_t id = 0;
};
/// Topic, QoS and identifier. kMore: the body's beginning, `bytes`, is too short for them yet.
Taken ParsePublishBegin(uint8_t flags, base::ByteView bytes, Message* out, size_t* used);
/// `body` is whole.
bool ParsePublish(MqttVersion version, uint8_t flags, base::ByteView body, Message* out);

struct Ack {
  uint16_t id = 0;
  int reason = 0;  ///< Above 127: refused.
};
/// PUBACK, SUBACK and UNSUBACK of one filter.
bool ParseAck(MqttVersion version, PacketType type, base::ByteView body, Ack* out);

}  // namespace dipper::epoll_mqtt
