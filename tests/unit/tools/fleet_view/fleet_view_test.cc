// What a watcher makes of messages: sequences, states and junk.
#include "tools/cli/fleet_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "agent/telemetry/encoders.h"

namespace dipper::cli {
namespace {

using telemetry::DeviceTopics;
using telemetry::TopicKind;

TEST(SequenceTracker, CountsWhatIsMissing) {
  SequenceTracker tracker;
  for (const uint64_t sequence : {3u, 4u, 8u, 5u, 5u, 8u}) tracker.Add(sequence);
  EXPECT_EQ(tracker.received(), 4u);
  EXPECT_EQ(tracker.missing(), 2u);  // 6, 7
  tracker.Add(1);                    // the backlog: 2 is missing too
  EXPECT_EQ(tracker.missing(), 3u);
  for (const uint64_t sequence : {7u, 2u, 6u}) tracker.Add(sequence);
  EXPECT_EQ(tracker.missing(), 0u);
  EXPECT_EQ(tracker.highest(), 8u);
}

TEST(SequenceTracker, AnyOrderWithDuplicatesEndsWhole) {
  std::mt19937 random(3);
  std::vector<uint64_t> all(500);
  std::iota(all.begin(), all.end(), 1);
  std::vector<uint64_t> twice = all;
  twice.insert(twice.end(), all.begin(), all.end());
  std::shuffle(twice.begin(), twice.end(), random);
  SequenceTracker tracker;
  for (const uint64_t sequence : twice) tracker.Add(sequence);
  EXPECT_EQ(tracker.received(), 500u);
  EXPECT_EQ(tracker.missing(), 0u);
}

TEST(SequenceTracker, HostileNumbersCostNoMemory) {
  SequenceTracker tracker;
  tracker.Add(1);
  tracker.Add(~uint64_t{0});
  EXPECT_EQ(tracker.missing(), ~uint64_t{0} - 2);
}

class FleetViewTest : public ::testing::Test {
 protected:
  template <typename T>
  bool Add(TopicKind kind, const T& message, std::string_view model = {}) {
    const telemetry::Topic topic = DeviceTopics("demo", "mote-1").Of(kind, model);
    const auto encoded = telemetry::Encode(message, buffer_);
    return view_.Add(telemetry::ParseTopic(topic.view()).value(), encoded.value());
  }
  bool AddText(std::string_view topic, std::string_view text) {
    return view_.Add(telemetry::ParseTopic(topic).value(), base::AsBytes(text));
  }
  const DeviceView& Device() const { return view_.devices().at("mote-1"); }
  alignas(16) std::array<uint8_t, telemetry::kBirthBufferBytes> buffer_;
  FleetView view_{{"mote-1"}};
};

TEST_F(FleetViewTest, ShowsWhatDevicesSay) {
  EXPECT_TRUE(AddText("dipper/1/demo/mote-1/state", R"({"state":"online","session":"0"})"));
  EXPECT_EQ(Device().state, "online");
  telemetry::UpdateStatus update;
  update.envelope.model = "main";
  update.state = schema::UpdateState::Transferring;
  update.blocks_done = 3;
  update.blocks_total = 16;
  EXPECT_TRUE(Add(TopicKind::kUpdate, update, "main"));
  EXPECT_EQ(Device().update, "transferring 3/16");
  EXPECT_EQ(Device().model, "main");
  const std::vector<telemetry::MetricValue> values = {MakeMetric(telemetry::MetricId::kSamplesTotal, 100, 1),
                                                      MakeMetric(telemetry::MetricId::kLossMean, 0.5, 1)};
  EXPECT_TRUE(Add(TopicKind::kMetrics, telemetry::MetricsBatch{{"boot", 1, 5, 0, "main"}, values}, "main"));
  EXPECT_EQ(Device().samples, 100u);
  EXPECT_EQ(Device().loss, 0.5);
  // What a batch leaves out is as it was, and the backlog is older than what came live.
  const std::vector<telemetry::MetricValue> fewer = {MakeMetric(telemetry::MetricId::kSamplesTotal, 120, 9)};
  EXPECT_TRUE(Add(TopicKind::kMetrics, telemetry::MetricsBatch{{{}, 1, 6, 9, "main"}, fewer, true}, "main"));
  EXPECT_EQ(Device().samples, 120u);
  EXPECT_EQ(Device().loss, 0.5);
  EXPECT_TRUE(Add(TopicKind::kBacklog, telemetry::MetricsBatch{{"boot", 1, 4, 0, "main"}, values}));
  EXPECT_EQ(Device().samples, 120u);
  telemetry::Event event;
  event.envelope.session = 1;
  event.envelope.sequence = 8;
  event.kind = schema::EventKind::UpdateStep;
  event.from = schema::UpdateState::Trial;
  event.to = schema::UpdateState::FellBack;
  event.reason = schema::Reason::ShownWorse;
  EXPECT_TRUE(Add(TopicKind::kEvent, event));
  EXPECT_EQ(Device().last_event, "trial -> fell_back (shown_worse)");
  EXPECT_EQ(Device().missing(), 1u);
}

TEST_F(FleetViewTest, JunkIsCounted) {
  EXPECT_FALSE(AddText("dipper/1/demo/mote-1/state", "not json"));
  EXPECT_FALSE(AddText("dipper/1/demo/mote-1/state", R"({"state":1})"));
  EXPECT_FALSE(AddText("dipper/1/demo/mote-1/metrics", "xxxxDMETxxxx"));
  EXPECT_EQ(view_.unreadable(), 3u);
  EXPECT_FALSE(AddText("dipper/1/demo/mote-2/state", R"({"state":"online"})")) << "not watched";
  EXPECT_EQ(view_.devices().size(), 1u);
}

}  // namespace
}  // namespace dipper::cli
