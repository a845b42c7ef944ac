// What the flight recorder tells when it records no more, when it goes on, and of what was never fetched.
#include <gtest/gtest.h>

#include "agent/runtime/metric_batch.h"
#include "tests/unit/agent/runtime/recording/recorder_world.h"

namespace dipper::runtime::test {
namespace {

constexpr int64_t kMinuteNs = 60'000'000'000;
constexpr store::RecorderArea kThree{.segment_bytes = 48 * 1024, .segments = 3};

std::unique_ptr<World> Serving(const store::RecorderArea& area, uint64_t bytes_per_day = kPlenty) {
  auto world = MakeWorld(area, bytes_per_day);
  DIPPER_CHECK(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  return world;
}

TEST(RecorderNews, AnOrdinaryRunHasNone) {
  auto world = Serving(kThree);
  for (int i = 0; i < 1000; ++i) world->Turn(5);
  EXPECT_TRUE(world->Events("recorder_paused").empty());
  EXPECT_TRUE(world->Events("recorder_resumed").empty());
  const json metrics = world->Metrics();
  EXPECT_EQ(metrics.value("recorder_active", -1.0), 1.0);
  EXPECT_EQ(metrics.value("recorder_left_out_total", -1.0), 0.0);
  EXPECT_EQ(metrics.value("recorder_failures_total", -1.0), 0.0);
}

TEST(RecorderNews, TheDaysBytesAreSpentAndGrowAgain) {
  auto world = Serving(kThree, 100 * 1024);
  for (int i = 0; i < 3000; ++i) world->Turn(5);
  const auto paused = world->EventsOf("main", "recorder_paused");
  ASSERT_EQ(paused.size(), 1U);
  EXPECT_NE(paused[0].value("detail", "").find("recorder.bytes_per_day is used up"), std::string::npos);
  const json metrics = world->Metrics();
  EXPECT_EQ(metrics.value("recorder_active", -1.0), 0.0);
  EXPECT_GT(metrics.value("recorder_left_out_total", -1.0), 0.0);
  for (int i = 0; i < 50; ++i) {
    world->clock.now_ns += 15 * kMinuteNs;
    world->Turn(5);
  }
  const auto resumed = world->EventsOf("main", "recorder_resumed");
  ASSERT_EQ(resumed.size(), 1U);
  EXPECT_EQ(resumed[0].value("count", uint64_t{0}), world->box(0).recorder->counters().left_out);
}

TEST(RecorderNews, AFetchThatFillsTheRingIsTold) {
  auto world = Serving(kThree);
  for (int i = 0; i < 3000; ++i) world->Turn(5);
  Recorder& recorder = *world->box(0).recorder;
  ASSERT_TRUE(BeginFetch(recorder).ok());
  for (int i = 0; i < 2000; ++i) world->Turn(5);
  const auto paused = world->EventsOf("main", "recorder_paused");
  ASSERT_EQ(paused.size(), 1U);
  EXPECT_NE(paused[0].value("detail", "").find("is being fetched"), std::string::npos);
  recorder.Release(true);
  for (int i = 0; i < 10; ++i) world->Turn(5);
  EXPECT_EQ(world->EventsOf("main", "recorder_resumed").size(), 1U);
}

TEST(RecorderNews, AMediumThatFailsIsToldAndThatItIsWellAgain) {
  auto world = Serving(kThree);
  for (int i = 0; i < 100; ++i) world->Turn(5);
  hal::PartitionSim& data = world->data();
  for (const hal::SimCall call : {hal::SimCall::kWrite, hal::SimCall::kErase}) {
    const size_t before = world->EventsOf("main", "recorder_paused").size();
    const uint64_t failures = world->box(0).recorder->counters().failures;
    data.SetFault({.call = call, .first = data.calls(call), .count = 1'000'000});
    for (int i = 0; i < 1500 && world->box(0).recorder->state() == RecorderState::kRecording; ++i)
      world->Turn(5);
    world->Turn(5);
    const auto paused = world->EventsOf("main", "recorder_paused");
    ASSERT_EQ(paused.size(), before + 1);
    EXPECT_NE(paused.back().value("detail", "").find("the data partition does not take it"),
              std::string::npos);
    EXPECT_GT(world->box(0).recorder->counters().failures, failures);
    EXPECT_EQ(world->Metrics().value("recorder_active", -1.0), 0.0);
    // Learning went on all the time.
    const uint64_t samples = world->updater().champion()->samples();
    world->Turn(5);
    EXPECT_EQ(world->updater().champion()->samples(), samples + 5);
    data.SetFault({});
    world->clock.now_ns += 2 * kMinuteNs;
    for (int i = 0; i < 20; ++i) world->Turn(5);
    ASSERT_EQ(world->EventsOf("main", "recorder_resumed").size(), before + 1);
    EXPECT_GT(world->EventsOf("main", "recorder_resumed").back().value("count", uint64_t{0}), 0U);
    EXPECT_EQ(world->Metrics().value("recorder_active", -1.0), 1.0);
  }
  EXPECT_FALSE(ReplayOf(Fetch(*world)).parting.has_value());
}

TEST(RecorderNews, ImagesThatDoNotFitAreTold) {
  auto world = Serving({.segment_bytes = 8 * 1024, .segments = 2});
  world->Turn(5);
  const auto paused = world->EventsOf("main", "recorder_paused");
  ASSERT_EQ(paused.size(), 1U);
  EXPECT_NE(paused[0].value("detail", "").find("raise recorder.bytes"), std::string::npos);
}

TEST(RecorderNews, AMediumThatCannotBeReadAtTheStartIsKnown) {
  auto world = Serving(kThree);
  hal::PartitionSim data({.size_bytes = 256 * 1024, .write_unit_bytes = 1, .erase_unit_bytes = 4096},
                         nullptr);
  data.SetFault({.call = hal::SimCall::kRead, .first = 0, .count = 1'000'000});
  store::RecorderRing ring(data, kThree, "main");
  Recorder recorder({.agent_version = "0.1.0-test", .bytes_per_day = kPlenty}, ring, world->clock);
  EXPECT_EQ(recorder.Start(world->updater()), base::Status::kUnavailable);
  EXPECT_EQ(recorder.state(), RecorderState::kUnreadable);
  EXPECT_NE(RecorderStateText(recorder.state()).find("could not be read at the start"),
            std::string_view::npos);
  EXPECT_EQ(recorder.counters().failures, 1U);
  EXPECT_FALSE(BeginFetch(recorder).ok());
  recorder.BeginRecord();
  recorder.Poll(1);
  recorder.Stop();
  EXPECT_EQ(data.calls(hal::SimCall::kWrite), 0U);
}

TEST(RecorderNews, SegmentsThatNobodyFetchedAreCountedWhenTheyAreWrittenOver) {
  auto world = Serving(kThree);
  Recorder& recorder = *world->box(0).recorder;
  const auto until = [&](uint64_t segments) {
    for (int i = 0; i < 9000 && recorder.counters().segments < segments; ++i) world->Turn(5);
    ASSERT_EQ(recorder.counters().segments, segments);
  };
  until(3);
  EXPECT_EQ(recorder.counters().overwritten, 0U);
  until(5);
  EXPECT_EQ(recorder.counters().overwritten, 2U);
  // A fetch that was cut off saves nothing; a whole one all but the segment that goes on.
  ASSERT_TRUE(BeginFetch(recorder).ok());
  recorder.Release(false);
  until(6);
  EXPECT_EQ(recorder.counters().overwritten, 3U);
  ASSERT_TRUE(BeginFetch(recorder).ok());
  recorder.Release(true);
  until(8);
  EXPECT_EQ(recorder.counters().overwritten, 3U);
  until(9);
  EXPECT_EQ(recorder.counters().overwritten, 4U);
  EXPECT_EQ(world->Metrics().value("recorder_overwritten_total", -1.0), 4.0);
}

}  // namespace
}  // namespace dipper::runtime::test
