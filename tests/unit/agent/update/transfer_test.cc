// Transfer against a real store on simulated partitions: order, duplicates, strangers, bad bytes, silence,
// restart.
#include "agent/update/transfer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "agent/update/slot_source.h"
#include "hal/sim/partition_sim.h"
#include "tests/fault/update/update_world.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::update::transfer_test {
namespace {

using package::Bytes;
using schema::Reason;

constexpr int64_t kMs = 1'000'000;
constexpr uint64_t kImageBytes = uint64_t{package::kBlockBytes} * 130;  // three groups, the last one short

const test::Release& BigRelease() {
  static const test::Release* release =
      new test::Release(test::MakeRelease("1", 1, {.edit = [](schema::ManifestT&, Bytes& image) {
                                            std::mt19937 random(7);
                                            image.resize(kImageBytes);
                                            for (uint8_t& byte : image) byte = static_cast<uint8_t>(random());
                                          }}));
  return *release;
}

hal::Geometry Shape(uint64_t bytes, uint32_t write_unit) {
  return {.size_bytes = bytes, .write_unit_bytes = write_unit, .erase_unit_bytes = 4096};
}

/// Boot and slots, and what of the agent lives as long as a process.
struct Device final : BlockTransport {
  struct Media {
    explicit Media(uint32_t write_unit)
        : boot(Shape(64 * 1024, 1), nullptr),
          a(Shape(8 << 20, write_unit), nullptr),
          b(Shape(8 << 20, write_unit), nullptr) {}
    hal::PartitionSim boot, a, b;
  };

  Device(Media& media, const TransferConfig& config)
      : verifier(whole.bytes()),
        store({.boot = &media.boot, .slot_a = &media.a, .slot_b = &media.b, .max_image_bytes = 64 * 1024},
              verifier),
        counters(media.boot),
        transfer(config, store, counters, 0, *this, head.bytes(), media.a.geometry().write_unit_bytes,
                 {.model_id = "main", .hardware = "h", .agent_minor = 1, .max_image_bytes = kImageBytes}) {
    EXPECT_EQ(counters.Load(), base::Status::kOk);
    EXPECT_TRUE(store.Start({}).ok());
    EXPECT_EQ(store.HealthyMark(), base::Status::kOk);
    EXPECT_EQ(package::TrustRoot::Parse(test::RootDocument(), &root), Reason::None);
  }

  void WantManifest(const base::Digest&) override { ++manifest_wishes; }
  void WantGroup(const base::Digest&, uint32_t group) override { group_wishes.push_back(group); }
  void WantBlock(const base::Digest&, uint32_t index) override { block_wishes.push_back(index); }
  void Done(const base::Digest&) override { ++done; }
  bool HasTurn() const override { return has_turn; }

  void Begin() {
    package::Header header;
    ASSERT_EQ(package::ParseHeader(BigRelease().package, &header), Reason::None);
    package::OfferFacts offer;
    offer.package = BigRelease().digest;
    offer.package_bytes = header.package_bytes();
    transfer.Begin(offer, now_ns);
    head_bytes = header.head_bytes();
  }
  TransferResult GiveHead() {
    return transfer.OnManifest(BigRelease().digest, base::ByteView(BigRelease().package).first(head_bytes),
                               root, now_ns);
  }
  Bytes Block(uint32_t index) const {
    const package::BlockInfo block = transfer.manifest()->block(index);
    const auto begin = BigRelease().package.begin() + static_cast<std::ptrdiff_t>(block.package_offset);
    return {begin, begin + block.stored_bytes};
  }
  TransferResult Give(uint32_t index) {
    return transfer.OnBlock(BigRelease().digest, index, Block(index), now_ns);
  }
  bool StageIsWhole() {
    Bytes staged(BigRelease().package.size());
    return base::Ok(store.ReadStage(0, staged)) && staged == BigRelease().package;
  }

  dipper::test::AlignedBytes whole{package::kWholeMemoryBytes}, head{package::kHeadMemoryBytes};
  PackageVerifier verifier;
  store::ModelStore store;
  store::Counters counters;
  Transfer transfer;
  package::TrustRoot root;
  uint64_t head_bytes = 0;
  int64_t now_ns = 0;
  uint32_t manifest_wishes = 0, done = 0;
  bool has_turn = true;
  std::vector<uint32_t> group_wishes, block_wishes;
};

class WriteUnits : public testing::TestWithParam<uint32_t> {};

TEST_P(WriteUnits, PermutedAndDoubledBlocksArriveWhole) {
  Device::Media media(GetParam());
  Device device(media, {});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  std::vector<uint32_t> order(device.transfer.blocks_total());
  ASSERT_EQ(order.size(), 130U);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::shuffle(order, std::mt19937(3));
  TransferResult result;
  for (const uint32_t index : order) {
    ASSERT_EQ(result.kind, TransferResult::kGoingOn);
    result = device.Give(index);
    if (result.kind == TransferResult::kGoingOn) {
      EXPECT_EQ(device.Give(index).kind, TransferResult::kGoingOn);
    }
  }
  EXPECT_EQ(result.kind, TransferResult::kComplete);
  EXPECT_EQ(device.transfer.counts().duplicates, 129U);
  EXPECT_EQ(device.done, 1U);
  EXPECT_TRUE(std::ranges::is_sorted(device.group_wishes));
  EXPECT_TRUE(device.StageIsWhole());
}

INSTANTIATE_TEST_SUITE_P(Bytes, WriteUnits, testing::Values(1U, 512U));

TEST(Transfer, RestartAsksOnlyForGroupsThatLackABlock) {
  Device::Media media(1);
  {
    Device device(media, {});
    device.Begin();
    ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
    for (uint32_t i = 0; i < 100; ++i) ASSERT_EQ(device.Give(i).kind, TransferResult::kGoingOn);
  }
  Device device(media, {});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  EXPECT_EQ(device.transfer.blocks_have(), 64U);  // persisted by whole groups
  EXPECT_EQ(device.group_wishes, std::vector<uint32_t>{1});
  TransferResult result;
  for (uint32_t i = 64; i < 130; ++i) result = device.Give(i);
  EXPECT_EQ(result.kind, TransferResult::kComplete);
  EXPECT_TRUE(device.StageIsWhole());
}

TEST(Transfer, ForeignBlocksAndHeadsDoNothing) {
  Device::Media media(1);
  Device device(media, {});
  device.Begin();
  base::Digest foreign = BigRelease().digest;
  foreign.bytes[0] ^= 1;
  const Bytes junk(100, 7);
  EXPECT_EQ(device.transfer.OnManifest(foreign, junk, device.root, 0).kind, TransferResult::kGoingOn);
  EXPECT_EQ(device.transfer.OnBlock(BigRelease().digest, 0, junk, 0).kind, TransferResult::kGoingOn);
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(device.transfer.OnBlock(foreign, 0, junk, 0).kind, TransferResult::kGoingOn);
  }
  EXPECT_EQ(device.transfer.counts().foreign, 12U);
  EXPECT_EQ(device.transfer.blocks_have(), 0U);
}

TEST(Transfer, ABadBlockIsAskedForAgainAndThenRefused) {
  Device::Media media(1);
  Device device(media, {.bad_retry_ms = 500, .bad_limit = 3});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  Bytes bad = device.Block(0);
  bad[0] ^= 1;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(device.transfer.OnBlock(BigRelease().digest, 0, bad, device.now_ns).kind,
              TransferResult::kGoingOn);
  }
  const size_t wishes = device.group_wishes.size();
  device.now_ns += 500 * kMs;
  EXPECT_EQ(device.transfer.Poll(device.now_ns).kind, TransferResult::kGoingOn);
  EXPECT_EQ(device.group_wishes.size(), wishes + 1);
  // A good one in between shows that the source is not to blame.
  ASSERT_EQ(device.Give(0).kind, TransferResult::kGoingOn);
  TransferResult result;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(result.kind, TransferResult::kGoingOn);
    result = device.transfer.OnBlock(BigRelease().digest, 1, bad, device.now_ns);
  }
  EXPECT_EQ(result.kind, TransferResult::kRefused);
  EXPECT_EQ(result.reason, Reason::BadBlock);
  EXPECT_FALSE(device.transfer.active());
}

TEST(Transfer, SilenceBacksOffAndThenFails) {
  Device::Media media(1);
  Device device(media, {.quiet_ms = 1000, .max_quiet_ms = 4000, .attempts = 5});
  device.Begin();
  std::vector<int64_t> wishes_at;
  TransferResult result;
  for (; result.kind == TransferResult::kGoingOn && device.now_ns < 100'000 * kMs;
       device.now_ns += 100 * kMs) {
    const uint32_t before = device.manifest_wishes;
    result = device.transfer.Poll(device.now_ns);
    if (device.manifest_wishes != before) wishes_at.push_back(device.now_ns / kMs);
  }
  EXPECT_EQ(result.kind, TransferResult::kFailed);
  EXPECT_EQ(result.reason, Reason::BlocksUnavailable);
  EXPECT_EQ(wishes_at, (std::vector<int64_t>{1000, 3000, 7000, 11000}));
}

/// A transfer whose head came and whose group stays silent, at the moment when one block alone is asked for.
struct Probing {
  Probing() {
    device.Begin();
    EXPECT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
    Silence(3);
    EXPECT_EQ(device.block_wishes, std::vector<uint32_t>{63});
  }
  TransferResult Silence(int64_t seconds) {
    TransferResult result;
    for (int64_t i = 0; i < seconds * 10 && result.kind == TransferResult::kGoingOn; ++i) {
      device.now_ns += 100 * kMs;
      result = device.transfer.Poll(device.now_ns);
    }
    return result;
  }
  Device::Media media{1};
  Device device{media, {.quiet_ms = 1000, .max_quiet_ms = 4000, .attempts = 7}};
};

TEST(Transfer, ABlockThatComesAloneAndNotWithItsGroupTellsAnUnfitBroker) {
  Probing at;
  const size_t wishes = at.device.group_wishes.size();
  EXPECT_EQ(at.device.Give(63).kind, TransferResult::kGoingOn);
  EXPECT_EQ(at.device.Give(63).kind, TransferResult::kGoingOn);  // delivered twice is still alone
  EXPECT_EQ(at.device.group_wishes.size(), wishes + 1);
  EXPECT_EQ(at.Silence(3).kind, TransferResult::kGoingOn);  // patience first
  const TransferResult result = at.Silence(10);
  EXPECT_EQ(result.kind, TransferResult::kFailed);
  EXPECT_EQ(result.reason, Reason::BrokerUnfit);
  EXPECT_EQ(at.device.transfer.blocks_have(), 1U);
}

TEST(Transfer, ASlowBrokerIsNotUnfit) {
  for (const uint32_t late : {0U, 63U}) {  // as the probe waits, or after it was answered
    Probing at;
    if (late == 63) {
      EXPECT_EQ(at.device.Give(63).kind, TransferResult::kGoingOn);
    }
    EXPECT_EQ(at.device.Give(5).kind, TransferResult::kGoingOn);
    const TransferResult result = at.Silence(60);
    EXPECT_EQ(result.reason, Reason::BlocksUnavailable);
    EXPECT_EQ(at.device.block_wishes.size(), 1U);
  }
}

TEST(Transfer, BlocksThatNeitherWayBringsAreUnavailable) {
  Probing at;
  EXPECT_EQ(at.Silence(60).reason, Reason::BlocksUnavailable);
  EXPECT_GE(at.device.block_wishes.size(), 2U);  // in turns with the group
  EXPECT_GE(at.device.group_wishes.size(), 4U);
}

TEST(Transfer, BlocksOfAnotherPackageUnderTheRightNameAreRefused) {
  Device::Media media(1);
  Device device(media, {});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  // Mixed and matched: a whole block, but of another place.
  TransferResult result;
  for (uint32_t i = 0; i < 3; ++i) {
    ASSERT_EQ(result.kind, TransferResult::kGoingOn);
    result = device.transfer.OnBlock(BigRelease().digest, i, device.Block(i + 1), device.now_ns);
    EXPECT_EQ(device.transfer.blocks_have(), 0U);
  }
  EXPECT_EQ(result.kind, TransferResult::kRefused);
  EXPECT_EQ(result.reason, Reason::BadBlock);
}

TEST(Transfer, CutAfterEveryBlockItAsksOnlyForWhatIsMissing) {
  Device::Media media(1);
  for (uint32_t have = 0; have < 130; ++have) {
    Device device(media, {.persist_blocks = 1});
    device.Begin();
    ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
    ASSERT_EQ(device.transfer.blocks_have(), have);
    EXPECT_EQ(device.group_wishes, std::vector<uint32_t>{have / package::kBlocksPerGroup});
    const TransferResult result = device.Give(have);
    ASSERT_EQ(result.kind, have < 129 ? TransferResult::kGoingOn : TransferResult::kComplete);
    EXPECT_EQ(have == 129, device.StageIsWhole());
  }
}

TEST(Transfer, ACapPausesBetweenGroups) {
  Device::Media media(1);
  Device device(media, {.bytes_per_s = 100'000});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  TransferResult result;
  uint64_t doubled = 0;
  for (uint32_t group = 0; group < 3; ++group) {
    const int64_t asked = device.now_ns;
    EXPECT_EQ(device.group_wishes.back(), group);
    const size_t wishes = device.group_wishes.size();
    uint64_t bytes = doubled;
    for (uint32_t i = group * 64; i < std::min(group * 64 + 64, 130U); ++i) {
      device.now_ns += kMs;
      bytes += device.Block(i).size();
      result = device.Give(i);
    }
    if (group == 2) break;
    EXPECT_EQ(device.done, group + 1) << "during the pause nothing is wanted";
    // A late double of the group does not end the pause; its bytes came too, and count in the next.
    doubled = device.Block(group * 64).size();
    EXPECT_EQ(device.Give(group * 64).kind, TransferResult::kGoingOn);
    EXPECT_EQ(device.group_wishes.size(), wishes);
    while (device.group_wishes.size() == wishes) {
      device.now_ns += 10 * kMs;
      ASSERT_EQ(device.transfer.Poll(device.now_ns).kind, TransferResult::kGoingOn);
    }
    EXPECT_NEAR(static_cast<double>(device.now_ns - asked) / 1e9, static_cast<double>(bytes) / 1e5, 0.02);
  }
  EXPECT_EQ(result.kind, TransferResult::kComplete);
  EXPECT_EQ(device.transfer.counts().resubscribes, 0U);
  EXPECT_TRUE(device.StageIsWhole());
}

TEST(Transfer, SilenceWithoutASubscriptionInForceSaysNothing) {
  Device::Media media(1);
  Device device(media, {.quiet_ms = 1000, .max_quiet_ms = 4000, .attempts = 3});
  device.Begin();
  device.has_turn = false;  // no connection, or its answer has not come
  for (; device.now_ns < 3'600'000 * kMs; device.now_ns += 1000 * kMs) {
    ASSERT_EQ(device.transfer.Poll(device.now_ns).kind, TransferResult::kGoingOn);
  }
  EXPECT_EQ(device.manifest_wishes, 1U);
  device.has_turn = true;
  TransferResult result;
  for (; result.kind == TransferResult::kGoingOn; device.now_ns += 100 * kMs) {
    result = device.transfer.Poll(device.now_ns);
  }
  EXPECT_EQ(result.reason, Reason::BlocksUnavailable);
}

TEST(Transfer, DevicesDoNotAskAnewInOneVoice) {
  std::vector<int64_t> asked;
  for (uint32_t jitter : {1U, 2U, 3U, 0x9E3779B9U}) {
    Device::Media media(1);
    Device device(media, {.quiet_ms = 10'000, .jitter = jitter});
    device.Begin();
    while (device.manifest_wishes == 1) {
      device.now_ns += kMs;
      ASSERT_EQ(device.transfer.Poll(device.now_ns).kind, TransferResult::kGoingOn);
    }
    EXPECT_GE(device.now_ns, 10'000 * kMs);
    EXPECT_LE(device.now_ns, 15'001 * kMs);
    asked.push_back(device.now_ns);
  }
  std::ranges::sort(asked);
  EXPECT_EQ(std::ranges::adjacent_find(asked), asked.end());
}

TEST(Transfer, BlocksBeyondTheLastAreNotThePackages) {
  Device::Media media(1);
  Device device(media, {.bad_limit = 3});
  device.Begin();
  ASSERT_EQ(device.GiveHead().kind, TransferResult::kGoingOn);
  const Bytes junk(100, 7);
  for (const uint32_t index : {130U, 191U, 4095U, 4096U, UINT32_MAX}) {
    EXPECT_EQ(device.transfer.OnBlock(BigRelease().digest, index, junk, 0).kind, TransferResult::kGoingOn);
  }
  EXPECT_EQ(device.transfer.counts().foreign, 5U);
  EXPECT_EQ(device.transfer.counts().bad, 0U);
}

TEST(Transfer, AWrongHeadCostsNeitherSlotNorBitmap) {
  Device::Media media(1);
  Device device(media, {});
  const Bytes before(media.a.bytes().begin(), media.a.bytes().end());
  device.Begin();
  Bytes head(BigRelease().package.begin(),
             BigRelease().package.begin() + static_cast<std::ptrdiff_t>(device.head_bytes));
  head[head.size() / 2] ^= 4;
  TransferResult result;
  for (int i = 0; i < 3; ++i) {
    result = device.transfer.OnManifest(BigRelease().digest, head, device.root, device.now_ns);
  }
  EXPECT_EQ(result.kind, TransferResult::kRefused);
  EXPECT_NE(result.reason, Reason::None);
  EXPECT_TRUE(std::ranges::equal(before, media.a.bytes()));
  EXPECT_TRUE(device.counters.transfer(0).digest.IsZero());
}

}  // namespace
}  // namespace dipper::update::transfer_test
