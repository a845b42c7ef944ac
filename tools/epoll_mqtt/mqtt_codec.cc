// Implementation of mqtt_codec.h.
#include "tools/epoll_mqtt/mqtt_codec.h"

namespace dipper::epoll_mqtt {
namespace {

constexpr uint8_t kMaximumPacketSize = 0x27, kSessionExpiry = 0x11, kReceiveMaximum = 0x21,
                  kServerKeepAlive = 0x13;
// What a broker may put around a payload: head, topic, properties.

void Put8(uint32_t value, Buffer* out) { out->push_back(static_cast<uint8_t>(value)); }
void Put16(uint32_t value, Buffer* out) {
  Put8(value >> 8 & 0xFF, out);
  Put8(value & 0xFF, out);
}
void Put32(uint32_t value, Buffer* out) {
  Put16(value >> 16, out);
  Put16(value & 0xFFFF, out);
}
void PutVarint(uint32_t value, Buffer* out) {
  do {
    const uint32_t digit = value % 128;
    value /= 128;
    Put8(value > 0 ? digit | 0x80 : digit, out);
  } while (value > 0);
}
void PutBytes(base::ByteView bytes, Buffer* out) { out->insert(out->end(), bytes.begin(), bytes.end()); }
void PutText(std::string_view text, Buffer* out) {
  Put16(static_cast<uint32_t>(text.size()), out);
  PutBytes(base::AsBytes(text), out);
}
void PutHead(PacketType type, uint32_t flags, size_t body_bytes, Buffer* out) {
  Put8(static_cast<uint32_t>(type) << 4 | flags, out);
  PutVarint(static_cast<uint32_t>(body_bytes), out);
}

uint16_t Get16(base::ByteView bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

/// Reads a variable byte integer and drops it from `bytes`.
Taken TakeVarint(base::ByteView* bytes, uint32_t* value) {
  *value = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    if (bytes->size() <= i) return Taken::kMore;
    *value |= uint32_t{(*bytes)[i] & 0x7FU} << (7 * i);
    if ((*bytes)[i] < 0x80) {
      *bytes = bytes->subspan(i + 1);
      return Taken::kOk;
    }
  }
  return Taken::kBad;
}

/// The properties of an MQTT 5 packet, dropped from `bytes`.
bool TakeProperties(base::ByteView* bytes, base::ByteView* properties) {
  uint32_t size = 0;
  if (TakeVarint(bytes, &size) != Taken::kOk || size > bytes->size()) return false;
  *properties = bytes->first(size);
  *bytes = bytes->subspan(size);
  return true;
}

/// Bytes of a property's value, by its identifier; 0: unknown, or the value is cut off.
size_t ValueBytes(uint8_t id, base::ByteView value) {
  switch (id) {
    case 0x01:
    case 0x17:
    case 0x19:
    case 0x24:
    case 0x25:
    case 0x28:
    case 0x29:
    case 0x2A:
      return 1;
    case 0x13:
    case 0x21:
    case 0x22:
    case 0x23:
      return 2;
    case 0x02:
    case 0x11:
    case 0x18:
    case 0x27:
      return 4;
    case 0x03:
    case 0x08:
    case 0x09:
    case 0x12:
    case 0x15:
    case 0x16:
    case 0x1A:
    case 0x1C:
    case 0x1F:
      return value.size() < 2 ? 0 : size_t{2} + Get16(value);
    case 0x26: {  // a user property: name and value
      if (value.size() < 2) return 0;
      const size_t name = size_t{2} + Get16(value);
      return value.size() < name + 2 ? 0 : name + 2 + Get16(value.subspan(name));
    }
    default:
      return 0;
  }
}

}  // namespace

void AppendConnect(const MqttConfig& config, Buffer* out) {
  const bool v5 = config.version == MqttVersion::k5;
  const bool user = !config.username.empty(), password = !config.password.empty();
  Buffer body;
  PutText("MQTT", &body);
  Put8(v5 ? 5 : 4, &body);
  const bool will = !config.will_topic.empty();
  Put8((user ? 0x80U : 0U) | (password ? 0x40U : 0U) | (will ? 0x2CU : 0U) |
           (config.persistent_session ? 0U : 0x02U),
       &body);
  Put16(config.keepalive_s, &body);
  if (v5) {
    PutVarint(10, &body);
    Put8(kSessionExpiry, &body);
    Put32(config.persistent_session ? config.session_expiry_s : 0, &body);
    Put8(kMaximumPacketSize, &body);
    Put32(config.max_message_bytes + kPacketOverhead, &body);
  }
  PutText(config.client_id, &body);
  if (will) {
    if (v5) PutVarint(0, &body);
    PutText(config.will_topic, &body);
    Put16(static_cast<uint32_t>(config.will_payload.size()), &body);
    PutBytes(config.will_payload, &body);
  }
  if (user) PutText(config.username, &body);
  if (password) PutText(config.password, &body);
  PutHead(PacketType::kConnect, 0, body.size(), out);
  PutBytes(body, out);
}

void AppendPublish(MqttVersion version, uint16_t id, std::string_view topic, base::ByteView payload, Qos qos,
                   bool retain, Buffer* out) {
  const bool v5 = version == MqttVersion::k5;
  const uint32_t level = static_cast<uint32_t>(qos);
  const size_t size = 2 + topic.size() + (level > 0 ? 2 : 0) + (v5 ? 1 : 0) + payload.size();
  PutHead(PacketType::kPublish, level << 1 | (retain ? 1U : 0U), size, out);
  PutText(topic, out);
  if (level > 0) Put16(id, out);
  if (v5) PutVarint(0, out);
  PutBytes(payload, out);
}

void AppendSubscribe(MqttVersion version, uint16_t id, std::string_view filter, Qos qos, Buffer* out) {
  const bool v5 = version == MqttVersion::k5;
  PutHead(PacketType::kSubscribe, 2, 2 + (v5 ? 1 : 0) + 2 + filter.size() + 1, out);
  Put16(id, out);
  if (v5) PutVarint(0, out);
  PutText(filter, out);
  Put8(static_cast<uint32_t>(qos), out);
}

void AppendUnsubscribe(MqttVersion version, uint16_t id, std::string_view filter, Buffer* out) {
  const bool v5 = version == MqttVersion::k5;
  PutHead(PacketType::kUnsubscribe, 2, 2 + (v5 ? 1 : 0) + 2 + filter.size(), out);
  Put16(id, out);
  if (v5) PutVarint(0, out);
  PutText(filter, out);
}

void AppendPuback(uint16_t id, Buffer* out) {
  PutHead(PacketType::kPuback, 0, 2, out);  // MQTT 5: success may be left out
  Put16(id, out);
}

void AppendPingreq(Buffer* out) { PutHead(PacketType::kPingreq, 0, 0, out); }
void AppendDisconnect(Buffer* out) { PutHead(PacketType::kDisconnect, 0, 0, out); }

Taken ReadHead(base::ByteView bytes, PacketHead* head) {
  if (bytes.empty()) return Taken::kMore;
  head->type = static_cast<PacketType>(bytes[0] >> 4);
  head->flags = bytes[0] & 0x0F;
  base::ByteView rest = bytes.subspan(1);
  const Taken taken = TakeVarint(&rest, &head->body_bytes);
  head->head_bytes = static_cast<uint32_t>(bytes.size() - rest.size());
  return taken;
}

bool ParseConnack(MqttVersion version, base::ByteView body, Connack* out) {
  if (body.size() < 2) return false;
  out->session_present = (body[0] & 1) != 0;
  out->reason = body[1];
  if (version != MqttVersion::k5) return true;
  body = body.subspan(2);
  base::ByteView properties;
  if (!TakeProperties(&body, &properties)) return false;
  while (!properties.empty()) {
    const uint8_t id = properties[0];
    properties = properties.subspan(1);
    const size_t size = ValueBytes(id, properties);
    if (size == 0 || size > properties.size()) return false;
    if (id == kReceiveMaximum) out->receive_maximum = Get16(properties);
    if (id == kServerKeepAlive) out->keepalive_s = Get16(properties);
    properties = properties.subspan(size);
  }
  return true;
}

Taken ParsePublishBegin(uint8_t flags, base::ByteView bytes, Message* out, size_t* used) {
  if (bytes.size() < 2) return Taken::kMore;
  const size_t topic_bytes = Get16(bytes);
  out->qos = flags >> 1 & 3;
  out->retained = (flags & 1) != 0;
  *used = 2 + topic_bytes + (out->qos > 0 ? 2 : 0);
  if (out->qos > 1) return Taken::kBad;  // no subscription of ours allows it
  if (bytes.size() < *used) return Taken::kMore;
  out->topic = base::AsText(bytes.subspan(2, topic_bytes));
  if (out->qos > 0) out->id = Get16(bytes.subspan(2 + topic_bytes));
  return Taken::kOk;
}

bool ParsePublish(MqttVersion version, uint8_t flags, base::ByteView body, Message* out) {
  size_t used = 0;
  if (ParsePublishBegin(flags, body, out, &used) != Taken::kOk) return false;
  body = body.subspan(used);
  base::ByteView properties;
  if (version == MqttVersion::k5 && !TakeProperties(&body, &properties)) return false;
  out->payload = body;
  return true;
}

bool ParseAck(MqttVersion version, PacketType type, base::ByteView body, Ack* out) {
  if (body.size() < 2) return false;
  out->id = Get16(body);
  body = body.subspan(2);
  const bool v5 = version == MqttVersion::k5;
  base::ByteView properties;
  if (type == PacketType::kPuback) {
    out->reason = v5 && !body.empty() ? body[0] : 0;
    return true;
  }
  if (v5 && !TakeProperties(&body, &properties)) return false;
  if (body.empty() && !(type == PacketType::kUnsuback && !v5)) return false;
  out->reason = body.empty() ? 0 : body[0];
  return true;
}

}  // namespace dipper::epoll_mqtt
