// Trust roots: self-consistency, thresholds, succession, expiry.
#include <gtest/gtest.h>

#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

using schema::Reason;
using schema::RoleName;

Reason Parse(const schema::RootT& table, const std::vector<PrivateKey>& keys, TrustRoot* root = nullptr) {
  const Bytes payload = RootPayload(table);
  std::vector<schema::Signature> signatures;
  for (const PrivateKey& key : keys) signatures.push_back(SignatureBy(key, Domain::kRoot, payload));
  TrustRoot ignored;
  return TrustRoot::Parse(Envelope(payload, signatures), root == nullptr ? &ignored : root);
}

TEST(RootTest, ParsesWhatWasBuilt) {
  const TrustRoot root = TestRoot();
  EXPECT_EQ(root.version(), 1U);
  EXPECT_EQ(root.expires(), 2'000'000'000);
  EXPECT_EQ(root.keys().size(), 4U);
  EXPECT_EQ(root.key_id(1), TestKeys().release.id());
  EXPECT_EQ(root.role(RoleName::Release).keys[0], 1);
}

TEST(RootTest, EveryByteFlipAndTruncationIsRefused) {
  const Bytes bytes = *BuildRoot(PlainRoot(), {&TestKeys().root, 1});
  TrustRoot good;
  ASSERT_EQ(TrustRoot::Parse(bytes, &good), Reason::None);
  int accepted = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    Bytes flipped = bytes;
    flipped[i] ^= 0x04;
    TrustRoot root;
    // Padding of the envelope itself is not signed; what is accepted must be the same root.
    if (TrustRoot::Parse(flipped, &root) == Reason::None) {
      ++accepted;
      ASSERT_EQ(root.keys().size(), good.keys().size());
      for (size_t k = 0; k < 4; ++k) ASSERT_EQ(root.key_id(k), good.key_id(k));
      ASSERT_EQ(root.expires(), good.expires());
      ASSERT_EQ(root.version(), good.version());
    }
    ASSERT_NE(TrustRoot::Parse(base::ByteView(bytes).first(i), &root), Reason::None) << i;
  }
  EXPECT_LT(accepted, 24);
}

TEST(RootTest, MisalignedAndOversized) {
  const Bytes bytes = *BuildRoot(PlainRoot(), {&TestKeys().root, 1});
  TrustRoot root;
  for (size_t shift = 0; shift < 8; ++shift) {
    Bytes moved(shift);
    moved.insert(moved.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(TrustRoot::Parse(base::ByteView(moved).subspan(shift), &root), Reason::None);
  }
  EXPECT_EQ(TrustRoot::Parse(Bytes(kMaxRootBytes + 1), &root), Reason::RootInvalid);
  EXPECT_EQ(TrustRoot::Parse({}, &root), Reason::RootInvalid);
}

TEST(RootTest, ValuesOutOfRangeAreRefused) {
  const std::vector<PrivateKey> signer = {TestKeys().root};
  const auto refused = [&](const std::function<void(schema::RootT&)>& change) {
    schema::RootT root = PlainRoot();
    change(root);
    return Parse(root, signer) == Reason::RootInvalid;
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.version = 0; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.expires = r.created; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.created = -1; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles.pop_back(); }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[3]->role = RoleName::Rollout; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[3]->role = static_cast<RoleName>(9); }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[1]->threshold = 0; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[1]->threshold = 2; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[1]->keys = {}; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[1]->keys = {4}; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.roles[1]->keys = {255}; }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.keys[1] = schema::PublicKey(); }));
  EXPECT_TRUE(refused([](schema::RootT& r) { r.keys.assign(17, r.keys[0]); }));
}

TEST(RootTest, OneKeyNeverCountsTwice) {
  const std::vector<PrivateKey> signer = {TestKeys().root};
  // The same key twice in the key list, so under two indices.
  schema::RootT twice = PlainRoot();
  twice.keys.push_back(twice.keys[0]);
  twice.roles[0]->keys = {0, 4};
  twice.roles[0]->threshold = 2;
  EXPECT_EQ(Parse(twice, signer), Reason::RootInvalid);
  // The same index twice in a role.
  schema::RootT repeated = PlainRoot();
  repeated.roles[0]->keys = {0, 0};
  repeated.roles[0]->threshold = 2;
  EXPECT_EQ(Parse(repeated, signer), Reason::RootInvalid);
  // The same signature twice.
  schema::RootT two = PlainRoot();
  two.roles[0]->keys = {0, 1};
  two.roles[0]->threshold = 2;
  EXPECT_EQ(Parse(two, {TestKeys().root, TestKeys().root}), Reason::RootInvalid);
  EXPECT_EQ(Parse(two, {TestKeys().root}), Reason::RootInvalid);
  EXPECT_EQ(Parse(two, {TestKeys().root, TestKeys().rollout}), Reason::RootInvalid);
  EXPECT_EQ(Parse(two, {TestKeys().root, TestKeys().release}), Reason::None);
}

TEST(RootTest, CheckSignaturesCountsOnlyTheRolesKeys) {
  schema::RootT table = PlainRoot();
  table.roles[1]->keys = {1, 2};
  table.roles[1]->threshold = 2;
  TrustRoot root;
  ASSERT_EQ(Parse(table, {TestKeys().root}, &root), Reason::None);
  const base::Digest digest = SigningDigest(Domain::kPackage, Bytes{1, 2, 3});
  const auto by = [&](const PrivateKey& key) {
    return TrustRoot::Signature{key.id(), Sign(key, digest).value()};
  };
  const auto check = [&](std::vector<TrustRoot::Signature> signatures) {
    return root.CheckSignatures(RoleName::Release, digest, signatures);
  };
  const Keys& keys = TestKeys();
  EXPECT_EQ(check({}), Reason::UnknownKey);
  EXPECT_EQ(check({by(keys.stranger)}), Reason::UnknownKey);
  EXPECT_EQ(check({by(keys.release)}), Reason::BadSignature);
  EXPECT_EQ(check({by(keys.release), by(keys.release)}), Reason::BadSignature);
  EXPECT_EQ(check({by(keys.release), by(keys.stranger)}), Reason::BadSignature);
  EXPECT_EQ(check({by(keys.release), by(keys.root)}), Reason::BadSignature);
  EXPECT_EQ(check({by(keys.release), by(keys.rollout)}), Reason::None);
  EXPECT_EQ(check({by(keys.stranger), by(keys.release), by(keys.rollout)}), Reason::None);
  TrustRoot::Signature renamed = by(keys.stranger);
  renamed.key_id = keys.rollout.id();
  EXPECT_EQ(check({by(keys.release), renamed}), Reason::BadSignature);
  EXPECT_EQ(TrustRoot().CheckSignatures(RoleName::Release, digest, {}), Reason::UnknownKey);
}

class SuccessorTest : public ::testing::Test {
 protected:
  /// Version `version` with the stranger as the new root key, signed by `keys`.
  Reason Successor(
      uint32_t version, const std::vector<PrivateKey>& keys,
      const std::function<void(schema::RootT&)>& change = [](schema::RootT&) {}) {
    schema::RootT table = PlainRoot(version);
    table.keys[0] = ToSchema(TestKeys().stranger.public_key());
    change(table);
    const Bytes payload = RootPayload(table);
    std::vector<schema::Signature> signatures;
    for (const PrivateKey& key : keys) signatures.push_back(SignatureBy(key, Domain::kRoot, payload));
    return TestRoot().ParseSuccessor(Envelope(payload, signatures), &next_);
  }
  const PrivateKey& old_ = TestKeys().root;
  const PrivateKey& new_ = TestKeys().stranger;
  TrustRoot next_;
};

TEST_F(SuccessorTest, NeedsBothThresholds) {
  EXPECT_EQ(Successor(2, {new_}), Reason::RootInvalid);
  EXPECT_EQ(Successor(2, {old_}), Reason::RootInvalid);
  EXPECT_EQ(Successor(2, {new_, TestKeys().release}), Reason::RootInvalid);
  EXPECT_EQ(next_.version(), 0U);
  EXPECT_EQ(Successor(2, {old_, new_}), Reason::None);
  EXPECT_EQ(next_.version(), 2U);
}

TEST_F(SuccessorTest, OneVersionAtATime) {
  EXPECT_EQ(Successor(1, {old_, new_}), Reason::OldNumber);
  EXPECT_EQ(Successor(3, {old_, new_}), Reason::RootInvalid);
  EXPECT_EQ(Successor(UINT32_MAX, {old_, new_}), Reason::RootInvalid);
}

TEST_F(SuccessorTest, EpochsNeverGoBack) {
  EXPECT_EQ(Successor(2, {old_, new_}, [](schema::RootT& r) { r.roles[1]->epoch = 3; }), Reason::None);
  EXPECT_EQ(next_.release_epoch(), 3U);
  schema::RootT third = PlainRoot(3);
  third.keys[0] = ToSchema(new_.public_key());
  third.roles[1]->epoch = 2;
  const Bytes payload = RootPayload(third);
  TrustRoot after;
  EXPECT_EQ(next_.ParseSuccessor(Envelope(payload, {SignatureBy(new_, Domain::kRoot, payload)}), &after),
            Reason::RootInvalid);
}

TEST_F(SuccessorTest, RevokedReleaseKeyIsRefusedAfterwards) {
  const Bytes package = TestPackage(100);
  const auto rotate = [](schema::RootT& r) { r.keys[1] = ToSchema(GenerateKey().value().public_key()); };
  ASSERT_EQ(Successor(2, {old_, new_}, rotate), Reason::None);
  AlignedBytes memory(kWholeMemoryBytes);
  PackageFacts facts;
  EXPECT_EQ(Whole(package, &next_, &facts, memory), Reason::UnknownKey);
  // What is installed already is known by its digest and goes on.
  EXPECT_EQ(Whole(package, nullptr, &facts, memory), Reason::None);
}

TEST(RootTest, ExpiresOnlyOnASynchronizedClock) {
  const TrustRoot root = TestRoot();
  EXPECT_FALSE(root.ExpiredAt({root.expires() - 1, true}));
  EXPECT_TRUE(root.ExpiredAt({root.expires(), true}));
  EXPECT_FALSE(root.ExpiredAt({root.expires() + 100, false}));
}

}  // namespace
}  // namespace dipper::package::test
