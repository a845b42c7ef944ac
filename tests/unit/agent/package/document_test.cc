// Offers and commands: roles, targets, times, ranges.
#include <gtest/gtest.h>

#include "agent/package/table.h"
#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

using schema::Reason;

constexpr TrustedTime kNow{1'700'000'000, true};

schema::OfferT PlainOffer() {
  schema::OfferT offer;
  offer.fleet = "demo";
  offer.target = std::make_unique<schema::DeviceTargetT>();
  offer.model = "main";
  offer.rollout = "r1";
  offer.number = 5;
  offer.issued = kNow.unix_seconds;
  offer.not_before = kNow.unix_seconds - 10;
  offer.not_after = kNow.unix_seconds + 1000;
  offer.package = std::make_unique<schema::Sha256>(std::array<uint8_t, 32>{1, 2, 3});
  offer.package_bytes = 50'000;
  offer.head_bytes = 2'000;
  offer.image_bytes = 60'000;
  offer.spread_seconds = 100;
  return offer;
}

schema::CommandT PlainCommand() {
  schema::CommandT command;
  command.fleet = "demo";
  command.target = std::make_unique<schema::DeviceTargetT>();
  command.model = "main";
  command.number = 9;
  command.issued = kNow.unix_seconds;
  command.not_after = kNow.unix_seconds + 60;
  command.name = "undo";
  auto argument = std::make_unique<schema::ArgumentT>();
  argument->key = "reason";
  argument->value = "worse at night";
  command.arguments.push_back(std::move(argument));
  return command;
}

/// Signs whatever it is given.
Bytes Signed(const schema::OfferT& offer, const PrivateKey& key, Domain domain = Domain::kOffer) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Offer::Pack(builder, &offer), kOfferKind);
  const Bytes payload(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  return Envelope(payload, {SignatureBy(key, domain, payload)});
}
Bytes Signed(const schema::CommandT& command, const PrivateKey& key) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Command::Pack(builder, &command), kCommandKind);
  const Bytes payload(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  return Envelope(payload, {SignatureBy(key, Domain::kCommand, payload)});
}

class DocumentTest : public ::testing::Test {
 protected:
  Reason Offer(const Bytes& bytes, const TrustedTime& now = kNow) {
    return VerifyOffer(bytes, root_, {fleet_, device_, groups_}, now, &offer_);
  }
  Reason Offer(const std::function<void(schema::OfferT&)>& change, const TrustedTime& now = kNow) {
    schema::OfferT offer = PlainOffer();
    change(offer);
    return Offer(Signed(offer, TestKeys().rollout), now);
  }
  Reason Command(const Bytes& bytes, const TrustedTime& now = kNow) {
    return VerifyCommand(bytes, root_, {fleet_, device_, groups_}, now, &command_);
  }
  Reason Command(const std::function<void(schema::CommandT&)>& change, const TrustedTime& now = kNow) {
    schema::CommandT command = PlainCommand();
    change(command);
    return Command(Signed(command, TestKeys().command), now);
  }

  TrustRoot root_ = TestRoot();
  std::string_view fleet_ = "demo";
  std::string_view device_ = "mote-1";
  std::vector<std::string_view> groups_ = {"canary", "indoors"};
  OfferFacts offer_;
  CommandFacts command_;
};

TEST_F(DocumentTest, OfferRoundTrip) {
  const auto bytes = BuildOffer(PlainOffer(), {&TestKeys().rollout, 1});
  ASSERT_TRUE(bytes.ok());
  ASSERT_EQ(Offer(*bytes), Reason::None);
  EXPECT_EQ(offer_.number, 5U);
  EXPECT_EQ(offer_.model.view(), "main");
  EXPECT_EQ(offer_.package.bytes[2], 3);
  EXPECT_EQ(offer_.head_bytes, 2'000U);
  EXPECT_FALSE(offer_.digest.IsZero());
}

TEST_F(DocumentTest, CommandRoundTrip) {
  const auto bytes = BuildCommand(PlainCommand(), {&TestKeys().command, 1});
  ASSERT_TRUE(bytes.ok());
  ASSERT_EQ(Command(*bytes), Reason::None);
  EXPECT_EQ(command_.name.view(), "undo");
  EXPECT_EQ(command_.argument("reason"), "worse at night");
  EXPECT_EQ(command_.argument("other"), "");
}

TEST_F(DocumentTest, OtherRolesCannotSpeak) {
  const Keys& keys = TestKeys();
  for (const PrivateKey* key : {&keys.root, &keys.release, &keys.command, &keys.stranger}) {
    EXPECT_EQ(Offer(Signed(PlainOffer(), *key)), Reason::UnknownKey);
  }
  for (const PrivateKey* key : {&keys.root, &keys.release, &keys.rollout, &keys.stranger}) {
    EXPECT_EQ(Command(Signed(PlainCommand(), *key)), Reason::UnknownKey);
  }
}

TEST_F(DocumentTest, KindsDoNotPassAsEachOther) {
  // One key in both roles: only the prefix and the kind keep the documents apart.
  schema::RootT table = PlainRoot();
  table.roles[2]->keys = {2};
  table.roles[3]->keys = {2};
  ASSERT_EQ(TrustRoot::Parse(*BuildRoot(table, {&TestKeys().root, 1}), &root_), Reason::None);
  const Bytes offer = Signed(PlainOffer(), TestKeys().rollout);
  EXPECT_EQ(Offer(offer), Reason::None);
  EXPECT_EQ(Command(offer), Reason::BadSignature);
  EXPECT_EQ(Offer(Signed(PlainOffer(), TestKeys().rollout, Domain::kCommand)), Reason::BadSignature);
  EXPECT_EQ(Command(Signed(PlainOffer(), TestKeys().rollout, Domain::kCommand)), Reason::BadFormat);
}

TEST_F(DocumentTest, FlipsAndTruncationsNeverChangeAnOffer) {
  const Bytes bytes = Signed(PlainOffer(), TestKeys().rollout);
  ASSERT_EQ(Offer(bytes), Reason::None);
  const base::Digest digest = offer_.digest;
  for (size_t i = 0; i < bytes.size(); ++i) {
    Bytes flipped = bytes;
    flipped[i] ^= 0x20;
    if (Offer(flipped) == Reason::None) {
      ASSERT_EQ(offer_.digest, digest) << i;
    }
    ASSERT_NE(Offer(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(i))), Reason::None) << i;
  }
}

TEST_F(DocumentTest, Targets) {
  const auto with = [&](schema::TargetScope scope, std::vector<std::string> names) {
    return Offer([&](schema::OfferT& offer) {
      offer.target->scope = scope;
      offer.target->names = std::move(names);
    });
  };
  using schema::TargetScope;
  EXPECT_EQ(with(TargetScope::Fleet, {}), Reason::None);
  EXPECT_EQ(with(TargetScope::Group, {"indoors"}), Reason::None);
  EXPECT_EQ(with(TargetScope::Group, {"outdoors"}), Reason::WrongTarget);
  EXPECT_EQ(with(TargetScope::List, {"mote-2", "mote-1"}), Reason::None);
  EXPECT_EQ(with(TargetScope::List, {"mote-2"}), Reason::WrongTarget);
  EXPECT_EQ(with(TargetScope::List, {"canary"}), Reason::WrongTarget);
  EXPECT_EQ(with(TargetScope::Group, {}), Reason::BadFormat);
  EXPECT_EQ(with(TargetScope::Fleet, {"mote-1"}), Reason::BadFormat);
  EXPECT_EQ(with(static_cast<TargetScope>(7), {"mote-1"}), Reason::BadFormat);
  EXPECT_EQ(with(TargetScope::List, {"../x"}), Reason::BadFormat);
  EXPECT_EQ(with(TargetScope::List, {"#"}), Reason::BadFormat);
  EXPECT_EQ(with(TargetScope::List, std::vector<std::string>(kMaxTargetNames + 1, "mote-1")),
            Reason::BadFormat);
  EXPECT_EQ(Offer([](schema::OfferT& offer) { offer.fleet = "other"; }), Reason::WrongTarget);
}

TEST_F(DocumentTest, LimitTakesDevicesInHashOrder) {
  const uint64_t mine = RolloutHash("mote-1", "r1");
  const auto with = [&](uint64_t limit) {
    return Offer([&](schema::OfferT& o) { o.target->limit = limit; });
  };
  EXPECT_EQ(with(mine), Reason::WrongTarget);
  EXPECT_EQ(with(mine + 1), Reason::None);
  EXPECT_EQ(with(0), Reason::WrongTarget);
  EXPECT_EQ(with(kWholeFleet), Reason::None);
  EXPECT_EQ(with(kWholeFleet + 1), Reason::BadFormat);
  EXPECT_EQ(with(UINT64_MAX), Reason::BadFormat);
}

TEST_F(DocumentTest, RolloutHashIsUniformAndIndependent) {
  int low = 0;
  int both = 0;
  OfferFacts offer;
  ASSERT_TRUE(Ok(offer.rollout.Assign("r1")));
  offer.spread_seconds = 10;
  std::array<int, 10> places{};
  for (int i = 0; i < 2000; ++i) {
    const std::string device = "device-" + std::to_string(i);
    const bool first = RolloutHash(device, "r1") < (1U << 31);
    low += first ? 1 : 0;
    both += first && RolloutHash(device, "r2") < (1U << 31) ? 1 : 0;
    ++places[SpreadDelaySeconds(offer, device)];
  }
  EXPECT_NEAR(low, 1000, 120);
  EXPECT_NEAR(both, 500, 100);
  for (const int count : places) EXPECT_NEAR(count, 200, 70);
}

TEST_F(DocumentTest, RolloutHashIsPinned) {
  // A change would reshuffle every running rollout.
  EXPECT_EQ(RolloutHash("mote-1", "r1"), 1946901658U);
}

TEST_F(DocumentTest, Times) {
  const auto nothing = [](schema::OfferT&) {};
  const int64_t now = kNow.unix_seconds;
  EXPECT_EQ(Offer(nothing, {now - 10, true}), Reason::None);
  EXPECT_EQ(Offer(nothing, {now - 11, true}), Reason::NotYetValid);
  EXPECT_EQ(Offer(nothing, {now + 999, true}), Reason::None);
  EXPECT_EQ(Offer(nothing, {now + 1000, true}), Reason::Expired);
  EXPECT_EQ(Offer(nothing, {now + 1000, false}), Reason::None);
  EXPECT_EQ(Offer(nothing, {0, false}), Reason::None);
  const auto no_command_change = [](schema::CommandT&) {};
  EXPECT_EQ(Command(no_command_change, {now + 59, true}), Reason::None);
  EXPECT_EQ(Command(no_command_change, {now + 60, true}), Reason::Expired);
  EXPECT_EQ(Command(no_command_change, {now + 60, false}), Reason::None);
}

TEST_F(DocumentTest, ExpiredRootSpeaksNoMore) {
  const TrustedTime late{root_.expires(), true};
  EXPECT_EQ(Offer([&](schema::OfferT& o) { o.not_after = late.unix_seconds + 10; }, late), Reason::Expired);
  EXPECT_EQ(Command([&](schema::CommandT& c) { c.not_after = late.unix_seconds + 10; }, late),
            Reason::Expired);
}

TEST_F(DocumentTest, OfferRanges) {
  using schema::OfferT;
  for (const char* name : {"", "../x", "a/b", "+", "#", "\xff"}) {
    EXPECT_EQ(Offer([&](OfferT& o) { o.fleet = name; }), Reason::BadFormat);
    EXPECT_EQ(Offer([&](OfferT& o) { o.model = name; }), Reason::BadFormat);
    EXPECT_EQ(Offer([&](OfferT& o) { o.rollout = name; }), Reason::BadFormat);
  }
  EXPECT_EQ(Offer([](OfferT& o) { o.model = std::string(4096, 'a'); }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.number = 0; }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.issued = -1; }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.not_after = o.not_before; }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.spread_seconds = UINT32_MAX; }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { *o.package = schema::Sha256(); }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.image_bytes = 0; }), Reason::BadFormat);
  EXPECT_EQ(Offer([](OfferT& o) { o.package_bytes = o.head_bytes; }), Reason::BadFormat);
  for (const uint64_t size :
       std::vector<uint64_t>{(1ULL << 31) - 1, 1ULL << 31, (1ULL << 32) - 1, UINT64_MAX}) {
    EXPECT_EQ(Offer([&](OfferT& o) { o.image_bytes = size; }), Reason::TooLarge);
    EXPECT_EQ(Offer([&](OfferT& o) { o.package_bytes = size; }), Reason::TooLarge);
    EXPECT_EQ(Offer([&](OfferT& o) { o.head_bytes = static_cast<uint32_t>(size); }), Reason::TooLarge);
  }
}

TEST_F(DocumentTest, CommandRanges) {
  using schema::CommandT;
  EXPECT_EQ(Command([](CommandT& c) { c.model = ""; }), Reason::None);
  EXPECT_EQ(Command([](CommandT& c) { c.model = "a/b"; }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.name = ""; }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.name = std::string(33, 'a'); }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.number = 0; }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.not_after = c.issued; }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.arguments[0]->key = "a b"; }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) { c.arguments[0]->value = std::string(257, 'a'); }), Reason::BadFormat);
  EXPECT_EQ(Command([](CommandT& c) {
              while (c.arguments.size() <= kMaxArguments) {
                c.arguments.push_back(std::make_unique<schema::ArgumentT>(*c.arguments[0]));
              }
            }),
            Reason::BadFormat);
}

TEST_F(DocumentTest, BuildersRefuseWhatDevicesRefuse) {
  schema::OfferT offer = PlainOffer();
  offer.model = "../x";
  EXPECT_EQ(BuildOffer(offer, {&TestKeys().rollout, 1}).status(), base::Status::kInvalidArgument);
  EXPECT_EQ(BuildOffer(PlainOffer(), {}).status(), base::Status::kInvalidArgument);
  schema::OfferT narrow = PlainOffer();
  narrow.target->limit = 1;
  EXPECT_TRUE(BuildOffer(narrow, {&TestKeys().rollout, 1}).ok());
  schema::CommandT command = PlainCommand();
  command.number = 0;
  EXPECT_EQ(BuildCommand(command, {&TestKeys().command, 1}).status(), base::Status::kInvalidArgument);
}

TEST_F(DocumentTest, TooManySignaturesAndTooLong) {
  flatbuffers::FlatBufferBuilder builder;
  const schema::OfferT offer = PlainOffer();
  builder.Finish(schema::Offer::Pack(builder, &offer), kOfferKind);
  const Bytes payload(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  const schema::Signature good = SignatureBy(TestKeys().rollout, Domain::kOffer, payload);
  EXPECT_EQ(Offer(Envelope(payload, std::vector<schema::Signature>(kMaxSignatures, good))), Reason::None);
  EXPECT_EQ(Offer(Envelope(payload, std::vector<schema::Signature>(kMaxSignatures + 1, good))),
            Reason::TooLarge);
  EXPECT_EQ(Offer(Envelope(payload, {})), Reason::BadFormat);
  EXPECT_EQ(Offer(Bytes(kMaxDocumentBytes + 1)), Reason::TooLarge);
  EXPECT_EQ(Offer(Bytes{}), Reason::BadFormat);
}

}  // namespace
}  // namespace dipper::package::test
