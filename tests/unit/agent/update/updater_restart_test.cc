// Runs that end without warning: crashes, hangs, power cuts and kills in each state of an update, and what
// the next start makes of them.
#include "tests/unit/agent/update/updater_fixture.h"
#include "tools/lab/spec_text.h"

namespace dipper::update::test {
namespace {

class OwnEnds : public UpdaterTest, public testing::WithParamInterface<Reason> {};
INSTANTIATE_TEST_SUITE_P(Notes, OwnEnds, testing::Values(Reason::Crash, Reason::Watchdog),
                         [](const auto& reason) { return schema::EnumNameReason(reason.param); });

TEST_P(OwnEnds, DenyAChallengerThatTheNoteNamesUntilItsTriesAreUp) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  const store::LastRun last{.own_failure = true, .digest = release.digest, .reason = GetParam()};
  for (int crash = 1; crash < store::kTriesPerTrial; ++crash) {
    Restart(1, last);
    EXPECT_EQ(updater().state(), UpdateState::Trial) << crash;
    EXPECT_NE(updater().challenger(), nullptr);
    EXPECT_FALSE(updater().store().IsDenied(release.digest));
  }
  Restart(1, last);
  ExpectEnded(release, 2, UpdateState::Trial, UpdateState::FellBack, GetParam());
  EXPECT_EQ(Offer(release.Offer(3)), Reason::Denied);
}

TEST_P(OwnEnds, OfTheChampionAreNotBlamedOnTheChallenger) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  for (int crash = 0; crash < store::kTriesPerTrial; ++crash) {
    Restart(1, {.own_failure = true, .digest = v1_->digest, .reason = GetParam()});
  }
  EXPECT_EQ(updater().Status().reason, Reason::OutOfTries);
  EXPECT_FALSE(updater().store().IsDenied(release.digest));
  EXPECT_EQ(updater().Status().champion, v1_->digest);
}

TEST_F(UpdaterTest, TriesUsedUpByPowerCutsFailUndenied) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  for (int cut = 1; cut < store::kTriesPerTrial; ++cut) {
    Restart();
    EXPECT_EQ(updater().state(), UpdateState::Trial) << cut;
  }
  Restart();
  ExpectEnded(release, 2, UpdateState::Trial, UpdateState::Failed, Reason::OutOfTries);
  ASSERT_TRUE(device_->Play(release, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

// A healthy run gives its try back: a site that is switched off every night confirms in the end.
TEST_F(UpdaterTest, NightlyPowerCutsDoNotEndATrial) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  for (int night = 0; night < 8; ++night) {
    for (int turn = 0; turn < 5; ++turn) device_->PlayTurn(release, 2, kSame);
    Restart();
    ASSERT_EQ(updater().state(), UpdateState::Trial) << night;
  }
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, ChecksThatAPowerCutEndedAreTriedOnceMore) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kBetter, UpdateState::Verifying));
  Restart();
  ASSERT_TRUE(device_->PlayUntil(release, 2, kBetter, UpdateState::Verifying));
  EXPECT_EQ(updater().Status().reason, Reason::PowerLoss);
  EXPECT_EQ(device_->events().back().reason, Reason::PowerLoss);
  EXPECT_EQ(device_->events().back().to, UpdateState::Verifying);
  EXPECT_EQ(device_->trust().counters().offer(0),
            (store::OfferState{2, release.digest, UpdateState::Verifying, Reason::PowerLoss}));
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, ChecksThatEndTwoRunsFailUndenied) {
  const Release release = MakeRelease("2", 3);
  for (int cut = 0; cut < 2; ++cut) {
    ASSERT_TRUE(device_->PlayUntil(release, 2, kBetter, UpdateState::Verifying));
    Restart();
  }
  ExpectEnded(release, 2, UpdateState::Verifying, UpdateState::Failed, Reason::Unknown);
  ASSERT_TRUE(device_->Play(release, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

class Killed : public UpdaterTest, public testing::WithParamInterface<UpdateState> {};
INSTANTIATE_TEST_SUITE_P(In, Killed,
                         testing::Values(UpdateState::Offered, UpdateState::Transferring,
                                         UpdateState::Verifying, UpdateState::Staged, UpdateState::Trial),
                         [](const auto& state) { return schema::EnumNameUpdateState(state.param); });

TEST_P(Killed, OnceTheUpdateGoesOn) {
  for (const uint64_t seed : {0U, 1U, 2U, 3U}) {
    media_.Load(*before_);
    device_ = std::make_unique<Device>(media_);
    ASSERT_EQ(device_->Start(), base::Status::kOk);
    const Release release = MakeRelease("2", 3);
    if (GetParam() == UpdateState::Transferring) device_->LoseBlocks();
    ASSERT_TRUE(device_->PlayUntil(release, 2, kBetter, GetParam()));
    Restart(seed);
    EXPECT_EQ(updater().Status().champion, v1_->digest);
    ASSERT_TRUE(device_->Play(release, 2, kBetter));
    EXPECT_EQ(updater().Status().champion, release.digest);
  }
}

TEST_P(Killed, EveryTimeTheChampionServesAndNobodyIsDenied) {
  const Release release = MakeRelease("2", 3);
  for (int kill = 0; kill < 10; ++kill) {
    if (GetParam() == UpdateState::Transferring) device_->LoseBlocks();
    const bool ended = IsResting(device_->trust().counters().offer(0).state);
    if (updater().state() < GetParam() && (kill == 0 || !ended)) {
      ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, GetParam()));
    }
    Restart(1);
    ASSERT_EQ(updater().Status().champion, v1_->digest);
  }
  // Where a run costs a try or a chance, they are used up; elsewhere the offer goes on when it comes again.
  if (GetParam() >= UpdateState::Verifying) {
    EXPECT_EQ(device_->trust().counters().offer(0).state, UpdateState::Failed);
  }
  EXPECT_FALSE(updater().store().IsDenied(release.digest));
  ExpectServing(*v1_);
  ASSERT_TRUE(device_->Play(release, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, BytesThatChangeAfterTheyWereVerifiedAreNotRun) {
  const Release release = MakeRelease("2", 3);
  for (const bool restart : {false, true}) {
    const uint64_t number = device_->trust().counters().offer(0).number + 1;
    ASSERT_TRUE(device_->PlayUntil(release, number, kBetter, UpdateState::Staged));
    hal::PartitionSim& slot =
        updater().store().record().trial_slot == store::SlotId::kA ? media_.slot_a : media_.slot_b;
    slot.FlipBits(slot.geometry().erase_unit_bytes + release.package.size() - 5, 1);
    if (restart) {
      Restart(1);
    } else {
      device_->PlayTurn(release, number, kBetter);
    }
    EXPECT_EQ(device_->reports().trial_starts, 0U);
    ExpectEnded(release, number, restart ? UpdateState::Trial : UpdateState::Staged, UpdateState::Failed,
                Reason::StorageError);
  }
}

// An end that the medium does not take is not told before it is durable.
TEST_F(UpdaterTest, AnEndFoundAtAStartIsReportedWhenItIsStored) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  const store::LastRun last{.own_failure = true, .digest = release.digest, .reason = Reason::Crash};
  for (int crash = 1; crash < store::kTriesPerTrial; ++crash) Restart(1, last);
  device_.reset();
  media_.Restart(1);
  const std::vector<Bytes> media = media_.Copy();
  for (const uint64_t good_writes : {0U, 1U}) {
    SCOPED_TRACE(good_writes);
    media_.Load(media);
    device_ = std::make_unique<Device>(media_);
    media_.boot.SetFault({.call = hal::SimCall::kWrite,
                          .first = media_.boot.calls(hal::SimCall::kWrite) + good_writes,
                          .count = 1000});
    ASSERT_EQ(device_->Start(last), base::Status::kOk);
    device_->PlayTurn(release, 2, kBetter);
    EXPECT_FALSE(device_->reports().fell_back);
    EXPECT_EQ(updater().challenger(), nullptr);
    EXPECT_EQ(updater().Status().champion, v1_->digest);
    media_.boot.SetFault({});
    device_->PlayTurn(release, 2, kBetter);
    EXPECT_TRUE(device_->reports().fell_back);
    ExpectEnded(release, 2, UpdateState::Trial, UpdateState::FellBack, Reason::Crash);
  }
}

// A confirmed model that crashes in a loop: down the ladder, each rung really loaded, to the model before it.
TEST_F(UpdaterTest, ACrashLoopOfAConfirmedModelEndsAtItsPredecessor) {
  const Release v2 = MakeRelease("2", 2);
  ASSERT_TRUE(device_->Play(v2, 2, kBetter));
  for (int turn = 0; turn < 60; ++turn) device_->PlayTurn(v2, 2, kBetter);
  const store::LastRun last{.own_failure = true, .digest = v2.digest, .reason = Reason::Crash};
  std::vector<store::Rung> rungs;
  uint64_t samples = UINT64_MAX;
  for (int crash = 0; crash < 12 && updater().Status().champion == v2.digest; ++crash) {
    Restart(1, last);
    ASSERT_NE(updater().champion(), nullptr);
    const store::Rung rung = updater().Status().rung;
    if (rungs.empty() || rungs.back() != rung) rungs.push_back(rung);
    if (updater().Status().champion != v2.digest) break;
    EXPECT_LE(updater().champion()->samples(), samples);
    samples = updater().champion()->samples();
  }
  EXPECT_EQ(rungs, (std::vector<store::Rung>{store::Rung::kNewestCheckpoint, store::Rung::kOlderCheckpoint,
                                             store::Rung::kPackageImage, store::Rung::kOtherSlot}));
  EXPECT_EQ(samples, 0U);  // the package's own image was the last of v2
  const UpdateEvent& event = device_->events().front();
  EXPECT_EQ(event.reason, Reason::Crash);
  EXPECT_EQ(event.package, v2.digest);
  EXPECT_EQ(event.champion_package, v1_->digest);
  EXPECT_TRUE(event.denied);
  EXPECT_TRUE(updater().store().IsDenied(v2.digest));
  ExpectServing(*v1_);
}

/// Makes `release` champion past all checks of the updater, as a newer agent would have done by the rules.
void ConfirmAsNewerAgent(store::ModelStore& store, const Release& release, base::SecurityVersion version) {
  ASSERT_EQ(store.BeginStage(release.digest, version, release.package.size()), base::Status::kOk);
  ASSERT_EQ(store.WriteStage(0, release.package), base::Status::kOk);
  ASSERT_EQ(store.CommitStage(), base::Status::kOk);
  ASSERT_EQ(store.BeginTrial(), base::Status::kOk);
  ASSERT_EQ(store.Confirm(), base::Status::kOk);
}

// An agent that is downgraded below its champion: no model, nothing denied, nothing lost.
TEST_F(UpdaterTest, AModelOfANewerAgentIsNeitherServedNorDenied) {
  const Release newer = MakeRelease("2", 2, Edit([](Manifest& m) { m.numerics_version = 99; }));
  ASSERT_EQ(updater().HealthyMark(), base::Status::kOk);
  ConfirmAsNewerAgent(updater().store(), newer, {0, 2});
  for (int start = 0; start < 3; ++start) {
    Restart();
    EXPECT_EQ(updater().champion(), nullptr);
    EXPECT_EQ(device_->events().front().reason, Reason::UnknownNumerics);
    EXPECT_EQ(device_->events().front().package, newer.digest);
    EXPECT_FALSE(updater().store().IsDenied(newer.digest));
    EXPECT_EQ(updater().store().record().lkg_digest, newer.digest);
    EXPECT_EQ(updater().store().record().rung, store::Rung::kNewestCheckpoint);
  }
  // The operator may go back to what this agent can run.
  EXPECT_EQ(updater().Undo(), Reason::None);
  ExpectServing(*v1_);
}

/// On trial past all checks of the updater, as a newer agent would have begun it.
void StageAsNewerAgent(store::ModelStore& store, const Release& release, base::SecurityVersion version) {
  ASSERT_EQ(store.BeginStage(release.digest, version, release.package.size()), base::Status::kOk);
  ASSERT_EQ(store.WriteStage(0, release.package), base::Status::kOk);
  ASSERT_EQ(store.CommitStage(), base::Status::kOk);
}

TEST_F(UpdaterTest, ATrialOfANewerAgentWaitsForIt) {
  const auto layouts = [](Manifest& m) {
    m.layouts.push_back(std::make_unique<schema::LayoutVersionT>());
    m.layouts.back()->kind = "Rls";
    m.layouts.back()->version = 99;
  };
  const auto part = [](Manifest& m) {
    schema::SpecT spec;
    schema::GetSpec(m.spec.data())->UnPackTo(&spec);
    spec.task = static_cast<schema::Task>(200);  // of a later version
    m.spec = lab::CompileSpec(spec);
  };
  const struct {
    ReleaseChange change;
    Reason reason;
  } newer[] = {{Edit([](Manifest& m) { m.numerics_version = 99; }), Reason::UnknownNumerics},
               {Edit(layouts), Reason::UnknownLayout},
               {Edit(part), Reason::UnknownLayout}};
  for (const auto& [change, reason] : newer) {
    SCOPED_TRACE(schema::EnumNameReason(reason));
    const Release release = MakeRelease("2", 3, change);
    ASSERT_EQ(updater().HealthyMark(), base::Status::kOk);
    StageAsNewerAgent(updater().store(), release, {0, 3});
    for (int start = 0; start < 2 * store::kTriesPerTrial; ++start) {
      Restart();
      EXPECT_EQ(updater().state(), UpdateState::Staged);
      EXPECT_EQ(device_->events().back().reason, reason);
      EXPECT_EQ(updater().store().record().trial_digest, release.digest);
      EXPECT_EQ(updater().store().record().tries_left, store::kTriesPerTrial);
      EXPECT_FALSE(updater().store().IsDenied(release.digest));
      ExpectServing(*v1_);
    }
    EXPECT_EQ(updater().FallBack(), Reason::None);
  }
}

// ---- a cut between the record of a trial's end and the offer's ----

class LostEnds : public UpdaterTest, public testing::WithParamInterface<UpdateState> {};
INSTANTIATE_TEST_SUITE_P(Of, LostEnds, testing::Values(UpdateState::Staged, UpdateState::Trial),
                         [](const auto& state) { return schema::EnumNameUpdateState(state.param); });

TEST_P(LostEnds, AreToldByTheNextStartAndNotTriedAgain) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, GetParam()));
  FailBootAfter(2);  // the record and its duplicate
  EXPECT_EQ(updater().FallBack(), Reason::None);
  ASSERT_EQ(device_->trust().counters().offer(0).state, GetParam());
  media_.boot.SetFault({});
  Restart();
  ExpectEnded(release, 2, GetParam(), UpdateState::Failed, Reason::Unknown);
  for (int turn = 0; turn < 30; ++turn) device_->PlayTurn(release, 2, kBetter);
  EXPECT_EQ(updater().state(), UpdateState::Failed);
  EXPECT_EQ(updater().Status().champion, v1_->digest);
  Restart();
  EXPECT_EQ(updater().state(), UpdateState::Idle) << "told once";
  ASSERT_TRUE(device_->Play(release, 3, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(UpdaterTest, ATrialWhoseOfferIsBehindItsRecordIsNoLostEnd) {
  const Release release = MakeRelease("2", 3);
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Verifying));
  FailBootAfter(1);  // the record
  device_->PlayTurn(release, 2, kSame);
  media_.boot.SetFault({});
  ASSERT_EQ(device_->trust().counters().offer(0).state, UpdateState::Verifying);
  Restart();
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

// Whatever the wall clock says, time does not go behind what was signed, and a trial counts powered-on time.
TEST_F(UpdaterTest, ClockJumpsEndNoTrial) {
  constexpr int64_t kYear = 31'557'600;
  const Release release = MakeRelease("2", 3, Edit([](Manifest& m) { m.gate->deadline_seconds = 3600; }));
  ASSERT_TRUE(device_->PlayUntil(release, 2, kSame, UpdateState::Trial));
  for (const int64_t wall : {1'700'000'000 - 10 * kYear, 1'700'000'000 + 10 * kYear, int64_t{0}}) {
    for (const bool synchronized : {false, true}) {
      device_->SetWall(wall, synchronized);
      EXPECT_GE(device_->trust().Now().unix_seconds, 1'700'000'000);
      device_->PlayTurn(release, 2, kSame);
      EXPECT_EQ(updater().state(), UpdateState::Trial);
    }
  }
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

}  // namespace
}  // namespace dipper::update::test
