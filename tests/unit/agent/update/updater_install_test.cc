// A package from a file: the path from verifying on, every way in which a file can go wrong, and the
// operator's confirm.
#include "tests/unit/agent/update/updater_fixture.h"

namespace dipper::update::test {
namespace {

/// A package file that can be cut, changed or pulled away at a block.
class FakeFile final : public package::ByteSource {
 public:
  explicit FakeFile(Bytes bytes) : bytes_(std::move(bytes)) {}
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override {
    ++reads_;
    if (reads_ > fails_after_) return base::Status::kUnavailable;
    if (offset > bytes_.size() || to.size() > bytes_.size() - offset) return base::Status::kOutOfRange;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
    if (reads_ > changes_after_) to.front() ^= 1;
    return base::Status::kOk;
  }
  uint64_t size() const override { return bytes_.size(); }
  void FailAfter(int reads) { fails_after_ = reads; }
  void ChangeAfter(int reads) { changes_after_ = reads; }

 private:
  Bytes bytes_;
  int reads_ = 0, fails_after_ = 1 << 30, changes_after_ = 1 << 30;
};

constexpr int kHeadReads = 2;

class InstallTest : public UpdaterTest {
 protected:
  void SetUp() override {
    UpdaterTest::SetUp();
    BeHealthy();
  }
  void BeHealthy() {
    for (int turn = 0; turn < 20 && !updater().store().healthy(); ++turn) Turn();
    ASSERT_TRUE(updater().store().healthy());
  }
  /// A second without any offer.
  void Turn(double loss = kSame) { device_->PlayTurn(*v1_, 1, loss); }
  bool TurnUntil(UpdateState state, double loss = kSame) {
    for (int turn = 0; turn < 200 && updater().state() != state; ++turn) Turn(loss);
    return updater().state() == state;
  }
  store::OfferState StoredOffer() { return device_->trust().counters().offer(0); }
};

TEST_F(InstallTest, GoesFromVerifyingToConfirmedAndLeavesTheStoredOfferAlone) {
  const Release v2 = MakeRelease("2", 3);
  const store::OfferState stored = StoredOffer();
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Verifying);
  EXPECT_EQ(device_->events().back().to, UpdateState::Verifying);
  EXPECT_EQ(device_->events().back().package, v2.digest);
  EXPECT_EQ(device_->events().back().name.view(), "level");
  EXPECT_EQ(device_->events().back().offer_number, 0U);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  EXPECT_FALSE(updater().installing());
  ASSERT_TRUE(TurnUntil(UpdateState::Confirmed, kBetter));
  EXPECT_EQ(updater().Status().champion, v2.digest);
  EXPECT_EQ(updater().Status().reason, Reason::ShownNotWorse);
  EXPECT_EQ(StoredOffer(), stored);
}

TEST_F(InstallTest, AFallBackOfAFileLeavesTheStoredOfferAloneAlsoAcrossARestart) {
  const Release v2 = MakeRelease("2", 3);
  const store::OfferState stored = StoredOffer();
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  Restart(1);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  EXPECT_EQ(updater().Status().offer_number, 0U);
  ASSERT_TRUE(TurnUntil(UpdateState::FellBack, kWorse));
  EXPECT_TRUE(updater().store().IsDenied(v2.digest));
  EXPECT_EQ(StoredOffer(), stored);
  BeHealthy();
  EXPECT_EQ(updater().BeginInstall(file), Reason::Denied);
}

TEST_F(InstallTest, AFilePulledAwayAtEveryRead) {
  const Release v2 = MakeRelease("2", 3);
  for (int reads = 0; reads < kHeadReads + 4; ++reads) {
    SCOPED_TRACE(reads);
    FakeFile file(v2.package);
    file.FailAfter(reads);
    const Reason reason = updater().BeginInstall(file);
    if (reads < kHeadReads) {
      EXPECT_EQ(reason, Reason::SourceLost);
      EXPECT_TRUE(IsResting(updater().state()));
      continue;
    }
    ASSERT_EQ(reason, Reason::None);
    for (int turn = 0; turn < 60 && updater().installing(); ++turn) Turn();
    if (updater().state() == UpdateState::Failed) {
      EXPECT_EQ(updater().Status().reason, Reason::SourceLost);
    } else {
      break;  // that many reads were enough
    }
    EXPECT_FALSE(updater().store().record().HasTrial());
  }
  ExpectServing(*v1_);
}

TEST_F(InstallTest, AFileThatChangesWhileItIsRead) {
  const Release v2 = MakeRelease("2", 3);
  FakeFile file(v2.package);
  file.ChangeAfter(kHeadReads);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_TRUE(TurnUntil(UpdateState::Rejected));
  EXPECT_EQ(updater().Status().reason, Reason::BadBlock);
  EXPECT_FALSE(updater().store().IsDenied(v2.digest));
  FakeFile again(v2.package);
  EXPECT_EQ(updater().BeginInstall(again), Reason::None);
  EXPECT_TRUE(TurnUntil(UpdateState::Trial));
}

TEST_F(InstallTest, WhatIsRefusedAtTheHeadMovesNoState) {
  const UpdateState state = updater().state();
  const auto refused = [&](const Bytes& bytes) {
    FakeFile file(bytes);
    const size_t events = device_->events().size();
    const Reason reason = updater().BeginInstall(file);
    EXPECT_EQ(updater().state(), state);
    EXPECT_EQ(device_->events().size(), events + 1);
    EXPECT_EQ(device_->events().back().to, UpdateState::Rejected);
    EXPECT_FALSE(updater().installing());
    return reason;
  };
  const Release v2 = MakeRelease("2", 3);
  Bytes cut = v2.package;
  cut.pop_back();
  Bytes longer = v2.package;
  longer.push_back(0);
  EXPECT_EQ(refused({}), Reason::BadFormat);
  EXPECT_EQ(refused(Bytes(5000, 7)), Reason::BadFormat);
  EXPECT_EQ(refused(cut), Reason::BadFormat);
  EXPECT_EQ(refused(longer), Reason::BadFormat);
  EXPECT_EQ(refused(v1_->package), Reason::AlreadyInstalled);
  EXPECT_EQ(refused(MakeRelease("2", 3, {.edit = nullptr, .by_stranger = true}).package), Reason::UnknownKey);
  EXPECT_EQ(refused(MakeRelease("2", 1).package), Reason::BelowFloor);
  EXPECT_EQ(refused(MakeRelease("2", 3, Edit([](Manifest& m) { m.hardware = {"other-board"}; })).package),
            Reason::WrongHardware);
  ExpectServing(*v1_);
}

// Revocation needs a root that is in force: nothing new is taken under one that has expired.
TEST_F(InstallTest, AnExpiredRootTakesNoFileAndEndsNothing) {
  const Release v2 = MakeRelease("2", 3), v3 = MakeRelease("3", 4);
  FakeFile file(v2.package), other(v3.package), same(v1_->package);
  const auto slots = [&] { return std::vector<Bytes>{media_.Copy()[1], media_.Copy()[2]}; };
  const std::vector<Bytes> before = slots();
  const UpdateState state = updater().state();
  device_->SetWall(4'000'000'001, true);
  EXPECT_EQ(updater().BeginInstall(file), Reason::Expired);
  EXPECT_EQ(device_->events().back().to, UpdateState::Rejected);
  EXPECT_EQ(device_->events().back().reason, Reason::Expired);
  EXPECT_EQ(device_->events().back().package, v2.digest);
  EXPECT_FALSE(updater().installing());
  EXPECT_EQ(updater().state(), state);
  EXPECT_EQ(slots(), before);
  EXPECT_FALSE(updater().store().IsDenied(v2.digest));
  EXPECT_EQ(updater().BeginInstall(same), Reason::AlreadyInstalled);
  ExpectServing(*v1_);
  // Only a synchronized clock expires anything; what was begun in time goes on to its end.
  device_->SetWall(4'000'000'001, false);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  device_->SetWall(4'000'000'001, true);
  ASSERT_TRUE(TurnUntil(UpdateState::Confirmed, kBetter));
  EXPECT_EQ(updater().Status().champion, v2.digest);
  EXPECT_EQ(updater().BeginInstall(other), Reason::Expired);
}

TEST_F(InstallTest, WhileSomethingElseIsUnderWay) {
  const Release v2 = MakeRelease("2", 3), v3 = MakeRelease("3", 4);
  FakeFile file(v3.package), other(v2.package);
  device_->LoseBlocks();
  ASSERT_EQ(Offer(v2.Offer(2)), Reason::None);
  EXPECT_EQ(updater().BeginInstall(file), Reason::Busy);
  ASSERT_TRUE(device_->PlayUntil(v2, 2, kSame, UpdateState::Transferring));
  EXPECT_EQ(updater().BeginInstall(file), Reason::Busy);
  ASSERT_TRUE(device_->Play(v2, 2, kSame));
  ASSERT_EQ(updater().state(), UpdateState::Failed);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  EXPECT_EQ(updater().BeginInstall(other), Reason::Busy);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  EXPECT_EQ(updater().BeginInstall(other), Reason::TrialPending);
}

TEST_F(InstallTest, ABitmapOfATransferBeforeDoesNotSurviveTheFile) {
  const Release v2 = MakeRelease("2", 3), v3 = MakeRelease("3", 4);
  device_->LoseBlocks();
  ASSERT_TRUE(device_->Play(v2, 2, kSame));
  ASSERT_FALSE(device_->trust().counters().transfer(0).digest.IsZero());
  FakeFile file(v3.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  EXPECT_TRUE(device_->trust().counters().transfer(0).digest.IsZero());
}

TEST_F(InstallTest, AnOfferThatComesMeanwhileWaits) {
  const Release v2 = MakeRelease("2", 3), v3 = MakeRelease("3", 4);
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_EQ(Offer(v3.Offer(2)), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Verifying);
  ASSERT_TRUE(TurnUntil(UpdateState::Confirmed, kBetter));
  EXPECT_EQ(updater().Status().champion, v2.digest);
  device_->PlayTurn(v3, 2, kSame);
  EXPECT_EQ(updater().Status().offered, v3.digest);
}

TEST_F(InstallTest, ACutWhileItIsCopiedLeavesNoTrial) {
  const Release v2 = MakeRelease("2", 3);
  for (uint64_t seed = 1; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    FakeFile file(v2.package);
    ASSERT_EQ(updater().BeginInstall(file), Reason::None);
    Restart(seed);
    EXPECT_EQ(updater().state(), UpdateState::Idle);
    EXPECT_FALSE(updater().store().record().HasTrial());
    ExpectServing(*v1_);
    BeHealthy();
  }
}

TEST_F(InstallTest, ACrashInItsSelfTestIsItsOwnFailure) {
  const Release v2 = MakeRelease("2", 3);
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  Restart(1, {.own_failure = true, .digest = v2.digest, .reason = Reason::Crash});
  EXPECT_EQ(updater().state(), UpdateState::Rejected);
  EXPECT_EQ(updater().Status().reason, Reason::Crash);
  EXPECT_TRUE(updater().store().IsDenied(v2.digest));
  EXPECT_TRUE(device_->events().back().denied);
  BeHealthy();
  EXPECT_EQ(updater().BeginInstall(file), Reason::Denied);
  ExpectServing(*v1_);
}

TEST_F(InstallTest, NotBeforeTheHealthyMark) {
  Restart(1);
  const Release v2 = MakeRelease("2", 3);
  FakeFile file(v2.package);
  EXPECT_EQ(updater().BeginInstall(file), Reason::TooSoon);
}

TEST_F(InstallTest, AnOperatorConfirms) {
  EXPECT_EQ(updater().Confirm(), Reason::NoTrial);
  const auto endless = Edit([](Manifest& m) { m.gate->warmup_samples = 1'000'000; });
  const Release v2 = MakeRelease("2", 3, endless);
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  EXPECT_EQ(updater().Confirm(), Reason::NoTrial);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  EXPECT_EQ(updater().Confirm(), Reason::None);
  EXPECT_EQ(updater().Status().champion, v2.digest);
  EXPECT_EQ(device_->events().back().reason, Reason::OperatorConfirmed);
  Restart(0);
  EXPECT_EQ(updater().Status().champion, v2.digest);
}

// A device that has not reached its broker cannot ask a challenger for it.
TEST_F(InstallTest, AFileOnADeviceWithoutALinkIsNotAskedForIt) {
  const Release v2 = MakeRelease("2", 3, Edit([](Manifest& m) { m.gate->link_required = true; }));
  FakeFile file(v2.package);
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_TRUE(TurnUntil(UpdateState::Confirmed, kBetter));
  EXPECT_EQ(updater().Status().champion, v2.digest);
}

// What a file's trial is asked for outlives the run: the next one may begin in an outage.
TEST_F(InstallTest, AFileOnADeviceThatHadItsLinkIsAskedForItAlsoAfterARestart) {
  const Release v2 = MakeRelease("2", 3, Edit([](Manifest& m) { m.gate->link_required = true; }));
  FakeFile file(v2.package);
  updater().OnLinkReached();
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  for (int turn = 0; turn < 25; ++turn) Turn();  // to the first checkpoint
  ASSERT_GT(updater().Status().checkpoints, 0U);
  Restart(1);
  for (int turn = 0; turn < 60; ++turn) Turn(kBetter);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  EXPECT_EQ(updater().Confirm(), Reason::LinkRequired);
  updater().OnLinkReached();
  EXPECT_TRUE(TurnUntil(UpdateState::Confirmed, kBetter));
}

TEST_F(InstallTest, AnOperatorDoesNotOverruleWhatProtectsTheDevice) {
  const auto guarded = Edit([](Manifest& m) {
    m.gate->warmup_samples = 1'000'000;
    m.gate->link_required = true;
    m.gate->max_latency_ns = 1'000'000;
  });
  const Release v2 = MakeRelease("2", 3, guarded);
  FakeFile file(v2.package);
  updater().OnLinkReached();  // before the trial: the champion could, and the challenger must
  ASSERT_EQ(updater().BeginInstall(file), Reason::None);
  ASSERT_TRUE(TurnUntil(UpdateState::Trial));
  EXPECT_EQ(updater().Confirm(), Reason::LinkRequired);
  updater().OnLinkReached();
  EXPECT_EQ(updater().Confirm(), Reason::TooSoon);
  for (uint32_t i = 0; i < LatencyGuard::kWindow; ++i) updater().OnChallengerLatency(2'000'000);
  EXPECT_EQ(updater().Confirm(), Reason::OverBudget);
  EXPECT_EQ(updater().state(), UpdateState::Trial);
  for (uint32_t i = 0; i < LatencyGuard::kWindow; ++i) updater().OnChallengerLatency(1000);
  EXPECT_EQ(updater().Confirm(), Reason::None);
}

}  // namespace
}  // namespace dipper::update::test
