// Encrypted packages through a whole device: only devices of the group take them, what they learn is
// encrypted at rest, and a key that is missing for a while costs nothing.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/update/checkpoint.h"
#include "tests/fault/update/update_world.h"

namespace dipper::update::test {
namespace {

using schema::Reason;
using schema::UpdateState;

const package::PrivateKey& GroupKey() {
  static const package::PrivateKey key = package::GenerateKey().value();
  return key;
}

const package::GroupKeys& DeviceKeys() {
  static const package::GroupKeys keys = [] {
    package::GroupKeys made;
    DIPPER_CHECK(Ok(made.Add(GroupKey())));
    return made;
  }();
  return keys;
}

Release EncryptedRelease(const std::string& version, uint32_t number, bool inherits = false) {
  return MakeRelease(
      version, number,
      {.edit = [=](schema::ManifestT& manifest, Bytes&) { manifest.gate->start_from_champion = inherits; },
       .groups = {GroupKey().public_key()}});
}

class EncryptedUpdateTest : public testing::Test {
 protected:
  void Restart(const package::GroupKeys* keys) {
    device_.reset();
    media_.Restart(1);
    device_ = std::make_unique<Device>(media_, 0, keys);
    ASSERT_EQ(device_->Start(), base::Status::kOk);
  }
  void SetUp() override {
    Restart(&DeviceKeys());
    ASSERT_TRUE(device_->Play(v1_, 1, kBetter));
    ASSERT_TRUE(device_->reports().confirmed);
  }
  Updater& updater() { return device_->updater(); }
  /// Stops as planned at a moment when a checkpoint may be written, so that all that was learned is in it.
  void StopSaved() { StopSavedAt(*device_, v1_); }
  static void StopSavedAt(Device& device, const Release& champion) {
    const auto due = [&] {
      return device.updater().store().CheckpointAllowed(device.updater().Status().champion_slot);
    };
    for (int turn = 0; turn < 40 && !due(); ++turn) device.PlayTurn(champion, 1, kSame);
    ASSERT_TRUE(due());
    ASSERT_EQ(device.updater().PlannedStop(), base::Status::kOk);
  }

  const Release v1_ = EncryptedRelease("1", 2);
  Media media_;
  std::unique_ptr<Device> device_;
};

TEST_F(EncryptedUpdateTest, WhatItLearnedSurvivesAndIsNotReadableAtRest) {
  StopSaved();
  const uint64_t samples = updater().champion()->samples();
  const base::Digest image = updater().champion()->ImageDigest();
  ASSERT_GT(samples, 0U);
  // The checkpoint as it lies there: of the image's length, and another.
  const store::SlotId slot = updater().Status().champion_slot;
  std::vector<uint8_t> stored(updater().champion_spec()->state_bytes());
  const auto info = updater().store().ReadCheckpoint(slot, store::ImageSource::kNewestCheckpoint, stored);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->image_bytes, stored.size());
  EXPECT_NE(info->image_digest, image);
  // An image is mostly zeros: sealed bytes have each value about as often as another.
  std::array<size_t, 256> counts{};
  for (const uint8_t byte : stored) ++counts[byte];
  EXPECT_LT(*std::ranges::max_element(counts), stored.size() / 64 + 32);
  Restart(&DeviceKeys());
  ASSERT_NE(updater().champion(), nullptr);
  EXPECT_EQ(updater().champion()->samples(), samples);
  EXPECT_EQ(updater().champion()->ImageDigest(), image);
}

TEST_F(EncryptedUpdateTest, WithoutItsKeyNothingIsWrittenAndWithItAllIsBack) {
  StopSaved();
  const uint64_t samples = updater().champion()->samples();
  const base::Digest digest = updater().Status().champion;
  package::GroupKeys stranger;
  ASSERT_EQ(stranger.Add(package::GenerateKey().value()), base::Status::kOk);
  for (const package::GroupKeys* keys :
       {static_cast<const package::GroupKeys*>(nullptr), &std::as_const(stranger)}) {
    Restart(keys);
    EXPECT_EQ(updater().champion(), nullptr);
    ASSERT_FALSE(device_->events().empty());
    EXPECT_EQ(device_->events().front().reason, Reason::NoGroupKey);
    EXPECT_EQ(updater().store().record().lkg_digest, digest);
    EXPECT_EQ(updater().store().record().rung, store::Rung::kNewestCheckpoint);
    EXPECT_FALSE(updater().store().IsDenied(digest));
  }
  Restart(&DeviceKeys());
  ASSERT_NE(updater().champion(), nullptr);
  EXPECT_EQ(updater().champion()->samples(), samples);
}

TEST_F(EncryptedUpdateTest, ADeviceOutsideTheGroupRefusesAtTheHead) {
  Media media;
  Device device(media);
  ASSERT_EQ(device.Start(), base::Status::kOk);
  ASSERT_TRUE(device.Play(v1_, 1, kBetter));
  EXPECT_EQ(device.updater().state(), UpdateState::Rejected);
  EXPECT_EQ(device.updater().Status().reason, Reason::NoGroupKey);
  EXPECT_EQ(device.updater().Status().transfer.blocks, 0U);
  EXPECT_FALSE(device.updater().store().IsDenied(v1_.digest));
  // It takes a plain one afterwards.
  ASSERT_TRUE(device.Play(MakeRelease("2", 2), 2, kBetter));
  EXPECT_TRUE(device.reports().confirmed);
}

TEST_F(EncryptedUpdateTest, ATrialGoesOnFromItsSealedCheckpoint) {
  const Release v2 = EncryptedRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(v2, 2, kSame, UpdateState::Trial));
  for (int turn = 0; turn < 3; ++turn) device_->PlayTurn(v2, 2, kSame);
  ASSERT_EQ(updater().state(), UpdateState::Trial);
  const uint64_t samples = updater().challenger()->samples();
  const uint64_t counted = updater().ReadGate()->counted;
  ASSERT_GT(counted, 0U);
  ASSERT_EQ(updater().PlannedStop(), base::Status::kOk);
  Restart(&DeviceKeys());
  ASSERT_EQ(updater().state(), UpdateState::Trial);
  EXPECT_EQ(updater().challenger()->samples(), samples);
  EXPECT_EQ(updater().ReadGate()->counted, counted);
  ASSERT_TRUE(device_->Play(v2, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, v2.digest);
}

// A key file that is away for a while, whatever the starts meanwhile, costs the challenger neither its trial
// nor what it has learned.
TEST_F(EncryptedUpdateTest, ATrialWaitsForItsKey) {
  // The champion must serve without the key.
  const Release plain = MakeRelease("2", 3), v3 = EncryptedRelease("3", 4);
  ASSERT_TRUE(device_->Play(plain, 2, kBetter));
  ASSERT_EQ(updater().Status().champion, plain.digest);
  ASSERT_TRUE(device_->PlayUntil(v3, 3, kSame, UpdateState::Trial));
  for (int turn = 0; turn < 3; ++turn) device_->PlayTurn(v3, 3, kSame);
  const uint64_t samples = updater().challenger()->samples();
  ASSERT_EQ(updater().PlannedStop(), base::Status::kOk);
  const store::OfferState offer = device_->trust().counters().offer(0);
  for (int start = 0; start < 2 * store::kTriesPerTrial; ++start) {
    SCOPED_TRACE(start);
    Restart(nullptr);
    EXPECT_EQ(updater().state(), UpdateState::Staged);
    EXPECT_EQ(updater().challenger(), nullptr);
    EXPECT_EQ(updater().Status().champion, plain.digest);
    EXPECT_EQ(updater().Status().reason, Reason::NoGroupKey);
    EXPECT_EQ(device_->events().back().to, UpdateState::Staged);
    EXPECT_EQ(device_->events().back().reason, Reason::NoGroupKey);
    EXPECT_EQ(device_->events().back().package, v3.digest);
    EXPECT_EQ(updater().store().record().trial_digest, v3.digest);
    EXPECT_EQ(updater().store().record().tries_left, store::kTriesPerTrial);
    EXPECT_EQ(device_->trust().counters().offer(0), offer);
    const uint64_t learned = updater().champion()->samples();
    for (int turn = 0; turn < 12; ++turn) device_->PlayTurn(v3, 3, kBetter);
    EXPECT_GT(updater().champion()->samples(), learned);
    EXPECT_EQ(updater().state(), UpdateState::Staged);
    EXPECT_EQ(device_->trust().counters().offer(0), offer);
  }
  Restart(&DeviceKeys());
  ASSERT_EQ(updater().state(), UpdateState::Trial);
  EXPECT_GE(updater().challenger()->samples(), samples);
  ASSERT_TRUE(device_->Play(v3, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, v3.digest);
}

TEST_F(EncryptedUpdateTest, ATrialThatWaitsForItsKeyMayBeDropped) {
  const Release plain = MakeRelease("2", 3), v3 = EncryptedRelease("3", 4), v4 = MakeRelease("4", 5);
  ASSERT_TRUE(device_->Play(plain, 2, kBetter));
  ASSERT_TRUE(device_->PlayUntil(v3, 3, kSame, UpdateState::Trial));
  Restart(nullptr);
  ASSERT_EQ(updater().state(), UpdateState::Staged);
  EXPECT_EQ(updater().Confirm(), Reason::NoTrial);
  EXPECT_EQ(updater().FallBack(), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::FellBack);
  EXPECT_FALSE(updater().store().IsDenied(v3.digest));
  ASSERT_TRUE(device_->Play(v4, 4, kBetter));
  EXPECT_EQ(updater().Status().champion, v4.digest);
}

// Or an agent that cannot run what it finds staged would never be updated again.
TEST_F(EncryptedUpdateTest, ANewerOfferTakesThePlaceOfATrialThatWaits) {
  const Release plain = MakeRelease("2", 3), v3 = EncryptedRelease("3", 4), v4 = MakeRelease("4", 5);
  ASSERT_TRUE(device_->Play(plain, 2, kBetter));
  ASSERT_TRUE(device_->PlayUntil(v3, 3, kSame, UpdateState::Trial));
  Restart(nullptr);
  EXPECT_EQ(updater().OnOffer(v3.Offer(4)), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Staged) << "the same package";
  ASSERT_TRUE(device_->Play(v4, 5, kBetter));
  EXPECT_EQ(updater().Status().champion, v4.digest);
  const auto ended = std::ranges::find(device_->events(), UpdateState::Failed, &UpdateEvent::to);
  ASSERT_NE(ended, device_->events().end());
  EXPECT_EQ(ended->from, UpdateState::Staged);
  EXPECT_EQ(ended->reason, Reason::Superseded);
  EXPECT_EQ(ended->package, v3.digest);
  EXPECT_FALSE(ended->denied);
}

TEST_F(EncryptedUpdateTest, ASealedCheckpointThatIsDamagedIsNotServed) {
  ASSERT_EQ(updater().PlannedStop(), base::Status::kOk);
  const store::SlotId slot = updater().Status().champion_slot;
  hal::PartitionSim& partition = slot == store::SlotId::kA ? media_.slot_a : media_.slot_b;
  const auto layout = store::ComputeSlotLayout(partition.geometry());
  for (uint64_t area = 0; area < 2; ++area) {
    partition.FlipBits(
        layout->checkpoint_offset + area * layout->checkpoint_bytes + layout->checkpoint_header, 1);
  }
  Restart(&DeviceKeys());
  ASSERT_NE(updater().champion(), nullptr);
  EXPECT_EQ(updater().Status().champion, v1_.digest);
  EXPECT_EQ(updater().champion()->samples(), 0U);  // the package's own image
}

/// A plain package may be started from the champion, but not from one that only a group may read.
TEST_F(EncryptedUpdateTest, APlainChallengerDoesNotInheritAnEncryptedChampion) {
  const uint64_t learned = updater().champion()->samples();
  const auto challenger_samples = [&](const Release& release, uint64_t number) {
    EXPECT_TRUE(device_->PlayUntil(release, number, kSame, UpdateState::Trial));
    const uint64_t samples = updater().challenger() == nullptr ? 0 : updater().challenger()->samples();
    EXPECT_EQ(updater().FallBack(), Reason::None);
    return samples;
  };
  EXPECT_GE(challenger_samples(EncryptedRelease("2", 3, true), 2), learned);
  const Release plain = MakeRelease("3", 3, {.edit = [](schema::ManifestT& manifest, Bytes&) {
                                      manifest.gate->start_from_champion = true;
                                    }});
  EXPECT_LT(challenger_samples(plain, 3), learned);
}

TEST_F(EncryptedUpdateTest, APlainCheckpointIsTheImageAsItIs) {
  Media media;
  Device device(media);
  ASSERT_EQ(device.Start(), base::Status::kOk);
  const Release plain = MakeRelease("1", 2);
  ASSERT_TRUE(device.Play(plain, 1, kBetter));
  StopSavedAt(device, plain);
  std::vector<uint8_t> stored(device.updater().champion_spec()->state_bytes());
  const auto info = device.updater().store().ReadCheckpoint(device.updater().Status().champion_slot,
                                                            store::ImageSource::kNewestCheckpoint, stored);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->image_digest, device.updater().champion()->ImageDigest());
  EXPECT_EQ(info->gate_bytes, 0U);
}

TEST(ReuseInAnUpdate, AnEqualImageNeedsItsHeadOnlyAndSaysSo) {
  Media media;
  Device device(media, 0, nullptr, true);
  ASSERT_EQ(device.Start(), base::Status::kOk);
  ASSERT_TRUE(device.Play(MakeRelease("1", 2), 1, kBetter));
  ASSERT_EQ(device.updater().Status().transfer.reused, 0U);
  const uint64_t blocks = device.updater().Status().transfer.blocks;
  device.LoseBlocks();
  const Release v2 = MakeRelease("2", 3);
  ASSERT_TRUE(device.Play(v2, 2, kBetter));
  EXPECT_EQ(device.updater().Status().champion, v2.digest);
  EXPECT_EQ(device.updater().Status().transfer.blocks, blocks);
  const auto verifying = std::ranges::find_if(device.events(), [&](const UpdateEvent& event) {
    return event.package == v2.digest && event.to == UpdateState::Verifying;
  });
  ASSERT_NE(verifying, device.events().end());
  EXPECT_EQ(verifying->blocks_reused, verifying->blocks_total);
  EXPECT_GT(verifying->blocks_total, 0U);
}

}  // namespace
}  // namespace dipper::update::test
