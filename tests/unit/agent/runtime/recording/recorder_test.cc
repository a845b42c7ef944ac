// agent/runtime/recorder and tools/lab/replay: what a device records runs again to the same images.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tests/unit/agent/runtime/recording/recorder_world.h"
#include "tools/lab/error.h"

namespace dipper::runtime::test {
namespace {

using schema::UpdateState;

std::string Told(const lab::ReplayResult& result) {
  if (!result.parting) return {};
  const lab::Parting& parting = *result.parting;
  return parting.what + "'s " + parting.of + " at record " + std::to_string(parting.record) + " of segment " +
         std::to_string(parting.segment) + ": recorded " + parting.recorded + ", computed " +
         parting.computed;
}

TEST(Recorder, ARunReplaysToTheSameImages) {
  auto world = MakeWorld();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 500; ++i) world->Turn(7);
  const lab::ReplayResult result = ReplayOf(Fetch(*world));
  EXPECT_FALSE(result.parting.has_value());
  EXPECT_GE(result.inputs, 3500U);
  EXPECT_GE(result.compared, 3U);
  EXPECT_EQ(result.left_out, 0U);
  EXPECT_TRUE(result.notes.empty()) << result.notes.front();
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
  EXPECT_EQ(result.newest.agent_version.view(), "0.1.0-test");
  EXPECT_EQ(world->box(0).recorder->state(), RecorderState::kRecording);
}

TEST(Recorder, WhatWasRefusedIsNotInTheRecording) {
  const auto line = [](uint64_t row) {
    const std::string id = R"({"id":)" + std::to_string(row / 4);
    const std::array<std::string, 4> lines = {
        id + R"(,"f0":)" + std::to_string(std::sin(static_cast<double>(row))) + "}", R"({"label":1})",
        R"({"lvl":3})", id + R"(,"label":)" + std::to_string(row % 3) + "}"};
    return lines[row % 4];
  };
  World world("", line, 0, {"main"}, {.agent_version = "0.1.0-test", .session = 7, .bytes_per_day = kPlenty},
              kSmallRing);
  ASSERT_TRUE(world.Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 100; ++i) world.Turn(8);
  const lab::ReplayResult result = ReplayOf(Fetch(world));
  EXPECT_FALSE(result.parting.has_value()) << Told(result);
  EXPECT_GE(result.inputs, 200U);
  EXPECT_NEAR(static_cast<double>(result.inputs), static_cast<double>(result.labels), 1);
  EXPECT_EQ(result.images[0], world.updater().champion()->ImageDigest());
}

TEST(Recorder, ATrialReplaysWithItsGateToTheConfirm) {
  auto world = MakeWorld({.segment_bytes = 256 * 1024, .segments = 8});
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 300; ++i) world->Turn(5);
  // Another learner: champion and challenger are told apart by their images.
  const Release second = PairedRelease(SensorSpec("rls"), "2");
  world->Offer(second, 2);
  ASSERT_TRUE(world->RunTo(UpdateState::Trial));
  const uint64_t before = world->box(0).recorder->counters().segments;
  for (int i = 0; i < 4000 && world->updater().state() == UpdateState::Trial; ++i) world->Turn(3);
  ASSERT_EQ(world->updater().state(), UpdateState::Confirmed);
  for (int i = 0; i < 300; ++i) world->Turn(5);
  EXPECT_GE(world->box(0).recorder->counters().segments, before + 1);
  const lab::ReplayResult result = ReplayOf(Fetch(*world));
  ASSERT_FALSE(result.parting.has_value()) << result.parting->what << " at " << result.parting->record;
  EXPECT_GE(result.update_steps, 2U);
  EXPECT_GE(result.decisions, 1U) << "the confirm is made here again";
  EXPECT_EQ(result.newest.lanes[0].package, second.digest);
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
}

TEST(Recorder, TheTrialsLastSegmentAloneReachesTheGatesNumbers) {
  auto world = MakeWorld({.segment_bytes = 256 * 1024, .segments = 8});
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  world->Offer(PairedRelease(SensorSpec("rls"), "2"), 2);
  ASSERT_TRUE(world->RunTo(UpdateState::Trial));
  for (int i = 0; i < 20; ++i) world->Turn(3);
  const std::vector<uint8_t> file = Fetch(*world);
  lab::Recording recording(file, "r");
  ASSERT_FALSE(recording.segments().empty());
  const lab::RecordedSegment& last = recording.segments().back();
  EXPECT_TRUE(last.about.has_gate);
  EXPECT_FALSE(last.about.lanes[1].package.IsZero());
  const lab::ReplayResult result = lab::Replay(recording, {});
  ASSERT_FALSE(result.parting.has_value()) << Told(result);
  // Champion, challenger and gate of the last digests at least.
  EXPECT_GE(result.compared, 3U);
  EXPECT_EQ(result.images[1], world->updater().challenger()->ImageDigest());
}

TEST(Recorder, FreezingIsReplayedWhereItHappened) {
  auto world = MakeWorld();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 100; ++i) world->Turn(3);
  world->Command("freeze", 11);
  for (int i = 0; i < 100; ++i) world->Turn(3);
  world->Command("unfreeze", 12);
  for (int i = 0; i < 100; ++i) world->Turn(3);
  const lab::ReplayResult result = ReplayOf(Fetch(*world));
  ASSERT_FALSE(result.parting.has_value());
  EXPECT_EQ(result.commands, 2U);
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
}

TEST(Recorder, TheRingGoesAroundAndKeepsWholeSegments) {
  auto world = MakeWorld({.segment_bytes = 48 * 1024, .segments = 3});
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 3000; ++i) world->Turn(5);
  const RecorderCounters counters = world->box(0).recorder->counters();
  EXPECT_GT(counters.segments, 6U);
  EXPECT_EQ(counters.left_out, 0U);
  const std::vector<uint8_t> file = Fetch(*world);
  lab::Recording recording(file, "r");
  ASSERT_EQ(recording.segments().size(), 3U);
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_EQ(recording.segments()[i].head.sequence, recording.segments()[i - 1].head.sequence + 1);
    EXPECT_EQ(recording.segments()[i].about.cause, SegmentCause::kFull);
  }
  const lab::ReplayResult result = lab::Replay(recording, {});
  ASSERT_FALSE(result.parting.has_value());
  EXPECT_EQ(result.segments, 3U);
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
}

TEST(Recorder, ADaysBytesAreNotExceededAndTheRestIsCounted) {
  constexpr uint64_t kADay = 100 * 1024;
  auto world = MakeWorld({.segment_bytes = 48 * 1024, .segments = 3}, kADay);
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 3000; ++i) world->Turn(5);
  Recorder& recorder = *world->box(0).recorder;
  EXPECT_EQ(recorder.state(), RecorderState::kSpent);
  EXPECT_LE(recorder.counters().written_bytes, kADay);
  const uint64_t left_out = recorder.counters().left_out;
  EXPECT_GT(left_out, 0U);
  // Half a day later there is enough for a segment again, and it says what is missing before it.
  for (int i = 0; i < 50; ++i) {
    world->clock.now_ns += 900'000'000'000;
    world->Turn(5);
  }
  EXPECT_EQ(recorder.state(), RecorderState::kRecording);
  const lab::ReplayResult result = ReplayOf(Fetch(*world));
  ASSERT_FALSE(result.parting.has_value());
  EXPECT_GE(result.left_out, left_out);
}

TEST(Recorder, AFetchHoldsTheRingAndLosesNothingOfTheFile) {
  auto world = MakeWorld({.segment_bytes = 48 * 1024, .segments = 3});
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  for (int i = 0; i < 3000; ++i) world->Turn(5);
  Recorder& recorder = *world->box(0).recorder;
  const auto bytes = BeginFetch(recorder);
  ASSERT_TRUE(bytes.ok());
  for (int i = 0; i < 2000; ++i) world->Turn(5);
  EXPECT_EQ(recorder.state(), RecorderState::kHeld);
  EXPECT_GT(recorder.counters().left_out, 0U);
  std::vector<uint8_t> file(*bytes);
  ASSERT_EQ(recorder.ReadFile(0, file), base::Status::kOk);
  EXPECT_FALSE(ReplayOf(file).parting.has_value());
  recorder.Release(true);
  for (int i = 0; i < 10; ++i) world->Turn(5);
  EXPECT_EQ(recorder.state(), RecorderState::kRecording);
  EXPECT_FALSE(ReplayOf(Fetch(*world)).parting.has_value());
}

TEST(Recorder, ImagesThatDoNotFitPauseItAndSayHow) {
  auto world = MakeWorld({.segment_bytes = 16 * 1024, .segments = 2});
  schema::SpecT spec = SensorSpec("rls");
  ASSERT_TRUE(world->Serve(MakeRelease(learn::testing::MakeSpec("rls", 2, 0), "1"), 1));
  Recorder& recorder = *world->box(0).recorder;
  if (recorder.state() == RecorderState::kRecording) GTEST_SKIP() << "the images of this spec are small";
  EXPECT_EQ(recorder.state(), RecorderState::kTooLarge);
  EXPECT_NE(RecorderStateText(recorder.state()).find("raise recorder.bytes"), std::string_view::npos);
  EXPECT_TRUE(Fetch(*world).empty());
}

bool Contains(const std::vector<uint8_t>& file, base::ByteView bytes) {
  return std::search(file.begin(), file.end(), bytes.begin(), bytes.end()) != file.end();
}

TEST(Recorder, AnEncryptedModelsRecordingIsReadWithItsGroupsKeyOnly) {
  const package::PrivateKey group = package::GenerateKey().value();
  package::GroupKeys keys;
  ASSERT_EQ(keys.Add(group), base::Status::kOk);
  World::group_keys = &keys;
  auto world = MakeWorld({.segment_bytes = 256 * 1024, .segments = 8});
  World::group_keys = nullptr;
  const Release first = PairedRelease(SensorSpec(), "1", {group.public_key()});
  ASSERT_TRUE(world->Serve(first, 1));
  for (int i = 0; i < 300; ++i) world->Turn(5);
  const base::ByteView image = world->updater().champion()->image();
  const std::vector<uint8_t> before(image.begin(), image.end());
  const std::vector<uint8_t> file = Fetch(*world);
  // Sealed where it lives, and opened again.
  EXPECT_TRUE(std::ranges::equal(before, image));
  EXPECT_EQ(world->box(0).recorder->state(), RecorderState::kRecording);
  // Neither the samples nor what was learned stand in it.
  size_t fullest = 0;
  const auto filled = [&](size_t at) {
    return std::ranges::count_if(base::ByteView(before).subspan(at, 32), [](uint8_t b) { return b != 0; });
  };
  for (size_t at = 0; at + 32 <= before.size(); at += 8)
    fullest = filled(at) > filled(fullest) ? at : fullest;
  ASSERT_GT(filled(fullest), 20);
  EXPECT_FALSE(Contains(file, base::ByteView(before).subspan(fullest, 32)));
  try {
    static_cast<void>(ReplayOf(file));
    ADD_FAILURE() << "it was read without a key";
  } catch (const lab::Error& error) {
    EXPECT_NE(std::string(error.what()).find(base::ToHex(first.digest).view()), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("--group-key"), std::string::npos);
  }
  const package::Secret key = world->updater().loaded(false)->content_key;
  const lab::ReplayResult result =
      ReplayOf(file, [&](const base::Digest& package) -> std::optional<package::Secret> {
        if (package == first.digest) return key;
        return std::nullopt;
      });
  ASSERT_FALSE(result.parting.has_value());
  EXPECT_GE(result.inputs, 1500U);
  EXPECT_EQ(result.images[0], world->updater().champion()->ImageDigest());
  // The samples are sealed too.
  lab::Recording recording(file, "r");
  for (const lab::RecordedSegment& segment : recording.segments()) {
    if (segment.page_count() == 0) continue;
    const base::ByteView page = segment.bytes.subspan(segment.head.pages_offset, store::kRecorderPageBytes);
    std::vector<uint8_t> copy(page.begin(), page.end());
    store::RecorderPage about;
    base::MutableBytes records;
    ASSERT_EQ(store::OpenPage(copy, &about, &records), base::Status::kOk);
    EXPECT_TRUE(about.sealed);
  }
  // Another package's key opens nothing: the segments are left out, or nothing is left.
  const package::Secret other{};
  EXPECT_THROW(static_cast<void>(ReplayOf(file, [&](const base::Digest&) { return std::optional(other); })),
               lab::Error);
}

TEST(RecorderAnswer, EverythingThatWasAnsweredCounts) {
  std::array<double, 3> shares{0.2, 0.3, 0.5};
  FeedAnswer answer;
  answer.observed = answer.learned = true;
  answer.output.probabilities = shares;
  answer.output.value = 3.14159;
  answer.outcome.loss = 0.5;
  const AnswerMark mark = MarkOf(answer);
  EXPECT_EQ(MarkOf(answer), mark);
  EXPECT_NEAR(MarkedNumber(mark), 3.14159, 3.14159 / 128) << "two to three digits are kept";
  learn::Output& out = answer.output;
  learn::Outcome& scored = answer.outcome;
  const auto counts = [&](auto& field, const auto value) {
    const auto before = field;
    field = value;
    EXPECT_NE(MarkOf(answer), mark) << "changed to " << ::testing::PrintToString(value);
    field = before;
  };
  for (bool* flag :
       {&answer.learned, &out.cold, &out.has_interval, &out.unbounded, &out.has_score, &out.anomaly_active,
        &out.anomaly_raised, &out.anomaly_cleared, &out.drift_warning, &out.drift_alarm, &scored.valid,
        &scored.drift_warning, &scored.drift_alarm, &scored.has_score, &scored.anomaly_active,
        &scored.anomaly_raised, &scored.anomaly_cleared})
    counts(*flag, !*flag);
  for (double* value : {&out.value, &out.low, &out.high, &out.anomaly_score, &out.anomaly_raw,
                        &out.anomaly_residual, &scored.label, &scored.predicted, &scored.loss,
                        &scored.trivial_loss, &scored.anomaly_score, &shares[0], &shares[1], &shares[2]})
    counts(*value, std::nextafter(*value, 1e9));
  counts(out.class_index, 2);
  counts(out.drift_feature, 2);
  counts(out.class_set, uint64_t{5});
  counts(scored.id, uint64_t{9});
  // Sign and payload of a not-a-number are the machine's own.
  out.low = std::numeric_limits<double>::quiet_NaN();
  const AnswerMark missing = MarkOf(answer);
  out.low = -out.low;
  EXPECT_EQ(MarkOf(answer), missing);
}

}  // namespace
}  // namespace dipper::runtime::test
