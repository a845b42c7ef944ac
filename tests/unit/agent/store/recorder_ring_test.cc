// The flight recorder's ring: going around, power cuts at every operation, places of several models.
#include "agent/store/recorder_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "agent/base/crc32c.h"
#include "hal/sim/partition_sim.h"

namespace dipper::store {
namespace {

using base::Status;
using File = std::vector<uint8_t>;

constexpr RecorderArea kArea{.offset = 0, .segment_bytes = 24 * 1024, .segments = 3};

constexpr hal::Geometry kShape{.size_bytes = 3 * 24 * 1024, .write_unit_bytes = 1, .erase_unit_bytes = 4096};

struct Data {
  hal::SimPower power;
  hal::PartitionSim partition{kShape, &power};
};

File BodyOf(uint64_t sequence) { return File(5000, static_cast<uint8_t>(sequence * 7 + 1)); }

Status BeginSegment(RecorderRing& ring, uint64_t first_record) {
  const File body = BodyOf(ring.newest() + 1);
  const std::array<BodyBytes, 2> bodies{
      {{.bytes = base::ByteView(body).first(1000), .seal = {}}, {.bytes = body, .seal = {}}}};
  SegmentHead head;
  head.first_record = first_record;
  return ring.Begin(&head, bodies);
}

Status WritePage(RecorderRing& ring, uint64_t first_record) {
  alignas(16) std::array<uint8_t, kRecorderPageBytes> page{};
  std::ranges::fill(PageRecords(page).first(3000), static_cast<uint8_t>(first_record));
  const uint32_t used =
      SealPage({.segment = ring.newest(), .index = ring.pages(), .records = 10, .first_record = first_record},
               3000, page);
  return ring.Append(page, used);
}

/// Segments with their pages until the power goes; syncs after every page. @returns pages that were synced.
uint64_t Record(RecorderRing& ring, uint32_t segments) {
  uint64_t record = 1, synced = 0;
  for (uint32_t i = 0; i < segments; ++i) {
    if (!base::Ok(BeginSegment(ring, record))) return synced;
    while (!ring.full()) {
      if (!base::Ok(WritePage(ring, record)) || !base::Ok(ring.Sync())) return synced;
      ++synced;
      record += 10;
    }
  }
  return synced;
}

File Take(RecorderRing& ring) {
  const auto bytes = ring.MeasureFile();
  if (!bytes.ok()) return {};
  File file(*bytes);
  EXPECT_EQ(ring.ReadFile(0, file), Status::kOk);
  return file;
}

/// Every segment of a file is what was written; @returns pages in it.
uint64_t CheckFile(const File& file) {
  const auto head = DecodeRecordingHead(file);
  EXPECT_TRUE(head.ok());
  EXPECT_EQ(head->bytes, file.size());
  uint64_t pages = 0, last = 0;
  size_t at = kRecordingHeadBytes;
  for (uint32_t i = 0; i < head->segments; ++i) {
    const auto length = base::Load<uint64_t>(file.data() + at);
    const base::ByteView segment = base::ByteView(file).subspan(at + 8, length);
    SegmentHead found;
    EXPECT_EQ(DecodeSegmentHead(segment.first(kRecorderPageBytes), &found), Status::kOk);
    EXPECT_GT(found.sequence, last);
    last = found.sequence;
    const File body = BodyOf(found.sequence);
    for (const auto& [index, bytes] : {std::pair<size_t, size_t>{0, 1000}, {1, 5000}}) {
      const base::ByteView stored = segment.subspan(found.bodies[index].offset, found.bodies[index].bytes);
      EXPECT_EQ(stored.size(), bytes);
      EXPECT_TRUE(std::ranges::equal(stored, base::ByteView(body).first(bytes)));
      EXPECT_EQ(found.bodies[index].crc, base::Crc32c(stored));
    }
    uint64_t record = found.first_record;
    for (uint64_t page = found.pages_offset; page < length; page += kRecorderPageBytes, ++pages) {
      File copy(segment.begin() + static_cast<long>(page),
                segment.begin() + static_cast<long>(page) + kRecorderPageBytes);
      RecorderPage about;
      base::MutableBytes records;
      EXPECT_EQ(OpenPage(copy, &about, &records), Status::kOk);
      EXPECT_EQ(about.first_record, record);
      EXPECT_EQ(records.size(), 3000U);
      EXPECT_TRUE(std::ranges::all_of(records, [&](uint8_t b) { return b == static_cast<uint8_t>(record); }));
      record += 10;
    }
    at += 8 + length;
  }
  EXPECT_EQ(at, file.size());
  return pages;
}

TEST(RecorderRing, GoesAroundAndIsFoundAgain) {
  Data data;
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  EXPECT_EQ(ring.newest(), 0U);
  EXPECT_EQ(ring.MeasureFile().status(), Status::kNotFound);
  Record(ring, 7);
  EXPECT_EQ(ring.newest(), 7U);
  EXPECT_EQ(WritePage(ring, 1), Status::kOutOfRange);
  const File file = Take(ring);
  EXPECT_EQ(CheckFile(file), 9U);
  RecorderRing again(data.partition, kArea, "main");
  ASSERT_EQ(again.Open(), Status::kOk);
  EXPECT_EQ(again.newest(), 7U);
  EXPECT_EQ(Take(again), file);
  // Another model's: its own ring is empty, whatever lies there.
  RecorderRing other(data.partition, kArea, "fan");
  ASSERT_EQ(other.Open(), Status::kOk);
  EXPECT_EQ(other.newest(), 0U);
}

TEST(RecorderRing, EveryPowerCutLeavesWholeSegmentsAndTheirSyncedPages) {
  uint64_t operations = 0;
  {
    Data data;
    RecorderRing ring(data.partition, kArea, "main");
    ASSERT_EQ(ring.Open(), Status::kOk);
    Record(ring, 5);
    operations = data.power.operations;
  }
  ASSERT_GT(operations, 40U);
  for (uint64_t cut = 0; cut < operations; ++cut) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      Data data;
      RecorderRing ring(data.partition, kArea, "main");
      ASSERT_EQ(ring.Open(), Status::kOk);
      data.power.cut_at = data.power.operations + cut;
      const uint64_t synced = Record(ring, 5);
      data.power.Restore();
      data.partition.Restart(seed);
      RecorderRing again(data.partition, kArea, "main");
      ASSERT_EQ(again.Open(), Status::kOk);
      const File file = Take(again);
      // All but the segment that was being written over; what was synced of the others is there.
      const uint64_t kept = file.empty() ? 0 : CheckFile(file);
      ASSERT_GE(kept, std::min<uint64_t>(synced, 6)) << cut << " " << seed;
      // And it goes on.
      ASSERT_EQ(BeginSegment(again, 1), Status::kOk);
      ASSERT_EQ(WritePage(again, 1), Status::kOk);
      CheckFile(Take(again));
    }
  }
}

TEST(RecorderRing, ASegmentWithoutAPageIsWrittenOverByTheNextRun) {
  Data data;
  {
    RecorderRing ring(data.partition, kArea, "main");
    ASSERT_EQ(ring.Open(), Status::kOk);
    Record(ring, 3);
  }
  for (int run = 0; run < 10; ++run) {
    RecorderRing ring(data.partition, kArea, "main");
    ASSERT_EQ(ring.Open(), Status::kOk);
    ASSERT_EQ(BeginSegment(ring, 1), Status::kOk);
  }
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  EXPECT_EQ(CheckFile(Take(ring)), 6U);  // of the two whole segments that are left
}

TEST(RecorderRing, WhatDoesNotFitWritesNothing) {
  Data data;
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  const File large(20 * 1024);
  const std::array<BodyBytes, 1> bodies{{{.bytes = large, .seal = {}}}};
  SegmentHead head;
  const uint64_t before = data.power.operations;
  EXPECT_EQ(ring.Begin(&head, bodies), Status::kResourceExhausted);
  EXPECT_EQ(data.power.operations, before);
}

TEST(RecorderRing, ARingThatIsHeldIsNotWrittenOver) {
  Data data;
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  Record(ring, 3);
  const File file = Take(ring);
  ring.Hold(true);
  EXPECT_EQ(BeginSegment(ring, 100), Status::kFailedPrecondition);
  File again(file.size());
  ASSERT_EQ(ring.ReadFile(0, again), Status::kOk);
  EXPECT_EQ(again, file);
  EXPECT_EQ(ring.ReadFile(file.size(), base::MutableBytes(again).first(1)), Status::kOutOfRange);
  ring.Hold(false);
  EXPECT_EQ(BeginSegment(ring, 100), Status::kOk);
}

TEST(RecorderRing, MeasuredInPartsItIsTheFileOfTheBeginning) {
  Data data;
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  EXPECT_EQ(ring.BeginMeasure(), Status::kNotFound);
  Record(ring, 1);
  ASSERT_EQ(BeginSegment(ring, 100), Status::kOk);
  ASSERT_EQ(WritePage(ring, 100), Status::kOk);
  const File file = Take(ring);
  ASSERT_EQ(ring.BeginMeasure(), Status::kOk);
  ring.Hold(true);
  // What the recorder goes on with: the rest of its segment, then a place that was free.
  ASSERT_EQ(WritePage(ring, 110), Status::kOk);
  uint64_t calls = 0;
  for (bool done = false; !done; ++calls) {
    File none(1);
    ASSERT_EQ(ring.ReadFile(0, none), Status::kOutOfRange) << "its length is not known yet";
    const uint64_t reads = data.partition.calls(hal::SimCall::kRead);
    const auto some = ring.MeasureSome(1);
    ASSERT_TRUE(some.ok());
    EXPECT_LE(data.partition.calls(hal::SimCall::kRead) - reads, 1U);
    done = *some;
    ASSERT_TRUE(calls != 0 || base::Ok(WritePage(ring, 120)));
    ASSERT_TRUE(calls != 1 || base::Ok(BeginSegment(ring, 130)));
  }
  EXPECT_GE(calls, 6U);
  ASSERT_EQ(ring.file_bytes(), file.size());
  File again(file.size());
  ASSERT_EQ(ring.ReadFile(0, again), Status::kOk);
  EXPECT_EQ(again, file);
  ring.MarkFetched();
  ring.Hold(false);
  EXPECT_EQ(CheckFile(Take(ring)), 6U);
}

TEST(RecorderRing, APageThatCannotBeReadEndsItsSegmentInTheFile) {
  Data data;
  RecorderRing ring(data.partition, kArea, "main");
  ASSERT_EQ(ring.Open(), Status::kOk);
  Record(ring, 2);
  EXPECT_EQ(CheckFile(Take(ring)), 6U);
  const auto from = [&](uint64_t first, uint64_t count) {
    data.partition.SetFault({.call = hal::SimCall::kRead,
                             .first = data.partition.calls(hal::SimCall::kRead) + first,
                             .count = count});
  };
  ASSERT_EQ(ring.BeginMeasure(), Status::kOk);
  ASSERT_TRUE(ring.MeasureSome(2).ok());  // a head and a page
  from(0, UINT32_MAX);
  ASSERT_TRUE(ring.MeasureSome(1).ok());
  data.partition.SetFault({});
  ASSERT_TRUE(ring.MeasureSome(UINT32_MAX).ok());
  File file(ring.file_bytes());
  ASSERT_EQ(ring.ReadFile(0, file), Status::kOk);
  EXPECT_EQ(CheckFile(file), 4U);
  from(0, UINT32_MAX);
  EXPECT_EQ(ring.MeasureFile().status(), Status::kUnavailable);
}

TEST(RecorderRing, ModelsShareTheRoomAndDoNotOverlap) {
  const hal::Geometry data{1024 * 1024, 1, 4096};
  const uint64_t room = RecorderRoom(data);
  EXPECT_GT(room, 400U * 1024);
  uint64_t end = data.size_bytes - room;
  for (uint32_t number = 0; number < 3; ++number) {
    const auto area = PlaceRecorder(data, room, 4, number, 3);
    ASSERT_TRUE(area.ok());
    EXPECT_GE(area->offset, end);
    EXPECT_EQ(area->offset % 4096, 0U);
    end = area->offset + area->segments * area->segment_bytes;
    EXPECT_LE(end, data.size_bytes);
  }
  EXPECT_EQ(PlaceRecorder(data, room + 1, 4, 0, 1).status(), Status::kResourceExhausted);
  EXPECT_EQ(PlaceRecorder(data, 32 * 1024, 4, 0, 1).status(), Status::kResourceExhausted);
  EXPECT_EQ(PlaceRecorder({32 * 1024, 1, 4096}, 1024, 2, 0, 1).status(), Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::store
