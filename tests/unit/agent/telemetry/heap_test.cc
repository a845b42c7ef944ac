// Encoding and the outbox make no heap allocations: operator new is counted.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/outbox.h"
#include "tests/support/counted_heap.h"

namespace dipper::telemetry {
namespace {

// Answers every publication at the next poll, without heap.
class CountingTransport final : public Transport {
 public:
  bool connected() override { return up; }
  base::Status Publish(std::string_view, base::ByteView, Qos, bool, uint32_t* token) override {
    ++published;
    if (token != nullptr) *token = ++last;
    return base::Status::kOk;
  }
  base::Status Subscribe(std::string_view, Qos) override { return base::Status::kOk; }
  base::Status Unsubscribe(std::string_view) override { return base::Status::kOk; }
  base::Status Poll(TransportEvent*) override { return base::Status::kNotFound; }
  TransportStats stats() override { return {}; }
  bool up = true;
  uint32_t last = 0;
  uint64_t published = 0;
};

// Holds one entry.
class OneEntryRing final : public BacklogRing {
 public:
  base::Status Append(base::ByteView entry) override {
    if (length != 0) ++dropped;
    std::memcpy(bytes.data(), entry.data(), entry.size());
    length = entry.size();
    ++position;
    return base::Status::kOk;
  }
  base::Result<Entry> Peek(uint64_t from, base::MutableBytes buffer) override {
    if (length == 0 || from > position) return base::Status::kNotFound;
    std::memcpy(buffer.data(), bytes.data(), length);
    return Entry{position, buffer.first(length)};
  }
  base::Status Drop(uint64_t) override {
    length = 0;
    return base::Status::kOk;
  }
  uint64_t oldest_position() override { return position; }
  uint64_t entries() override { return length == 0 ? 0 : 1; }
  uint64_t dropped_total() override { return dropped; }
  std::array<uint8_t, kOutboxMessageBytes> bytes{};
  size_t length = 0;
  uint64_t position = 0;
  uint64_t dropped = 0;
};

TEST(Heap, EncodingAndSendingMakeNone) {
  CountingTransport transport;
  OneEntryRing ring;
  const auto outbox = std::make_unique<Outbox>(OutboxConfig{.json_mirror = true},
                                               DeviceTopics("demo", "mote-1"), transport, ring);
  const auto buffer = std::make_unique<std::array<uint8_t, kBirthBufferBytes>>();
  std::array<MetricValue, 40> values;
  values.fill(MakeMetric(MetricId::kMae, 0.25, 1));
  ModelInfo model;
  model.id = "main";
  Birth birth;
  birth.device = "mote-1";
  birth.fleet = "demo";
  birth.models = {&model, 1};
  const auto acknowledge = [&] {
    TransportEvent event;
    event.kind = TransportEvent::Kind::kPublished;
    event.token = transport.last;
    outbox->OnEvent(event);
  };
  const uint64_t before = test::HeapAllocations();
  for (int i = 0; i < 1000; ++i) {
    transport.up = i % 7 != 0;
    const Envelope envelope{"boot", 1, outbox->NextSequence(), i, "main"};
    const auto metrics = Encode(MetricsBatch{envelope, values}, *buffer);
    ASSERT_TRUE(metrics.ok());
    ASSERT_TRUE(base::Ok(outbox->Send(metrics.value())));
    acknowledge();
    Event event;
    event.envelope = envelope;
    event.kind = schema::EventKind::DriftAlarm;
    event.detail = "text";
    event.envelope.sequence = outbox->NextSequence();
    const auto encoded = Encode(event, *buffer);
    ASSERT_TRUE(encoded.ok());
    ASSERT_TRUE(base::Ok(outbox->Send(encoded.value())));
    acknowledge();
    const auto born = Encode(birth, *buffer);
    ASSERT_TRUE(born.ok());
    if (transport.up) {
      ASSERT_TRUE(base::Ok(outbox->SendNow(born.value(), Qos::kAtLeastOnce, true)));
    }
    outbox->Poll(int64_t{i} * 100'000'000);
    acknowledge();
  }
  EXPECT_EQ(test::HeapAllocations(), before);
  EXPECT_TRUE(test::HeapCounterCounts());
  EXPECT_GT(transport.published, 4000u);
  EXPECT_GT(outbox->counters().stored, 100u);
}

}  // namespace
}  // namespace dipper::telemetry
