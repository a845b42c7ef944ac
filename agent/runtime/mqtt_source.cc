// Implementation of mqtt_source.h.
#include "agent/runtime/mqtt_source.h"

#include <algorithm>
#include <cstring>

#include "agent/base/text.h"
#include "agent/runtime/picked_json.h"
#include "agent/telemetry/topics.h"

namespace dipper::runtime {

using base::Status;

bool TopicMatches(std::string_view filter, std::string_view topic) {
  const bool system = !topic.empty() && topic[0] == '$';
  if (system && !filter.empty() && (filter[0] == '#' || filter[0] == '+')) return false;
  for (;;) {
    const size_t filter_end = filter.find('/'), topic_end = topic.find('/');
    const std::string_view level = filter.substr(0, filter_end);
    if (level == "#") return true;
    if (level != "+" && level != topic.substr(0, topic_end)) return false;
    const bool filter_last = filter_end == std::string_view::npos;
    const bool topic_last = topic_end == std::string_view::npos;
    if (filter_last || topic_last) {
      // "a/#" takes "a" as well.
      return (filter_last && topic_last) || (topic_last && filter.substr(filter_end) == "/#");
    }
    filter.remove_prefix(filter_end + 1);
    topic.remove_prefix(topic_end + 1);
  }
}

const char* CheckTopicFilter(std::string_view filter) {
  if (filter.empty()) return "it is empty";
  if (filter.size() > telemetry::kMaxTopicBytes) return "it is longer than 320 bytes";
  if (filter.find('\0') != std::string_view::npos) return "it has a NUL";
  for (std::string_view rest = filter;;) {
    const size_t end = rest.find('/');
    const std::string_view level = rest.substr(0, end);
    if (level.find_first_of("+#") != std::string_view::npos && level.size() != 1)
      return "'+' and '#' stand for whole levels, between '/'";
    if (level == "#" && end != std::string_view::npos) return "'#' stands only at the end";
    if (end == std::string_view::npos) return nullptr;
    rest.remove_prefix(end + 1);
  }
}

MqttSource::MqttSource(hal::Clock& clock, MqttSourceConfig config)
    : clock_(clock), config_(std::move(config)), ring_(config_.queue_bytes), payload_(kMaxPayloadBytes) {
  DIPPER_CHECK(ring_.size() >= kMaxPayloadBytes + sizeof(Head));
  if (config_.fields.empty()) return;
  std::vector<std::string_view> places;
  for (const MqttField& field : config_.fields) places.push_back(field.place);
  DIPPER_CHECK(Ok(pick_.Bind(places)));  // the configuration was checked
  picked_.resize(places.size());
  text_.resize(kTextBytes);
}

void MqttSource::Put(const void* from, size_t bytes) {
  if (bytes == 0) return;
  const size_t at = (begin_ + used_) % ring_.size();
  const size_t first = std::min(bytes, ring_.size() - at);
  std::memcpy(ring_.data() + at, from, first);
  std::memcpy(ring_.data(), static_cast<const uint8_t*>(from) + first, bytes - first);
  used_ += bytes;
}

void MqttSource::Take(void* to, size_t bytes) {
  if (bytes == 0) return;
  const size_t first = std::min(bytes, ring_.size() - begin_);
  std::memcpy(to, ring_.data() + begin_, first);
  std::memcpy(static_cast<uint8_t*>(to) + first, ring_.data(), bytes - first);
  begin_ = (begin_ + bytes) % ring_.size();
  used_ -= bytes;
}

bool MqttSource::OnMessage(const telemetry::TransportEvent& message) {
  const auto topic = std::find_if(config_.topics.begin(), config_.topics.end(),
                                  [&](const MqttTopic& t) { return TopicMatches(t.filter, message.topic); });
  if (topic == config_.topics.end()) return false;
  if (message.retained) {
    ++totals_.ignored;
  } else if (message.payload.size() > kMaxPayloadBytes) {
    ++totals_.unreadable;
  } else if (sizeof(Head) + message.payload.size() > ring_.size() - used_) {
    ++totals_.dropped;
  } else {
    const Head head{.time_ns = clock_.WallNs(),
                    .audience = topic->audience,
                    .bytes = static_cast<uint32_t>(message.payload.size())};
    Put(&head, sizeof head);
    Put(message.payload.data(), message.payload.size());
    ++waiting_;
  }
  return true;
}

Status MqttSource::WriteFields(std::string_view payload, base::ByteView* text) {
  DIPPER_RETURN_IF_ERROR(pick_.Pick(payload, picked_));
  telemetry::JsonWriter json(text_);
  json.OpenObject();
  for (size_t i = 0; i < picked_.size(); ++i) PutPicked(json, config_.fields[i].name, picked_[i]);
  json.CloseObject();
  *text = base::AsBytes(json.view());
  return json.overflow() ? Status::kResourceExhausted : Status::kOk;
}

Status MqttSource::Poll(hal::Record* record) {
  *record = hal::Record{};
  if (waiting_ == 0) return Status::kNotFound;
  --waiting_;
  Head head;
  Take(&head, sizeof head);
  Take(payload_.data(), head.bytes);
  record->kind = config_.kind;
  record->encoding = hal::RecordEncoding::kJson;
  record->sequence = next_sequence_++;
  record->time_ns = head.time_ns;
  record->audience = head.audience;
  record->from_network = true;
  record->wants_prediction = config_.answer;
  record->columns_known = !config_.fields.empty();
  record->payload = base::ByteView(payload_).first(head.bytes);
  const bool object = base::FirstByte(base::AsText(record->payload)) == '{';
  const bool usable =
      config_.fields.empty() ? object : Ok(WriteFields(base::AsText(record->payload), &record->payload));
  if (usable) return Status::kOk;
  ++totals_.unreadable;
  return Status::kDataLoss;
}

}  // namespace dipper::runtime
