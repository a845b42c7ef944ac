// agent/runtime: messages as samples, the limit of labels, and the queue of the least certain samples.
#include "agent/runtime/mqtt_source.h"

#include <gtest/gtest.h>

#include <string>

#include "agent/runtime/label_limit.h"
#include "agent/runtime/uncertain_queue.h"

namespace dipper::runtime {
namespace {

using base::Status;

class StillClock final : public hal::Clock {
 public:
  int64_t MonotonicNs() override { return now_ns; }
  int64_t WallNs() override { return 5 + now_ns; }
  bool WallSynchronized() override { return true; }
  int64_t now_ns = 0;
};

telemetry::TransportEvent Message(std::string_view topic, std::string_view payload, bool retained = false) {
  telemetry::TransportEvent event;
  event.kind = telemetry::TransportEvent::Kind::kMessage;
  event.topic = topic;
  event.payload = base::AsBytes(payload);
  event.retained = retained;
  return event;
}

std::string Text(const hal::Record& record) { return std::string(base::AsText(record.payload)); }

TEST(TopicFilter, TakesWhatMqttSays) {
  EXPECT_TRUE(TopicMatches("a/b", "a/b"));
  EXPECT_TRUE(TopicMatches("a/+/c", "a/b/c"));
  EXPECT_TRUE(TopicMatches("a/#", "a/b/c"));
  EXPECT_TRUE(TopicMatches("a/#", "a"));
  EXPECT_TRUE(TopicMatches("#", "a"));
  EXPECT_TRUE(TopicMatches("+/+", "/x"));
  EXPECT_TRUE(TopicMatches("$SYS/load", "$SYS/load"));
  EXPECT_FALSE(TopicMatches("a/b", "a/b/c"));
  EXPECT_FALSE(TopicMatches("a/b/c", "a/b"));
  EXPECT_FALSE(TopicMatches("a/+", "a"));
  EXPECT_FALSE(TopicMatches("a/+", "a/b/c"));
  EXPECT_FALSE(TopicMatches("a/b", "a/bb"));
  EXPECT_FALSE(TopicMatches("+/load", "$SYS/load"));
  EXPECT_FALSE(TopicMatches("#", "$SYS/load"));
}

TEST(TopicFilter, WrongOnesAreSaid) {
  EXPECT_EQ(CheckTopicFilter("a/+/b/#"), nullptr);
  EXPECT_EQ(CheckTopicFilter("#"), nullptr);
  for (const char* bad : {"", "a/#/b", "a+", "a/b#", "a/++"})
    EXPECT_NE(CheckTopicFilter(bad), nullptr) << bad;
  EXPECT_NE(CheckTopicFilter(std::string(400, 'a')), nullptr);
  EXPECT_NE(CheckTopicFilter(std::string_view("a\0b", 3)), nullptr);
}

TEST(MqttSource, FieldsAreTakenByPointer) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"plug/+/SENSOR"}},
                            .fields = {{"power", "/ENERGY/Power"}, {"state", "/s"}, {"id", "/n"}},
                            .answer = true});
  EXPECT_FALSE(source.OnMessage(Message("plug/1/STATE", "{}")));
  clock.now_ns = 7;
  EXPECT_TRUE(
      source.OnMessage(Message("plug/1/SENSOR", R"({"n":3,"ENERGY":{"Power":1.25,"x":[]},"s":"a\"b"})")));
  clock.now_ns = 1000;
  hal::Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(Text(record), R"({"power":1.25,"state":"a\"b","id":3})");
  EXPECT_EQ(record.time_ns, 12);  // when it came, not when it was taken
  EXPECT_EQ(record.kind, hal::RecordKind::kSample);
  EXPECT_TRUE(record.from_network && record.wants_prediction);
  EXPECT_TRUE(record.columns_known);
  EXPECT_EQ(record.audience, hal::kEverybody);
  EXPECT_EQ(record.origin, 0U);
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);
}

TEST(MqttSource, APayloadMayBeOneNumber) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"t"}}, .fields = {{"temperature", ""}}});
  hal::Record record;
  EXPECT_TRUE(source.OnMessage(Message("t", "21.5")));
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(Text(record), R"({"temperature":21.5})");
}

TEST(MqttSource, ModelTopicsAreForTheirModelAndAsTheyAre) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"m/a/label", 0}, {"m/b/label", 1}}, .kind = hal::RecordKind::kLabel});
  EXPECT_TRUE(source.OnMessage(Message("m/b/label", R"({"id":1,"label":"ok"})")));
  hal::Record record;
  ASSERT_EQ(source.Poll(&record), Status::kOk);
  EXPECT_EQ(record.audience, 1U);
  EXPECT_EQ(record.kind, hal::RecordKind::kLabel);
  EXPECT_EQ(Text(record), R"({"id":1,"label":"ok"})");
}

TEST(MqttSource, AMarkAndBlanksBeforeAnObjectAreIgnored) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"t"}}});
  hal::Record record;
  for (const char* good : {" {}", "\n{}", "\xEF\xBB\xBF{}"}) {
    EXPECT_TRUE(source.OnMessage(Message("t", good)));
    EXPECT_EQ(source.Poll(&record), Status::kOk) << good;
    EXPECT_FALSE(record.columns_known);
  }
  for (const char* bad : {" ", "\xEF\xBB\xBF", " [1]"}) {
    EXPECT_TRUE(source.OnMessage(Message("t", bad)));
    EXPECT_EQ(source.Poll(&record), Status::kDataLoss) << bad;
  }
}

TEST(MqttSource, WhatCannotBeUsedIsCounted) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"t"}}, .fields = {{"v", "/v"}}});
  hal::Record record;
  EXPECT_TRUE(source.OnMessage(Message("t", R"({"v":1})", true)));  // retained: of no known age
  EXPECT_EQ(source.totals().ignored, 1U);
  EXPECT_TRUE(source.OnMessage(Message("t", std::string(MqttSource::kMaxPayloadBytes + 1, ' '))));
  EXPECT_EQ(source.totals().unreadable, 1U);
  EXPECT_EQ(source.Poll(&record), Status::kNotFound);
  for (const char* bad : {"", "{", "{\"w\":1}", "[1]", "nonsense", "\xff\xfe"}) {
    EXPECT_TRUE(source.OnMessage(Message("t", bad)));
    EXPECT_EQ(source.Poll(&record), Status::kDataLoss) << bad;
  }
  EXPECT_EQ(source.totals().unreadable, 7U);
  EXPECT_TRUE(source.OnMessage(Message("t", R"({"v":2})")));
  EXPECT_EQ(source.Poll(&record), Status::kOk);
}

TEST(MqttSource, AFloodIsDroppedAndCountedAndTheRingGoesRound) {
  StillClock clock;
  MqttSource source(clock, {.topics = {{"t"}}, .fields = {{"v", "/v"}}, .queue_bytes = 16 * 1024});
  hal::Record record;
  uint64_t sent = 0, taken = 0, last = 0;
  for (int round = 0; round < 50; ++round) {
    for (int i = 0; i < 1000; ++i)
      EXPECT_TRUE(source.OnMessage(Message("t", "{\"v\":" + std::to_string(++sent) + "}")));
    for (int i = 0; i < 137 && Ok(source.Poll(&record)); ++i) {
      const uint64_t value = std::stoull(Text(record).substr(5));
      EXPECT_GT(value, last);
      last = value;
      ++taken;
    }
  }
  EXPECT_GT(source.totals().dropped, 40000U);
  EXPECT_EQ(taken + source.waiting() + source.totals().dropped, sent);
  EXPECT_EQ(source.totals().unreadable, 0U);
}

TEST(LabelLimit, ALongRunOfLabelsGetsItsRate) {
  LabelLimit limit(10);
  int taken = 0;
  for (int64_t ms = 1; ms <= 10000; ++ms) taken += limit.Spend(ms * 1'000'000) ? 1 : 0;
  EXPECT_GE(taken, 100);
  EXPECT_LE(taken, 110);
}

TEST(LabelLimit, SlowRatesAndNone) {
  LabelLimit slow(0.1);
  EXPECT_TRUE(slow.Spend(1));
  EXPECT_FALSE(slow.Spend(5'000'000'000));
  EXPECT_TRUE(slow.Spend(10'100'000'000));
  LabelLimit none(0);
  for (int64_t s = 1; s < 100; ++s) EXPECT_FALSE(none.Spend(s * 1'000'000'000));
  LabelLimit back(1);
  EXPECT_TRUE(back.Spend(10'000'000'000));
  EXPECT_FALSE(back.Spend(1));  // a clock that goes back earns nothing
}

TEST(UncertainQueue, KeepsTheLeastCertainWithTheAllowedFeatures) {
  UncertainQueue queue(4);
  const std::array<uint32_t, 2> columns = {2, 0};
  queue.SetColumns(columns);
  for (uint64_t id = 0; id < 100; ++id) {
    const auto value = static_cast<float>(id);
    const std::array<float, 3> row = {value, -1, value / 2};
    queue.Offer({.id = id, .uncertainty = static_cast<double>(id * 37 % 100) / 100}, row);
  }
  const auto sorted = queue.Sorted();
  ASSERT_EQ(sorted.size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(sorted[i].uncertainty, static_cast<double>(99 - i) / 100);
    ASSERT_EQ(sorted[i].values.size(), 2U);
    EXPECT_EQ(sorted[i].values[1], static_cast<float>(sorted[i].id));
    EXPECT_EQ(sorted[i].values[0], static_cast<float>(sorted[i].id) / 2);
  }
  queue.Forget(sorted[0].id);
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_EQ(queue.Sorted()[0].uncertainty, 0.98);
  queue.SetColumns({});
  EXPECT_EQ(queue.size(), 0U);
  queue.Offer({.id = 1, .uncertainty = 1}, {});  // no feature may leave: nothing is kept
  EXPECT_EQ(queue.size(), 0U);
}

}  // namespace
}  // namespace dipper::runtime
