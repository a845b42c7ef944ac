// SampleSource: where a device's own data come from. One thread polls; implementations may use threads
// inside.
#pragma once

#include <cstdint>
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

/// One undecoded record. `payload` stays valid until the next Poll of the same source.
struct Record {
  RecordKind kind = RecordKind::kSample;
  RecordEncoding encoding = RecordEncoding::kCsvLine;
  uint64_t sequence = 0;  ///< Position in the source, from 0; the sample id where the data bring none.
  int64_t time_ns = 0;    ///< Wall time of the observation.
  uint32_t origin = 0;    ///< Who wrote it, for SampleSource::Answer; 0: nobody who waits for an answer.
  base::ByteView payload;
};

class SampleSource {
 public:
  /// Never blocks. kOk: `*record` is filled. kNotFound: nothing due now. kOutOfRange: the source has ended.
  /// kDataLoss: one unusable record was skipped and counted. kUnavailable: the source failed; try again
  /// later.
  virtual base::Status Poll(Record* record) = 0;
  /// Monotonic time when the next record can be due, so that the caller may sleep; 0 when not known.
  virtual int64_t NextDueNs() { return 0; }
  /// Takes a line of text to whoever wrote the record; never blocks. Sources without a way back drop it.
  virtual void Answer(uint32_t origin, std::string_view line) {
    (void)origin;
    (void)line;
  }

 protected:
  ~SampleSource() = default;
};

}  // namespace dipper::hal
