// Structures with a good CRC around numbers that no agent writes: taken as absent, so that the other copy, or
// a fresh beginning, keeps the device going. All of them were found by fuzzing (tests/fuzz/record_fuzz.cc).
#include <gtest/gtest.h>

#include "agent/store/backlog.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/root_store.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr hal::Geometry kBoot{64 * 1024, 1, 4096};
constexpr hal::Geometry kData{64 * 1024, 1, 512};
constexpr uint32_t kCountersMagic = 0x544E4344;  // "DCNT"
constexpr uint32_t kEventMagic = 0x54564544;     // "DEVT"
constexpr uint32_t kBacklogMagic = 0x474C4244;   // "DBLG"
constexpr size_t kCommandState = 40;             // in a counters page

/// Changes the structure of `length` bytes at `offset` and seals it anew.
template <typename Change>
void Forge(hal::PartitionSim& partition, uint64_t offset, uint32_t magic, Change change,
           uint32_t length = 0) {
  Bytes bytes(partition.bytes().begin(), partition.bytes().end());
  if (length == 0) length = base::Load<uint32_t>(bytes.data() + offset + 8);
  const auto structure = base::MutableBytes(bytes).subspan(offset, length);
  change(structure);
  Seal(structure, magic, 1);
  partition.Load(bytes);
}

class CountersPages : public testing::Test {
 protected:
  void SetUp() override {
    Counters counters(boot_);
    ASSERT_EQ(counters.Load(), Status::kOk);
    ASSERT_EQ(counters.RaiseTrustedTime(1000), Status::kOk);  // copy 0
    ASSERT_EQ(counters.RaiseTrustedTime(2000), Status::kOk);  // copy 1
  }
  uint64_t CopyOffset(uint32_t copy) const {
    const CopyPairLayout layout = ComputeBootLayout(kBoot)->counters;
    return layout.offset + copy * layout.stride;
  }
  void ForgeCopy(uint32_t copy) {
    Forge(boot_, CopyOffset(copy), kCountersMagic, [](base::MutableBytes page) { page[kCommandState] = 9; });
  }

  hal::PartitionSim boot_{kBoot, nullptr};
};

TEST_F(CountersPages, AFieldOutOfRangeLeavesTheOtherCopy) {
  ForgeCopy(1);
  Counters counters(boot_);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.trusted_time_s(), 1000U);
  ASSERT_EQ(counters.RaiseTrustedTime(3000), Status::kOk);
  Counters again(boot_);
  ASSERT_EQ(again.Load(), Status::kOk);
  EXPECT_EQ(again.trusted_time_s(), 3000U);
}

TEST_F(CountersPages, BothOutOfRangeBeginAnew) {
  ForgeCopy(0);
  ForgeCopy(1);
  Counters counters(boot_);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.trusted_time_s(), 0U);
  ASSERT_EQ(counters.BeginCommand(4), Status::kOk);
  Counters again(boot_);
  ASSERT_EQ(again.Load(), Status::kOk);
  EXPECT_EQ(again.command().number, 4U);
}

TEST_F(CountersPages, AShortPageIsNotReadBeyondItsCrc) {
  Forge(
      boot_, CopyOffset(1), kCountersMagic, [](base::MutableBytes) {}, kPagedHeadBytes + 8);
  Counters counters(boot_);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.trusted_time_s(), 1000U);
}

TEST_F(CountersPages, ASequenceWithoutRoomIsDamage) {
  Forge(boot_, CopyOffset(1), kCountersMagic,
        [](base::MutableBytes page) { base::Store(page.data() + kEnvelopeBytes, UINT64_MAX); });
  Counters counters(boot_);
  ASSERT_EQ(counters.Load(), Status::kOk);
  EXPECT_EQ(counters.trusted_time_s(), 1000U);
  ASSERT_EQ(counters.RaiseTrustedTime(3000), Status::kOk);
  Counters again(boot_);
  ASSERT_EQ(again.Load(), Status::kOk);
  EXPECT_EQ(again.trusted_time_s(), 3000U);  // with the sequence 0 it would have been the older page
}

TEST(RootPages, ALengthThatNoAgentWritesLeavesTheOtherCopy) {
  const CopyPairLayout layout = ComputeBootLayout(kBoot)->roots;
  const Bytes document(100, 7);
  const Bytes next(200, 8);
  for (const uint32_t length : {kPagedHeadBytes, layout.page_bytes}) {
    for (const uint32_t damaged : {0U, 1U}) {
      hal::PartitionSim boot(kBoot, nullptr);
      RootStore roots(boot);
      ASSERT_EQ(roots.Open(), Status::kOk);
      ASSERT_EQ(roots.Store(document), Status::kOk);
      Forge(
          boot, layout.offset + damaged * layout.stride, layout.magic, [](base::MutableBytes) {}, length);
      Bytes buffer(RootStore::kMaxRootBytes);
      for (const Bytes& expected : {document, next}) {
        RootStore again(boot);
        ASSERT_EQ(again.Open(), Status::kOk);
        const auto loaded = again.Load(buffer);
        ASSERT_TRUE(loaded.ok()) << length << " in copy " << damaged;
        EXPECT_TRUE(std::ranges::equal(*loaded, expected));
        ASSERT_EQ(again.Store(next), Status::kOk);
      }
    }
  }
}

TEST(RootPages, TwoSuchCopiesBeginAnew) {
  const CopyPairLayout layout = ComputeBootLayout(kBoot)->roots;
  hal::PartitionSim boot(kBoot, nullptr);
  RootStore roots(boot);
  ASSERT_EQ(roots.Open(), Status::kOk);
  ASSERT_EQ(roots.Store(Bytes(100, 7)), Status::kOk);
  for (const uint32_t copy : {0U, 1U}) {
    Forge(
        boot, layout.offset + copy * layout.stride, layout.magic, [](base::MutableBytes) {},
        layout.page_bytes);
  }
  Bytes buffer(RootStore::kMaxRootBytes);
  RootStore again(boot);
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.Load(buffer).status(), Status::kNotFound);
  ASSERT_EQ(again.Store(Bytes(10, 1)), Status::kOk);
  EXPECT_TRUE(again.Load(buffer).ok());
}

TEST(Rings, ASequenceWithoutRoomIsDamage) {
  hal::PartitionSim data(kData, nullptr);
  const DataLayout layout = *ComputeDataLayout(kData);
  const Bytes payload(20, 0x55);
  {
    EventLog log(data);
    ASSERT_EQ(log.Open(), Status::kOk);
    Backlog backlog(data);
    ASSERT_EQ(backlog.Open(), Status::kOk);
    ASSERT_TRUE(backlog.Append(1, payload).ok());
    for (uint64_t i = 1; i <= log.capacity(); ++i)
      ASSERT_TRUE(log.Append({.time_ns = 0, .payload = payload}).ok());
  }
  EventLog former(data);
  ASSERT_EQ(former.Open(), Status::kOk);
  const uint64_t place = UINT64_MAX % former.capacity();
  const auto last = [](base::MutableBytes entry) { base::Store(entry.data() + kEnvelopeBytes, UINT64_MAX); };
  Forge(data, layout.events_offset + place * kEventBytes, kEventMagic, last);
  Forge(data, layout.backlog_offset, kBacklogMagic, last);
  EventLog log(data);
  ASSERT_EQ(log.Open(), Status::kOk);
  EXPECT_LE(log.newest(), former.capacity());
  const uint64_t before = log.newest();
  EXPECT_EQ(*log.Append({.time_ns = 0, .payload = payload}), before + 1);
  Backlog backlog(data);
  ASSERT_EQ(backlog.Open(), Status::kOk);
  const auto sequence = backlog.Append(1, payload);
  ASSERT_TRUE(sequence.ok());
  EXPECT_LT(*sequence, kMaxSequence);
  Bytes buffer(512);
  EXPECT_EQ(backlog.Peek(*sequence, buffer)->sequence, *sequence);
}

TEST(ConfirmMarks, ASequenceWithoutRoomIsDamage) {
  std::array<uint8_t, kConfirmMarkBytes> bytes;
  ConfirmMark mark;
  mark.digest.bytes.fill(1);
  mark.sequence = kMaxSequence;
  EncodeConfirmMark(mark, bytes);
  EXPECT_TRUE(DecodeConfirmMark(bytes).ok());
  ++mark.sequence;
  EncodeConfirmMark(mark, bytes);
  EXPECT_EQ(DecodeConfirmMark(bytes).status(), Status::kDataLoss);
}

TEST(DeclaredSizes, OfASlotAreRefusedBeforeAnythingIsRead) {
  StoreWorld world;
  const SlotLayout layout = *ComputeSlotLayout(StoreWorld::kSlot);
  const Bytes package = MakePackage(1, 0xA1);
  auto store = world.NewStore();
  ASSERT_TRUE(store->Start({}).ok());
  ASSERT_EQ(store->HealthyMark(), Status::kOk);
  const std::vector<uint64_t> sizes = {0,
                                       layout.package_capacity + 1,
                                       (1ULL << 31) - 1,
                                       1ULL << 31,
                                       (1ULL << 31) + 1,
                                       (1ULL << 32) - 1,
                                       UINT64_MAX};
  for (const uint64_t declared : sizes) {
    Bytes bytes(StoreWorld::kSlot.size_bytes, 0xFF);
    EncodeSlotHeader({DigestOf(package), declared}, base::MutableBytes(bytes).first(kSlotHeaderBytes));
    world.a.Load(bytes);
    Slot slot;
    ASSERT_EQ(slot.Open(&world.a, false), Status::kOk);
    EXPECT_EQ(slot.ReadHeader().status(), Status::kNotFound) << declared;
    EXPECT_EQ(slot.Verify(world.verifier).status(), Status::kDataLoss) << declared;
    EXPECT_EQ(store->BeginStage(DigestOf(package), VersionOf(package), declared),
              declared == 0 ? Status::kInvalidArgument : Status::kResourceExhausted);
    EXPECT_FALSE(store->stage_open());
  }
}

}  // namespace
}  // namespace dipper::store
