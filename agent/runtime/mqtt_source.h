// MqttSource: what other devices publish, as records: samples or late labels (docs/how-to/mqtt-sensor.md).
// Messages wait in a ring of fixed size until they are polled; one that finds it full is dropped and counted,
// so that a publisher without measure costs neither memory nor other messages. Not thread-safe. No heap after
// construction, but for the parser of JSON while it reads one message.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/stream/json_pick.h"
#include "agent/telemetry/transport.h"
#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

namespace dipper::runtime {

/// A subscription and whom its messages are for.
struct MqttTopic {
  std::string filter;
  uint32_t audience = hal::kEverybody;  ///< Number of a model.
};

/// A value of the payload: a JSON pointer, a member's name, or "" for the whole payload (stream/json_pick.h).
struct MqttField {
  std::string name;
  std::string place;
};

struct MqttSourceConfig {
  std::vector<MqttTopic> topics{};
  /// Empty: the payload is a record of docs/reference/json-samples.md as it is.
  std::vector<MqttField> fields{};
  hal::RecordKind kind = hal::RecordKind::kSample;
  telemetry::Qos qos = telemetry::Qos::kAtMostOnce;
  bool answer = false;  ///< Each sample's prediction is published.
  uint32_t queue_bytes = 32 * 1024;
};

/// Whether an MQTT filter ("a/+/b", "a/#") takes a topic. Topics that begin with '$' need it spelled out.
bool TopicMatches(std::string_view filter, std::string_view topic);
/// Null: a filter that can be subscribed to. Otherwise what is wrong with it.
const char* CheckTopicFilter(std::string_view filter);

class MqttSource final : public hal::SampleSource {
 public:
  static constexpr size_t kMaxPayloadBytes = 8 * 1024;
  /// Of the JSON that `fields` are written as.
  static constexpr size_t kTextBytes = 24 * 1024;

  MqttSource(hal::Clock& clock, MqttSourceConfig config);

  std::span<const MqttTopic> topics() const { return config_.topics; }
  telemetry::Qos qos() const { return config_.qos; }

  /// Takes a message that one of the topics is for. Retained ones are counted and not taken: they are of no
  /// known age, and come again with every connection. False: it is for none of the topics.
  bool OnMessage(const telemetry::TransportEvent& message);

  /// A record of one message. kNotFound: none waits. kDataLoss: one that cannot be used was counted.
  base::Status Poll(hal::Record* record) override;
  int64_t NextDueNs() override { return waiting_ > 0 ? 1 : 0; }
  hal::SourceTotals totals() const override { return totals_; }
  uint32_t waiting() const { return waiting_; }

 private:
  /// Before each payload in the ring.
  struct Head {
    int64_t time_ns = 0;
    uint32_t audience = 0;
    uint32_t bytes = 0;
  };

  void Put(const void* from, size_t bytes);
  void Take(void* to, size_t bytes);
  base::Status WriteFields(std::string_view payload, base::ByteView* text);

  hal::Clock& clock_;
  MqttSourceConfig config_;
  stream::JsonPick pick_;
  std::vector<stream::Picked> picked_;
  std::vector<uint8_t> ring_;
  size_t begin_ = 0, used_ = 0;
  uint32_t waiting_ = 0;
  std::vector<uint8_t> payload_, text_;
  uint64_t next_sequence_ = 0;
  hal::SourceTotals totals_;
};

}  // namespace dipper::runtime
