// Recovery drills: what is done on the day that a key is stolen or lost, step by step, on a device whose
// model goes on serving all the while. docs/explanation/threat-model.md tells the same in words.
#include "tests/unit/agent/attacks/attacks_fixture.h"

namespace dipper::update::test {
namespace {

using package::NumberInEpoch;

/// Three root keys, two of which must sign.
RootPlan TwoOfThree(uint32_t version) {
  RootPlan plan;
  plan.version = version;
  plan.keys[0] = {&TestKeys().root, &Spare(0), &Spare(1)};
  plan.thresholds[0] = 2;
  plan.signers = {&TestKeys().root, &Spare(0)};
  return plan;
}

TEST_F(AttackTest, drill_stolen_rollout_key) {
  // The thief offers what is signed already, with the highest number, and a time far ahead.
  const Release release = MakeRelease("2", 3);
  device_->SetWall(1'700'000'000, true);
  ASSERT_EQ(Offer(release.Offer(kHighestNumber,
                                [](auto& o) {
                                  o.cancel = true;
                                  o.issued = 3'900'000'000;
                                })),
            Reason::None);
  ExpectServing(*v1_);
  // The answer: a root with another rollout key and a raised epoch.
  RootPlan next;
  next.created = 1'700'000'000;
  next.keys[2] = {&Spare(0)};
  next.epochs[2] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  EXPECT_EQ(Offer(release.Offer(kHighestNumber)), Reason::UnknownKey);
  EXPECT_EQ(Offer(release.Offer(NumberInEpoch(1, 5))), Reason::UnknownKey);
  const Bytes honest = SignedBy(release.Offer(NumberInEpoch(1, 1)), Spare(0));
  EXPECT_EQ(Offer(honest), Reason::None);
  EXPECT_EQ(updater().state(), UpdateState::Offered);
  Restart();
  ExpectServing(*v1_);
  EXPECT_EQ(Offer(release.Offer(NumberInEpoch(1, 9))), Reason::UnknownKey);
}

TEST_F(AttackTest, drill_stolen_command_key) {
  ASSERT_EQ(Command(kHighestNumber), Reason::None);
  RootPlan next;
  next.keys[3] = {&Spare(0)};
  next.epochs[3] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  EXPECT_EQ(Command(NumberInEpoch(1, 1)), Reason::UnknownKey);
  EXPECT_EQ(Command(NumberInEpoch(1, 1), Spare(0)), Reason::None);
  // Nor does the worst of them go through any more, whatever its number: nothing would undo it.
  for (const uint64_t number : {NumberInEpoch(0, kHighestNumber), NumberInEpoch(1, 2), NumberInEpoch(2, 1)}) {
    EXPECT_EQ(CommandSignedBy("wipe", number, {&TestKeys().command}), Reason::UnknownKey);
  }
  EXPECT_EQ(trust().counters().wipe(), 0U);
  Restart();
  EXPECT_EQ(Command(NumberInEpoch(1, 2), Spare(0)), Reason::None);
  ExpectServing(*v1_);
}

// With one key a thief erases a fleet, and nothing brings back what it had learned: so two.
TEST_F(AttackTest, drill_stolen_command_key_below_the_threshold) {
  RootPlan two;
  two.keys[3] = {&TestKeys().command, &Spare(0)};
  two.thresholds[3] = 2;
  ASSERT_EQ(trust().OnRoot(two.Document()), Reason::None);
  const uint64_t before = trust().counters().command().number;
  EXPECT_EQ(CommandSignedBy("wipe", 7, {&TestKeys().command}), Reason::BadSignature);
  EXPECT_EQ(CommandSignedBy("wipe", 7, {&Spare(0)}), Reason::BadSignature);
  // A key that is not of the role makes no second one, and neither does the same one twice.
  EXPECT_EQ(CommandSignedBy("wipe", 7, {&TestKeys().command, &Spare(1)}), Reason::BadSignature);
  EXPECT_EQ(CommandSignedBy("wipe", 7, {&TestKeys().command, &TestKeys().rollout}), Reason::BadSignature);
  const package::Draft wipe = package::ReadDraft(CommandDocument("wipe", 7)).value();
  const auto twice = package::test::SignatureBy(TestKeys().command, wipe.domain, wipe.payload);
  EXPECT_EQ(trust().OnCommand(package::test::Envelope(wipe.payload, {twice, twice}), kDevice).reason,
            Reason::BadSignature);
  EXPECT_EQ(trust().counters().command().number, before) << "a number was used up by what was refused";
  EXPECT_EQ(CommandSignedBy("undo", 7, {&TestKeys().command, &Spare(0)}), Reason::None);
  // The two others' hour: another key in its place, and the thief's is worth nothing, together with one
  // either.
  RootPlan next = two;
  next.version = 3;
  next.keys[3] = {&Spare(1), &Spare(0)};
  next.epochs[3] = 1;
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  EXPECT_EQ(CommandSignedBy("wipe", NumberInEpoch(1, 1), {&TestKeys().command}), Reason::UnknownKey);
  EXPECT_EQ(CommandSignedBy("wipe", NumberInEpoch(1, 1), {&TestKeys().command, &Spare(0)}),
            Reason::BadSignature);
  EXPECT_EQ(CommandSignedBy("undo", NumberInEpoch(1, 1), {&Spare(1), &Spare(0)}), Reason::None);
  Restart();
  ExpectServing(*v1_);
}

TEST_F(AttackTest, drill_one_of_m_root_keys_stolen) {
  ASSERT_EQ(trust().OnRoot(TwoOfThree(2).Document()), Reason::None);
  // The thief of one names keys of his own, or lowers the threshold: refused.
  RootPlan thief = TwoOfThree(3);
  thief.keys[0] = {&Spare(1), &Spare(3)};
  thief.signers = {&Spare(1), &Spare(3)};
  EXPECT_EQ(trust().OnRoot(thief.Document()), Reason::RootInvalid);
  thief.thresholds[0] = 1;
  thief.signers = {&Spare(1)};
  EXPECT_EQ(trust().OnRoot(thief.Document()), Reason::RootInvalid);
  // The other two replace it.
  RootPlan next = TwoOfThree(3);
  next.keys[0] = {&TestKeys().root, &Spare(0), &Spare(2)};
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  RootPlan late = TwoOfThree(4);
  late.signers = {&Spare(1), &TestKeys().root};
  EXPECT_EQ(trust().OnRoot(late.Document()), Reason::RootInvalid);
  Restart();
  EXPECT_EQ(trust().root().version(), 3U);
  ExpectServing(*v1_);
}

// The limit of what signatures can do: the devices follow the thief. The running model stays; the way back is
// by hand, with a new root in the configuration and an erased boot partition.
TEST_F(AttackTest, drill_threshold_of_root_keys_stolen) {
  ASSERT_EQ(trust().OnRoot(TwoOfThree(2).Document()), Reason::None);
  RootPlan thief = TwoOfThree(3);
  thief.keys = {{{&Spare(3)}, {&TestKeys().stranger}, {&Spare(2)}, {&Spare(2)}}};
  thief.keys[3] = {&Spare(1)};
  thief.thresholds[0] = 1;
  thief.signers = {&TestKeys().root, &Spare(0), &Spare(3)};
  ASSERT_EQ(trust().OnRoot(thief.Document()), Reason::None);
  EXPECT_EQ(trust().OnRoot(TwoOfThree(3).Document()), Reason::OldNumber);
  EXPECT_EQ(trust().OnRoot(TwoOfThree(4).Document()), Reason::RootInvalid);
  Restart();
  EXPECT_EQ(trust().root().version(), 3U);
  ExpectServing(*v1_);
  // By hand: blank boot, the configuration's root. The model is found again by its confirm mark.
  device_.reset();
  std::vector<Bytes> media = media_.Copy();
  std::fill(media[0].begin(), media[0].end(), uint8_t{0xFF});
  media_.Load(media);
  device_ = std::make_unique<Device>(media_);
  ASSERT_EQ(device_->Start(), base::Status::kOk);
  EXPECT_EQ(trust().root().version(), 1U);
  EXPECT_EQ(updater().Status().champion, v1_->digest);
  EXPECT_EQ(updater().Status().floor, (base::SecurityVersion{0, 2}));
}

TEST_F(AttackTest, drill_lost_keys) {
  ASSERT_EQ(trust().OnRoot(TwoOfThree(2).Document()), Reason::None);
  // One of three root keys and the release key are lost: the two that are left name others.
  RootPlan next = TwoOfThree(3);
  next.keys[0] = {&TestKeys().root, &Spare(0), &Spare(2)};
  next.keys[1] = {&TestKeys().stranger};
  ASSERT_EQ(trust().OnRoot(next.Document()), Reason::None);
  const Release release = MakeRelease("2", 3, {.edit = nullptr, .by_stranger = true});
  ASSERT_TRUE(device_->Play(release, 2, kBetter));
  EXPECT_EQ(updater().Status().champion, release.digest);
}

TEST_F(AttackTest, drill_lost_root_keys_below_the_threshold) {
  ASSERT_EQ(trust().OnRoot(TwoOfThree(2).Document()), Reason::None);
  RootPlan alone = TwoOfThree(3);
  alone.signers = {&TestKeys().root};
  alone.thresholds[0] = 1;
  EXPECT_EQ(trust().OnRoot(alone.Document()), Reason::RootInvalid);
  // The root expires: nothing new is taken, and what runs goes on, over restarts.
  device_->SetWall(4'000'000'001, true);
  EXPECT_EQ(Offer(MakeRelease("2", 3).Offer(2, [](auto& o) { o.not_after = 5'000'000'000; })),
            Reason::Expired);
  EXPECT_EQ(Command(1), Reason::Expired);
  Restart();
  device_->SetWall(4'000'000'001, true);
  ExpectServing(*v1_);
}

TEST_F(AttackTest, drill_an_expired_root_takes_its_successors_each_in_turn) {
  device_->SetWall(4'000'000'001, true);
  RootPlan second;
  second.expires = 4'000'000'000;  // expired too
  RootPlan third;
  third.version = 3;
  third.created = 4'000'000'000;
  third.expires = 5'000'000'000;
  EXPECT_EQ(trust().OnRoot(third.Document()), Reason::RootInvalid);
  ASSERT_EQ(trust().OnRoot(second.Document()), Reason::None);
  ASSERT_EQ(trust().OnRoot(third.Document()), Reason::None);
  EXPECT_EQ(Offer(MakeRelease("2", 3).Offer(2, [](auto& o) { o.not_after = 4'100'000'000; })), Reason::None);
}

}  // namespace
}  // namespace dipper::update::test
