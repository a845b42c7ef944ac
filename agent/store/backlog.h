// Backlog: telemetry kept while the broker is away, a byte-bounded ring on `data`: the oldest gives way and
// is counted. An entry leaves only when the caller drops it (after its PUBACK); the read position is
// persisted lazily, so that after a power cut some entries may come again, with the same sequence. Byte
// layout: docs/reference/storage.md. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/store/page.h"
#include "hal/api/partition.h"

namespace dipper::store {

inline constexpr uint32_t kMaxBacklogEntryBytes = 64 * 1024;

struct BacklogEntry {
  uint64_t sequence = 0;
  uint16_t kind = 0;  ///< The writer's own: which topic it belongs to.
  base::ByteView payload;
};

class Backlog {
 public:
  explicit Backlog(hal::Partition& data);

  /// Finds what is still to be sent. Reads the whole ring once. kUnimplemented: written by a newer agent;
  /// later calls refuse. kResourceExhausted: the partition is too small.
  base::Status Open();

  /// Appends and returns the sequence; durable after the next Sync or Flush. Drops the oldest entries when
  /// full, each counted. kInvalidArgument: empty or longer than kMaxBacklogEntryBytes or half the ring.
  /// kUnavailable: I/O, counted as dropped.
  base::Result<uint64_t> Append(uint16_t kind, base::ByteView payload);

  /// Reads the oldest entry with sequence >= `from` into `buffer`; so several may be in flight: peek from the
  /// last peeked + 1. kNotFound: none. kResourceExhausted: buffer too small. A damaged entry is counted and
  /// passed over.
  base::Result<BacklogEntry> Peek(uint64_t from, base::MutableBytes buffer);

  /// Drops every entry up to and including `sequence`. The position reaches the medium every 64 drops and on
  /// Flush.
  base::Status Drop(uint64_t sequence);

  /// Writes the read position if it changed, and syncs.
  base::Status Flush();
  base::Status Sync() { return data_.Sync(); }

  /// Two numbers of the caller that are kept with the read position: a day and what it has cost. They reach
  /// the medium with the next Flush. Zero before the first call.
  struct Tally {
    uint64_t day = 0;
    uint64_t bytes = 0;
  };
  Tally tally() const { return tally_; }
  void SetTally(uint64_t day, uint64_t bytes) {
    tally_ = {day, bytes};
    dirty_ = true;
  }

  bool empty() const { return first_ == next_; }
  uint64_t entries() const { return next_ - first_; }
  uint64_t oldest() const {
    return first_;
  }  ///< Sequence of the oldest kept entry; == next_sequence() when empty.
  uint64_t next_sequence() const { return next_; }
  uint64_t dropped_total() const {
    return dropped_;
  }  ///< Overwritten, damaged or unwritable; survives restarts lazily.
  uint64_t capacity_bytes() const { return sectors_ * stride_; }

 private:
  struct Entry {
    uint64_t sector = 0;
    uint64_t sequence = 0;
    uint32_t length = 0;
    uint32_t payload_crc = 0;
    uint16_t kind = 0;
  };

  uint64_t SectorsFor(uint64_t payload_bytes) const;
  uint64_t OffsetOf(uint64_t sector) const { return begin_ + sector * stride_; }
  uint64_t After(const Entry& entry) const { return (entry.sector + SectorsFor(entry.length)) % sectors_; }
  uint64_t LiveSectors() const;
  base::Result<Entry> ReadHeader(uint64_t sector);
  base::Result<Entry> FindFrom(uint64_t sector, uint64_t window, uint64_t from);
  bool IsWhole(const Entry& entry);
  bool PayloadIntact(const Entry& entry, base::MutableBytes payload);
  base::Status MakeRoom(uint64_t needed);
  base::Status WriteEntry(const Entry& entry, base::ByteView payload);
  base::Status StorePosition();

  hal::Partition& data_;
  CopyPair position_;
  uint64_t begin_ = 0;
  uint64_t sectors_ = 0;
  uint32_t stride_ = kSectorBytes;  ///< A sector, or a write unit when that is larger.
  uint64_t first_ = 1;              ///< Oldest sequence that is kept.
  uint64_t first_sector_ = 0;       ///< At or before it in ring order.
  uint64_t next_ = 1;
  uint64_t next_sector_ = 0;
  uint64_t dropped_ = 0;
  Tally tally_;
  uint32_t unsaved_drops_ = 0;
  bool dirty_ = false;
  bool open_ = false;
  alignas(16) std::array<uint8_t, kMaxWriteUnit> scratch_{};
};

}  // namespace dipper::store
