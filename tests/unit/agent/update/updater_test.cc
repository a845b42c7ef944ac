// The updater end to end on simulated media: every reason that an offer, a package or a trial can end with,
// and what the end leaves behind.
#include "agent/update/updater.h"

#include "tests/unit/agent/update/updater_fixture.h"
#include "tools/lab/spec_text.h"

namespace dipper::update::test {
namespace {

struct Refusal {
  const char* name;
  Reason reason;
  ReleaseChange change;
};

class Refusals : public UpdaterTest, public testing::WithParamInterface<Refusal> {};

TEST_P(Refusals, AreReportedAndLeaveTheChampion) {
  ExpectEnd(MakeRelease("2", 3, GetParam().change), UpdateState::Rejected, GetParam().reason);
  EXPECT_EQ(device_->reports().trial_starts, 0U);
}

/// A stage that misbehaves on purpose. Builds that test with it know it, but not this kind of it.
void AddFaultStage(Manifest& manifest) {
  schema::SpecT spec;
  schema::GetSpec(manifest.spec.data())->UnPackTo(&spec);
  schema::FaultT fault;
#if defined(DIPPER_TEST_FAULTS)
  fault.kind = static_cast<schema::FaultKind>(200);
#else
  fault.kind = schema::FaultKind::Abort;
#endif
  spec.stages.push_back(std::make_unique<schema::StageT>());
  spec.stages.back()->params.Set(fault);
  manifest.spec = lab::CompileSpec(spec);
}

INSTANTIATE_TEST_SUITE_P(
    Packages, Refusals,
    testing::Values(
        Refusal{"UnknownKey", Reason::UnknownKey, {.edit = nullptr, .by_stranger = true}},
        Refusal{"BelowFloor", Reason::BelowFloor, Edit([](Manifest& m) { m.security_version = 1; })},
        Refusal{"RootInvalid", Reason::RootInvalid, Edit([](Manifest& m) { m.release_epoch = 7; })},
        Refusal{"WrongHardware", Reason::WrongHardware,
                Edit([](Manifest& m) { m.hardware = {"other-board"}; })},
        Refusal{"WrongAgent", Reason::WrongAgent,
                Edit([](Manifest& m) { m.min_agent = std::make_unique<schema::AgentVersion>(9, 0, 0); })},
        Refusal{"UnknownLayout", Reason::UnknownLayout, Edit([](Manifest& m) {
                  m.layouts.push_back(std::make_unique<schema::LayoutVersionT>());
                  m.layouts.back()->kind = "Rls";
                  m.layouts.back()->version = 99;
                })},
        Refusal{"UnknownPart", Reason::UnknownLayout, Edit([](Manifest& m) {
                  schema::SpecT spec;
                  schema::GetSpec(m.spec.data())->UnPackTo(&spec);
                  spec.task = static_cast<schema::Task>(200);  // of a later version
                  m.spec = lab::CompileSpec(spec);
                })},
        Refusal{"UnknownNumerics", Reason::UnknownNumerics,
                Edit([](Manifest& m) { m.numerics_version = 99; })},
        Refusal{"FaultStage", Reason::FaultStage, Edit(AddFaultStage)},
        Refusal{"BadGate", Reason::BadFormat, Edit([](Manifest& m) { m.gate->margin_ratio = -1; })},
        Refusal{"ImageOfAnotherSize",
                Reason::BadSpec,
                {.edit = [](Manifest&, Bytes& image) { image.erase(image.end() - 16, image.end()); }}},
        Refusal{"NotFinite",
                Reason::NotFinite,
                {.edit =
                     [](Manifest&, Bytes& image) {
                       // Every number of the learner's part becomes not-a-number; the header stays.
                       for (size_t i = image.size() / 2; i < image.size(); ++i) image[i] = 0xFF;
                     }}},
        Refusal{"SelfTest", Reason::SelfTest, Edit([](Manifest& m) {
                  m.self_test = std::make_unique<schema::SelfTestT>();
                  m.self_test->steps.push_back(std::make_unique<schema::SelfTestStepT>());
                  m.self_test->steps.back()->values = {1.0F};
                  m.self_test->image_sha256 = std::make_unique<schema::Sha256>();
                })}),
    [](const auto& refusal) { return refusal.param.name; });

TEST_F(UpdaterTest, ABlockThatDiffersByABit) {
  Release release = MakeRelease("2", 3);
  release.package.back() ^= 1;
  ExpectEnd(release, UpdateState::Rejected, Reason::BadBlock);
}

TEST_F(UpdaterTest, AManifestThatDiffersByABit) {
  Release release = MakeRelease("2", 3);
  release.package[package::kHeaderBytes + 200] ^= 1;
  ExpectEnd(release, UpdateState::Rejected, Reason::BadSignature);
}

TEST_F(UpdaterTest, AnotherPackageUnderTheOfferedName) {
  Release release = MakeRelease("2", 3);
  release.package = MakeRelease("3", 3).package;
  // Signed, but not what was offered: its size agrees, its digest does not.
  ExpectEnd(release, UpdateState::Rejected, Reason::BadDigest);
}

TEST_F(UpdaterTest, BlocksThatNeverCome) {
  device_->LoseBlocks();
  ExpectEnd(MakeRelease("2", 3), UpdateState::Failed, Reason::BlocksUnavailable);
}

TEST_F(UpdaterTest, AWorseChallengerIsDenied) {
  ExpectEnd(MakeRelease("2", 3), UpdateState::FellBack, Reason::ShownWorse, kWorse);
}

TEST_F(UpdaterTest, AnUndecidedOneFallsBackAtTheDeadlineUndenied) {
  const auto change = Edit([](Manifest& m) {
    m.gate->margin = 0;
    m.gate->deadline_samples = 100;
  });
  ExpectEnd(MakeRelease("2", 3, change), UpdateState::FellBack, Reason::Deadline, kSame);
}

TEST_F(UpdaterTest, TheBoundIsFoundWhenThePackageNamesNone) {
  const auto change = Edit([](Manifest& m) {
    m.gate->loss_bound = 0;
    m.gate->margin = 0;
    m.gate->margin_ratio = 0.1;
  });
  ASSERT_TRUE(device_->Play(MakeRelease("2", 3, change), 2, kBetter));
  EXPECT_TRUE(device_->reports().confirmed);
}

TEST_F(UpdaterTest, PolicyConfirmsAtTheDeadlineUnlessTheLinkIsMissing) {
  const auto policy = [](bool link_required) {
    return ReleaseChange{.edit = [link_required](Manifest& m, Bytes&) {
      m.gate->margin = 0;
      m.gate->deadline_samples = 100;
      m.gate->at_deadline = schema::AtDeadline::Confirm;
      m.gate->link_required = link_required;
    }};
  };
  ExpectEnd(MakeRelease("2", 3, policy(true)), UpdateState::FellBack, Reason::LinkRequired, kSame);
  const Release good = MakeRelease("3", 3, policy(false));
  ASSERT_TRUE(device_->Play(good, 3, kSame));
  EXPECT_EQ(device_->updater().Status().champion, good.digest);
  EXPECT_EQ(device_->updater().Status().reason, Reason::PolicyAtDeadline);
}

TEST_F(UpdaterTest, OffersAreJudgedBeforeAnyTransfer) {
  const Release release = MakeRelease("2", 3);
  Bytes forged = release.Offer(5);
  forged[forged.size() / 2] ^= 1;
  EXPECT_NE(Offer(forged), Reason::None);
  EXPECT_EQ(Offer(release.Offer(5, [](auto& o) { o.fleet = "other"; })), Reason::WrongTarget);
  EXPECT_EQ(Offer(release.Offer(5, [](auto& o) { o.model = "other"; })), Reason::WrongTarget);
  EXPECT_EQ(Offer(release.Offer(5, [](auto& o) { o.image_bytes = 1 << 24; })), Reason::TooLarge);
  EXPECT_EQ(Offer(release.Offer(4)), Reason::OldNumber);
  EXPECT_EQ(Offer(v1_->Offer(6)), Reason::AlreadyInstalled);
  EXPECT_EQ(Offer(MakeRelease("3", 3).Offer(6)), Reason::OldNumber);  // same number, another package
}

TEST_F(UpdaterTest, ANewerOfferSupersedesAndACancelEnds) {
  const Release first = MakeRelease("2", 3), second = MakeRelease("3", 3);
  EXPECT_EQ(Offer(first.Offer(2)), Reason::None);
  EXPECT_EQ(device_->updater().Status().state, UpdateState::Offered);
  EXPECT_EQ(Offer(second.Offer(3)), Reason::None);
  EXPECT_EQ(device_->reports().reason, Reason::Superseded);
  EXPECT_EQ(device_->updater().Status().offered, second.digest);
  EXPECT_EQ(Offer(second.Offer(4, [](auto& o) { o.cancel = true; })), Reason::None);
  EXPECT_EQ(device_->updater().Status().state, UpdateState::Failed);
  EXPECT_EQ(device_->updater().Status().reason, Reason::Cancelled);
  EXPECT_EQ(Offer(second.Offer(3)), Reason::OldNumber);
}

TEST_F(UpdaterTest, CommandsWithoutAnObjectAreRefused) {
  EXPECT_EQ(device_->updater().FallBack(), Reason::NoTrial);
  EXPECT_EQ(device_->updater().Undo(), Reason::NoPrevious);
  EXPECT_EQ(device_->updater().OverrideDenied(v1_->digest), Reason::NotDenied);
  EXPECT_EQ(device_->updater().Freeze(true), Reason::None);
  EXPECT_TRUE(device_->updater().champion()->frozen());
}

TEST_F(UpdaterTest, UndoneToWhatTheFormerModelHadLearned) {
  const Release v2 = MakeRelease("2", 2);
  ASSERT_TRUE(device_->Play(v2, 2, kBetter));
  ASSERT_EQ(device_->updater().Status().champion, v2.digest);
  EXPECT_EQ(device_->updater().Undo(), Reason::None);
  EXPECT_EQ(device_->updater().Status().champion, v1_->digest);
  EXPECT_GT(device_->updater().champion()->samples(), 0U);
}

TEST_F(UpdaterTest, AFloorRaisedByAConfirmForbidsTheUndo) {
  ASSERT_TRUE(device_->Play(MakeRelease("2", 3), 2, kBetter));
  EXPECT_EQ(device_->updater().Undo(), Reason::RefusedFloor);
}

// Until the medium takes the end of a trial, the failed challenger must not run, whatever the gate would say.
TEST_F(UpdaterTest, AnEndThatCannotBeStoredStopsTheChallengerAndIsStoredLater) {
  const Release release = MakeRelease("2", 3);
  Updater& updater = device_->updater();
  bool ended = false;
  for (int turn = 0; turn < 60 && updater.Status().state != UpdateState::Trial; ++turn) {
    device_->PlayTurn(release, 2, kSame);
  }
  ASSERT_EQ(updater.Status().state, UpdateState::Trial);
  ASSERT_NE(updater.challenger(), nullptr);
  for (const uint64_t good_writes : {0U, 1U}) {
    SCOPED_TRACE(good_writes);
    media_.boot.SetFault({.call = hal::SimCall::kWrite,
                          .first = media_.boot.calls(hal::SimCall::kWrite) + good_writes,
                          .count = 1000});
    if (!ended) updater.OnChallengerFailed(Reason::NotFinite);
    ended = true;
    EXPECT_EQ(updater.challenger(), nullptr);
    EXPECT_FALSE(device_->reports().fell_back);
    device_->PlayTurn(release, 2, kBetter);
    EXPECT_FALSE(device_->reports().confirmed);
  }
  media_.boot.SetFault({});
  device_->PlayTurn(release, 2, kBetter);
  EXPECT_TRUE(device_->reports().fell_back);
  EXPECT_EQ(updater.Status().reason, Reason::NotFinite);
  EXPECT_TRUE(updater.store().IsDenied(release.digest));
  EXPECT_EQ(updater.Status().champion, v1_->digest);
}

TEST_F(UpdaterTest, AChallengerMayInheritWhatTheChampionLearned) {
  const auto change = Edit([](Manifest& m) { m.gate->start_from_champion = true; });
  const Release release = MakeRelease("2", 3, change);
  Updater& updater = device_->updater();
  for (int turn = 0; turn < 60 && updater.challenger() == nullptr; ++turn)
    device_->PlayTurn(release, 2, kSame);
  ASSERT_NE(updater.challenger(), nullptr);
  EXPECT_EQ(updater.challenger()->samples(), updater.champion()->samples());
}

}  // namespace
}  // namespace dipper::update::test
