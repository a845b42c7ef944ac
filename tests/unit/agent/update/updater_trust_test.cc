// Keys that expire, are revoked or stolen, and documents that are played again: new offers are judged by the
// root in force, running models go on.
#include <algorithm>

#include "tests/unit/agent/update/updater_fixture.h"

namespace dipper::update::test {
namespace {

ReleaseChange ByTheNextKey(uint32_t epoch) {
  return {.edit = [epoch](Manifest& m, Bytes&) { m.release_epoch = epoch; }, .by_stranger = true};
}

TEST_F(UpdaterTest, AnExpiredRootStopsOffersAndNotTheChampion) {
  const Release release = MakeRelease("2", 3);
  device_->SetWall(4'000'000'001, true);
  EXPECT_EQ(Offer(release.Offer(2, [](auto& o) { o.not_after = 5'000'000'000; })), Reason::Expired);
  EXPECT_EQ(device_->events().back().reason, Reason::Expired);
  Restart();
  ExpectServing(*v1_);
  // Nor the trial of a package that was accepted in time.
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  Restart();
  device_->SetWall(4'000'000'001, true);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, ARevokedReleaseKeySignsNothingMoreAndItsModelsGoOn) {
  const Release by_old_key = MakeRelease("2", 3), by_new_key = MakeRelease("2", 3, ByTheNextKey(0));
  ASSERT_EQ(device_->trust().OnRoot(NextRootDocument(0)), Reason::None);
  ExpectEnd(by_old_key, UpdateState::Rejected, Reason::UnknownKey);
  Restart();
  EXPECT_EQ(device_->trust().root().version(), 2U);
  ExpectServing(*v1_);
  ASSERT_TRUE(device_->Play(by_new_key, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, by_new_key.digest);
}

// A package that is under way when its key is revoked is judged by the root in force when it is whole.
TEST_F(UpdaterTest, AKeyRevokedDuringTheTransferIsNoticed) {
  const Release by_old_key = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(by_old_key, 2, kBetter, UpdateState::Verifying));
  ASSERT_EQ(device_->trust().OnRoot(NextRootDocument(0)), Reason::None);
  ExpectEnd(by_old_key, UpdateState::Rejected, Reason::UnknownKey);
}

// Two signed offers that are refused, sent by turns for ever, must not fill the event log.
TEST_F(UpdaterTest, OffersThatAreRefusedByTurnsAreToldNowAndThen) {
  const Release release = MakeRelease("2", 3);
  const Bytes first = release.Offer(2, [](auto& o) { o.not_after = 1'750'000'000; });
  const Bytes second = release.Offer(3, [](auto& o) { o.not_after = 1'750'000'000; });
  device_->SetWall(1'750'000'000, true);
  const size_t before = device_->events().size();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(Offer(first), Reason::Expired);
    ASSERT_EQ(Offer(second), Reason::Expired);
  }
  EXPECT_EQ(device_->events().size() - before, base::EventLimit::kBurst);
  ExpectServing(*v1_);
}

// ---- offers that wait are judged again when their turn comes ----

/// Over an hour, so that it waits for its turn.
void Spread(schema::OfferT& offer) { offer.spread_seconds = 3600; }

TEST_F(UpdaterTest, AnOfferThatExpiresBeforeItsTurnIsNotBegun) {
  const Release release = MakeRelease("2", 3);
  const Bytes offer = release.Offer(2, [](auto& o) {
    Spread(o);
    o.not_after = 1'750'000'000;
  });
  ASSERT_EQ(Offer(offer), Reason::None);
  ASSERT_EQ(updater().state(), UpdateState::Offered);
  device_->SetWall(1'750'000'000, true);
  PollPastSpread();
  EXPECT_EQ(updater().state(), UpdateState::Rejected);
  EXPECT_EQ(device_->events().back().from, UpdateState::Offered);
  EXPECT_EQ(device_->events().back().reason, Reason::Expired);
  EXPECT_EQ(device_->events().back().offer_number, 2U);
  EXPECT_FALSE(updater().store().IsDenied(release.digest));
  // With the clock put right the retained one counts again.
  device_->SetWall(1'749'999'999, true);
  EXPECT_EQ(Offer(offer), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Offered);
  PollPastSpread();
  EXPECT_EQ(updater().state(), UpdateState::Transferring);
}

TEST_F(UpdaterTest, AnOfferWhoseSignerIsRevokedBeforeItsTurnIsNotBegun) {
  const Release release = MakeRelease("2", 3);
  const struct {
    Bytes root;
    Reason reason;
  } roots[] = {{NextRolloutRootDocument(0), Reason::UnknownKey},
               {NextRolloutRootDocument(1), Reason::OldNumber},
               {NextRootDocument(0), Reason::None}};  // another role's keys: nothing about offers
  for (const auto& [root, reason] : roots) {
    SCOPED_TRACE(schema::EnumNameReason(reason));
    media_.Load(*before_);
    device_ = std::make_unique<Device>(media_);
    ASSERT_EQ(device_->Start(), base::Status::kOk);
    ASSERT_EQ(Offer(release.Offer(2, Spread)), Reason::None);
    ASSERT_EQ(device_->trust().OnRoot(root), Reason::None);
    PollPastSpread();
    const bool dropped = reason != Reason::None;
    EXPECT_EQ(updater().state(), dropped ? UpdateState::Rejected : UpdateState::Transferring);
    EXPECT_EQ(device_->events().back().reason, reason);
    if (dropped) {
      EXPECT_NE(Offer(release.Offer(2, Spread)), Reason::None);
    }
    EXPECT_EQ(updater().Status().champion, v1_->digest);
  }
}

TEST_F(UpdaterTest, AnOfferQueuedBehindATrialIsJudgedAgainAtItsEnd) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  const auto until_2025 = [](schema::OfferT& o) { o.not_after = 1'750'000'000; };
  const auto nothing = [] {};
  const struct {
    Reason reason;
    std::function<void()> meanwhile;
  } cases[] = {
      {Reason::Expired, [&] { device_->SetWall(1'750'000'000, true); }},
      {Reason::UnknownKey,
       [&] { EXPECT_EQ(device_->trust().OnRoot(NextRolloutRootDocument(0)), Reason::None); }},
      {Reason::OldNumber,  // the trial's own package is cancelled with a higher number
       [&] { EXPECT_EQ(Offer(release.Offer(9, [](auto& o) { o.cancel = true; })), Reason::None); }},
      {Reason::None, nothing},
  };
  for (const auto& [reason, meanwhile] : cases) {
    SCOPED_TRACE(schema::EnumNameReason(reason));
    media_.Load(*before_);
    device_ = std::make_unique<Device>(media_);
    ASSERT_EQ(device_->Start(), base::Status::kOk);
    ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
    ASSERT_EQ(Offer(other.Offer(7, until_2025)), Reason::None);
    meanwhile();
    if (updater().state() == UpdateState::Trial) {
      ASSERT_EQ(updater().FallBack(), Reason::None);
    }
    const UpdateState ended = updater().state();
    device_->Poll();
    const UpdateEvent& event = device_->events().back();
    EXPECT_EQ(event.package, other.digest);
    EXPECT_EQ(event.offer_number, 7U);
    EXPECT_EQ(event.reason, reason);
    EXPECT_EQ(event.to, reason == Reason::None ? UpdateState::Offered : UpdateState::Rejected);
    EXPECT_EQ(updater().state(), reason == Reason::None ? UpdateState::Offered : ended);
    EXPECT_EQ(updater().Status().champion, v1_->digest);
  }
}

// What is verified again under the new root is not dropped for the old one.
TEST_F(UpdaterTest, AnOfferThatComesAgainUnderTheNewRootKeepsItsTurn) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  ASSERT_EQ(Offer(other.Offer(7)), Reason::None);
  ASSERT_EQ(device_->trust().OnRoot(BothRolloutKeysRootDocument()), Reason::None);
  ASSERT_EQ(Offer(other.Offer(7)), Reason::None);
  ASSERT_EQ(updater().FallBack(), Reason::None);
  device_->Poll();
  EXPECT_EQ(updater().state(), UpdateState::Offered);
  EXPECT_EQ(updater().Status().offered, other.digest);
}

TEST_F(UpdaterTest, ACancelThatHadToWaitCountsEvenWhenItsTimeIsOver) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  ASSERT_EQ(Offer(other.Offer(7, [](auto& o) { o.cancel = true, o.not_after = 1'750'000'000; })),
            Reason::None);
  device_->SetWall(1'750'000'000, true);
  ASSERT_EQ(updater().FallBack(), Reason::None);
  device_->Poll();
  EXPECT_EQ(device_->trust().counters().offer(0),
            (store::OfferState{7, other.digest, UpdateState::Failed, Reason::Cancelled}));
}

TEST_F(UpdaterTest, ARaisedEpochRecoversFromAStolenKeysHighestNumber) {
  const Release stolen = MakeRelease("evil", UINT32_MAX);
  ASSERT_TRUE(device_->Play(stolen, 2, kBetter));
  ASSERT_EQ(updater().Status().floor, (base::SecurityVersion{0, UINT32_MAX}));
  ASSERT_TRUE(device_->Play(MakeRelease("2", 4), 3, kBetter));
  EXPECT_EQ(updater().Status().reason, Reason::BelowFloor);
  ASSERT_EQ(device_->trust().OnRoot(NextRootDocument(1)), Reason::None);
  const Release good = MakeRelease("3", 1, ByTheNextKey(1));
  ASSERT_TRUE(device_->Play(good, 4, kBetter));
  EXPECT_EQ(updater().Status().champion, good.digest);
  EXPECT_EQ(updater().Status().floor, (base::SecurityVersion{1, 1}));
  EXPECT_EQ(updater().Undo(), Reason::RefusedFloor);
  ASSERT_TRUE(device_->Play(MakeRelease("4", UINT32_MAX, ByTheNextKey(0)), 5, kBetter));
  EXPECT_EQ(updater().Status().reason, Reason::BelowFloor);
  EXPECT_EQ(updater().Status().champion, good.digest);
}

TEST_F(UpdaterTest, AFallBackLowersNoFloorAndTakesNoOlderOne) {
  ASSERT_TRUE(device_->Play(MakeRelease("2", 9), 2, kWorse));
  EXPECT_EQ(updater().state(), UpdateState::FellBack);
  EXPECT_EQ(updater().Status().floor, (base::SecurityVersion{0, 2}));
  const Release older = MakeRelease("0", 1);
  ASSERT_TRUE(device_->Play(older, 3, kBetter));
  ExpectEnded(older, 3, UpdateState::Transferring, UpdateState::Rejected, Reason::BelowFloor);
}

TEST_F(UpdaterTest, ARootRotationCutAtEveryOperationLeavesTheOldOrTheNewRoot) {
  const Bytes next = NextRootDocument(0);
  media_.power.Restore();
  ASSERT_EQ(device_->trust().OnRoot(next), Reason::None);
  const uint64_t operations = media_.power.operations;
  ASSERT_GT(operations, 1U);
  for (uint64_t cut = 0; cut < operations; ++cut) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      SCOPED_TRACE("cut at " + std::to_string(cut) + ", outcome " + std::to_string(seed));
      device_.reset();
      media_.Load(*before_);
      device_ = std::make_unique<Device>(media_);
      ASSERT_EQ(device_->Start(), base::Status::kOk);
      media_.power.Restore();
      media_.power.cut_at = cut;
      EXPECT_NE(device_->trust().OnRoot(next), Reason::None);
      EXPECT_EQ(device_->trust().root().version(), 1U);
      Restart(seed);
      EXPECT_LE(device_->trust().root().version(), 2U);
      EXPECT_EQ(updater().Status().champion, v1_->digest);
      const Reason again = device_->trust().OnRoot(next);
      EXPECT_TRUE(again == Reason::None || again == Reason::OldNumber);
      EXPECT_EQ(device_->trust().root().version(), 2U);
    }
  }
}

TEST_F(UpdaterTest, OldOffersStayOldAfterARestart) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  device_->LoseBlocks();
  ASSERT_TRUE(device_->PlayUntil(release, 5, kSame, UpdateState::Transferring));
  Restart();
  EXPECT_EQ(Offer(other.Offer(4)), Reason::OldNumber);
  EXPECT_EQ(Offer(other.Offer(5)), Reason::OldNumber);
  EXPECT_EQ(Offer(release.Offer(5)), Reason::None);
  EXPECT_EQ(Offer(other.Offer(6)), Reason::None);
}

// The same number and package do not make a repeat of what can only be another document.
TEST_F(UpdaterTest, ANumberThatWasAnOffersIsOldForACancelAndTheOtherWayRound) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  const auto cancel = [](schema::OfferT& o) { o.cancel = true; };
  const auto override = [](schema::OfferT& o) { o.override_denied = true; };
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  EXPECT_EQ(Offer(release.Offer(2)), Reason::None) << "a repeat";
  EXPECT_EQ(Offer(release.Offer(2, cancel)), Reason::OldNumber);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  EXPECT_EQ(Offer(release.Offer(3, cancel)), Reason::None);
  EXPECT_EQ(updater().Status().reason, Reason::Cancelled);
  EXPECT_EQ(Offer(release.Offer(3, cancel)), Reason::None) << "a repeat";
  EXPECT_EQ(Offer(release.Offer(3)), Reason::OldNumber);
  ASSERT_TRUE(device_->Play(other, 4, kWorse));
  EXPECT_EQ(Offer(other.Offer(5)), Reason::Denied);
  EXPECT_EQ(Offer(other.Offer(5)), Reason::None) << "a repeat, told already";
  EXPECT_EQ(Offer(other.Offer(5, override)), Reason::OldNumber);
  EXPECT_TRUE(updater().store().IsDenied(other.digest));
  EXPECT_EQ(Offer(other.Offer(6, override)), Reason::None);
  EXPECT_FALSE(updater().store().IsDenied(other.digest));
}

// Whatever byte changes at rest between the checks and the trial, it is not run.
TEST_F(UpdaterTest, EveryChangedByteOfAStagedPackageIsNoticed) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Staged));
  const bool in_a = updater().store().record().trial_slot == store::SlotId::kA;
  device_.reset();
  media_.Restart(1);
  const std::vector<Bytes> staged = media_.Copy();
  package::Header header;
  ASSERT_EQ(package::ParseHeader(release.package, &header), Reason::None);
  hal::PartitionSim& slot = in_a ? media_.slot_a : media_.slot_b;
  // Header and manifest are under the digest, each block under its hash; signatures are not asked again.
  const uint64_t manifest_end = package::kHeaderBytes + header.manifest_bytes;
  for (uint64_t at = 0; at < release.package.size(); at += at < package::kHeaderBytes ? 1 : 29) {
    if (at >= 48 && at < package::kHeaderBytes) continue;  // lengths and checksums behind the digest
    if (at >= manifest_end && at < header.head_bytes()) continue;
    SCOPED_TRACE("byte " + std::to_string(at));
    media_.Load(staged);
    slot.FlipBits(slot.geometry().erase_unit_bytes + at, 0x10);
    Device device(media_);
    ASSERT_EQ(device.Start(), base::Status::kOk);
    ASSERT_EQ(device.updater().challenger(), nullptr);
    EXPECT_EQ(device.updater().Status().reason, Reason::StorageError);
    EXPECT_EQ(device.updater().Status().champion, v1_->digest);
    EXPECT_FALSE(device.updater().store().IsDenied(release.digest));
  }
}

}  // namespace
}  // namespace dipper::update::test
