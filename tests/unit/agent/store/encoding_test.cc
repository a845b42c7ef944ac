// Encodings and layouts: round trips, every flipped bit, unknown layouts, the byte places of
// docs/reference/storage.md.
#include <gtest/gtest.h>

#include "agent/store/boot_layout.h"
#include "agent/store/boot_record.h"
#include "agent/store/slot_layout.h"
#include "tests/fault/store/store_world.h"

namespace dipper::store {
namespace {

using base::Status;

base::Digest DigestFrom(uint8_t value) {
  base::Digest digest;
  digest.bytes.fill(value);
  return digest;
}

BootRecord SampleRecord() {
  BootRecord record;
  record.sequence = 0x0102030405060708;
  record.lkg_slot = SlotId::kB;
  record.lkg_digest = DigestFrom(0x11);
  record.lkg_version = {1, 9};
  record.floor = {1, 8};
  record.trial_slot = SlotId::kA;
  record.trial_digest = DigestFrom(0x22);
  record.tries_left = 2;
  record.tries_given_back = 5;
  record.own_failures = 1;
  record.unexplained_starts = 7;
  record.rung = Rung::kPackageImage;
  record.Deny(DigestFrom(0x33), schema::Reason::ShownWorse);
  return record;
}

TEST(BootRecord, RoundTripAndBytePlaces) {
  Bytes bytes(kBootRecordBytes);
  EncodeBootRecord(SampleRecord(), bytes);
  const auto decoded = DecodeBootRecord(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, SampleRecord());
  EXPECT_EQ(Bytes(bytes.begin(), bytes.begin() + 12), (Bytes{'D', 'R', 'E', 'C', 1, 0, 0, 0, 0x90, 1, 0, 0}));
  EXPECT_EQ(base::Load<uint64_t>(bytes.data() + 16), 0x0102030405060708U);
  EXPECT_EQ(Bytes(bytes.begin() + 24, bytes.begin() + 32), (Bytes{1, 0, 2, 5, 1, 7, 2, 0}));
  EXPECT_EQ(bytes[32], 0x11);
  EXPECT_EQ(bytes[64], 0x22);
  EXPECT_EQ(base::Load<uint32_t>(bytes.data() + 100), 9U);
  EXPECT_EQ(base::Load<uint32_t>(bytes.data() + 108), 8U);
  EXPECT_EQ(bytes[112], 0x33);
  EXPECT_EQ(base::Load<uint16_t>(bytes.data() + 144), 42);
}

TEST(BootRecord, EveryFlippedBitIsNoticed) {
  Bytes bytes(kBootRecordBytes);
  EncodeBootRecord(SampleRecord(), bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      bytes[i] ^= static_cast<uint8_t>(1 << bit);
      EXPECT_EQ(DecodeBootRecord(bytes).status(), Status::kDataLoss) << i << ":" << bit;
      bytes[i] ^= static_cast<uint8_t>(1 << bit);
    }
  }
}

TEST(BootRecord, FieldsOutOfRangeAreDataLossEvenWithAGoodCrc) {
  const auto refused = [](const BootRecord& record) {
    Bytes bytes(kBootRecordBytes);
    EncodeBootRecord(record, bytes);
    return DecodeBootRecord(bytes).status() == Status::kDataLoss;
  };
  BootRecord record = SampleRecord();
  record.tries_left = 4;
  EXPECT_TRUE(refused(record));
  record = SampleRecord();
  record.trial_slot = record.lkg_slot;
  EXPECT_TRUE(refused(record));
  record = SampleRecord();
  record.rung = static_cast<Rung>(6);
  EXPECT_TRUE(refused(record));
  record = SampleRecord();
  record.rung = Rung::kNone;  // beside an LKG
  EXPECT_TRUE(refused(record));
  record = SampleRecord();
  record.lkg_slot = static_cast<SlotId>(3);
  EXPECT_TRUE(refused(record));
  record = SampleRecord();
  record.lkg_digest = {};
  EXPECT_TRUE(refused(record));
}

TEST(BootRecord, UnknownLayoutWithAGoodCrcIsNotAbsent) {
  Bytes bytes(kBootRecordBytes);
  EncodeBootRecord(SampleRecord(), bytes);
  Seal(bytes, base::Load<uint32_t>(bytes.data()), 2);
  EXPECT_EQ(DecodeBootRecord(bytes).status(), Status::kUnimplemented);
  bytes[50] ^= 1;
  EXPECT_EQ(DecodeBootRecord(bytes).status(), Status::kDataLoss);
}

TEST(BootRecord, DeniedRingKeepsTheNewestEight) {
  BootRecord record;
  for (uint8_t i = 1; i <= 10; ++i) record.Deny(DigestFrom(i), schema::Reason::Crash);
  EXPECT_FALSE(record.IsDenied(DigestFrom(2)));
  EXPECT_TRUE(record.IsDenied(DigestFrom(3)) && record.IsDenied(DigestFrom(10)));
  record.Deny(DigestFrom(3), schema::Reason::ShownWorse);
  EXPECT_EQ(record.denied.back().digest, DigestFrom(3));
  EXPECT_EQ(record.RemoveDenied(DigestFrom(5)), Status::kOk);
  EXPECT_FALSE(record.IsDenied(DigestFrom(5)));
  EXPECT_TRUE(record.denied.back().digest.IsZero());
  EXPECT_FALSE(record.IsDenied(base::Digest{})) << "no digest is never denied";
}

TEST(SlotEncodings, RoundTripsAndFlippedBits) {
  Bytes header(kSlotHeaderBytes);
  EncodeSlotHeader({DigestFrom(1), 4321}, header);
  EXPECT_EQ(DecodeSlotHeader(header)->package_bytes, 4321U);
  Bytes mark(kConfirmMarkBytes);
  EncodeConfirmMark({DigestFrom(2), {1, 2}, 77}, mark);
  EXPECT_EQ(DecodeConfirmMark(mark)->sequence, 77U);
  EXPECT_EQ(DecodeConfirmMark(mark)->floor, (base::SecurityVersion{1, 2}));
  Bytes checkpoint(kCheckpointInfoBytes);
  CheckpointInfo info{DigestFrom(3), 5, 6, 7, DigestFrom(4), 8, 9};
  EncodeCheckpointInfo(info, checkpoint);
  EXPECT_EQ(DecodeCheckpointInfo(checkpoint)->gate_bytes, 8U);
  EXPECT_EQ(DecodeCheckpointInfo(checkpoint)->image_digest, DigestFrom(4));
  for (size_t i = 0; i < mark.size(); ++i) {
    mark[i] ^= 0x80;
    EXPECT_FALSE(DecodeConfirmMark(mark).ok()) << i;
    mark[i] ^= 0x80;
  }
  EXPECT_FALSE(DecodeSlotHeader(mark).ok()) << "another structure";
}

TEST(BootLayout, EachCopyHasItsOwnEraseUnits) {
  for (const hal::Geometry geometry :
       {hal::Geometry{64 * 1024, 1, 4096}, hal::Geometry{28 * 1024, 1, 512},
        hal::Geometry{4 << 20, 16, 65536}, hal::Geometry{4 << 20, 2048, 131072}}) {
    const auto layout = ComputeBootLayout(geometry);
    ASSERT_TRUE(layout.ok());
    EXPECT_EQ(layout->models, kMaxModels);
    uint64_t end = 0;
    std::vector<CopyPairLayout> pairs = {layout->roots, layout->counters};
    for (uint32_t model = 0; model < layout->models; ++model) pairs.push_back(layout->Record(model));
    for (const CopyPairLayout& pair : pairs) {
      EXPECT_EQ(pair.offset, end);
      EXPECT_EQ(pair.offset % geometry.erase_unit_bytes, 0U);
      EXPECT_EQ(pair.stride % geometry.erase_unit_bytes, 0U);
      EXPECT_LE(pair.page_bytes, pair.stride);
      EXPECT_EQ(pair.page_bytes % geometry.write_unit_bytes, 0U);
      end = pair.offset + 2 * pair.stride;
    }
    EXPECT_LE(end, geometry.size_bytes);
  }
  EXPECT_EQ(ComputeBootLayout({24 * 1024, 1, 512}).status(), Status::kResourceExhausted);
  EXPECT_EQ(ComputeBootLayout({1 << 20, 1, 500}).status(), Status::kInvalidArgument);
  EXPECT_EQ(ComputeBootLayout({1 << 20, 8192, 8192}).status(), Status::kInvalidArgument);
}

TEST(SlotLayout, AreasDoNotOverlapAndFillTheSlot) {
  for (const hal::Geometry geometry : {hal::Geometry{1 << 20, 1, 4096}, hal::Geometry{64 * 1024, 1, 512},
                                       hal::Geometry{8 << 20, 2048, 131072}}) {
    const auto layout = ComputeSlotLayout(geometry);
    ASSERT_TRUE(layout.ok());
    const uint64_t unit = geometry.erase_unit_bytes;
    EXPECT_EQ(layout->package_offset, unit);
    EXPECT_EQ(layout->package_offset + layout->package_capacity, layout->mark_offset);
    EXPECT_EQ(layout->mark_offset + 2 * layout->mark_bank_bytes, layout->checkpoint_offset);
    EXPECT_EQ(layout->checkpoint_offset + 2 * layout->checkpoint_bytes, geometry.size_bytes);
    EXPECT_EQ(layout->mark_offset % unit + layout->checkpoint_offset % unit + layout->checkpoint_bytes % unit,
              0U);
    EXPECT_GE(layout->mark_bank_bytes, uint64_t{kMarksPerBank} * layout->mark_stride);
  }
  EXPECT_GE(ComputeSlotLayout({1 << 20, 1, 4096})->MaxImageBytes(), 256U * 1024);
  EXPECT_EQ(ComputeSlotLayout({32 * 1024, 1, 512}).status(), Status::kResourceExhausted);
}

TEST(Format, RefusesWhatIsInUseAndNeverTouchesANewerLayout) {
  hal::PartitionSim boot({64 * 1024, 1, 4096}, nullptr);
  EXPECT_EQ(FormatBoot(boot, false), Status::kOk);
  const BootLayout layout = *ComputeBootLayout(boot.geometry());
  Bytes record(kBootRecordBytes);
  EncodeBootRecord(SampleRecord(), record);
  ASSERT_EQ(boot.Write(layout.Record(1).offset, record), Status::kOk);
  EXPECT_EQ(FormatBoot(boot, false), Status::kAlreadyExists);
  Seal(record, base::Load<uint32_t>(record.data()), 9);
  ASSERT_EQ(boot.Write(layout.Record(1).offset, record), Status::kOk);
  EXPECT_EQ(FormatBoot(boot, true), Status::kUnimplemented);
  EncodeBootRecord(SampleRecord(), record);
  ASSERT_EQ(boot.Write(layout.Record(1).offset, record), Status::kOk);
  EXPECT_EQ(FormatBoot(boot, true), Status::kOk);
  EXPECT_EQ(boot.bytes()[layout.Record(1).offset], 0xFF);
}

}  // namespace
}  // namespace dipper::store
