// One whole update with the real code, the power cut at every write, erase and sync of it, every unsynced
// sector old, new or torn; then each operation failing in turn. After each: the invariants I1 to I8 of
// docs/reference/storage.md, and the update can still be brought to its end. DIPPER_CRASH_SAMPLES=n takes n
// outcomes a cut (default 6).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/fault/update/update_world.h"

namespace dipper::update::test {
namespace {

struct Stage {
  Release v1 = MakeRelease("1", 1);
  Release v2 = MakeRelease("2", 2);
  std::vector<Bytes> before;  // v1 confirmed, and has learned
};

// A device whose v1 is confirmed and has learned for a while; made once.
const Stage& ReadyDevice() {
  static const Stage* stage = [] {
    auto* made = new Stage;
    Media media;
    Device device(media);
    DIPPER_CHECK(Ok(device.Start()));
    DIPPER_CHECK(device.Play(made->v1, 1, kBetter));
    DIPPER_CHECK(device.reports().confirmed);
    DIPPER_CHECK(Ok(device.updater().PlannedStop()));
    made->before = media.Copy();
    return made;
  }();
  return *stage;
}

struct Expectation {
  double challenger_loss;
  bool confirms;
};

// What must hold after any restart, whatever happened before.
void CheckInvariants(Media& media, Device& device, const Reports& before, const Expectation& expected,
                     uint64_t saved_samples, const base::Digest& saved_package) {
  const Stage& stage = ReadyDevice();
  const store::BootRecord& record = device.updater().store().record();
  const UpdateStatus status = device.updater().Status();
  // I1, I2, I7: a record, a champion whose package verifies, with a name.
  ASSERT_NE(record.lkg_slot, store::SlotId::kNone);
  ASSERT_NE(device.updater().champion(), nullptr);
  ASSERT_TRUE(status.champion == stage.v1.digest || status.champion == stage.v2.digest);
  EXPECT_EQ(record.lkg_digest, status.champion);
  // I3, I4: the floor is at least v1's and never above what serves.
  EXPECT_LE(record.floor, record.lkg_version);
  EXPECT_GE(record.floor.version, 1U);
  // I6: what was reported stays.
  if (before.confirmed) {
    EXPECT_EQ(status.champion, stage.v2.digest);
  }
  if (before.fell_back) {
    EXPECT_EQ(status.champion, stage.v1.digest);
    EXPECT_TRUE(device.updater().store().IsDenied(stage.v2.digest));
  }
  if (!expected.confirms) {
    EXPECT_EQ(status.champion, stage.v1.digest);
  }
  // I8: no more is lost than since the newest checkpoint.
  if (saved_samples > 0 && saved_package == status.champion) {
    EXPECT_GE(device.updater().champion()->samples(), saved_samples);
  }
  (void)media;
}

uint64_t Samples() {
  const char* text = std::getenv("DIPPER_CRASH_SAMPLES");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : 6;
}

class CutUpdate : public testing::TestWithParam<bool> {};

TEST_P(CutUpdate, AtEveryOperation) {
  const Stage& stage = ReadyDevice();
  const Expectation expected = {GetParam() ? kBetter : kWorse, GetParam()};
  Media media;
  media.Load(stage.before);
  uint64_t operations = 0;
  {
    Device device(media);
    ASSERT_EQ(device.Start(), base::Status::kOk);
    ASSERT_TRUE(device.Play(stage.v2, 2, expected.challenger_loss));
    // The update really happened.
    ASSERT_EQ(device.reports().confirmed, expected.confirms);
    ASSERT_EQ(device.reports().fell_back, !expected.confirms);
    ASSERT_EQ(device.updater().Status().champion, expected.confirms ? stage.v2.digest : stage.v1.digest);
    if (!expected.confirms) {
      EXPECT_EQ(device.reports().reason, schema::Reason::ShownWorse);
    }
    operations = media.power.operations;
  }
  uint64_t states = 0;
  for (uint64_t cut = 0; cut < operations; ++cut) {
    for (uint64_t seed = 0; seed < Samples(); ++seed) {
      SCOPED_TRACE("cut at operation " + std::to_string(cut) + ", outcome seed " + std::to_string(seed));
      media.Load(stage.before);
      media.power.cut_at = cut;
      Reports reported;
      uint64_t saved_samples = 0;
      base::Digest saved_package;
      {
        Device device(media);
        if (Ok(device.Start())) device.Play(stage.v2, 2, expected.challenger_loss);
        ASSERT_FALSE(media.power.on);
        reported = device.reports();
        saved_samples = device.saved_samples();
        saved_package = device.saved_package();
      }
      media.Restart(seed);
      Device device(media);
      ASSERT_EQ(device.Start(), base::Status::kOk);
      CheckInvariants(media, device, reported, expected, saved_samples, saved_package);
      // A retained offer comes again; at worst the fleet offers anew. One cut takes at most one of three
      // tries.
      if (!device.Play(stage.v2, 2, expected.challenger_loss) ||
          device.updater().Status().state == schema::UpdateState::Failed) {
        ASSERT_TRUE(device.Play(stage.v2, 3, expected.challenger_loss));
      }
      EXPECT_EQ(device.updater().Status().champion, expected.confirms ? stage.v2.digest : stage.v1.digest);
      EXPECT_LE(device.reports().trial_starts, 3U);
      ++states;
      if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
  }
  std::printf("%llu operations, %llu states tried\n", static_cast<unsigned long long>(operations),
              static_cast<unsigned long long>(states));
}

INSTANTIATE_TEST_SUITE_P(ConfirmAndFallBack, CutUpdate, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Confirm" : "FallBack"; });

class FailingMedia : public testing::TestWithParam<bool> {};

TEST_P(FailingMedia, EveryWriteAndSyncOfEveryPartition) {
  const bool confirms = GetParam();
  const double loss = confirms ? kBetter : kWorse;
  const auto expected_end = confirms ? schema::UpdateState::Confirmed : schema::UpdateState::FellBack;
  const Stage& stage = ReadyDevice();
  uint64_t tried = 0;
  for (int which = 0; which < 3; ++which) {
    for (hal::SimCall call : {hal::SimCall::kWrite, hal::SimCall::kSync, hal::SimCall::kErase}) {
      for (uint64_t k = 0; k < 60; ++k) {
        SCOPED_TRACE("partition " + std::to_string(which) + " call kind " +
                     std::to_string(static_cast<int>(call)) + " number " + std::to_string(k));
        Media media;
        media.Load(stage.before);
        hal::PartitionSim* partition = which == 0 ? &media.boot : which == 1 ? &media.slot_a : &media.slot_b;
        const uint64_t done = partition->calls(call);
        partition->SetFault({.call = call, .first = done + k, .count = 1, .partial = true});
        Device device(media);
        ASSERT_EQ(device.Start(), base::Status::kOk);
        device.Play(stage.v2, 2, loss);
        ASSERT_NE(device.updater().champion(), nullptr);  // the champion still serves
        const bool reached = partition->calls(call) > done + k;
        if (device.updater().Status().state != expected_end) {
          ASSERT_TRUE(device.Play(stage.v2, 3, loss)) << "a later update works";
        }
        EXPECT_EQ(device.updater().Status().champion, confirms ? stage.v2.digest : stage.v1.digest);
        EXPECT_EQ(device.updater().store().IsDenied(stage.v2.digest), !confirms);
        ++tried;
        if (HasFatalFailure() || HasNonfatalFailure()) return;
        if (!reached) break;
      }
    }
  }
  std::printf("%llu failing calls tried\n", static_cast<unsigned long long>(tried));
}

INSTANTIATE_TEST_SUITE_P(ConfirmAndFallBack, FailingMedia, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Confirm" : "FallBack"; });

// Reads that fail once are tried again unseen; reads that go on failing for a while cost at most the update.
TEST(FailingReads, OfEveryPartition) {
  const Stage& stage = ReadyDevice();
  uint64_t tried = 0;
  for (const uint64_t failing : {1U, 4U}) {
    for (int which = 0; which < 3; ++which) {
      bool reached = true;
      for (uint64_t k = 0; reached; k += 1 + k / 8) {
        SCOPED_TRACE("partition " + std::to_string(which) + " read " + std::to_string(k) + ", " +
                     std::to_string(failing) + " in a row");
        Media media;
        media.Load(stage.before);
        hal::PartitionSim* partition = which == 0 ? &media.boot : which == 1 ? &media.slot_a : &media.slot_b;
        const uint64_t done = partition->calls(hal::SimCall::kRead);
        partition->SetFault({.call = hal::SimCall::kRead, .first = done + k, .count = failing});
        auto running = std::make_unique<Device>(media);
        base::Status started = running->Start();
        if (!Ok(started) && failing > 1) {
          // A boot partition that cannot be read is no reason to decide anything: the process starts again.
          running = std::make_unique<Device>(media);
          started = running->Start();
        }
        ASSERT_EQ(started, base::Status::kOk);
        Device& device = *running;
        ASSERT_NE(device.updater().champion(), nullptr);
        device.Play(stage.v2, 2, kBetter);
        reached = partition->calls(hal::SimCall::kRead) > done + k;
        const bool confirmed = device.updater().Status().champion == stage.v2.digest;
        EXPECT_TRUE(confirmed || failing > 1);
        if (!confirmed) {
          EXPECT_EQ(device.updater().Status().champion, stage.v1.digest);
          EXPECT_GT(device.updater().champion()->samples(), 0U);
          ASSERT_TRUE(device.Play(stage.v2, 3, kBetter)) << "a later update works";
        }
        EXPECT_EQ(device.updater().Status().champion, stage.v2.digest);
        EXPECT_FALSE(device.updater().store().IsDenied(stage.v2.digest));
        ++tried;
        if (testing::Test::HasFailure()) return;
      }
    }
  }
  std::printf("%llu failing reads tried\n", static_cast<unsigned long long>(tried));
}

TEST(DeniedModel, IsNotTakenAgain) {
  const Stage& stage = ReadyDevice();
  Media media;
  media.Load(stage.before);
  Device device(media);
  ASSERT_EQ(device.Start(), base::Status::kOk);
  ASSERT_TRUE(device.Play(stage.v2, 2, kWorse));
  ASSERT_TRUE(device.reports().fell_back);
  const uint64_t learned = device.updater().champion()->samples();
  ASSERT_TRUE(device.Play(stage.v2, 3, kBetter));
  EXPECT_TRUE(device.reports().rejected);
  EXPECT_EQ(device.reports().reason, schema::Reason::Denied);
  EXPECT_GT(device.updater().champion()->samples(), learned);  // it has gone on learning all the time
}

}  // namespace
}  // namespace dipper::update::test
