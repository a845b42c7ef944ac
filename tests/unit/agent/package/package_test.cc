// Packages on the way a device takes: head by itself, single blocks, whole packages, decoding.
#include <gtest/gtest.h>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "tests/unit/agent/package/fixture.h"

namespace dipper::package::test {
namespace {

using schema::Reason;

class PackageTest : public ::testing::Test {
 protected:
  Reason VerifyHeadOf(base::ByteView head) { return VerifyHead(head, root_, memory_.bytes(), &manifest_); }

  TrustRoot root_ = TestRoot();
  AlignedBytes memory_{kWholeMemoryBytes};
  Manifest manifest_;
};

TEST_F(PackageTest, HeadBlocksAndImageRoundTrip) {
  const Bytes image = TestImage(2 * kBlockBytes + 100);
  const Bytes package = TestPackage();
  ASSERT_EQ(VerifyHeadOf(Head(package)), Reason::None);
  EXPECT_EQ(manifest_.model(), "main");
  EXPECT_EQ(manifest_.name(), "motes");
  EXPECT_EQ(manifest_.version(), "1.0.0");
  EXPECT_EQ(manifest_.security_version(), (base::SecurityVersion{0, 7}));
  EXPECT_EQ(manifest_.image_bytes(), image.size());
  EXPECT_EQ(manifest_.image_digest(), base::Sha256Of(image));
  EXPECT_EQ(base::Digest(manifest_.package_digest()), PackageDigest(manifest_.header(), package));
  EXPECT_EQ(manifest_.self_test_steps(), 2U);
  EXPECT_EQ(manifest_.self_test_step(1).y(), 3);
  EXPECT_TRUE(manifest_.FitsHardware("generic-linux"));
  EXPECT_FALSE(manifest_.FitsHardware("other"));
  EXPECT_TRUE(manifest_.FitsAgent(0, 1, 0));
  EXPECT_TRUE(manifest_.FitsAgent(1, 0, 0));
  EXPECT_FALSE(manifest_.FitsAgent(0, 0, 9));
  EXPECT_EQ(manifest_.LayoutOf("image"), 3U);
  EXPECT_EQ(manifest_.LayoutOf("other"), 0U);
  ASSERT_EQ(manifest_.block_count(), 3U);
  for (uint32_t i = 0; i < 3; ++i) {
    const BlockInfo block = manifest_.block(i);
    const base::ByteView stored = base::ByteView(package).subspan(block.package_offset, block.stored_bytes);
    EXPECT_EQ(VerifyBlock(manifest_, i, stored), Reason::None);
  }
  Bytes scratch(kMaxStoredBlockBytes);
  Bytes decoded(image.size());
  MemorySource source(package);
  ASSERT_EQ(DecodeImage(source, manifest_, scratch, decoded), Reason::None);
  EXPECT_EQ(decoded, image);
}

TEST_F(PackageTest, WholeWithAndWithoutRoot) {
  const Bytes package = TestPackage();
  PackageFacts facts;
  ASSERT_EQ(Whole(package, &root_, &facts, memory_), Reason::None);
  EXPECT_EQ(facts.package_bytes, package.size());
  EXPECT_EQ(facts.image_bytes, 2 * kBlockBytes + 100);
  const base::Digest digest = facts.digest;
  facts = {};
  ASSERT_EQ(Whole(package, nullptr, &facts, memory_), Reason::None);
  EXPECT_EQ(facts.digest, digest);
  // Without a root even a stranger's package is intact; its digest is what the caller compares.
  const auto foreign = SignPackage(*BuildPackage(TestManifest(), TestImage(99)), TestKeys().stranger);
  EXPECT_EQ(Whole(*foreign, nullptr, &facts, memory_), Reason::None);
  EXPECT_NE(facts.digest, digest);
  EXPECT_EQ(Whole(*foreign, &root_, &facts, memory_), Reason::UnknownKey);
}

TEST_F(PackageTest, BuildIsReproducibleAndSigningKeepsTheDigest) {
  const auto first = BuildPackage(TestManifest(), TestImage(40'000));
  const auto second = BuildPackage(TestManifest(), TestImage(40'000));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(*first, *second);
  const auto once = SignPackage(*first, TestKeys().release);
  const auto twice = SignPackage(*SignPackage(*once, TestKeys().stranger), TestKeys().release);
  EXPECT_EQ(ReadSignatures(*once).size(), 1U);
  EXPECT_EQ(ReadSignatures(*twice).size(), 2U);
  PackageFacts facts;
  ASSERT_EQ(Whole(*first, nullptr, &facts, memory_), Reason::None);
  const base::Digest digest = facts.digest;
  ASSERT_EQ(Whole(*once, &root_, &facts, memory_), Reason::None);
  EXPECT_EQ(facts.digest, digest);
  ASSERT_EQ(Whole(*twice, &root_, &facts, memory_), Reason::None);
  EXPECT_EQ(facts.digest, digest);
}

TEST_F(PackageTest, UnsignedIsRefused) {
  EXPECT_EQ(Whole(*BuildPackage(TestManifest(), TestImage(99))), Reason::UnknownKey);
}

TEST_F(PackageTest, EverySingleByteFlipIsRefused) {
  const Bytes package = TestPackage(kBlockBytes + 10);
  PackageFacts facts;
  ASSERT_EQ(Whole(package, &root_, &facts, memory_), Reason::None);
  for (size_t i = 0; i < package.size(); ++i) {
    Bytes flipped = package;
    flipped[i] = static_cast<uint8_t>(flipped[i] ^ (1U << (i % 8)));
    ASSERT_NE(Whole(flipped, &root_, &facts, memory_), Reason::None) << "byte " << i;
  }
}

TEST_F(PackageTest, HeaderFlipsWithAFixedCrcAreRefused) {
  const Bytes package = TestPackage(100);
  PackageFacts facts;
  for (size_t bit = 0; bit < 60 * 8; ++bit) {
    Bytes flipped = package;
    flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    FixHeaderCrc(flipped);
    ASSERT_NE(Whole(flipped, &root_, &facts, memory_), Reason::None) << "bit " << bit;
  }
}

TEST_F(PackageTest, BlockFlipsAreSeenBeforeDecompression) {
  const Bytes package = TestPackage(kBlockBytes + 10);
  ASSERT_EQ(VerifyHeadOf(Head(package)), Reason::None);
  const BlockInfo block = manifest_.block(0);
  Bytes stored(package.begin() + static_cast<std::ptrdiff_t>(block.package_offset),
               package.begin() + static_cast<std::ptrdiff_t>(block.package_offset + block.stored_bytes));
  for (size_t i = 0; i < stored.size(); ++i) {
    stored[i] ^= 0x80;
    ASSERT_EQ(VerifyBlock(manifest_, 0, stored), Reason::BadBlock) << i;
    stored[i] ^= 0x80;
  }
  EXPECT_EQ(VerifyBlock(manifest_, 1, stored), Reason::BadBlock);
  EXPECT_EQ(VerifyBlock(manifest_, 2, stored), Reason::BadBlock);
  stored.push_back(0);
  EXPECT_EQ(VerifyBlock(manifest_, 0, stored), Reason::BadBlock);
  EXPECT_EQ(VerifyBlock(manifest_, 0, {}), Reason::BadBlock);
}

TEST_F(PackageTest, RewrittenAfterVerificationIsNoticedByDecoding) {
  Bytes package = TestPackage();
  PackageFacts facts;
  ASSERT_EQ(Whole(package, &root_, &facts, memory_), Reason::None);
  package[facts.manifest.block(1).package_offset + 3] ^= 1;
  Bytes scratch(kMaxStoredBlockBytes);
  Bytes decoded(facts.image_bytes);
  MemorySource source(package);
  EXPECT_EQ(DecodeImage(source, facts.manifest, scratch, decoded), Reason::BadBlock);
}

TEST_F(PackageTest, EveryTruncationAndATrailingByteAreRefused) {
  const Bytes package = TestPackage(kBlockBytes + 10);
  PackageFacts facts;
  for (size_t length = 0; length < package.size(); ++length) {
    const Bytes shorter(package.begin(), package.begin() + static_cast<std::ptrdiff_t>(length));
    ASSERT_NE(Whole(shorter, &root_, &facts, memory_), Reason::None) << length;
    ASSERT_EQ(Whole(shorter, nullptr, &facts, memory_), Reason::BadFormat) << length;
  }
  const base::ByteView head = Head(package);
  for (size_t length = 0; length < head.size(); ++length) {
    ASSERT_EQ(VerifyHeadOf(head.first(length)), Reason::BadFormat) << length;
  }
  Bytes longer = package;
  longer.push_back(0);
  EXPECT_EQ(Whole(longer, &root_, &facts, memory_), Reason::BadFormat);
  EXPECT_EQ(VerifyHeadOf(base::ByteView(package).first(head.size() + 1)), Reason::BadFormat);
}

TEST_F(PackageTest, DeclaredSizesAreRefused) {
  const Bytes package = TestPackage(100);
  PackageFacts facts;
  const std::vector<uint64_t> sizes = {0, (1ULL << 31) - 1, 1ULL << 31, (1ULL << 31) + 1, (1ULL << 32) - 1};
  for (const size_t field : {12U, 16U, 20U, 48U}) {
    for (const uint64_t size : sizes) {
      Bytes forged = package;
      base::Store(forged.data() + field, static_cast<uint32_t>(size));
      FixHeaderCrc(forged);
      ASSERT_NE(Whole(forged, &root_, &facts, memory_), Reason::None) << field << " " << size;
      ASSERT_NE(Whole(forged, nullptr, &facts, memory_), Reason::None) << field << " " << size;
    }
  }
  std::vector<uint64_t> wide = sizes;
  wide.insert(wide.end(),
              {UINT64_MAX, UINT64_MAX - 1, 1ULL << 63, 1ULL << 32, kMaxImageBytes + 1, package.size() + 1});
  for (const size_t field : {24U, 32U}) {
    for (const uint64_t size : wide) {
      Bytes forged = package;
      base::Store(forged.data() + field, size);
      FixHeaderCrc(forged);
      ASSERT_NE(Whole(forged, nullptr, &facts, memory_), Reason::None) << field << " " << size;
    }
  }
}

TEST_F(PackageTest, ManifestOfOneAndBlocksOfAnother) {
  const Bytes one = TestPackage(2 * kBlockBytes, 1);
  const Bytes other = TestPackage(2 * kBlockBytes, 2);
  AlignedBytes other_memory(kWholeMemoryBytes);
  Manifest other_manifest;
  ASSERT_EQ(VerifyHeadOf(Head(one)), Reason::None);
  ASSERT_EQ(VerifyHead(Head(other), root_, other_memory.bytes(), &other_manifest), Reason::None);
  const BlockInfo block = other_manifest.block(1);
  EXPECT_EQ(
      VerifyBlock(manifest_, 1, base::ByteView(other).subspan(block.package_offset, block.stored_bytes)),
      Reason::BadBlock);
  const base::ByteView head = Head(one);
  Bytes mixed(head.begin(), head.end());
  mixed.insert(mixed.end(), other.begin() + static_cast<std::ptrdiff_t>(Head(other).size()), other.end());
  EXPECT_NE(Whole(mixed), Reason::None);
  // Blocks of the same package in another order.
  const BlockInfo first = manifest_.block(0);
  EXPECT_EQ(VerifyBlock(manifest_, 1, base::ByteView(one).subspan(first.package_offset, first.stored_bytes)),
            Reason::BadBlock);
}

TEST_F(PackageTest, OtherRolesCannotMakePackages) {
  const Bytes package = TestPackage(100);
  for (const PrivateKey* key :
       {&TestKeys().root, &TestKeys().rollout, &TestKeys().command, &TestKeys().stranger}) {
    EXPECT_EQ(Whole(Forge(package, *key, [](auto&, auto&) {})), Reason::UnknownKey);
  }
  EXPECT_EQ(Whole(Forge(package, TestKeys().release, [](auto&, auto&) {})), Reason::None);
}

TEST_F(PackageTest, SignatureOfAnotherDocumentKindIsRefused) {
  // The release key's signature over the same bytes under another prefix.
  Bytes package = TestPackage(100);
  Header header;
  ASSERT_EQ(ParseHeader(package, &header), Reason::None);
  const base::ByteView view(package);
  const auto value =
      Sign(TestKeys().release, SigningDigest(Domain::kOffer, view.first(kSignedHeaderBytes),
                                             view.subspan(kHeaderBytes, header.manifest_bytes)));
  const size_t at = kHeaderBytes + header.manifest_bytes;
  std::copy(value.value().rs.begin(), value.value().rs.end(),
            package.begin() + static_cast<std::ptrdiff_t>(at + 32));
  header.signature_crc = base::Crc32c(view.subspan(at, kSignatureBytes));
  WriteHeader(header, base::MutableBytes(package).first(kHeaderBytes));
  EXPECT_EQ(Whole(package), Reason::BadSignature);
}

TEST_F(PackageTest, MisalignedBuffersAreFine) {
  const Bytes package = TestPackage();
  for (size_t shift = 0; shift < 16; ++shift) {
    Bytes moved(shift);
    moved.insert(moved.end(), package.begin(), package.end());
    const base::ByteView view = base::ByteView(moved).subspan(shift);
    ASSERT_EQ(VerifyHeadOf(view.first(Head(package).size())), Reason::None);
    MemorySource source(view);
    PackageFacts facts;
    ASSERT_EQ(VerifyWhole(source, &root_, memory_.bytes(), &facts), Reason::None);
  }
}

TEST_F(PackageTest, MemoryJustTooSmallIsTooLarge) {
  const Bytes package = TestPackage(100);
  const size_t head = Head(package).size();
  AlignedBytes exact(head);
  EXPECT_EQ(VerifyHead(Head(package), root_, exact.bytes(), &manifest_), Reason::None);
  EXPECT_EQ(VerifyHead(Head(package), root_, exact.bytes().first(head - 1), &manifest_), Reason::TooLarge);
  const size_t whole = base::AlignUp(head, 16) + kMaxStoredBlockBytes;
  AlignedBytes memory(whole);
  PackageFacts facts;
  EXPECT_EQ(Whole(package, &root_, &facts, memory), Reason::None);
  MemorySource source(package);
  EXPECT_EQ(VerifyWhole(source, &root_, memory.bytes().first(whole - 1), &facts), Reason::TooLarge);
}

TEST_F(PackageTest, UnknownFormatsAndFlags) {
  Bytes package = TestPackage(100);
  for (const uint8_t flags : {uint8_t{2}, uint8_t{3}, uint8_t{128}}) {
    package[10] = flags;
    FixHeaderCrc(package);
    EXPECT_EQ(Whole(package), Reason::BadFormat);
  }
  package[10] = 0;
  package[8] = 2;
  FixHeaderCrc(package);
  EXPECT_EQ(Whole(package), Reason::UnknownLayout);
}

/// Fails at read k.
class FailingSource final : public ByteSource {
 public:
  FailingSource(base::ByteView bytes, int fail_at) : inner_(bytes), left_(fail_at) {}
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override {
    return left_-- == 0 ? base::Status::kUnavailable : inner_.ReadAt(offset, to);
  }
  uint64_t size() const override { return inner_.size(); }

 private:
  MemorySource inner_;
  int left_;
};

TEST_F(PackageTest, EveryFailingReadIsAStorageError) {
  const Bytes package = TestPackage();
  PackageFacts facts;
  for (int k = 0; k < 5; ++k) {
    FailingSource source(package, k);
    EXPECT_EQ(VerifyWhole(source, &root_, memory_.bytes(), &facts), Reason::StorageError) << k;
  }
  FailingSource source(package, 5);
  EXPECT_EQ(VerifyWhole(source, &root_, memory_.bytes(), &facts), Reason::None);
}

TEST(PackageLimitTest, LongestSelfTestStillVerifies) {
  schema::ManifestT manifest = TestManifest();
  while (manifest.self_test->steps.size() < kMaxSelfTestSteps) {
    auto step = std::make_unique<schema::SelfTestStepT>();
    step->id = manifest.self_test->steps.size();
    step->values = {1, 2};
    manifest.self_test->steps.push_back(std::move(step));
  }
  const auto package = BuildPackage(manifest, TestImage(64 * kBlockBytes));
  ASSERT_TRUE(package.ok());
  EXPECT_EQ(Whole(*SignPackage(*package, TestKeys().release)), Reason::None);
}

}  // namespace
}  // namespace dipper::package::test
