// Attacks with documents: played again, counted ahead, moved in time, signed by too few or by the wrong key.
// Each runs against the real updater, store and signatures. docs/explanation/threat-model.md lists them all.
#include "tests/unit/agent/attacks/attacks_fixture.h"

namespace dipper::update::test {
namespace {

using package::NumberInEpoch;

TEST_F(AttackTest, attack_replay_of_an_offer_after_reboot_and_cancel) {
  const Release release = MakeRelease("2", 3);
  device_->LoseBlocks();
  ASSERT_TRUE(device_->PlayUntil(release, 5, kSame, UpdateState::Transferring));
  EXPECT_EQ(Offer(release.Offer(6, [](auto& o) { o.cancel = true; })), Reason::None);
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(Offer(release.Offer(5)), Reason::OldNumber);
    EXPECT_NE(updater().state(), UpdateState::Transferring);
    Restart(1);
  }
  ExpectServing(*v1_);
}

TEST_F(AttackTest, attack_replay_of_another_devices_documents) {
  const Release release = MakeRelease("2", 3);
  const auto to = [](const char* fleet, const char* device) {
    return [fleet, device](schema::OfferT& offer) {
      offer.fleet = fleet;
      offer.target->scope = schema::TargetScope::List;
      offer.target->names = {device};
    };
  };
  EXPECT_EQ(Offer(release.Offer(900, to("plant", "d2"))), Reason::WrongTarget);
  EXPECT_EQ(Offer(release.Offer(900, to("other", "d1"))), Reason::WrongTarget);
  // The numbers of others use up none of ours.
  EXPECT_EQ(StoredNumber(), 1U);
  EXPECT_EQ(trust().OnCommand(CommandDocument("undo", 900), {"other", "d1", {}}).reason, Reason::WrongTarget);
  EXPECT_EQ(trust().counters().command().number, 0U);
  EXPECT_EQ(Offer(release.Offer(2)), Reason::None);
}

TEST_F(AttackTest, attack_replay_of_a_command_after_reboot) {
  EXPECT_EQ(Command(7), Reason::None);
  Restart();
  // Answered from what is stored, not done again; older ones not at all.
  const Trust::Ticket again = trust().OnCommand(CommandDocument("undo", 7), kDevice);
  EXPECT_EQ(again.lookup, store::CommandLookup::kDone);
  EXPECT_EQ(again.stored_result, static_cast<uint16_t>(Reason::NoPrevious));
  EXPECT_EQ(Command(6), Reason::OldNumber);
}

TEST_F(AttackTest, attack_number_of_a_later_epoch) {
  const Release release = MakeRelease("2", 3);
  EXPECT_EQ(Offer(release.Offer(NumberInEpoch(1, 2))), Reason::RootInvalid);
  EXPECT_EQ(Offer(release.Offer(UINT64_MAX)), Reason::RootInvalid);
  EXPECT_EQ(StoredNumber(), 1U);
  EXPECT_EQ(Command(NumberInEpoch(1, 2)), Reason::RootInvalid);
  EXPECT_EQ(trust().counters().command().number, 0U);
}

TEST_F(AttackTest, attack_fast_forward_of_offer_numbers) {
  const Release release = MakeRelease("2", 3);
  EXPECT_EQ(Offer(release.Offer(kHighestNumber, [](auto& o) { o.cancel = true; })), Reason::None);
  EXPECT_EQ(StoredNumber(), kHighestNumber);
  EXPECT_EQ(Offer(release.Offer(2)), Reason::OldNumber);
  // The same rollout key may stay (a mistake, not a theft): the epoch alone begins anew.
  RootPlan next;
  next.epochs[2] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  EXPECT_EQ(Offer(release.Offer(kHighestNumber)), Reason::OldNumber);
  Restart();
  EXPECT_EQ(Offer(release.Offer(kHighestNumber)), Reason::OldNumber);
  ASSERT_TRUE(device_->Play(release, NumberInEpoch(1, 1), kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(AttackTest, attack_fast_forward_of_command_numbers) {
  EXPECT_EQ(Command(kHighestNumber), Reason::None);
  EXPECT_EQ(Command(3), Reason::OldNumber);
  RootPlan next;
  next.epochs[3] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  EXPECT_EQ(Command(kHighestNumber), Reason::OldNumber);
  EXPECT_EQ(Command(NumberInEpoch(1, 1)), Reason::None);
  Restart();
  EXPECT_EQ(Command(NumberInEpoch(1, 1)), Reason::None);  // its stored answer
  EXPECT_EQ(Command(NumberInEpoch(0, 9)), Reason::OldNumber);
}

TEST_F(AttackTest, attack_fast_forward_of_root_versions) {
  RootPlan far;
  far.version = UINT32_MAX;
  EXPECT_EQ(trust().OnRoot(far.Document()), Reason::RootInvalid);
  far.version = 3;
  EXPECT_EQ(trust().OnRoot(far.Document()), Reason::RootInvalid);
  EXPECT_EQ(trust().root().version(), 1U);
}

TEST_F(AttackTest, attack_fast_forward_of_the_trusted_time) {
  const Release release = MakeRelease("2", 3);
  const auto usual = [](schema::OfferT& offer) {
    offer.issued = 1'700'000'100;
    offer.not_after = 1'700'100'000;
  };
  device_->SetWall(1'700'000'000, true);
  // A thief of the rollout key signs a time far ahead: not even the root's expiry is reached by it.
  EXPECT_EQ(Offer(release.Offer(2,
                                [](schema::OfferT& offer) {
                                  offer.issued = INT64_MAX - 1;
                                  offer.not_after = INT64_MAX;
                                  offer.cancel = true;
                                })),
            Reason::None);
  EXPECT_EQ(trust().Now().unix_seconds, trust().root().expires() - 1);
  EXPECT_FALSE(trust().root().ExpiredAt(trust().Now()));
  EXPECT_EQ(Offer(release.Offer(3, usual)), Reason::Expired);
  RootPlan next;
  next.created = 1'700'000'050;
  next.epochs[2] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  Restart();
  device_->SetWall(1'700'000'060, true);
  EXPECT_EQ(trust().Now().unix_seconds, 1'700'000'060);
  EXPECT_EQ(Offer(release.Offer(NumberInEpoch(1, 1), usual)), Reason::None);
}

TEST_F(AttackTest, attack_freeze_by_a_moved_clock) {
  const Release release = MakeRelease("2", 3);
  const auto until = [](int64_t not_after) {
    return [not_after](schema::OfferT& offer) {
      offer.issued = 1'700'000'000;
      offer.not_after = not_after;
      offer.cancel = true;
    };
  };
  ASSERT_EQ(Offer(release.Offer(2, until(1'800'000'000))), Reason::None);
  const int64_t ten_years = 10LL * 365 * 24 * 3600;
  for (const int64_t wall : {int64_t{0}, int64_t{1'700'000'000} - ten_years}) {
    device_->SetWall(wall, true);
    // Never below the last signed time, so what has expired stays so.
    EXPECT_EQ(trust().Now().unix_seconds, 1'700'000'000);
    EXPECT_EQ(Offer(release.Offer(3, until(1'700'000'000))), Reason::Expired);
  }
  Restart();
  device_->SetWall(0, true);
  EXPECT_EQ(trust().Now().unix_seconds, 1'700'000'000);
  // Ahead: counts only when the system says that the clock is right, and is forgotten when it is put right.
  device_->SetWall(1'700'000'000 + ten_years, false);
  EXPECT_EQ(Offer(release.Offer(4, until(1'800'000'000))), Reason::None);
  device_->SetWall(1'700'000'000 + ten_years, true);
  EXPECT_EQ(Offer(release.Offer(5, until(1'800'000'000))), Reason::Expired);
  device_->SetWall(1'700'000'001, true);
  EXPECT_EQ(Offer(release.Offer(6, until(1'800'000'000))), Reason::None);
  ExpectServing(*v1_);
}

TEST_F(AttackTest, attack_one_role_speaks_for_another) {
  const Keys& keys = TestKeys();
  const Release release = MakeRelease("2", 3);
  for (const PrivateKey* key : {&keys.root, &keys.release, &keys.command, &keys.stranger}) {
    EXPECT_EQ(Offer(SignedBy(release.Offer(2), *key)), Reason::UnknownKey);
  }
  for (const PrivateKey* key : {&keys.root, &keys.release, &keys.rollout, &keys.stranger}) {
    EXPECT_EQ(Command(2, *key), Reason::UnknownKey);
  }
  for (const PrivateKey* key : {&keys.release, &keys.rollout, &keys.command, &keys.stranger}) {
    EXPECT_EQ(trust().OnRoot(SignedBy(RootPlan{}.Document(), *key)), Reason::RootInvalid);
  }
  EXPECT_EQ(StoredNumber(), 1U);
  EXPECT_EQ(trust().root().version(), 1U);
  // A package by the rollout and the command key, offered properly.
  for (const PrivateKey* key : {&keys.rollout, &keys.command, &keys.root}) {
    SetUp();
    Release forged = release;
    forged.package = package::test::Forge(release.package, *key, [](auto&, auto&) {});
    package::Header header;
    ASSERT_EQ(package::ParseHeader(forged.package, &header), Reason::None);
    forged.digest = package::PackageDigest(header, forged.package);
    ExpectEnd(forged, UpdateState::Rejected, Reason::UnknownKey);
  }
}

TEST_F(AttackTest, attack_threshold_by_one_signer) {
  RootPlan two;
  two.keys[0] = {&TestKeys().root, &Spare(0), &Spare(1)};
  two.thresholds[0] = 2;
  two.keys[2] = {&TestKeys().rollout, &Spare(2)};
  two.thresholds[2] = 2;
  EXPECT_EQ(trust().OnRoot(two.Document()), Reason::RootInvalid);
  two.signers = {&TestKeys().root, &Spare(0)};
  ASSERT_EQ(trust().OnRoot(two.Document()), Reason::None);
  const package::Draft draft = package::ReadDraft(MakeRelease("2", 3).Offer(2)).value();
  const auto by = [&](const PrivateKey& key) {
    return package::test::SignatureBy(key, draft.domain, draft.payload);
  };
  schema::Signature renamed = by(TestKeys().rollout);
  renamed = schema::Signature(
      package::ToSchema(Spare(2).id()),
      package::Sign(TestKeys().rollout, package::SigningDigest(draft.domain, draft.payload)).value().rs);
  const auto offer = [&](const std::vector<schema::Signature>& signatures) {
    return Offer(package::test::Envelope(draft.payload, signatures));
  };
  EXPECT_EQ(offer({by(TestKeys().rollout)}), Reason::BadSignature);
  EXPECT_EQ(offer({by(TestKeys().rollout), by(TestKeys().rollout)}), Reason::BadSignature);
  EXPECT_EQ(offer({by(TestKeys().rollout), renamed}), Reason::BadSignature);
  EXPECT_EQ(offer({by(TestKeys().rollout), by(Spare(1))}), Reason::BadSignature);
  EXPECT_EQ(offer({by(TestKeys().rollout), by(Spare(2))}), Reason::None);
}

// Bytes that are on the medium with a good checksum, and were never verified.
TEST_F(AttackTest, attack_saved_before_verified) {
  RootPlan thief;
  thief.signers = {};
  device_.reset();
  store::RootStore roots(media_.boot);
  ASSERT_EQ(roots.Open(), base::Status::kOk);
  ASSERT_EQ(roots.Store(thief.Document()), base::Status::kOk);
  Restart(1);
  EXPECT_EQ(trust().root().version(), 1U);
  ExpectServing(*v1_);
}

}  // namespace
}  // namespace dipper::update::test
