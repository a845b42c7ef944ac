// SampleSource: where a device's own data come from. One thread polls; implementations may use threads
// inside.
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::hal {

enum class RecordKind : uint8_t {
  kHeader = 0,  ///< Column names of the kText records that follow.
  kSample = 1,  ///< One observation, possibly with its label as a column.
  kLabel = 2,   ///< A label that arrives on its own.
};

enum class RecordEncoding : uint8_t {
  kCsvLine = 0,  ///< One line of separated values, without line end.
  kJson = 1,     ///< One flat JSON object.
  kFloats = 2,   ///< float32 little-endian, in the order of the source's columns.
};

/// In a kFloats record: the source could not read this column.
inline constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

/// Every one of those who share a source.
inline constexpr uint32_t kEverybody = 0xFFFFFFFF;

/// One undecoded record. `payload` stays valid until the next Poll of the same source.
struct Record {
  RecordKind kind = RecordKind::kSample;
  RecordEncoding encoding = RecordEncoding::kCsvLine;
  uint64_t sequence = 0;  ///< Position in the source, from 0; the sample id where the data bring none.
  int64_t time_ns = 0;    ///< Wall time of the observation.
  uint32_t origin = 0;    ///< Who wrote it, for SampleSource::Answer; 0: nobody who waits for an answer.
  uint32_t audience = kEverybody;  ///< Which of those who share the source it is for.
  bool from_network = false;       ///< Written by whoever may publish: its labels are rate-limited.
  /// The configuration names its columns: a member that is not there is missing.
  bool columns_known = false;
  bool wants_prediction = false;  ///< Its prediction is to be published.
  base::ByteView payload;
};

/// What a source has lost since it was opened, by why.
struct SourceTotals {
  uint64_t dropped = 0;          ///< Records that came faster than they were taken.
  uint64_t unreadable = 0;       ///< Records too long, malformed or without any of their values.
  uint64_t ignored = 0;          ///< Records that were old when they came.
  uint64_t answers_dropped = 0;  ///< Answers whose reader was slow.
  uint64_t failed = 0;           ///< Readings that could not be made, those of single channels among them.
  uint64_t refused_writers = 0;  ///< Above the most that may write at once.
  // Of sources that are joined:
  uint64_t superseded = 0;  ///< Records that a newer one replaced before a sample took them.
  uint64_t stale = 0;       ///< Times that a source had nothing young enough for a sample.
  uint64_t late = 0;        ///< Records with a time before that of one already held.
  uint64_t skipped = 0;     ///< Samples left out because a source was missing.

  SourceTotals& operator+=(const SourceTotals& other) {
    dropped += other.dropped;
    unreadable += other.unreadable;
    ignored += other.ignored;
    answers_dropped += other.answers_dropped;
    failed += other.failed;
    refused_writers += other.refused_writers;
    superseded += other.superseded;
    stale += other.stale;
    late += other.late;
    skipped += other.skipped;
    return *this;
  }
};

class SampleSource {
 public:
  /// Waits for nobody but a sensor's driver. kOk: `*record` is filled. kNotFound: nothing due now.
  /// kOutOfRange: the source has ended. kDataLoss: one unusable record was skipped and counted. kUnavailable:
  /// the source failed; try again later.
  virtual base::Status Poll(Record* record) = 0;
  /// Monotonic time when the next record can be due, so that the caller may sleep; 0 when not known.
  virtual int64_t NextDueNs() { return 0; }
  /// Takes a line of text to whoever wrote the record; never blocks. Sources without a way back drop it.
  virtual void Answer(uint32_t origin, std::string_view line) {
    (void)origin;
    (void)line;
  }
  virtual SourceTotals totals() const { return {}; }
  /// Why it gives nothing now, for people; empty: it works. Valid until the next Poll.
  virtual std::string_view trouble() const { return {}; }

 protected:
  ~SampleSource() = default;
};

}  // namespace dipper::hal
