// RecorderRing: the flight recorder's segments on `data`, a ring of fixed places: a new one goes where the
// oldest lies. A segment is erased, its bodies written, then its head behind a barrier, then pages one after
// the other, each written once. So a power cut leaves whole segments, and of the newest the pages that had
// reached the medium. Byte layout: docs/reference/recording.md. Not thread-safe. No heap.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "agent/store/recorder_format.h"
#include "hal/api/partition.h"

namespace dipper::store {

/// A model's part of `data`.
struct RecorderArea {
  uint64_t offset = 0;
  uint64_t segment_bytes = 0;
  uint32_t segments = 0;
};

/// Room for recorders on a data partition: what event log and backlog leave. 0: it is too small for those.
uint64_t RecorderRoom(const hal::Geometry& geometry);
/// Where model `number` of `models` records, when all of them share `bytes`.
/// kResourceExhausted: more than the partition leaves, or segments too small to hold anything.
base::Result<RecorderArea> PlaceRecorder(const hal::Geometry& geometry, uint64_t bytes, uint32_t segments,
                                         uint32_t number, uint32_t models);

/// Bytes to write with a segment's opening.
struct BodyBytes {
  base::ByteView bytes;
  base::ByteView seal;  ///< kRecorderSealBytes, or empty: `bytes` are not sealed.
};

class RecorderRing {
 public:
  /// @param ring  The model's id; segments of another one are not its own, and are written over.
  RecorderRing(hal::Partition& data, const RecorderArea& area, std::string_view ring);

  /// Finds the segments. Reads one page of each. kUnavailable: I/O.
  base::Status Open();

  /// Begins a segment in the oldest one's place. `head`: sequence, places and bodies are filled here.
  /// Cost: erases a segment and writes the bodies; waits for the medium.
  /// kResourceExhausted: bodies and one page do not fit in a segment; nothing was written then.
  /// kFailedPrecondition: the oldest segment is being read (Hold). Other errors: I/O, nothing is open then.
  base::Status Begin(SegmentHead* head, std::span<const BodyBytes> bodies);
  /// Writes a page (SealPage) behind the last one. kOutOfRange: the segment is full, or none is open.
  base::Status Append(base::ByteView page, uint32_t used_bytes);
  bool open() const { return open_; }
  /// That still fit in the open segment.
  uint64_t pages_left() const { return (area_.segment_bytes - next_page_) / kRecorderPageBytes; }
  bool full() const { return !open_ || pages_left() == 0; }
  /// Makes pages durable, if there are any that are not.
  base::Status Sync();
  void Close() { open_ = false; }

  /// Sequence of the newest segment; 0: none yet.
  uint64_t newest() const { return newest_; }
  uint64_t newest_allowance() const { return allowance_; }
  uint32_t pages() const { return pages_; }  ///< Of the open segment.
  uint64_t written_bytes() const { return written_; }
  const RecorderArea& area() const { return area_; }

  // ---- as a recording file
  /// While it is held no segment is written over: the ring's end is then its end.
  void Hold(bool held) { held_ = held; }
  /// Somebody has the file that was measured last: writing its segments over loses nothing. The one that is
  /// still open may get more pages, and counts as not fetched.
  void MarkFetched() { fetched_to_ = measured_to_; }
  /// Segments written over that nobody had fetched since Open.
  uint64_t overwritten() const { return overwritten_; }
  bool held() const { return held_; }
  /// Begins to measure the file of what the ring holds now: pages and segments that come later are not in it.
  /// Between this and the last ReadFile the ring is held. kNotFound: no segment.
  base::Status BeginMeasure();
  /// Reads on, at most so many pages; true: all is measured. Pages may be appended between two calls.
  /// kNotFound: no whole segment; kUnavailable: no head could be read.
  base::Result<bool> MeasureSome(uint32_t pages);
  /// All at once. Errors as both. Cost: reads every page.
  base::Result<uint64_t> MeasureFile();
  /// Of the file that was measured; 0 before the end of that.
  uint64_t file_bytes() const { return file_bytes_; }
  /// Bytes of the file that was measured. kOutOfRange: past its end.
  base::Status ReadFile(uint64_t offset, base::MutableBytes to);

 private:
  struct Place {
    uint64_t sequence = 0;  ///< 0: no segment.
    uint64_t file_bytes = 0;
  };
  uint64_t OffsetOf(uint32_t place) const { return area_.offset + place * area_.segment_bytes; }
  uint32_t NextPlace() const;
  base::Status WriteBodies(uint32_t place, SegmentHead* head, std::span<const BodyBytes> bodies);
  base::Status WriteAt(uint32_t place, uint64_t offset, base::ByteView bytes);
  bool MeasurePage(uint32_t place);
  uint32_t Unit() const;

  hal::Partition& data_;
  RecorderArea area_;
  base::FixedString<64> ring_;
  std::array<Place, kMaxRecorderSegments> places_{};
  uint32_t place_ = 0;      ///< Of the newest segment.
  uint64_t next_page_ = 0;  ///< In it.
  uint32_t pages_ = 0;
  uint64_t newest_ = 0, allowance_ = 0, written_ = 0;
  uint64_t measured_to_ = 0, fetched_to_ = 0, overwritten_ = 0;  ///< Sequences; segments.
  bool open_ = false, held_ = false, unsynced_ = false, newest_empty_ = false;
  // The file: places, oldest first.
  std::array<uint32_t, kMaxRecorderSegments> order_{};
  uint32_t file_segments_ = 0;
  uint64_t file_bytes_ = 0;
  // While it is measured: `order_` from `at` to `segments` waits; before `file_segments_` it is measured.
  struct Measuring {
    uint32_t segments = 0, at = 0;
    uint32_t pages = 0;                     ///< Whole ones of the segment at `at`.
    uint64_t end = 0;                       ///< Behind them; 0: its head is to be read.
    uint64_t bytes = 0;                     ///< Of the file so far.
    uint32_t open_place = 0, open_end = 0;  ///< Where the open segment ended; 0: none was open.
    bool unreadable = false;
  } measuring_;
  alignas(16) std::array<uint8_t, kRecorderPageBytes> scratch_{};
};

}  // namespace dipper::store
