// Backlog: telemetry kept while the broker is away, a byte-bounded ring on `data`: the oldest gives way and is counted.
// An entry leaves only when the caller drops it (after its PUBACK); the read position is persisted lazily, so that after
// a power cut some entries may come again, with the same sequence. Byte layout: docs/reference/storage.md.
// Not thread-safe. No heap.
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

  /// Finds what is still to be sent. Reads the whole ring once. kUnimplemented: written by a newer agent; later calls
  /// refuse. kResourceExhausted: the partition is too small.
  base::Status Open();

  /// Appends and returns the sequence; durable after the next Sync or Flush. Drops the oldest entries when full, each
  /// counted. kInvalidArgument: empty or longer than kMaxBacklogEntryBytes or half the ring. kUnavailable: I/O, counted
  /// as dropped.
  base::Result<uint64_t> Append(uint16_t kind, base::ByteView payload);

  /// Reads the oldest entry with sequence >= `from` into `buffer`; so several may be in flight: peek from the last
  /// peeked + 1. kNotFound: none. kResourceExhausted: buffer too small. A damaged entry is counted and passed over.
  base::Result<BacklogEntry> Peek(uint64_t from, base::MutableBytes buffer);

  /// Drops every entry up to and including `sequence`. The position reaches the medium every 64 drops and on Flush.
  base::Status Drop(uint64_t sequence);

  /// Writes the read position if it changed, and syncs.
  base::Status Flush();
  base::Status Sync() { return data_.Sync(); }

  bool empty() const { return first_ == next_; }
  uint64_t entries() const { return next_ - first_; }
  uint64_t oldest() const { return first_; }  ///< Sequence of the oldest kept entry; == next_sequence() when empty.
  uint64_t next_sequence() const { return next_; }
  uint64_t dropped_total() const { return dropped_; }  ///< Overwritten, damaged or unwritable; survives restarts lazily.
  uint64_t capacity_bytes() const { return sectors_ * kSectorBytes; }

  static constexpr uint32_t kSectorBytes = 512;

 private:
};

}  // namespace dipper::store
