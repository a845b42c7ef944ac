// Why offers are refused and trials end: each reason on the real updater, store and package code, with what
// it leaves behind.
#include <algorithm>
#include <random>

#include "tests/unit/agent/update/updater_fixture.h"

namespace dipper::update::test {
namespace {

constexpr int64_t kMs = 1'000'000;

// ---- offers ----

TEST_F(UpdaterTest, AnExpiredOfferIsRefusedAndReportedOnce) {
  const Release release = MakeRelease("2", 3);
  const Bytes offer = release.Offer(9, [](auto& o) { o.not_after = 1'800'000'000; });
  device_->SetWall(1'800'000'000, true);
  const store::OfferState before = device_->trust().counters().offer(0);
  const size_t told = device_->events().size();
  EXPECT_EQ(Offer(offer), Reason::Expired);
  EXPECT_EQ(Offer(offer), Reason::Expired);
  ASSERT_EQ(device_->events().size(), told + 1);
  const UpdateEvent& event = device_->events().back();
  EXPECT_EQ(event.to, UpdateState::Rejected);
  EXPECT_EQ(event.reason, Reason::Expired);
  EXPECT_EQ(event.package, release.digest);
  EXPECT_EQ(event.offer_number, 9U);
  EXPECT_FALSE(event.denied);
  EXPECT_EQ(updater().state(), UpdateState::Idle);
  EXPECT_EQ(device_->trust().counters().offer(0), before);
  EXPECT_FALSE(updater().store().IsDenied(release.digest));
  ExpectServing(*v1_);
  // Trusted time alone never expires anything.
  device_->SetWall(1'800'000'000, false);
  EXPECT_EQ(Offer(offer), Reason::None);
}

TEST_F(UpdaterTest, AnOfferWhoseTimeHasNotComeIsTakenLater) {
  const Release release = MakeRelease("2", 3);
  const Bytes offer = release.Offer(9, [](auto& o) { o.not_before = 1'750'000'000; });
  device_->SetWall(1'749'999'999, true);
  EXPECT_EQ(Offer(offer), Reason::NotYetValid);
  EXPECT_EQ(device_->events().back().to, UpdateState::Rejected);
  EXPECT_EQ(device_->events().back().reason, Reason::NotYetValid);
  EXPECT_EQ(device_->events().back().offer_number, 9U);
  EXPECT_EQ(updater().state(), UpdateState::Idle);
  EXPECT_FALSE(updater().store().IsDenied(release.digest));
  ExpectServing(*v1_);
  device_->SetWall(1'750'000'000, true);
  EXPECT_EQ(Offer(offer), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Offered);
}

TEST_F(UpdaterTest, ARefusedOfferCarriesItsOwnNumberAndLeavesTheTrial) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  device_->SetWall(1'800'000'000, true);
  EXPECT_EQ(Offer(other.Offer(7, [](auto& o) { o.not_after = 1'750'000'000; })), Reason::Expired);
  EXPECT_EQ(device_->events().back().offer_number, 7U);
  EXPECT_EQ(device_->events().back().package, other.digest);
  EXPECT_EQ(device_->events().back().from, UpdateState::Trial);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  device_->SetWall(1'700'000'000, false);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(device_->events().back().offer_number, 2U);
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, SizesThatCannotBeAreRefused) {
  const Release release = MakeRelease("2", 3);
  const uint64_t most =
      package::kMaxHeadBytes + uint64_t{package::kMaxBlocks} * package::kMaxStoredBlockBytes;
  uint64_t number = 2;
  for (const uint64_t bytes : {updater().store().PackageCapacity() + 1, most}) {
    EXPECT_EQ(Offer(release.Offer(number++, [&](auto& o) { o.package_bytes = bytes; })), Reason::TooLarge);
  }
  for (const uint64_t bytes : {uint64_t{64 * 1024 + 1}, package::kMaxImageBytes}) {
    EXPECT_EQ(Offer(release.Offer(number++, [&](auto& o) { o.image_bytes = bytes; })), Reason::TooLarge);
  }
  // What the manifest then contradicts costs neither slot nor champion.
  const Bytes slot(media_.slot_b.bytes().begin(), media_.slot_b.bytes().end());
  for (const uint64_t bytes : {release.package.size() - 1, release.package.size() + 1}) {
    EXPECT_EQ(Offer(release.Offer(++number, [&](auto& o) { o.package_bytes = bytes; })), Reason::None);
    ASSERT_TRUE(device_->PlayUntil(release, number, kBetter, UpdateState::Rejected));
    ExpectEnded(release, number, UpdateState::Transferring, UpdateState::Rejected, Reason::BadFormat);
  }
  EXPECT_TRUE(std::ranges::equal(slot, media_.slot_b.bytes()));
}

// A cancelled package must not come back by a replay, and the trial of another one is not to suffer by it.
TEST_F(UpdaterTest, ACancelOfAnotherPackageWaitsForTheTrialsEnd) {
  const Release release = MakeRelease("2", 3), other = MakeRelease("3", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  EXPECT_EQ(Offer(other.Offer(7, [](auto& o) { o.cancel = true; })), Reason::None);
  EXPECT_EQ(device_->trust().counters().offer(0).digest, release.digest);
  EXPECT_EQ(updater().FallBack(), Reason::None);
  EXPECT_EQ(device_->trust().counters().offer(0),
            (store::OfferState{2, release.digest, UpdateState::FellBack, Reason::Command}));
  device_->PlayTurn(release, 2, kSame);
  EXPECT_EQ(device_->trust().counters().offer(0),
            (store::OfferState{7, other.digest, UpdateState::Failed, Reason::Cancelled}));
  EXPECT_EQ(Offer(other.Offer(6)), Reason::OldNumber);
  ExpectServing(*v1_);
}

TEST_F(UpdaterTest, ABrokerThatDeliversNothingToWildcardsIsUnfit) {
  const Release release = MakeRelease("2", 3, {.edit = [](Manifest&, Bytes& image) {
                                        std::mt19937 random(7);
                                        image.resize(50'000);
                                        for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
                                      }});
  device_->LoseWildcards();
  ExpectEnd(release, UpdateState::Failed, Reason::BrokerUnfit);
}

// ---- commands ----

TEST_F(UpdaterTest, AFallBackCommandEndsTheTrialUndenied) {
  const Release release = MakeRelease("2", 3);
  for (const UpdateState state : {UpdateState::Staged, UpdateState::Trial}) {
    const uint64_t number = device_->trust().counters().offer(0).number + 1;
    ASSERT_TRUE(device_->PlayUntil(release, number, kSame, state));
    const uint64_t learned = updater().champion()->samples();
    EXPECT_EQ(updater().FallBack(), Reason::None);
    EXPECT_EQ(updater().champion()->samples(), learned);
    EXPECT_EQ(device_->events().back().has_gate, state == UpdateState::Trial);
    EXPECT_EQ(device_->events().back().challenger_image.IsZero(), state != UpdateState::Trial);
    ExpectEnded(release, number, state, UpdateState::FellBack, Reason::Command);
    EXPECT_EQ(updater().FallBack(), Reason::NoTrial);
  }
  ASSERT_TRUE(device_->Play(release, 4, kBetter));  // a new offer may try again
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, NoUndoDuringATrial) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Staged));
  EXPECT_EQ(updater().Undo(), Reason::TrialPending);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  EXPECT_EQ(updater().Undo(), Reason::TrialPending);
  EXPECT_EQ(updater().Status().undo_target, store::SlotId::kNone);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

// A confirm whose record is written and whose duplicate is not: only that confirm may go on.
TEST_F(UpdaterTest, NothingGoesBackWhileAConfirmIsUnfinished) {
  const Release release = MakeRelease("2", 2);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  FailBootAfter(1);  // the record
  EXPECT_EQ(updater().Confirm(), Reason::StorageError);
  ASSERT_EQ(updater().store().record().lkg_digest, release.digest);
  media_.boot.SetFault({});
  EXPECT_EQ(updater().Undo(), Reason::Busy);
  EXPECT_EQ(updater().FactoryReset(), Reason::Busy);
  updater().OnChampionFailed();
  EXPECT_EQ(updater().store().record().own_failures, 0);
  EXPECT_EQ(updater().store().record().lkg_digest, release.digest);
  device_->PlayTurn(release, 2, kSame);
  EXPECT_EQ(updater().state(), UpdateState::Confirmed);
  EXPECT_EQ(updater().Status().champion, release.digest);
  EXPECT_EQ(updater().Undo(), Reason::None);
  ExpectServing(*v1_);
}

TEST_F(UpdaterTest, ADeniedModelIsNoUndoTargetUntilTheDenialIsOverridden) {
  const Release v2 = MakeRelease("2", 2);
  ASSERT_TRUE(device_->Play(v2, 2, kBetter));
  ASSERT_EQ(updater().Status().champion, v2.digest);
  // It fails by itself on every rung until its slot is left.
  for (int failure = 0; failure < 12 && updater().Status().champion == v2.digest; ++failure) {
    updater().OnChampionFailed();
  }
  EXPECT_EQ(device_->events().back().reason, Reason::NotFinite);
  EXPECT_TRUE(device_->events().back().denied);
  EXPECT_EQ(device_->events().back().package, v2.digest);
  EXPECT_EQ(device_->events().back().champion_package, v1_->digest);
  EXPECT_EQ(updater().Undo(), Reason::RefusedDenied);
  EXPECT_TRUE(updater().Status().undo_package.IsZero());
  for (const store::BootRecord& record : Records()) EXPECT_TRUE(record.IsDenied(v2.digest));
  ExpectServing(*v1_);
  EXPECT_EQ(updater().OverrideDenied(v2.digest), Reason::None);
  EXPECT_EQ(updater().Undo(), Reason::None);
  ExpectServing(v2);
}

TEST_F(UpdaterTest, ACommandBegunBeforeACrashIsNotRunAgain) {
  const package::DeviceNames names{.fleet = "plant", .device = "d1", .groups = {}};
  const Bytes command = CommandDocument("undo", 5, 1'800'000'000);
  Trust::Ticket ticket = device_->trust().OnCommand(command, names);
  EXPECT_EQ(ticket.reason, Reason::None);
  EXPECT_EQ(ticket.lookup, store::CommandLookup::kNew);
  Restart();
  for (const bool expired : {false, true}) {
    if (expired) device_->SetWall(1'900'000'000, true);
    ticket = device_->trust().OnCommand(command, names);
    EXPECT_EQ(ticket.reason, Reason::None);
    EXPECT_EQ(ticket.lookup, store::CommandLookup::kOutcomeUnknown);
    EXPECT_EQ(ticket.stored_result, static_cast<uint16_t>(Reason::OutcomeUnknown));
    EXPECT_EQ(device_->trust().FinishCommand(5, Reason::None), base::Status::kFailedPrecondition);
  }
  device_->SetWall(1'700'000'000, false);
  EXPECT_EQ(device_->trust().OnCommand(CommandDocument("undo", 4), names).reason, Reason::OldNumber);
  const Bytes next = CommandDocument("undo", 6, 1'800'000'000);
  ASSERT_EQ(device_->trust().OnCommand(next, names).lookup, store::CommandLookup::kNew);
  ASSERT_EQ(device_->trust().FinishCommand(6, Reason::NoPrevious), base::Status::kOk);
  Restart();
  device_->SetWall(1'900'000'000, true);
  ticket = device_->trust().OnCommand(next, names);
  EXPECT_EQ(ticket.reason, Reason::None);
  EXPECT_EQ(ticket.lookup, store::CommandLookup::kDone);
  EXPECT_EQ(ticket.stored_result, static_cast<uint16_t>(Reason::NoPrevious));
  EXPECT_EQ(device_->trust().OnCommand(CommandDocument("undo", 7, 1'800'000'000), names).reason,
            Reason::Expired);
}

// ---- undo keeps what was learned ----

TEST_F(UpdaterTest, UndoComesBackToWhatEachModelKnewWhenItWasLeft) {
  const Release v2 = MakeRelease("2", 2);
  uint64_t v1_samples = 0;
  for (int turn = 0; turn < 200 && updater().state() != UpdateState::Confirmed; ++turn) {
    v1_samples = updater().champion()->samples();
    device_->PlayTurn(v2, 2, kBetter);
  }
  ASSERT_EQ(updater().Status().champion, v2.digest);
  LearnUntilACheckpointIsDue(v2);
  const base::Digest v2_image = updater().champion()->ImageDigest();
  EXPECT_EQ(updater().Undo(), Reason::None);
  EXPECT_EQ(updater().Status().champion, v1_->digest);
  EXPECT_GE(updater().champion()->samples(), v1_samples);
  ExpectServing(*v1_);
  LearnUntilACheckpointIsDue(v2);
  const base::Digest v1_image = updater().champion()->ImageDigest();
  EXPECT_EQ(updater().Undo(), Reason::None);
  EXPECT_EQ(updater().Status().champion, v2.digest);
  EXPECT_EQ(updater().champion()->ImageDigest(), v2_image);
  EXPECT_EQ(updater().Undo(), Reason::None);
  EXPECT_EQ(updater().champion()->ImageDigest(), v1_image);
  // And after a restart, and beside a further trial.
  Restart();
  EXPECT_EQ(updater().champion()->ImageDigest(), v1_image);
  const Release v3 = MakeRelease("3", 2);
  ASSERT_TRUE(device_->Play(v3, 3, kBetter));
  EXPECT_EQ(updater().Undo(), Reason::None);
  EXPECT_GE(updater().champion()->samples(), v1_samples);
  ExpectServing(*v1_);
}

TEST_F(UpdaterTest, ARefusedUndoWritesNoCheckpoint) {
  LearnUntilACheckpointIsDue(*v1_);
  const uint64_t checkpoints = updater().Status().checkpoints;
  EXPECT_EQ(updater().Undo(), Reason::NoPrevious);
  EXPECT_EQ(updater().Status().checkpoints, checkpoints);
}

// ---- latency ----

ReleaseChange Within(uint64_t max_latency_ns, bool confirm_at_deadline = false) {
  return {.edit = [=](Manifest& m, Bytes&) {
    m.gate->max_latency_ns = max_latency_ns;
    if (!confirm_at_deadline) return;
    m.gate->margin = 0;
    m.gate->deadline_samples = 100;
    m.gate->at_deadline = schema::AtDeadline::Confirm;
  }};
}

TEST_F(UpdaterTest, AChallengerOverItsTimeFallsBackAndIsDenied) {
  device_->SetLatency(2 * kMs);
  const Release release = MakeRelease("2", 3, Within(kMs));
  ExpectEnd(release, UpdateState::FellBack, Reason::OverBudget);
  EXPECT_EQ(Offer(release.Offer(3)), Reason::Denied);
}

TEST_F(UpdaterTest, ABusyMomentOfTheDeviceCondemnsNobody) {
  const Release release = MakeRelease("2", 3, Within(kMs));
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  EXPECT_TRUE(updater().WantsLatency());
  for (uint32_t i = 0; i < LatencyGuard::kWindow; ++i) updater().OnChallengerLatency(100 * kMs);
  EXPECT_FALSE(updater().WantsLatency());
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  device_->SetLatency(kMs / 2);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
  // The champion is nobody's challenger any more.
  for (int i = 0; i < 200; ++i) updater().OnChallengerLatency(100 * kMs);
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, NothingIsConfirmedBeforeItsTimeIsKnown) {
  const Release unknown = MakeRelease("2", 3, Within(kMs, true));
  ExpectEnd(unknown, UpdateState::FellBack, Reason::Deadline, kSame);
  const Release known = MakeRelease("3", 3, Within(kMs, true));
  device_->SetLatency(kMs);
  ASSERT_TRUE(device_->Play(known, 3, kSame));
  EXPECT_EQ(updater().Status().reason, Reason::PolicyAtDeadline);
  EXPECT_EQ(updater().Status().champion, known.digest);
}

TEST_F(UpdaterTest, TheDevicesOwnLimitHoldsForPackagesThatNameNone) {
  device_.reset();
  device_ = std::make_unique<Device>(media_, kMs);
  ASSERT_EQ(device_->Start(), base::Status::kOk);
  device_->SetLatency(2 * kMs);
  ExpectEnd(MakeRelease("2", 3), UpdateState::FellBack, Reason::OverBudget);
  ASSERT_TRUE(device_->Play(MakeRelease("3", 3, Within(3 * kMs)), 3, kBetter));
  EXPECT_TRUE(device_->reports().confirmed);
}

TEST_F(UpdaterTest, AGoodChallengerWithoutTheLinkItNeedsEndsAtTheDeadline) {
  const Release release = MakeRelease("2", 3, Edit([](Manifest& m) {
                                        m.gate->link_required = true;
                                        m.gate->deadline_samples = 300;
                                      }));
  // That the broker brought the offer says nothing about the trial.
  updater().OnLinkReached();
  ExpectEnd(release, UpdateState::FellBack, Reason::LinkRequired);
}

// Restarts in an outage do not take back what the trial has shown.
TEST_F(UpdaterTest, ALinkReachedInTheTrialIsKnownAfterARestart) {
  const Release release = MakeRelease("2", 3, Edit([](Manifest& m) { m.gate->link_required = true; }));
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  updater().OnLinkReached();
  device_->PlayTurn(release, 2, kSame);
  Restart();
  ASSERT_EQ(updater().state(), UpdateState::Trial);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, ALinkReachedInOneTrialDoesNotCountForTheNext) {
  const auto change = Edit([](Manifest& m) {
    m.gate->link_required = true;
    m.gate->deadline_samples = 300;
  });
  const Release first = MakeRelease("2", 3, change), second = MakeRelease("3", 3, change);
  ASSERT_TRUE(device_->PlayUntil(first, 2, kSame, UpdateState::Trial));
  updater().OnLinkReached();
  EXPECT_EQ(updater().FallBack(), Reason::None);
  ASSERT_TRUE(device_->Play(second, 3, kBetter));
  EXPECT_EQ(updater().Status().reason, Reason::LinkRequired);
}

}  // namespace
}  // namespace dipper::update::test
