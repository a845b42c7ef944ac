// The rules of ModelStore one by one: start, stage, trial, confirm, undo, ladder, denied ring, checkpoints.
#include "agent/store/model_store.h"

#include <gtest/gtest.h>

#include "tests/unit/agent/store/model_store_fixture.h"

namespace dipper::store {
namespace {

using base::Status;
using schema::Reason;

// Start
// -----------------------------------------------------------------------------------------------------------

TEST_F(ModelStoreTest, BlankDeviceServesNothingAndTakesAModel) {
  const StartDecision decision = Start();
  EXPECT_EQ(decision.serve, SlotId::kNone);
  EXPECT_EQ(decision.rung, Rung::kNone);
  EXPECT_TRUE(world_.RecordCopy(0) && world_.RecordCopy(1));
  ASSERT_EQ(Install(*store_, p1_), Status::kOk);
  const StartDecision next = Start();
  EXPECT_EQ(next.serve, SlotId::kA);
  EXPECT_EQ(next.digest, DigestOf(p1_));
  EXPECT_EQ(next.source, ImageSource::kPackage);
}

TEST_F(ModelStoreTest, FactoryModelServesWhenNeitherSlotIsGood) {
  world_.BurnFactory(factory_);
  EXPECT_EQ(Start().serve, SlotId::kFactory);
  ASSERT_EQ(Install(*store_, p1_), Status::kOk);
  world_.LosePackage(SlotId::kA);
  const StartDecision decision = Start();
  EXPECT_EQ(decision.serve, SlotId::kFactory);
  EXPECT_TRUE(decision.recovered);
}

TEST_F(ModelStoreTest, AFactoryModelBelowTheFloorIsNotServed) {
  world_.BurnFactory(factory_);
  StartWithChampion(p3_);
  world_.LosePackage(SlotId::kA);
  EXPECT_EQ(Start().serve, SlotId::kNone);
}

TEST_F(ModelStoreTest, AFactoryModelThatComesLaterIsFound) {
  EXPECT_EQ(Start().serve, SlotId::kNone);
  world_.BurnFactory(factory_);
  EXPECT_EQ(Start().serve, SlotId::kFactory);
}

TEST_F(ModelStoreTest, UnknownLayoutWritesNothing) {
  StartWithChampion(p1_);
  world_.Restart(0);
  Bytes boot(world_.boot.bytes().begin(), world_.boot.bytes().end());
  for (uint32_t copy = 0; copy < 2; ++copy) {
    const auto record = base::MutableBytes(boot).subspan(StoreWorld::RecordOffset(copy), kBootRecordBytes);
    const uint32_t magic = base::Load<uint32_t>(record.data());
    Seal(record, magic, 77);
    world_.boot.Load(boot);
    world_.power.Restore();
    const Media media = world_.Save();
    auto store = world_.NewStore();
    EXPECT_EQ(store->Start({}).status(), Status::kUnimplemented);
    EXPECT_EQ(world_.power.operations, 0U);
    EXPECT_EQ(world_.Save(), media);
    EXPECT_EQ(store->BeginStage(DigestOf(p2_), {1, 1}, p2_.size()), Status::kFailedPrecondition);
    EXPECT_EQ(world_.Save(), media);
  }
}

TEST_F(ModelStoreTest, RefusesPartitionsThatCannotHoldTheImage) {
  ModelStoreConfig config;
  config.boot = &world_.boot;
  config.slot_a = &world_.a;
  config.slot_b = &world_.b;
  config.max_image_bytes = 1024 * 1024;
  EXPECT_EQ(ModelStore(config, world_.verifier).Start({}).status(), Status::kResourceExhausted);
}

TEST_F(ModelStoreTest, RecoversTheNewestMarkedModelFromLostRecords) {
  StartWithChampion(p1_);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  for (int times = 0; times < 2; ++times) {
    world_.Restart(0);
    world_.LoseRecordCopy(0);
    world_.LoseRecordCopy(1);
    const StartDecision decision = Start();
    EXPECT_EQ(decision.digest, DigestOf(p2_));
    EXPECT_TRUE(decision.recovered);
  }
}

TEST_F(ModelStoreTest, AWritingStorageThatFailsStillServesTheChampion) {
  StartWithChampion(p1_);
  world_.boot.SetFault({hal::SimCall::kSync, 0, 1000, Status::kUnavailable});
  const StartDecision decision = Start();
  EXPECT_EQ(decision.digest, DigestOf(p1_));
  EXPECT_EQ(decision.storage, Status::kUnavailable);
}

// Stage
// -----------------------------------------------------------------------------------------------------------

TEST_F(ModelStoreTest, StageNeedsAHealthyMarkAndAnAcceptablePackage) {
  StartWithChampion(p3_);
  Start();
  const auto begin = [&](const Bytes& package) {
    return store_->BeginStage(DigestOf(package), VersionOf(package), package.size());
  };
  EXPECT_EQ(begin(p3_), Status::kFailedPrecondition) << "no healthy mark yet";
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  EXPECT_EQ(begin(p3_), Status::kAlreadyExists);
  EXPECT_EQ(begin(p1_), Status::kPermissionDenied) << "below the floor";
  const Bytes other = MakePackage(2, 9);
  ASSERT_EQ(store_->Deny(DigestOf(other), Reason::SelfTest), Status::kOk);
  EXPECT_EQ(begin(other), Status::kPermissionDenied) << "denied";
  EXPECT_EQ(store_->BeginStage(DigestOf(p1_), {2, 1}, 1 << 20), Status::kResourceExhausted);
  EXPECT_EQ(store_->BeginStage({}, {2, 1}, 100), Status::kInvalidArgument);
  const Bytes next = MakePackage(3, 10);
  EXPECT_EQ(Stage(*store_, next), Status::kOk);
  EXPECT_EQ(begin(MakePackage(3, 11)), Status::kFailedPrecondition) << "a trial is pending";
}

TEST_F(ModelStoreTest, CommitRefusesBytesThatAreNotThePackage) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->BeginStage(DigestOf(p2_), VersionOf(p2_), p2_.size()), Status::kOk);
  Bytes wrong = p2_;
  wrong[100] ^= 1;
  ASSERT_EQ(StageBytes(*store_, wrong), Status::kOk);
  EXPECT_EQ(store_->CommitStage(), Status::kDataLoss);
  EXPECT_FALSE(store_->stage_open());
  EXPECT_FALSE(store_->record().HasTrial());
  ASSERT_EQ(store_->BeginStage(DigestOf(p2_), {1, 7}, p2_.size()), Status::kOk);
  ASSERT_EQ(StageBytes(*store_, p2_), Status::kOk);
  EXPECT_EQ(store_->CommitStage(), Status::kDataLoss) << "another version than announced";
  EXPECT_EQ(store_->WriteStage(0, p2_), Status::kFailedPrecondition);
}

TEST_F(ModelStoreTest, StageResumesAfterARestart) {
  StartWithChampion(p1_);
  const SlotId target = store_->StageTarget();
  ASSERT_EQ(store_->BeginStage(DigestOf(p2_), VersionOf(p2_), p2_.size()), Status::kOk);
  const base::ByteView bytes = p2_;
  ASSERT_EQ(store_->WriteStage(512, bytes.subspan(512)), Status::kOk);
  EXPECT_EQ(store_->WriteStage(p2_.size() - 1, bytes.first(2)), Status::kOutOfRange);
  ASSERT_EQ(store_->SyncStage(), Status::kOk);
  Start();
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  EXPECT_EQ(store_->ResumeStage(DigestOf(p2_), VersionOf(p2_), p2_.size(), SlotId::kA),
            Status::kFailedPrecondition);
  ASSERT_EQ(store_->ResumeStage(DigestOf(p2_), VersionOf(p2_), p2_.size(), target), Status::kOk);
  Bytes back(100);
  ASSERT_EQ(store_->ReadStage(600, back), Status::kOk);
  EXPECT_TRUE(std::equal(back.begin(), back.end(), p2_.begin() + 600));
  ASSERT_EQ(store_->WriteStage(0, bytes.first(512)), Status::kOk);
  EXPECT_EQ(store_->CommitStage(), Status::kOk);
  EXPECT_EQ(store_->record().trial_digest, DigestOf(p2_));
}

TEST_F(ModelStoreTest, FromTheFirstBlockThereIsNoUndoTarget) {
  StartWithChampion(p1_);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  EXPECT_EQ(store_->UndoTarget(), SlotId::kA);
  ASSERT_EQ(store_->BeginStage(DigestOf(p3_), VersionOf(p3_), p3_.size()), Status::kOk);
  EXPECT_EQ(store_->UndoTarget(), SlotId::kNone);
  StartDecision decision;
  EXPECT_EQ(*store_->Undo(&decision), Reason::NoPrevious);
  EXPECT_EQ(store_->record().lkg_digest, DigestOf(p2_));
}

// Trial
// -----------------------------------------------------------------------------------------------------------

TEST_F(ModelStoreTest, PowerCutsEndATrialAfterThreeTriesWithoutDenying) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  for (int start = 0; start < kTriesPerTrial; ++start) EXPECT_TRUE(Start().trial) << start;
  const StartDecision decision = Start();
  EXPECT_FALSE(decision.trial);
  EXPECT_TRUE(decision.trial_ended);
  EXPECT_EQ(decision.trial_end_reason, Reason::OutOfTries);
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
  EXPECT_EQ(decision.digest, DigestOf(p1_));
}

TEST_F(ModelStoreTest, ATrialThatCrashesUntilTheLastTryIsDenied) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  EXPECT_TRUE(Start().trial);
  EXPECT_TRUE(Start(Crashed(p2_)).trial);
  EXPECT_TRUE(Start(Crashed(p2_)).trial);
  const StartDecision decision = Start(Crashed(p2_));
  EXPECT_TRUE(decision.trial_ended && decision.denied);
  EXPECT_EQ(decision.trial_end_reason, Reason::Crash);
  EXPECT_TRUE(world_.RecordCopy(0)->IsDenied(DigestOf(p2_)) && world_.RecordCopy(1)->IsDenied(DigestOf(p2_)));
}

TEST_F(ModelStoreTest, TheChampionsCrashIsNotBlamedOnTheChallenger) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  Start();
  for (int i = 0; i < kTriesPerTrial; ++i) Start(Crashed(p1_));
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
  EXPECT_TRUE(store_->record().own_failures > 0 || store_->record().IsDenied(DigestOf(p1_)));
}

TEST_F(ModelStoreTest, HealthyMarkGivesTheTryBackOnceAStart) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  EXPECT_TRUE(Start().trial);
  EXPECT_EQ(store_->record().tries_left, 2);
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  ASSERT_EQ(store_->PlannedStop(), Status::kOk);
  EXPECT_EQ(store_->record().tries_left, 3);
  EXPECT_EQ(store_->record().tries_given_back, 1);
}

// The agent cannot run the challenger, none of whose code ran: no number of such starts costs it the trial,
// and the champion's ladder counts them instead.
TEST_F(ModelStoreTest, APostponedTrialCostsNoTryAndItsStartsAreTheChampions) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10)), Status::kOk);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  EXPECT_EQ(store_->PostponeTrial(), Status::kFailedPrecondition) << "no try is taken";
  for (int i = 0; i < 2 * kMaxTriesGivenBack; ++i) {
    ASSERT_TRUE(Start().trial) << i;
    ASSERT_EQ(store_->PostponeTrial(), Status::kOk);
    EXPECT_EQ(store_->Confirm(), Status::kFailedPrecondition);
    if (i % 2 == 0) {
      ASSERT_EQ(store_->HealthyMark(), Status::kOk);
    }
    ASSERT_EQ(store_->PlannedStop(), Status::kOk);
    EXPECT_EQ(store_->record().tries_left, kTriesPerTrial);
    EXPECT_EQ(store_->record().tries_given_back, 0);
    EXPECT_EQ(store_->record().unexplained_starts, 0);
  }
  for (int i = 0; i < kMaxUnexplainedStarts; ++i) {
    EXPECT_FALSE(Start().stepped_down) << i;
    ASSERT_EQ(store_->PostponeTrial(), Status::kOk);
  }
  EXPECT_TRUE(Start().stepped_down);
  EXPECT_EQ(store_->record().trial_digest, DigestOf(p2_));
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
  ASSERT_EQ(store_->HealthyMark(), Status::kOk) << "this time it runs";
  EXPECT_EQ(store_->Confirm(), Status::kOk);
}

TEST_F(ModelStoreTest, BadBytesEndATrialWithoutDenying) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  world_.Restart(0);
  world_.LosePackage(SlotId::kB);
  const StartDecision decision = Start();
  EXPECT_TRUE(decision.trial_ended);
  EXPECT_EQ(decision.trial_end_reason, Reason::StorageError);
  EXPECT_FALSE(decision.denied);
}

TEST_F(ModelStoreTest, OnlyOwnFailuresDeny) {
  for (const Reason reason : {Reason::Deadline, Reason::Cancelled, Reason::StorageError, Reason::PowerLoss,
                              Reason::PlannedStop, Reason::Unknown, Reason::LinkRequired}) {
    EXPECT_FALSE(IsOwnFailure(reason));
  }
  for (const Reason reason : {Reason::SelfTest, Reason::NotFinite, Reason::ShownWorse, Reason::OverBudget,
                              Reason::Crash, Reason::Watchdog}) {
    EXPECT_TRUE(IsOwnFailure(reason));
  }
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  ASSERT_EQ(store_->BeginTrial(), Status::kOk);
  EXPECT_EQ(store_->EndTrial(Reason::Deadline), Status::kOk);
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk) << "a new offer may try again";
  ASSERT_EQ(store_->BeginTrial(), Status::kOk);
  EXPECT_EQ(store_->EndTrial(Reason::ShownWorse), Status::kOk);
  EXPECT_TRUE(store_->IsDenied(DigestOf(p2_)));
  EXPECT_EQ(store_->Deny(DigestOf(p3_), Reason::Deadline), Status::kInvalidArgument);
  EXPECT_EQ(store_->OverrideDenied(DigestOf(p2_)), Status::kOk);
  EXPECT_EQ(store_->OverrideDenied(DigestOf(p2_)), Status::kNotFound);
  Start();
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
}

TEST_F(ModelStoreTest, ConfirmNeedsARunningTrialAndRaisesTheFloor) {
  StartWithChampion(p1_);
  EXPECT_EQ(store_->Confirm(), Status::kFailedPrecondition);
  ASSERT_EQ(Stage(*store_, p3_), Status::kOk);
  EXPECT_EQ(store_->Confirm(), Status::kFailedPrecondition) << "staged only";
  ASSERT_EQ(store_->BeginTrial(), Status::kOk);
  ASSERT_EQ(store_->Confirm(), Status::kOk);
  for (uint32_t copy = 0; copy < 2; ++copy) {
    EXPECT_EQ(world_.RecordCopy(copy)->lkg_digest, DigestOf(p3_));
    EXPECT_EQ(world_.RecordCopy(copy)->floor, (base::SecurityVersion{1, 2}));
  }
  Slot slot;
  ASSERT_EQ(slot.Open(&world_.b, false), Status::kOk);
  EXPECT_EQ(slot.NewestMark()->digest, DigestOf(p3_));
}

TEST_F(ModelStoreTest, AConfirmThatFailsHalfWayIsCompletedByCallingAgain) {
  StartWithChampion(p1_);
  ASSERT_EQ(Stage(*store_, p2_), Status::kOk);
  ASSERT_EQ(store_->BeginTrial(), Status::kOk);
  world_.b.SetFault({hal::SimCall::kSync, world_.b.calls(hal::SimCall::kSync), 2, Status::kUnavailable});
  EXPECT_EQ(store_->Confirm(), Status::kUnavailable);
  EXPECT_EQ(store_->Confirm(), Status::kOk);
  EXPECT_EQ(store_->Confirm(), Status::kFailedPrecondition);
  EXPECT_EQ(Start().digest, DigestOf(p2_));
}

// Undo
// ------------------------------------------------------------------------------------------------------------

TEST_F(ModelStoreTest, UndoGoesBackAndForth) {
  StartWithChampion(p1_);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  StartDecision decision;
  // More renewals than one bank of marks holds.
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(*store_->Undo(&decision), Reason::None) << i;
    ASSERT_EQ(decision.digest, DigestOf(i % 2 == 0 ? p1_ : p2_));
  }
  world_.Restart(0);
  world_.LoseRecordCopy(0);
  world_.LoseRecordCopy(1);
  EXPECT_EQ(Start().digest, DigestOf(p2_));
}

TEST_F(ModelStoreTest, UndoRefusals) {
  StartWithChampion(p1_);
  StartDecision decision;
  EXPECT_EQ(*store_->Undo(&decision), Reason::NoPrevious);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  ASSERT_EQ(store_->Deny(DigestOf(p1_), Reason::ShownWorse), Status::kOk);
  EXPECT_EQ(*store_->Undo(&decision), Reason::RefusedDenied);
  ASSERT_EQ(store_->OverrideDenied(DigestOf(p1_)), Status::kOk);
  world_.LosePackage(SlotId::kA);
  EXPECT_EQ(*store_->Undo(&decision), Reason::NoPrevious);
  ASSERT_EQ(Stage(*store_, p3_), Status::kOk);
  EXPECT_EQ(*store_->Undo(&decision), Reason::TrialPending);
  ASSERT_EQ(store_->BeginTrial(), Status::kOk);
  ASSERT_EQ(store_->Confirm(), Status::kOk);
  EXPECT_EQ(*store_->Undo(&decision), Reason::RefusedFloor);
}

// Ladder
// ----------------------------------------------------------------------------------------------------------

TEST_F(ModelStoreTest, LadderRungByRung) {
  world_.BurnFactory(factory_);
  StartWithChampion(p1_);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kB, 10, MakeImage(10)), Status::kOk);
  store_->HealthyPeriod();
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kB, 20, MakeImage(20)), Status::kOk);
  const auto fail_thrice = [&] {
    StartDecision decision;
    for (int i = 0; i < kMaxOwnFailures; ++i) decision = *store_->ChampionFailed(Reason::NotFinite);
    EXPECT_TRUE(decision.stepped_down);
    return decision;
  };
  StartDecision at = fail_thrice();
  EXPECT_EQ(at.source, ImageSource::kOlderCheckpoint);
  Bytes image(2048);
  EXPECT_EQ(store_->ReadCheckpoint(SlotId::kB, at.source, image)->samples, 10U);
  at = fail_thrice();
  EXPECT_EQ(at.source, ImageSource::kPackage);
  EXPECT_EQ(at.serve, SlotId::kB);
  EXPECT_FALSE(at.denied);
  at = fail_thrice();
  EXPECT_EQ(at.digest, DigestOf(p1_));
  EXPECT_EQ(at.rung, Rung::kOtherSlot);
  EXPECT_TRUE(at.denied && store_->IsDenied(DigestOf(p2_)));
  at = fail_thrice();
  EXPECT_EQ(at.serve, SlotId::kFactory);
  EXPECT_TRUE(store_->IsDenied(DigestOf(p1_)));
  at = fail_thrice();
  EXPECT_EQ(at.serve, SlotId::kNone);
  EXPECT_EQ(at.rung, Rung::kNone);
  EXPECT_EQ(Start().serve, SlotId::kNone) << "safe mode stays";
  EXPECT_EQ(store_->ChampionFailed(Reason::NotFinite).status(), Status::kFailedPrecondition);
  ASSERT_EQ(Install(*store_, p3_), Status::kOk);
  EXPECT_EQ(Start().rung, Rung::kNewestCheckpoint);
}

TEST_F(ModelStoreTest, AnImageThatCannotBeAttachedStepsDownAtOnce) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10)), Status::kOk);
  EXPECT_EQ(store_->ChampionUnloadable(Reason::NotFinite)->source, ImageSource::kPackage);
  EXPECT_EQ(store_->ChampionUnloadable(Reason::NotFinite)->serve, SlotId::kNone);
  EXPECT_TRUE(store_->IsDenied(DigestOf(p1_)));
}

TEST_F(ModelStoreTest, AnImageThatTheMediumWithholdsIsLeftUndenied) {
  StartWithChampion(p1_);
  ASSERT_EQ(Install(*store_, p2_), Status::kOk);
  EXPECT_EQ(store_->ChampionUnloadable(Reason::StorageError)->digest, DigestOf(p1_));
  EXPECT_FALSE(store_->IsDenied(DigestOf(p2_)));
  StartDecision decision;
  EXPECT_EQ(*store_->Undo(&decision), Reason::None) << "it may come back";
  EXPECT_EQ(decision.digest, DigestOf(p2_));
}

TEST_F(ModelStoreTest, TwelveUnexplainedStartsStepDownAndPlannedStopsDoNotCount) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10)), Status::kOk);
  for (int i = 0; i < 30; ++i) {
    EXPECT_FALSE(Start().stepped_down);
    ASSERT_EQ(store_->PlannedStop(), Status::kOk);
  }
  for (int i = 0; i < kMaxUnexplainedStarts; ++i) EXPECT_FALSE(Start().stepped_down) << i;
  const StartDecision decision = Start();
  EXPECT_TRUE(decision.stepped_down);
  EXPECT_EQ(decision.source, ImageSource::kPackage);
  EXPECT_FALSE(decision.denied) << "power cuts deny nobody";
}

TEST_F(ModelStoreTest, HealthyMarkClearsTheCountsButNotTheRung) {
  StartWithChampion(p1_);
  ASSERT_EQ(store_->WriteCheckpoint(SlotId::kA, 10, MakeImage(10)), Status::kOk);
  for (int i = 0; i < 2; ++i) Start(Crashed(p1_));
  EXPECT_EQ(store_->record().own_failures, 2);
  EXPECT_TRUE(Start(Crashed(p1_)).stepped_down);
  Start();
  EXPECT_GT(store_->record().unexplained_starts, 0);
  ASSERT_EQ(store_->HealthyMark(), Status::kOk);
  EXPECT_EQ(store_->record().unexplained_starts, 0);
  EXPECT_EQ(store_->record().rung, Rung::kPackageImage);
}

/// What is staged while a reset is unfinished would be erased by the start that finishes it.
TEST_F(ModelStoreTest, NothingIsStagedWhileAFactoryResetIsUnfinished) {
  world_.has_factory = false;
  StartWithChampion(p1_);
  world_.b.SetFault(
      {.call = hal::SimCall::kErase, .first = world_.b.calls(hal::SimCall::kErase), .count = 1});
  StartDecision decision;
  EXPECT_FALSE(store_->FactoryReset(&decision).ok());
  EXPECT_EQ(Stage(*store_, p2_), Status::kFailedPrecondition);
  const auto again = store_->FactoryReset(&decision);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, schema::Reason::None);
  EXPECT_EQ(Stage(*store_, p2_), Status::kOk);
}

TEST_F(ModelStoreTest, NoTransferIsResumedAcrossAFactoryReset) {
  world_.has_factory = false;
  StartWithChampion(p1_);
  ASSERT_EQ(store_->BeginStage(DigestOf(p2_), VersionOf(p2_), p2_.size()), Status::kOk);
  StartDecision decision;
  ASSERT_TRUE(store_->FactoryReset(&decision).ok());
  EXPECT_FALSE(store_->stage_open());
  for (const SlotId slot : {SlotId::kA, SlotId::kB}) {
    EXPECT_EQ(store_->ResumeStage(DigestOf(p2_), VersionOf(p2_), p2_.size(), slot),
              Status::kFailedPrecondition);
  }
}

}  // namespace
}  // namespace dipper::store
