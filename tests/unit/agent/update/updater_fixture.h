// UpdaterTest: a device on simulated media whose v1 (security version 2) is confirmed, and what must hold of
// every end of an update: state, stored offer, both record copies, event, and that the champion goes on.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/fault/update/update_world.h"

namespace dipper::update::test {

using schema::Reason;
using schema::UpdateState;
using Manifest = schema::ManifestT;

inline ReleaseChange Edit(void (*edit)(Manifest& manifest)) {
  return {.edit = [edit](Manifest& manifest, Bytes&) { edit(manifest); }};
}

class UpdaterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (before_ != nullptr) return;
    Media media;
    Device device(media);
    ASSERT_EQ(device.Start(), base::Status::kOk);
    v1_ = new Release(MakeRelease("1", 2));
    ASSERT_TRUE(device.Play(*v1_, 1, kBetter));
    ASSERT_TRUE(device.reports().confirmed);
    ASSERT_EQ(device.updater().PlannedStop(), base::Status::kOk);
    before_ = new std::vector<Bytes>(media.Copy());
  }
  void SetUp() override {
    media_.Load(*before_);
    device_ = std::make_unique<Device>(media_);
    ASSERT_EQ(device_->Start(), base::Status::kOk);
  }
  Updater& updater() { return device_->updater(); }
  Reason Offer(const Bytes& offer) { return updater().OnOffer(offer); }

  /// Ends the run without warning: `seed` 1 keeps what was written (kill -9), others lose what was not synced
  /// (power); then the next run, told by `last` how this one ended.
  void Restart(uint64_t seed = 0, const store::LastRun& last = {}) {
    device_.reset();
    media_.Restart(seed);
    device_ = std::make_unique<Device>(media_);
    ASSERT_EQ(device_->Start(last), base::Status::kOk);
  }

  /// `boot` takes so many writes more, until SetFault({}).
  void FailBootAfter(uint64_t good_writes) {
    media_.boot.SetFault({.call = hal::SimCall::kWrite,
                          .first = media_.boot.calls(hal::SimCall::kWrite) + good_writes,
                          .count = 1000});
  }

  /// Healthy, and past the turn of an offer that is spread over an hour.
  void PollPastSpread() {
    ASSERT_EQ(updater().HealthyMark(), base::Status::kOk);
    device_->Poll();
    device_->Poll(3600);
  }

  /// Both copies of the boot record, as they lie on the medium.
  std::vector<store::BootRecord> Records() {
    std::vector<store::BootRecord> records;
    const store::CopyPairLayout layout = store::ComputeBootLayout(media_.boot.geometry())->Record(0);
    for (uint64_t copy = 0; copy < 2; ++copy) {
      const auto record = store::DecodeBootRecord(
          media_.boot.bytes().subspan(layout.offset + copy * layout.stride, store::kBootRecordBytes));
      if (record.ok()) records.push_back(*record);
    }
    return records;
  }

  /// `release`, offered as `number`, has ended so, and v1 serves and learns on.
  void ExpectEnded(const Release& release, uint64_t number, UpdateState from, UpdateState state,
                   Reason reason) {
    const bool denied = store::IsOwnFailure(reason);
    EXPECT_EQ(updater().state(), state);
    EXPECT_STREQ(schema::EnumNameReason(updater().Status().reason), schema::EnumNameReason(reason));
    EXPECT_EQ(updater().challenger(), nullptr);
    EXPECT_FALSE(updater().store().record().HasTrial());
    EXPECT_EQ(
        device_->trust().counters().offer(0),
        (store::OfferState{.number = number, .digest = release.digest, .state = state, .reason = reason}));
    const auto records = Records();
    ASSERT_EQ(records.size(), 2U);
    for (const store::BootRecord& record : records) {
      EXPECT_EQ(record.lkg_digest, v1_->digest);
      EXPECT_EQ(record.IsDenied(release.digest), denied);
    }
    ASSERT_FALSE(device_->events().empty());
    const UpdateEvent& event = device_->events().back();
    EXPECT_EQ(event.from, from);
    EXPECT_EQ(event.to, state);
    EXPECT_STREQ(schema::EnumNameReason(event.reason), schema::EnumNameReason(reason));
    EXPECT_EQ(event.package, release.digest);
    EXPECT_EQ(event.offer_number, number);
    EXPECT_EQ(event.champion_package, v1_->digest);
    EXPECT_EQ(event.denied, denied);
    ExpectServing(*v1_);
  }
  void ExpectServing(const Release& release) {
    EXPECT_EQ(updater().Status().champion, release.digest);
    ASSERT_NE(updater().champion(), nullptr);
    const uint64_t learned = updater().champion()->samples();
    EXPECT_GT(learned, 0U);
    device_->PlayTurn(release, device_->trust().counters().offer(0).number, kSame);
    EXPECT_GT(updater().champion()->samples(), learned);
  }
  /// The next checkpoint may be written, and would hold more than the newest one.
  void LearnUntilACheckpointIsDue(const Release& release) {
    const auto due = [&] { return updater().store().CheckpointAllowed(updater().Status().champion_slot); };
    for (int turn = 0; turn < 40 && (turn < 3 || !due()); ++turn) {
      device_->PlayTurn(release, device_->trust().counters().offer(0).number, kSame);
    }
    ASSERT_TRUE(due());
  }
  /// Plays `release` as offer 2 and expects that end.
  void ExpectEnd(const Release& release, UpdateState state, Reason reason, double loss = kBetter) {
    ASSERT_TRUE(device_->Play(release, 2, loss));
    const UpdateState from = device_->events().back().from;
    ExpectEnded(release, 2, from, state, reason);
  }

  static inline std::vector<Bytes>* before_ = nullptr;
  static inline Release* v1_ = nullptr;
  Media media_;
  std::unique_ptr<Device> device_;
};

}  // namespace dipper::update::test
