// The rules of ModelStore about checkpoints, and reading what a slot holds.
#include "tests/unit/agent/store/model_store_fixture.h"

namespace dipper::store {
namespace {

using base::Status;
using schema::Reason;

TEST_F(ModelStoreTest, CheckpointsWaitForAHealthyPeriodAndAlternate) {
  StartWithChampion(p1_);
  const Bytes gate(333, 5);
  Start();
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10), gate), Status::kOk)
      << "the first needs no wait";
  EXPECT_EQ(store_->WriteCheckpoint(SlotId::kA, 20, MakeImage(20)), Status::kFailedPrecondition);
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  EXPECT_TRUE(store_->CheckpointAllowed(SlotId::kA));
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 20, MakeImage(20)), Status::kOk);
  EXPECT_FALSE(store_->CheckpointAllowed(SlotId::kA));
  Bytes image(2048);
  Bytes gate_back(1000);
  auto info = store_->ReadCheckpoint(SlotId::kA, ImageSource::kNewestCheckpoint, image);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->samples, 20U);
  EXPECT_EQ(Bytes(image.begin(), image.begin() + 1040), MakeImage(20));
  info = store_->ReadCheckpoint(SlotId::kA, ImageSource::kOlderCheckpoint, image, gate_back);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->samples, 10U);
  EXPECT_EQ(Bytes(gate_back.begin(), gate_back.begin() + info->gate_bytes), gate);
  Bytes small(100);
  EXPECT_EQ(store_->ReadCheckpoint(SlotId::kA, ImageSource::kNewestCheckpoint, small).status(),
            Status::kResourceExhausted);
  EXPECT_EQ(store_->WriteCheckpoint(SlotId::kB, 1, MakeImage(1)), Status::kFailedPrecondition)
      << "not in use";
  store_->HealthyPeriod();
  EXPECT_EQ(store_->WriteCheckpoint(SlotId::kA, 1, Bytes(4096)), Status::kResourceExhausted);
}

TEST_F(ModelStoreTest, OnALowerRungTheFailedNewestIsReplacedAndTheRungReturns) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10)), Status::kOk);
  store_->HealthyPeriod();
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 20, MakeImage(20)), Status::kOk);
  for (int i = 0; i < kMaxOwnFailures; ++i) ASSERT_TRUE(store_->ChampionFailed(Reason::OverBudget).ok());
  EXPECT_EQ(store_->record().rung, Rung::kOlderCheckpoint);
  store_->HealthyPeriod();
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 30, MakeImage(30)), Status::kOk);
  EXPECT_EQ(Start().rung, Rung::kNewestCheckpoint);
  Bytes image(2048);
  EXPECT_EQ(store_->ReadCheckpoint(SlotId::kA, ImageSource::kNewestCheckpoint, image)->samples, 30U);
  EXPECT_EQ(store_->ReadCheckpoint(SlotId::kA, ImageSource::kOlderCheckpoint, image)->samples, 10U);
}

TEST_F(ModelStoreTest, EveryFlippedBitOfACheckpointIsNoticed) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10), Bytes(50, 1)), Status::kOk);
  const SlotLayout layout = *ComputeSlotLayout(StoreWorld::kSlot);
  Bytes image(2048);
  const auto flip_and_read = [&](uint64_t at) {
    world_.a.FlipBits(layout.checkpoint_offset + at, 4);
    const bool found = store_->ReadCheckpoint(SlotId::kA, ImageSource::kNewestCheckpoint, image).ok();
    world_.a.FlipBits(layout.checkpoint_offset + at, 4);
    return found;
  };
  for (uint64_t at = 0; at < kCheckpointInfoBytes; ++at) EXPECT_FALSE(flip_and_read(at)) << at;
  for (uint64_t at = 512; at < 512 + 1040; at += 13) EXPECT_FALSE(flip_and_read(at)) << at;
  EXPECT_FALSE(flip_and_read(512 + 1536 + 20));
  EXPECT_TRUE(store_->ReadCheckpoint(SlotId::kA, ImageSource::kNewestCheckpoint, image).ok());
}

TEST_F(ModelStoreTest, ReadsPackages) {
  StartWithChampion(p1_);
  EXPECT_EQ(*store_->PackageBytes(SlotId::kA), p1_.size());
  EXPECT_EQ(store_->PackageBytes(SlotId::kB).status(), Status::kNotFound);
  Bytes back(p1_.size());
  ASSERT_EQ(store_->ReadPackage(SlotId::kA, 0, back), Status::kOk);
  EXPECT_EQ(back, p1_);
  EXPECT_EQ(store_->ReadPackage(SlotId::kA, store_->PackageCapacity(), back), Status::kOutOfRange);
}

}  // namespace
}  // namespace dipper::store
