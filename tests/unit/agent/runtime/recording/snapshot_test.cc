// What a fetch of an image or a recording costs the device: bytes of the day, and turns of its loop.
#include "agent/runtime/recording/snapshot.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "agent/base/sha256.h"
#include "tests/unit/agent/runtime/recording/recorder_world.h"

namespace dipper::runtime::test {
namespace {

using schema::Reason;

constexpr int64_t kDayNs = 86'400'000'000'000;

/// A device whose image and recording may be fetched, and a desk that takes the blocks.
struct Fetches : ::testing::Test {
  void Make(uint64_t max_bytes_per_day = 0, const store::RecorderArea& area = kSmallRing) {
    World::snapshot = &config;
    World::outbox_config = {.max_bytes_per_day = max_bytes_per_day};
    world = MakeWorld(area);
    World::snapshot = nullptr;
    World::outbox_config = {};
    desk = std::make_unique<dipper::testing::MemoryTransport>(world->broker());
    desk->Connect();
    Blocks();
    const auto filter = SnapshotFilter("plant", "d1", "main");
    EXPECT_TRUE(Ok(desk->Subscribe(filter.view(), telemetry::Qos::kAtLeastOnce)));
  }
  SnapshotSender& sender() { return *world->box(0).snapshot; }
  Reason Begin(std::string_view what) { return sender().Begin(what, world->updater()); }
  /// Takes what has come. @returns blocks so far.
  size_t Blocks() {
    telemetry::TransportEvent event;
    while (Ok(desk->Poll(&event))) {
      if (event.kind != telemetry::TransportEvent::Kind::kMessage) continue;
      const auto block = DecodeSnapshotBlock(event.payload);
      EXPECT_TRUE(block.ok());
      const auto topic = std::string(event.topic);
      digest = topic.substr(topic.find("/snapshot/") + 10, 64);
      total = block->total_bytes;
      blocks[block->index].assign(block->bytes.begin(), block->bytes.end());
    }
    return blocks.size();
  }
  /// Whole, and what its topics say that it is.
  std::vector<uint8_t> File() {
    std::vector<uint8_t> file;
    for (const auto& [index, bytes] : blocks) file.insert(file.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(file.size(), total);
    EXPECT_EQ(base::ToHex(base::Sha256Of(file)).view(), digest);
    return file;
  }
  /// To the first moments of the next day.
  void PassMidnight() {
    world->clock.now_ns += kDayNs - world->clock.WallNs() % kDayNs;
    world->Turn(0);
  }
  size_t Told(const std::string& how) {
    size_t count = 0;
    for (const json& event : world->Events("raw_data_sent"))
      count += event["detail"].get<std::string>().find(how) != std::string::npos ? 1U : 0U;
    return count;
  }

  SnapshotConfig config{.fleet = "plant",
                        .device = "d1",
                        .model = "main",
                        .agent_version = "0.1.0-test",
                        .allow_image = true,
                        .allow_recording = true,
                        .bytes_per_s = 10'000'000,
                        .max_image_bytes = ModelBox::kImageBytes};
  std::unique_ptr<World> world;
  std::unique_ptr<dipper::testing::MemoryTransport> desk;
  std::map<uint32_t, std::vector<uint8_t>> blocks;
  std::string digest;
  uint64_t total = 0;
};

TEST_F(Fetches, EveryByteOfAnImageIsOneOfTheDays) {
  Make();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec("hoeffding_tree"), "1"), 1));
  PassMidnight();
  const uint64_t sent = world->wire().stats().sent_bytes;
  const uint64_t spent = world->outbox().budget().spent();
  ASSERT_EQ(Begin("image"), Reason::None);
  for (int i = 0; i < 100; ++i) world->Turn(0);
  EXPECT_GT(Blocks(), 4U);
  EXPECT_GT(File().size(), 4 * kSnapshotBlockBytes);
  EXPECT_EQ(world->outbox().budget().spent() - spent, world->wire().stats().sent_bytes - sent);
}

TEST_F(Fetches, EventsNameThePackageAndCountNoBytes) {
  Make();
  const Release release = MakeRelease(SensorSpec(), "1");
  ASSERT_TRUE(world->Serve(release, 1));
  for (int i = 0; i < 300; ++i) world->Turn(5);
  const std::string image(base::ToHex(world->updater().champion()->ImageDigest()).view());
  ASSERT_EQ(Begin("image"), Reason::None);
  for (int i = 0; i < 100; ++i) world->Turn(0);
  ASSERT_EQ(Begin("recording"), Reason::None);
  for (int i = 0; i < 100; ++i) world->Turn(0);
  const std::vector<json> events = world->Events("raw_data_sent");
  ASSERT_EQ(events.size(), 4U);
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_FALSE(events[i].contains("count")) << "it is of samples, in this kind of event";
    EXPECT_NE(events[i].value("detail", "").find(" bytes "), std::string::npos);
    const bool of_image = i < 2;
    EXPECT_EQ(events[i].value("package.digest", ""),
              of_image ? base::ToHex(release.digest).view() : std::string_view());
    EXPECT_EQ(events[i].value("image", ""), of_image ? image : std::string());
  }
}

TEST_F(Fetches, AnImageWaitsForTheDaysLineAndLiveMeasurementsDoNot) {
  constexpr uint64_t kADay = 600'000;  // 5 % of it at midnight, 4 blocks
  Make(kADay);
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec("hoeffding_tree"), "1"), 1));
  PassMidnight();
  ASSERT_EQ(Begin("image"), Reason::None);
  for (int i = 0; i < 500; ++i) world->Turn(0);
  const size_t before = Blocks();
  EXPECT_GE(before, 2U);
  EXPECT_LE(before, 5U);
  EXPECT_TRUE(sender().busy());
  EXPECT_EQ(Told("waits"), 1U);
  const uint64_t capped = world->outbox().counters().capped;
  const size_t metrics = world->MessagesOf(telemetry::TopicKind::kMetrics, "main").size();
  for (int i = 0; i < 200; ++i) world->Turn(0);
  EXPECT_EQ(Blocks(), before);
  EXPECT_GT(world->MessagesOf(telemetry::TopicKind::kMetrics, "main").size(), metrics);
  EXPECT_EQ(world->outbox().counters().capped, capped);
  // The line rises with the day; that it goes on and stops again is told no more.
  for (int hours = 0; hours < 20 && sender().busy(); ++hours) {
    world->clock.now_ns += kDayNs / 24;
    for (int i = 0; i < 200; ++i) world->Turn(0);
  }
  EXPECT_FALSE(sender().busy());
  EXPECT_GT(Blocks(), before);
  EXPECT_GT(File().size(), 4 * kSnapshotBlockBytes);
  EXPECT_EQ(Told("waits"), 1U);
  EXPECT_EQ(Told("was sent"), 1U);
}

TEST_F(Fetches, ARecordingIsReadInSlicesWhileLearningGoesOn) {
  Make();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  Recorder& recorder = *world->box(0).recorder;
  for (int i = 0; i < 9000 && recorder.counters().segments < 4; ++i) world->Turn(5);
  ASSERT_EQ(recorder.counters().segments, 4U);
  ASSERT_EQ(Begin("recording"), Reason::None);
  EXPECT_EQ(Begin("image"), Reason::Busy);
  // A slice, and what log and checkpoints read beside it.
  constexpr uint64_t kMostReads = 2 * SnapshotSender::kSliceBytes / store::kRecorderPageBytes + 8;
  uint64_t reads = world->data().calls(hal::SimCall::kRead), turns = 0, asks = 0;
  const uint64_t records = recorder.counters().records;
  for (; Blocks() == 0 && turns < 1000; ++turns) {
    const uint64_t samples = world->updater().champion()->samples();
    world->Turn(5);
    if (sender().NextDueNs() != 0) ++asks;
    EXPECT_EQ(world->updater().champion()->samples(), samples + 5);
    const uint64_t now = world->data().calls(hal::SimCall::kRead);
    EXPECT_LE(now - reads, kMostReads);
    reads = now;
  }
  EXPECT_GT(recorder.counters().records, records);
  for (int i = 0; i < 500 && sender().busy(); ++i) world->Turn(5);
  ASSERT_GT(Blocks(), 0U);
  const std::vector<uint8_t> file = File();
  EXPECT_GT(file.size(), 3 * SnapshotSender::kSliceBytes);
  EXPECT_GE(turns, 2 * file.size() / SnapshotSender::kSliceBytes) << "it is read twice before it is sent";
  EXPECT_GE(asks + 2, turns) << "the loop is not left asleep meanwhile";
  EXPECT_FALSE(ReplayOf(file).parting.has_value());
  EXPECT_EQ(Told("is being sent"), 1U);
  EXPECT_EQ(Told("was sent"), 1U);
  EXPECT_FALSE(recorder.fetched());
}

TEST_F(Fetches, ARecordingThatCannotBeReadIsGivenUpAndLetGo) {
  Make();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 500; ++i) world->Turn(5);
  hal::PartitionSim& data = world->data();
  ASSERT_EQ(Begin("recording"), Reason::None);
  EXPECT_TRUE(world->box(0).recorder->fetched());
  data.SetFault({.call = hal::SimCall::kRead, .first = data.calls(hal::SimCall::kRead), .count = UINT32_MAX});
  for (int i = 0; i < 10; ++i) world->Turn(5);
  data.SetFault({});
  world->Turn(5);
  EXPECT_FALSE(sender().busy());
  EXPECT_FALSE(world->box(0).recorder->fetched());
  EXPECT_EQ(Told("recording was given up: it cannot be read"), 1U);
  EXPECT_EQ(Told("is being sent"), 0U);
  EXPECT_EQ(Begin("recording"), Reason::None);
}

}  // namespace
}  // namespace dipper::runtime::test
