// CsvReplay: a CSV file as a paced stream of samples, for measuring, demonstrations and devices that log to
// files. Not thread-safe. No heap after Open: one fixed line buffer.
#pragma once

#include <array>
#include <cstdint>

#include "hal/api/clock.h"
#include "hal/api/sample_source.h"

namespace dipper::hal {

/// Lines of a CSV file, header first, as kCsvLine records.
///
/// Row 0 is the first line after the header; its `sequence` is 0. A line longer than kMaxLineBytes is skipped
/// counted and reported once as kDataLoss; its row number is used up, so that later rows keep theirs.
class CsvReplay final : public SampleSource {
 public:
  static constexpr size_t kMaxLineBytes = 16 * 1024;

  CsvReplay(Clock& clock, double rate_hz) : clock_(clock), rate_hz_(rate_hz) {}
  ~CsvReplay();
  CsvReplay(const CsvReplay&) = delete;
  CsvReplay& operator=(const CsvReplay&) = delete;

  /// Opens `path` (zero-terminated) and leaves the cursor before `first_row`.
  /// kNotFound: no such file. kUnavailable: it cannot be read. kDataLoss: it is empty. kResourceExhausted:
  /// its header is longer than kMaxLineBytes.
  base::Status Open(const char* path, uint64_t first_row);

  base::Status Poll(Record* record) override;
  int64_t NextDueNs() override;
  SourceTotals totals() const override { return {.unreadable = long_lines_, .failed = failed_reads_}; }

 private:
  enum class Line : uint8_t { kOk, kTooLong, kEnd, kError };
  Line ReadLine(base::ByteView* line);

  Clock& clock_;
  const double rate_hz_;  // 0: as fast as it is polled
  int fd_ = -1;
  std::array<uint8_t, kMaxLineBytes> buffer_{};
  size_t begin_ = 0;
  size_t end_ = 0;
  bool end_of_file_ = false;
  bool header_pending_ = false;
  std::array<uint8_t, kMaxLineBytes> header_{};
  size_t header_bytes_ = 0;
  uint64_t next_row_ = 0;
  uint64_t rows_given_ = 0;
  uint64_t long_lines_ = 0;
  uint64_t failed_reads_ = 0;
  int64_t started_ns_ = 0;
};

}  // namespace dipper::hal
