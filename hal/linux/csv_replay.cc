// Line reading over one fixed buffer and pacing against the monotonic clock.
#include "hal/linux/csv_replay.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dipper::hal {

using base::Status;

CsvReplay::~CsvReplay() {
  if (fd_ >= 0) ::close(fd_);
}

Status CsvReplay::Open(const char* path, uint64_t first_row) {
  DIPPER_CHECK(fd_ < 0);
  fd_ = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) return errno == ENOENT ? Status::kNotFound : Status::kUnavailable;
  base::ByteView line;
  switch (ReadLine(&line)) {
    case Line::kOk:
      break;
    case Line::kError:
      return Status::kUnavailable;
    case Line::kTooLong:
      return Status::kResourceExhausted;
    case Line::kEnd:
      return Status::kDataLoss;
  }
  std::memcpy(header_.data(), line.data(), line.size());
  header_bytes_ = line.size();
  header_pending_ = true;
  while (next_row_ < first_row) {
    const Line got = ReadLine(&line);
    if (got == Line::kEnd || got == Line::kError) break;  // Poll reports it
    ++next_row_;
  }
  started_ns_ = clock_.MonotonicNs();
  return Status::kOk;
}

CsvReplay::Line CsvReplay::ReadLine(base::ByteView* line) {
  bool too_long = false;
  for (;;) {
    const auto* start = buffer_.data() + begin_;
    const auto* newline = static_cast<const uint8_t*>(std::memchr(start, '\n', end_ - begin_));
    if (newline != nullptr || (end_of_file_ && begin_ < end_)) {
      size_t length = newline != nullptr ? static_cast<size_t>(newline - start) : end_ - begin_;
      begin_ += length + (newline != nullptr ? 1 : 0);
      if (length > 0 && start[length - 1] == '\r') --length;
      *line = {start, length};
      if (too_long) return Line::kTooLong;
      if (length == 0) continue;  // blank lines are nothing
      return Line::kOk;
    }
    if (end_of_file_) return too_long ? Line::kTooLong : Line::kEnd;
    if (begin_ == 0 && end_ == buffer_.size()) {  // a full buffer without a line end
      too_long = true;
      end_ = 0;
    } else {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    ssize_t got = 0;
    do {
      got = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return Line::kError;
    if (got == 0) end_of_file_ = true;
    end_ += static_cast<size_t>(got);
  }
}

int64_t CsvReplay::NextDueNs() {
  if (header_pending_ || rate_hz_ <= 0) return started_ns_;
  return started_ns_ + static_cast<int64_t>(static_cast<double>(rows_given_) * 1e9 / rate_hz_);
}

Status CsvReplay::Poll(Record* record) {
  if (fd_ < 0) return Status::kOutOfRange;
  *record = Record{};
  record->time_ns = clock_.WallNs();
  if (header_pending_) {
    header_pending_ = false;
    record->kind = RecordKind::kHeader;
    record->payload = {header_.data(), header_bytes_};
    return Status::kOk;
  }
  if (clock_.MonotonicNs() < NextDueNs()) return Status::kNotFound;
  base::ByteView line;
  const Line got = ReadLine(&line);
  if (got == Line::kEnd) return Status::kOutOfRange;
  if (got == Line::kError) {
    ++failed_reads_;
    return Status::kUnavailable;
  }
  record->sequence = next_row_++;
  ++rows_given_;
  if (got == Line::kTooLong) {
    ++long_lines_;
    return Status::kDataLoss;
  }
  record->payload = line;
  return Status::kOk;
}

}  // namespace dipper::hal
