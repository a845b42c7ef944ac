// The recorder allocates nothing after its start: operator new is counted over segments, digests, commands,
// freezing, a fetch and the stop, in a ring that goes around.
#include <gtest/gtest.h>

#include <array>

#include "tests/support/counted_heap.h"
#include "tests/support/memory_partition.h"
#include "tests/unit/agent/runtime/recording/recorder_world.h"

namespace dipper::runtime::test {
namespace {

using base::Status;

/// Samples, and now and then a label alone, a command, a freeze: what a month brings.
void Record(Recorder* recorder, uint64_t count) {
  std::array<float, 2> values{};
  FeedAnswer answer;
  answer.observed = true;
  for (uint64_t i = 0; i < count; ++i) {
    values[0] = static_cast<float>(i) * 0.25F;
    answer.output.value = static_cast<double>(i);
    recorder->BeginRecord();
    recorder->OnInput(false, {.is_label = i % 7 == 6,
                              .id = i,
                              .time_ns = static_cast<int64_t>(i) * 1000,
                              .has_label = i % 2 == 0,
                              .label = 1.5,
                              .values = values});
    recorder->OnAnswer(false, answer);
    if (i % 64 == 0) recorder->OnTiming(1234);
    if (i % 500 == 0) recorder->OnCommand("checkpoint", i, schema::Reason::None);
    if (i % 700 == 0) recorder->OnFreeze(i % 1400 == 0);
    recorder->OnSkipped(i / 100, 0);
    recorder->Poll(static_cast<int64_t>(i) * 1'000'000);
  }
}

TEST(RecorderHeap, NothingIsAllocatedAfterTheStart) {
  auto world = MakeWorld();
  ASSERT_TRUE(world->Serve(MakeRelease(SensorSpec(), "1"), 1));
  const auto memory = std::make_unique<dipper::test::MemoryPartition<512 * 1024, 4096>>();
  const auto ring = std::make_unique<store::RecorderRing>(
      *memory, store::RecorderArea{.segment_bytes = 64 * 1024, .segments = 4}, "main");
  const auto recorder = std::make_unique<Recorder>(
      RecorderConfig{.agent_version = "0.1.0-test", .bytes_per_day = kPlenty}, *ring, world->clock);
  ASSERT_EQ(recorder->Start(world->updater()), Status::kOk);
  std::array<uint8_t, 1000> part;

  const uint64_t before = dipper::test::HeapAllocations();
  Record(recorder.get(), 20'000);
  const auto bytes = BeginFetch(*recorder);
  bool fine = bytes.ok();
  for (uint64_t at = 0; fine && at + part.size() <= *bytes; at += part.size())
    fine = base::Ok(recorder->ReadFile(at, part));
  Record(recorder.get(), 5'000);
  recorder->Release(true);
  Record(recorder.get(), 20'000);
  recorder->Stop();
  const uint64_t after = dipper::test::HeapAllocations();

  EXPECT_TRUE(fine);
  EXPECT_EQ(after, before);
  EXPECT_GT(recorder->counters().segments, 8U) << "the ring went around";
  EXPECT_EQ(recorder->counters().failures, 0U);
  EXPECT_GT(recorder->counters().records, 40'000U);
  EXPECT_TRUE(dipper::test::HeapCounterCounts());
}

}  // namespace
}  // namespace dipper::runtime::test
