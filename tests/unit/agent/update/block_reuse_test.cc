// Block reuse: what lies in the champion's slot is copied from there, what is damaged there is transferred,
// and a power cut at any moment of it costs nothing but blocks that are copied or transferred again.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "agent/update/slot_source.h"
#include "agent/update/transfer.h"
#include "hal/sim/partition_sim.h"
#include "tests/fault/update/update_world.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::update::block_reuse_test {
namespace {

using package::Bytes;
using package::kBlockBytes;
using schema::Reason;

constexpr uint32_t kBlocks = 70;
constexpr uint64_t kSlotBytes = 8 << 20;

Bytes RandomImage(uint32_t seed = 7) {
  std::mt19937 random(seed);
  Bytes image(kBlocks * kBlockBytes);
  for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
  return image;
}

test::Release ReleaseOf(const std::string& version, uint32_t number, const Bytes& image) {
  return test::MakeRelease(version, number, {.edit = [&](schema::ManifestT&, Bytes& to) { to = image; }});
}

hal::Geometry Shape(uint64_t bytes, uint32_t write_unit) {
  return {.size_bytes = bytes, .write_unit_bytes = write_unit, .erase_unit_bytes = 4096};
}

struct Media {
  explicit Media(uint32_t write_unit = 1, uint64_t slot_bytes = kSlotBytes)
      : boot(Shape(64 * 1024, 1), &power),
        a(Shape(slot_bytes, write_unit), &power),
        b(Shape(slot_bytes, write_unit), &power) {}
  void Restart(uint64_t seed) {
    power.Restore();
    for (hal::PartitionSim* partition : {&boot, &a, &b}) partition->Restart(seed);
  }
  hal::SimPower power;
  hal::PartitionSim boot, a, b;
};

/// One run of a device: a store, and a transfer that counts its wishes.
struct Device final : BlockTransport {
  explicit Device(Media& media)
      : verifier(whole.bytes()),
        store({.boot = &media.boot, .slot_a = &media.a, .slot_b = &media.b, .max_image_bytes = 64 * 1024},
              verifier),
        counters(media.boot),
        transfer({}, store, counters, 0, *this, head.bytes(), media.a.geometry().write_unit_bytes,
                 {.model_id = "main", .hardware = "h", .agent_minor = 1, .max_image_bytes = kSlotBytes},
                 reuse.bytes()) {
    DIPPER_CHECK(package::TrustRoot::Parse(test::RootDocument(), &root) == Reason::None);
  }
  bool Start() { return base::Ok(counters.Load()) && store.Start({}).ok() && base::Ok(store.HealthyMark()); }

  void WantManifest(const base::Digest&) override {}
  void WantGroup(const base::Digest&, uint32_t) override {}
  void Done(const base::Digest&) override {}

  /// Makes `release` the champion, without any transfer.
  void Install(const test::Release& release, base::SecurityVersion version, uint32_t write_unit) {
    Bytes padded = release.package;
    padded.resize(base::AlignUp(padded.size(), write_unit), 0xFF);
    DIPPER_CHECK(base::Ok(store.BeginStage(release.digest, version, release.package.size())));
    DIPPER_CHECK(base::Ok(store.WriteStage(0, padded)) && base::Ok(store.CommitStage()));
    DIPPER_CHECK(base::Ok(store.BeginTrial()) && base::Ok(store.Confirm()));
  }

  /// Transfers `release`; what a broker would send is asked for by what is missing.
  /// @returns the indices of the blocks that were sent.
  TransferResult Receive(const test::Release& release, std::set<uint32_t>* sent) {
    package::Header header;
    DIPPER_CHECK(package::ParseHeader(release.package, &header) == Reason::None);
    package::OfferFacts offer;
    offer.package = release.digest;
    offer.package_bytes = header.package_bytes();
    transfer.Begin(offer, 0);
    const base::ByteView head_view = base::ByteView(release.package).first(header.head_bytes());
    TransferResult result = transfer.OnManifest(release.digest, head_view, root, 0);
    while (transfer.copying()) {
      EXPECT_EQ(result.kind, TransferResult::kGoingOn);
      result = transfer.Poll(0);
    }
    for (uint32_t i = 0; result.kind == TransferResult::kGoingOn && i < header.block_count; ++i) {
      const package::BlockInfo block = transfer.manifest()->block(i);
      const uint64_t before = transfer.counts().blocks;
      result = transfer.OnBlock(
          release.digest, i,
          base::ByteView(release.package).subspan(block.package_offset, block.stored_bytes), 0);
      if (transfer.counts().blocks > before) sent->insert(i);
    }
    return result;
  }
  bool StageIs(const test::Release& release) {
    Bytes staged(release.package.size());
    return base::Ok(store.ReadStage(0, staged)) && staged == release.package;
  }

  dipper::test::AlignedBytes whole{package::kWholeMemoryBytes}, head{package::kHeadMemoryBytes},
      reuse{package::kWholeMemoryBytes};
  PackageVerifier verifier;
  store::ModelStore store;
  store::Counters counters;
  Transfer transfer;
  package::TrustRoot root;
};

/// The second half of the update from one image to another.
struct Update {
  std::set<uint32_t> sent;
  TransferCounts counts;
  TransferResult result;
  bool whole = false;
};

Update UpdateTo(Media& media, const test::Release& next) {
  Device device(media);
  Update update;
  DIPPER_CHECK(device.Start());
  update.result = device.Receive(next, &update.sent);
  update.counts = device.transfer.counts();
  update.whole = device.StageIs(next) && base::Ok(device.store.CommitStage());
  return update;
}

void InstallFirst(Media& media, const test::Release& first) {
  Device device(media);
  ASSERT_TRUE(device.Start());
  device.Install(first, {0, 1}, media.a.geometry().write_unit_bytes);
}

class ReuseTest : public testing::TestWithParam<uint32_t> {
 protected:
  ReuseTest() : media_(GetParam()) { InstallFirst(media_, first_); }
  /// The champion is in slot A: the first stage of an empty device.
  hal::PartitionSim& ChampionSlot() { return media_.a; }
  /// Damages a byte of the champion's package at rest.
  void Damage(uint64_t package_offset) {
    ChampionSlot().FlipBits(
        store::ComputeSlotLayout(ChampionSlot().geometry())->package_offset + package_offset, 0x40);
  }

  const Bytes image_ = RandomImage();
  const test::Release first_ = ReleaseOf("1", 1, image_);
  Media media_;
};

INSTANTIATE_TEST_SUITE_P(WriteUnit, ReuseTest, testing::Values(1U, 512U));

TEST_P(ReuseTest, OnlyChangedBlocksAreSent) {
  Bytes image = image_;
  for (const uint32_t block : {3U, 4U, 69U}) image[block * kBlockBytes + 100] ^= 1;
  const Update update = UpdateTo(media_, ReleaseOf("2", 2, image));
  EXPECT_EQ(update.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(update.whole);
  EXPECT_EQ(update.sent, (std::set<uint32_t>{3, 4, 69}));
  EXPECT_EQ(update.counts.blocks, 3U);
  EXPECT_EQ(update.counts.reused, kBlocks - 3);
  EXPECT_GT(update.counts.reused_bytes, (kBlocks - 3) * kBlockBytes);  // random bytes do not compress
  EXPECT_GT(update.counts.bytes, 3 * kBlockBytes);
  EXPECT_LT(update.counts.bytes, 4 * kBlockBytes);
}

TEST_P(ReuseTest, AnEqualImageIsCompleteWithItsHead) {
  const Update update = UpdateTo(media_, ReleaseOf("2", 2, image_));
  EXPECT_EQ(update.result.kind, TransferResult::kComplete);
  EXPECT_TRUE(update.whole);
  EXPECT_TRUE(update.sent.empty());
}

TEST_P(ReuseTest, AnotherImageIsSentWhole) {
  const Update update = UpdateTo(media_, ReleaseOf("2", 2, RandomImage(8)));
  EXPECT_EQ(update.counts.blocks, kBlocks);
  EXPECT_EQ(update.counts.reused, 0U);
  EXPECT_TRUE(update.whole);
}

TEST_P(ReuseTest, BlocksAreFoundWhereverTheyWere) {
  Bytes image = image_;
  std::rotate(image.begin(), image.begin() + 11 * kBlockBytes, image.end());
  const Update update = UpdateTo(media_, ReleaseOf("2", 2, image));
  EXPECT_TRUE(update.sent.empty());
  EXPECT_TRUE(update.whole);
}

TEST_P(ReuseTest, ADamagedLocalBlockIsSent) {
  dipper::test::AlignedBytes memory(package::kHeadMemoryBytes);
  package::Manifest manifest;
  ASSERT_EQ(package::InspectHead(first_.package, memory.bytes(), &manifest), Reason::None);
  Device device(media_);
  ASSERT_TRUE(device.Start());  // verified now, damaged later
  Damage(manifest.block(5).package_offset + 77);
  Damage(manifest.block(66).package_offset);
  std::set<uint32_t> sent;
  const test::Release next = ReleaseOf("2", 2, image_);
  EXPECT_EQ(device.Receive(next, &sent).kind, TransferResult::kComplete);
  EXPECT_EQ(sent, (std::set<uint32_t>{5, 66}));
  EXPECT_TRUE(device.StageIs(next));
}

TEST_P(ReuseTest, ADamagedLocalHeadMeansThatAllIsSent) {
  for (const uint64_t offset : {9U, 20U, package::kHeaderBytes + 4U}) {
    Device device(media_);
    ASSERT_TRUE(device.Start());
    Damage(offset);
    std::set<uint32_t> sent;
    EXPECT_EQ(device.Receive(ReleaseOf("2", 2, image_), &sent).kind, TransferResult::kComplete);
    EXPECT_EQ(sent.size(), kBlocks) << offset;
    Damage(offset);
    device.transfer.Stop();
    ASSERT_EQ(device.counters.ClearTransfer(0), base::Status::kOk);
  }
}

TEST_P(ReuseTest, ALocalReadThatFailsMeansThatItIsSent) {
  Device device(media_);
  ASSERT_TRUE(device.Start());
  ChampionSlot().SetFault({.call = hal::SimCall::kRead,
                           .first = ChampionSlot().calls(hal::SimCall::kRead) + 2,
                           .count = UINT64_MAX / 2,
                           .status = base::Status::kUnavailable});
  std::set<uint32_t> sent;
  EXPECT_EQ(device.Receive(ReleaseOf("2", 2, image_), &sent).kind, TransferResult::kComplete);
  EXPECT_EQ(sent.size(), kBlocks);
}

TEST(Reuse, EqualBlocksOfOnePackageAreSentOnce) {
  Media media;
  const test::Release first = ReleaseOf("1", 1, RandomImage());
  InstallFirst(media, first);
  const Update update = UpdateTo(media, ReleaseOf("2", 2, Bytes(kBlocks * kBlockBytes)));
  EXPECT_EQ(update.sent, std::set<uint32_t>{0});
  EXPECT_EQ(update.counts.reused, kBlocks - 1);
  EXPECT_TRUE(update.whole);
}

/// 4 MiB, and each call writes no more than eight blocks of it: the loop's turn stays short.
TEST(Reuse, ATurnCopiesAFewBlocksOnly) {
  constexpr uint32_t kMany = 256;
  std::mt19937 random(3);
  Bytes image(kMany * kBlockBytes);
  for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
  const test::Release first = ReleaseOf("1", 1, image), next = ReleaseOf("2", 2, image);
  Media media(1, 2 * kSlotBytes);
  InstallFirst(media, first);
  Device device(media);
  ASSERT_TRUE(device.Start());
  package::Header header;
  ASSERT_EQ(package::ParseHeader(next.package, &header), Reason::None);
  package::OfferFacts offer;
  offer.package = next.digest;
  offer.package_bytes = header.package_bytes();
  device.transfer.Begin(offer, 0);
  const base::ByteView head = base::ByteView(next.package).first(header.head_bytes());
  TransferResult result = device.transfer.OnManifest(next.digest, head, device.root, 0);
  uint32_t have = device.transfer.blocks_have(), turns = 1;
  EXPECT_EQ(have, Transfer::kLocalReadsPerTurn);
  while (device.transfer.copying()) {
    // Whoever uses the memory between two turns takes nothing away.
    std::fill(device.reuse.bytes().begin(), device.reuse.bytes().end(), uint8_t{0xA5});
    const uint64_t reads = media.a.calls(hal::SimCall::kRead), writes = media.b.calls(hal::SimCall::kWrite);
    result = device.transfer.Poll(0);
    ++turns;
    // The slot's header, the package's and the rest of its head, then the blocks; the writer may split one.
    EXPECT_LE(media.a.calls(hal::SimCall::kRead) - reads, Transfer::kLocalReadsPerTurn + 3U);
    EXPECT_LE(media.b.calls(hal::SimCall::kWrite) - writes, 2U * Transfer::kLocalReadsPerTurn);
    EXPECT_LE(device.transfer.blocks_have() - have, Transfer::kLocalReadsPerTurn);
    have = device.transfer.blocks_have();
  }
  EXPECT_EQ(turns, kMany / Transfer::kLocalReadsPerTurn);
  EXPECT_EQ(result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.StageIs(next));
}

/// Where nothing is equal, looking for it takes turns too.
TEST(Reuse, ATurnLooksForAFewBlocksOnly) {
  Media media;
  InstallFirst(media, ReleaseOf("1", 1, RandomImage()));
  Device device(media);
  ASSERT_TRUE(device.Start());
  const test::Release next = ReleaseOf("2", 2, RandomImage(8));
  package::OfferFacts offer;
  package::Header header;
  ASSERT_EQ(package::ParseHeader(next.package, &header), Reason::None);
  offer.package = next.digest;
  offer.package_bytes = header.package_bytes();
  device.transfer.Begin(offer, 0);
  const base::ByteView head = base::ByteView(next.package).first(header.head_bytes());
  EXPECT_EQ(device.transfer.OnManifest(next.digest, head, device.root, 0).kind, TransferResult::kGoingOn);
  EXPECT_TRUE(device.transfer.copying());
  // A block that comes now was not asked for, and a stop leaves nothing under way.
  const package::BlockInfo block = device.transfer.manifest()->block(0);
  const base::ByteView stored =
      base::ByteView(next.package).subspan(block.package_offset, block.stored_bytes);
  EXPECT_EQ(device.transfer.OnBlock(next.digest, 0, stored, 0).kind, TransferResult::kGoingOn);
  EXPECT_EQ(device.transfer.counts().foreign, 1U);
  device.transfer.Stop();
  EXPECT_FALSE(device.transfer.copying());
  std::set<uint32_t> sent;
  EXPECT_EQ(device.Receive(next, &sent).kind, TransferResult::kComplete);
  EXPECT_EQ(sent.size(), kBlocks);
}

TEST(Reuse, ADeviceWithoutAChampionIsSentAll) {
  Media media;
  const Update update = UpdateTo(media, ReleaseOf("1", 1, RandomImage()));
  EXPECT_EQ(update.counts.blocks, kBlocks);
  EXPECT_TRUE(update.whole);
}

/// Encrypted packages have keys of their own: nothing is equal, and nothing is taken.
TEST(Reuse, EncryptedBlocksAreNeverEqual) {
  const auto group = package::GenerateKey();
  package::GroupKeys keys;
  ASSERT_EQ(keys.Add(*group), base::Status::kOk);
  const Bytes image = RandomImage();
  const auto release = [&](const char* version, uint32_t number) {
    return test::MakeRelease(
        version, number,
        {.edit = [&](schema::ManifestT&, Bytes& to) { to = image; }, .groups = {group->public_key()}});
  };
  dipper::test::AlignedBytes one(package::kHeadMemoryBytes), other(package::kHeadMemoryBytes);
  package::Manifest first, second;
  ASSERT_EQ(package::InspectHead(release("1", 1).package, one.bytes(), &first), Reason::None);
  ASSERT_EQ(package::InspectHead(release("2", 2).package, other.bytes(), &second), Reason::None);
  for (uint32_t i = 0; i < kBlocks; ++i) {
    for (uint32_t k = 0; k < kBlocks; ++k) EXPECT_NE(first.block(i).sha256, second.block(k).sha256);
  }
}

TEST(Reuse, APowerCutAtAnyOperationOfItLosesNothing) {
  const Bytes image = RandomImage();
  Bytes changed = image;
  changed[17 * kBlockBytes] ^= 1;
  const test::Release first = ReleaseOf("1", 1, image), next = ReleaseOf("2", 2, changed);
  Media before;
  InstallFirst(before, first);
  before.Restart(0);
  uint64_t operations = 0;
  std::mt19937 random(5);
  for (uint64_t cut = 1; cut < 400; cut += 1 + random() % 6) {
    Media media;
    for (auto [from, to] :
         {std::pair{&before.boot, &media.boot}, {&before.a, &media.a}, {&before.b, &media.b}}) {
      to->Load(from->bytes());
    }
    {
      Device device(media);
      ASSERT_TRUE(device.Start());
      media.power.operations = 0;
      media.power.cut_at = cut;
      std::set<uint32_t> sent;
      static_cast<void>(device.Receive(next, &sent));
      operations = media.power.operations;
      if (media.power.on) break;
    }
    media.Restart(cut);
    const Update update = UpdateTo(media, next);
    ASSERT_EQ(update.result.kind, TransferResult::kComplete) << cut;
    ASSERT_TRUE(update.whole) << cut;
    ASSERT_LE(update.sent.size(), 1U) << cut;
  }
  EXPECT_GT(operations, kBlocks);
}

}  // namespace
}  // namespace dipper::update::block_reuse_test
