// Encrypted packages: who can open them, what a thief or a vandal can change, and what is kept at rest.
#include "agent/package/seal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "agent/base/sha256.h"
#include "agent/package/codec.h"
#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

using base::Status;
using schema::Reason;

const PrivateKey& GroupKey(size_t index) {
  static const std::vector<PrivateKey> keys = [] {
    std::vector<PrivateKey> made;
    for (int i = 0; i < 3; ++i) made.push_back(GenerateKey().value());
    return made;
  }();
  return keys[index];
}

std::vector<PublicKey> Groups(std::initializer_list<size_t> indices) {
  std::vector<PublicKey> keys;
  for (const size_t index : indices) keys.push_back(GroupKey(index).public_key());
  return keys;
}

Bytes Encrypted(size_t image_bytes, const std::vector<PublicKey>& groups, uint32_t seed = 1) {
  const auto built = BuildPackage(TestManifest(), TestImage(image_bytes, seed), nullptr, groups);
  DIPPER_CHECK(built.ok());
  return *SignPackage(*built, TestKeys().release);
}

GroupKeys KeysOf(std::initializer_list<size_t> indices) {
  GroupKeys keys;
  for (const size_t index : indices) DIPPER_CHECK(base::Ok(keys.Add(GroupKey(index))));
  return keys;
}

class SealTest : public ::testing::Test {
 protected:
  /// Verifies, opens and decodes as a device does.
  Reason Load(const Bytes& package, const GroupKeys* keys, Bytes* image) {
    PackageFacts facts;
    Reason reason = Whole(package, &root_, &facts, memory_);
    if (reason != Reason::None) return reason;
    Secret key;
    reason = OpenContentKey(facts.manifest, keys, &key);
    if (reason != Reason::None) return reason;
    return Decode(package, facts.manifest, &key, image);
  }
  Reason Decode(const Bytes& package, const Manifest& manifest, const Secret* key, Bytes* image) {
    image->assign(manifest.image_bytes(), 0);
    Bytes scratch(kMaxStoredBlockBytes);
    MemorySource source(package);
    return DecodeImage(source, manifest, scratch, *image, key);
  }
  /// As a maker would who changes the manifest and signs it anew.
  Bytes Resigned(const Bytes& package, const std::function<void(schema::ManifestT&, Header&)>& change) {
    return Forge(package, TestKeys().release, change);
  }

  TrustRoot root_ = TestRoot();
  AlignedBytes memory_{kWholeMemoryBytes};
};

TEST_F(SealTest, EachGroupOpensItAndNobodyElse) {
  const size_t bytes = 2 * kBlockBytes + 100;
  const Bytes package = Encrypted(bytes, Groups({0, 1}));
  Bytes image;
  for (const size_t group : {0U, 1U}) {
    const GroupKeys keys = KeysOf({group});
    ASSERT_EQ(Load(package, &keys, &image), Reason::None) << group;
    EXPECT_EQ(image, TestImage(bytes));
  }
  const GroupKeys both = KeysOf({2, 1});
  EXPECT_EQ(Load(package, &both, &image), Reason::None);
  const GroupKeys stranger = KeysOf({2}), none;
  EXPECT_EQ(Load(package, &stranger, &image), Reason::NoGroupKey);
  EXPECT_EQ(Load(package, &none, &image), Reason::NoGroupKey);
  EXPECT_EQ(Load(package, nullptr, &image), Reason::NoGroupKey);
  PackageFacts facts;
  ASSERT_EQ(Whole(package, &root_, &facts, memory_), Reason::None);
  EXPECT_EQ(Decode(package, facts.manifest, nullptr, &image), Reason::NoGroupKey);
}

TEST_F(SealTest, APlainPackageNeedsNoKey) {
  Bytes image;
  EXPECT_EQ(Load(TestPackage(), nullptr, &image), Reason::None);
}

TEST_F(SealTest, NothingOfTheImageIsInThePackage) {
  std::mt19937 random(3);  // so that zstd leaves the bytes as they are
  Bytes image(3 * kBlockBytes);
  for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
  const auto plain = BuildPackage(TestManifest(), image);
  const auto sealed = BuildPackage(TestManifest(), image, nullptr, Groups({0}));
  const auto holds = [&](const Bytes& bytes, size_t at, size_t length) {
    const auto from = image.begin() + static_cast<std::ptrdiff_t>(at);
    return std::search(bytes.begin(), bytes.end(), from, from + static_cast<std::ptrdiff_t>(length)) !=
           bytes.end();
  };
  size_t readable = 0;
  for (size_t at = 0; at + 64 <= image.size(); at += 1024) {
    readable += holds(*plain, at, 32) ? 1U : 0U;
    ASSERT_FALSE(holds(*sealed, at, 8)) << at;
  }
  EXPECT_GT(readable, 24U);  // of 48: zstd finds short matches even in random bytes
}

TEST_F(SealTest, EqualInputsGiveOtherBytesEachTime) {
  const Bytes first = Encrypted(2 * kBlockBytes, Groups({0}));
  const Bytes second = Encrypted(2 * kBlockBytes, Groups({0}));
  AlignedBytes other_memory(kWholeMemoryBytes);
  PackageFacts one, other;
  ASSERT_EQ(Whole(first, &root_, &one, memory_), Reason::None);
  ASSERT_EQ(Whole(second, &root_, &other, other_memory), Reason::None);
  std::set<std::array<uint8_t, 32>> hashes;
  for (const Manifest* manifest : {&one.manifest, &other.manifest}) {
    for (uint32_t i = 0; i < manifest->block_count(); ++i) hashes.insert(manifest->block(i).sha256.bytes);
  }
  // Neither between packages nor within one: equal blocks cannot be told from others, nor taken from them.
  EXPECT_EQ(hashes.size(), 4U);
}

TEST_F(SealTest, EqualBlocksOfOnePackageDiffer) {
  const auto built = BuildPackage(TestManifest(), Bytes(4 * kBlockBytes), nullptr, Groups({0}));
  PackageFacts facts;
  ASSERT_EQ(Whole(*SignPackage(*built, TestKeys().release), &root_, &facts, memory_), Reason::None);
  std::set<std::array<uint8_t, 32>> hashes;
  for (uint32_t i = 0; i < 4; ++i) hashes.insert(facts.manifest.block(i).sha256.bytes);
  EXPECT_EQ(hashes.size(), 4U);
}

TEST_F(SealTest, AFlippedCiphertextIsSeenByItsHashAndByItsTag) {
  const Bytes package = Encrypted(100, Groups({0}));
  const GroupKeys keys = KeysOf({0});
  PackageFacts facts;
  ASSERT_EQ(Whole(package, &root_, &facts, memory_), Reason::None);
  Secret key;
  ASSERT_EQ(OpenContentKey(facts.manifest, &keys, &key), Reason::None);
  const BlockInfo block = facts.manifest.block(0);
  const auto begin = package.begin() + static_cast<std::ptrdiff_t>(block.package_offset);
  for (size_t i = 0; i < block.stored_bytes; ++i) {
    Bytes stored(begin, begin + block.stored_bytes);
    stored[i] ^= 1;
    ASSERT_EQ(VerifyBlock(facts.manifest, 0, stored), Reason::BadBlock) << i;
    ASSERT_EQ(OpenBlock(facts.manifest, 0, key, stored).status(), Status::kDataLoss) << i;
  }
  Bytes whole(begin, begin + block.stored_bytes);
  EXPECT_TRUE(OpenBlock(facts.manifest, 0, key, whole).ok());
  Bytes tag_only(kGcmTagBytes);
  EXPECT_EQ(OpenBlock(facts.manifest, 0, key, tag_only).status(), Status::kDataLoss);
}

/// A maker's mistake or a stolen release key: hashes and signature are right, the blocks are not where they
/// were sealed.
TEST_F(SealTest, SwappedBlocksDoNotOpenEvenUnderANewSignature) {
  const Bytes package = Encrypted(2 * kBlockBytes, Groups({0}));
  Header header;
  ASSERT_EQ(ParseHeader(package, &header), Reason::None);
  const GroupKeys keys = KeysOf({0});
  Bytes image;
  ASSERT_EQ(Load(Resigned(package, [](auto&, auto&) {}), &keys, &image), Reason::None);
  std::vector<schema::Block> blocks;
  const Bytes forged = Resigned(package, [&](schema::ManifestT& manifest, Header&) {
    blocks = manifest.blocks;
    manifest.blocks[0] = schema::Block(blocks[1].sha256(), 0, blocks[1].stored_bytes(), kBlockBytes);
    manifest.blocks[1] =
        schema::Block(blocks[0].sha256(), blocks[1].stored_bytes(), blocks[0].stored_bytes(), kBlockBytes);
  });
  Header forged_header;
  ASSERT_EQ(ParseHeader(forged, &forged_header), Reason::None);
  Bytes swapped(forged.begin(), forged.begin() + forged_header.head_bytes());
  const auto area = package.begin() + header.head_bytes();
  swapped.insert(swapped.end(), area + blocks[0].stored_bytes(), package.end());
  swapped.insert(swapped.end(), area, area + blocks[0].stored_bytes());
  PackageFacts facts;
  ASSERT_EQ(Whole(swapped, &root_, &facts, memory_), Reason::None);
  EXPECT_EQ(Load(swapped, &keys, &image), Reason::BadBlock);
}

TEST_F(SealTest, KeyAndBlocksAreBoundToThePackage) {
  const Bytes package = Encrypted(100, Groups({0}));
  const GroupKeys keys = KeysOf({0});
  Bytes image;
  const auto loads = [&](const std::function<void(schema::ManifestT&, Header&)>& change) {
    return Load(Resigned(package, change), &keys, &image);
  };
  EXPECT_EQ(loads([](auto&, auto&) {}), Reason::None);
  EXPECT_EQ(loads([](auto& m, auto&) { m.name = "other"; }), Reason::NoGroupKey);
  EXPECT_EQ(loads([](auto& m, auto&) { m.version = "9"; }), Reason::NoGroupKey);
  EXPECT_EQ(loads([](auto& m, auto&) { ++m.security_version; }), Reason::NoGroupKey);
  EXPECT_EQ(loads([](auto& m, auto&) { ++m.created; }), Reason::NoGroupKey);
  EXPECT_EQ(loads([](auto& m, auto&) { m.image_sha256 = std::make_unique<schema::Sha256>(); }),
            Reason::NoGroupKey);
  // Who may say "for nobody else": the rest of the manifest is the signature's business.
  EXPECT_EQ(loads([](auto& m, auto&) { m.hardware = {"generic-linux", "other"}; }), Reason::None);
}

TEST_F(SealTest, EveryByteOfAWrappedKeyCounts) {
  const Bytes package = Encrypted(100, Groups({0}));
  const GroupKeys keys = KeysOf({0});
  Bytes image;
  for (size_t i = 0; i < sizeof(schema::Recipient); ++i) {
    const Bytes forged = Resigned(package, [&](schema::ManifestT& manifest, Header&) {
      auto* bytes = reinterpret_cast<uint8_t*>(manifest.encryption->recipients.data());
      bytes[i] ^= 0x10;
    });
    ASSERT_EQ(Load(forged, &keys, &image), Reason::NoGroupKey) << "byte " << i;
  }
}

TEST_F(SealTest, RecipientsAreOneToTheLimitAndEachOnce) {
  const Bytes package = Encrypted(100, Groups({0, 1}));
  PackageFacts facts;
  const auto whole = [&](const std::function<void(schema::ManifestT&, Header&)>& change) {
    return Whole(Resigned(package, change), &root_, &facts, memory_);
  };
  EXPECT_EQ(whole([](auto&, auto&) {}), Reason::None);
  EXPECT_EQ(whole([](auto& m, auto&) { m.encryption->recipients.clear(); }), Reason::BadFormat);
  EXPECT_EQ(whole([](auto& m, auto&) { m.encryption.reset(); }), Reason::BadFormat);
  EXPECT_EQ(whole([](auto&, Header& h) { h.encrypted = false; }), Reason::BadFormat);
  EXPECT_EQ(whole([](auto& m, auto&) { m.encryption->recipients[1] = m.encryption->recipients[0]; }),
            Reason::BadFormat);
  const auto to = [](size_t count) {
    return [count](schema::ManifestT& m, Header&) {
      m.encryption->recipients.clear();
      for (size_t i = 0; i < count; ++i) {
        base::Digest id;
        base::Store(id.bytes.data(), static_cast<uint64_t>(i));
        std::array<uint8_t, 64> point{};
        std::array<uint8_t, 48> wrapped{};
        m.encryption->recipients.emplace_back(ToSchema(id), point, wrapped);
      }
    };
  };
  EXPECT_EQ(whole(to(kMaxRecipients)), Reason::None);
  EXPECT_EQ(whole(to(kMaxRecipients + 1)), Reason::TooLarge);
  Reason refusal = Reason::None;
  EXPECT_FALSE(BuildPackage(TestManifest(), TestImage(99), &refusal, Groups({0, 0})).ok());
  EXPECT_EQ(refusal, Reason::BadFormat);
  const std::vector<PublicKey> nowhere(1);
  EXPECT_EQ(BuildPackage(TestManifest(), TestImage(99), &refusal, nowhere).status(),
            Status::kInvalidArgument);
}

TEST_F(SealTest, AHundredRecipientsAndTheLastOpensIt) {
  std::vector<PublicKey> groups;
  for (int i = 0; i < 99; ++i) groups.push_back(GenerateKey().value().public_key());
  groups.push_back(GroupKey(0).public_key());
  const Bytes package = Encrypted(100, groups);
  const GroupKeys keys = KeysOf({2, 0});
  Bytes image;
  EXPECT_EQ(Load(package, &keys, &image), Reason::None);
  EXPECT_EQ(image, TestImage(100));
  EXPECT_LT(package.size(), 99 * 144U + 32 * 1024U);
}

TEST_F(SealTest, AFlagWithoutItsTableOrTheOtherWayRound) {
  Bytes plain = TestPackage(100);
  plain[10] = 1;
  FixHeaderCrc(plain);
  EXPECT_EQ(Whole(plain), Reason::BadSignature);  // the flag is signed
  EXPECT_EQ(Whole(Resigned(TestPackage(100), [](auto&, Header& h) { h.encrypted = true; })),
            Reason::BadFormat);
}

TEST(GroupKeysTest, EachOnceAndNotMoreThanFit) {
  GroupKeys keys;
  for (uint32_t i = 0; i < kMaxGroupKeys; ++i) EXPECT_EQ(keys.Add(GenerateKey().value()), Status::kOk);
  EXPECT_EQ(keys.Add(GroupKey(0)), Status::kResourceExhausted);
  EXPECT_EQ(keys.Find(GroupKey(0).id()), nullptr);
  GroupKeys one;
  EXPECT_EQ(one.Add(GroupKey(0)), Status::kOk);
  EXPECT_EQ(one.Add(GroupKey(0)), Status::kAlreadyExists);
  EXPECT_EQ(one.Find(GroupKey(0).id())->id(), GroupKey(0).id());
}

class AtRestTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(FillRandom(key_.bytes), Status::kOk);
    ASSERT_EQ(SealAtRest(key_, SealPurpose::kCheckpoint, package_, sealed_, seal_), Status::kOk);
  }
  Status Open(const Secret& key, SealPurpose purpose, const base::Digest& package, base::ByteView seal,
              Bytes bytes) {
    const Status status = OpenAtRest(key, purpose, package, seal, bytes);
    if (base::Ok(status)) {
      EXPECT_EQ(bytes, plain_);
    }
    return status;
  }

  Secret key_;
  base::Digest package_ = base::Sha256Of(base::AsBytes("package"));
  Bytes plain_ = TestImage(5000), sealed_ = plain_, seal_ = Bytes(kSealBytes);
};

TEST_F(AtRestTest, OpensWhereItBelongsOnly) {
  EXPECT_NE(sealed_, plain_);
  EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, package_, seal_, sealed_), Status::kOk);
  EXPECT_EQ(Open(key_, SealPurpose::kSnapshot, package_, seal_, sealed_), Status::kDataLoss);
  EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, base::Digest{}, seal_, sealed_), Status::kDataLoss);
  EXPECT_EQ(Open(Secret{}, SealPurpose::kCheckpoint, package_, seal_, sealed_), Status::kDataLoss);
  Bytes longer = sealed_;
  longer.push_back(0);
  EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, package_, seal_, longer), Status::kDataLoss);
  EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, package_, base::ByteView(seal_).first(63), sealed_),
            Status::kDataLoss);
}

TEST_F(AtRestTest, EveryBitOfTheSealCounts) {
  for (size_t bit = 0; bit < 8 * seal_.size(); ++bit) {
    Bytes seal = seal_;
    seal[bit / 8] = static_cast<uint8_t>(seal[bit / 8] ^ (1U << (bit % 8)));
    const bool version = bit / 8 == 4 || bit / 8 == 5;
    EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, package_, seal, sealed_),
              version ? Status::kUnimplemented : Status::kDataLoss)
        << bit;
  }
}

TEST_F(AtRestTest, TheSameBytesTwiceGiveUnrelatedBytes) {
  Bytes again = plain_, again_seal(kSealBytes);
  ASSERT_EQ(SealAtRest(key_, SealPurpose::kCheckpoint, package_, again, again_seal), Status::kOk);
  EXPECT_NE(again_seal, seal_);
  EXPECT_NE(again, sealed_);
  EXPECT_EQ(Open(key_, SealPurpose::kCheckpoint, package_, seal_, again), Status::kDataLoss);
}

// The vectors of RFC 5869 have keys of other lengths; the one here was computed with Python's hmac.
TEST(SealPrimitives, HkdfAndGcmVectors) {
  Secret key;
  for (size_t i = 0; i < 32; ++i) key.bytes[i] = static_cast<uint8_t>(i);
  // prk = hmac(salt=b"salt", bytes(range(32)), sha256); hmac(prk, b"info" + b"\x01", sha256)
  const Secret derived = DeriveKey(key, base::AsBytes("salt"), base::AsBytes("info"));
  base::Digest shown;
  shown.bytes = derived.bytes;
  EXPECT_EQ(base::ToHex(shown).view(), "64cc2a23b7a1da4310420350405fdf5d632cb9bda3700d753e96cbcfeb81d449");
  // NIST SP 800-38D validation, AES-256, test case 14 of the GCM submission: zero key, nonce and block.
  Bytes block(16);
  GcmTag tag{};
  GcmSeal(Secret{}, GcmNonce{}, {}, block, &tag);
  const Bytes cipher = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                        0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18};
  const GcmTag expected = {0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
                           0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
  EXPECT_EQ(block, cipher);
  EXPECT_EQ(tag, expected);
}

TEST(SealPrimitives, BothSidesAgreeAndPointsOffTheCurveAreRefused) {
  Secret one, other;
  ASSERT_EQ(SharedSecret(GroupKey(0), GroupKey(1).public_key(), &one), Status::kOk);
  ASSERT_EQ(SharedSecret(GroupKey(1), GroupKey(0).public_key(), &other), Status::kOk);
  EXPECT_EQ(one.bytes, other.bytes);
  PublicKey off = GroupKey(1).public_key();
  off.xy[63] ^= 1;
  EXPECT_EQ(SharedSecret(GroupKey(0), off, &one), Status::kInvalidArgument);
  EXPECT_EQ(SharedSecret(GroupKey(0), PublicKey{}, &one), Status::kInvalidArgument);
}

}  // namespace
}  // namespace dipper::package::test
