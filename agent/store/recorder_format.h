// RecorderFormat: how a segment of the flight recorder lies on the medium and in a recording file: a head
// page, bodies (specs, model images, the gate's state), then pages of records. What the records say is
// agent/runtime/recording/recorder_records.h. Byte layout: docs/reference/recording.md. Thread-safe: pure
// functions.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/status.h"

namespace dipper::store {

inline constexpr uint32_t kRecorderPageBytes = 4096;
inline constexpr uint32_t kRecorderSealBytes = 64;  ///< What stands beside sealed bytes (package/seal.h).
inline constexpr uint32_t kPageHeadBytes = 40;
/// Records of one page, whether it is sealed or not.
inline constexpr uint32_t kPageRecordBytes = kRecorderPageBytes - kPageHeadBytes - kRecorderSealBytes;
inline constexpr uint32_t kRecorderBodies = 5;
inline constexpr uint32_t kMaxAboutBytes = 1024;
inline constexpr uint32_t kRecordingHeadBytes = 64;
inline constexpr uint32_t kMaxRecorderSegments = 64;

/// Bytes that a segment opens with. As stored: sealed, if `sealed`.
struct RecorderBody {
  uint32_t offset = 0;  ///< From the segment's begin.
  uint32_t bytes = 0;   ///< 0: there is none.
  uint32_t crc = 0;     ///< CRC-32C of the bytes as stored.
  bool sealed = false;
  std::array<uint8_t, kRecorderSealBytes> seal{};
};

/// First page of a segment; written last, so that a segment with a head has its bodies.
struct SegmentHead {
  uint64_t sequence = 0;      ///< From 1, over the whole life of the ring.
  uint64_t first_record = 0;  ///< Number of the first record in it.
  uint64_t left_out = 0;      ///< Inputs that were not recorded since the segment before.
  uint64_t allowance = 0;     ///< Bytes that the recorder might still write when this was opened.
  uint32_t segment_bytes = 0;
  uint32_t pages_offset = 0;   ///< Where the pages begin; they follow one another every kRecorderPageBytes.
  base::FixedString<64> ring;  ///< Whose ring it is: the model's id.
  std::array<RecorderBody, kRecorderBodies> bodies{};
  uint32_t about_bytes = 0;
  std::array<uint8_t, kMaxAboutBytes> about{};  ///< The writer's own words.
  base::ByteView About() const { return base::ByteView(about).first(about_bytes); }
};

/// @param page  kRecorderPageBytes.
void EncodeSegmentHead(const SegmentHead& head, base::MutableBytes page);
/// kDataLoss: no head, or damaged, or a place in it out of range. kUnimplemented: a newer agent's.
base::Status DecodeSegmentHead(base::ByteView page, SegmentHead* head);

struct RecorderPage {
  uint64_t segment = 0;  ///< Sequence of its segment: what an earlier lap left is none of it.
  uint32_t index = 0;    ///< In its segment, from 0.
  uint32_t records = 0;
  uint64_t first_record = 0;
  bool sealed = false;
};

/// Makes a page of the records that lie at PageRecords(page), `bytes` long, and of the seal at
/// PageSeal(page) when `about.sealed`.
/// @param page  kRecorderPageBytes; what is behind the records becomes zero.
/// @returns bytes of the page that need to be written.
uint32_t SealPage(const RecorderPage& about, uint32_t bytes, base::MutableBytes page);
base::MutableBytes PageRecords(base::MutableBytes page);
base::MutableBytes PageSeal(base::MutableBytes page);
/// @param records  The records' bytes, in `page`.
/// kDataLoss: no page, or damaged. kUnimplemented: a newer agent's.
base::Status OpenPage(base::MutableBytes page, RecorderPage* about, base::MutableBytes* records);

/// A recording file: this head, then each segment with its length before it, oldest first.
struct RecordingHead {
  uint64_t bytes = 0;  ///< Of the whole file.
  uint32_t segments = 0;
};
void EncodeRecordingHead(const RecordingHead& head, base::MutableBytes out);
/// kDataLoss: not a recording, or cut short in its head. kUnimplemented: of a newer agent.
base::Result<RecordingHead> DecodeRecordingHead(base::ByteView bytes);

}  // namespace dipper::store
