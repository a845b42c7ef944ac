// EventLog: what happened on this device, newest N events in a ring on `data`, each entry holding the digest
// of the one before, so that a changed or missing entry shows. Byte layout: docs/reference/storage.md. Not
// thread-safe. No heap. Losing the partition loses no model and no trust state.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "hal/api/partition.h"

namespace dipper::store {

inline constexpr uint32_t kEventBytes = 512;  ///< One entry: a torn append touches no other.
inline constexpr uint32_t kMaxEventPayload = 416;

struct Event {
  uint64_t sequence = 0;  ///< Given by Append, from 1.
  int64_t time_ns = 0;
  uint16_t kind = 0;  ///< The writer's own numbering.
  uint16_t reason = 0;
  uint8_t model = 0xFF;    ///< Model index; 0xFF: the device.
  base::ByteView payload;  ///< At most kMaxEventPayload.
};

class EventLog {
 public:
  explicit EventLog(hal::Partition& data);

  /// Finds the newest entry. Reads the whole ring once. kUnimplemented: entries of a newer agent; Append
  /// refuses.
  base::Status Open();

  /// Appends and returns the sequence; durable after the next Sync. kInvalidArgument: payload too long.
  base::Result<uint64_t> Append(const Event& event);
  base::Status Sync() { return data_.Sync(); }

  /// Reads one entry; its payload lies in `buffer` (kEventBytes). kNotFound: overwritten, not yet written or
  /// damaged.
  base::Result<Event> Read(uint64_t sequence, base::MutableBytes buffer);

  /// Oldest and newest sequence in the ring; 0: empty.
  uint64_t oldest() const;
  uint64_t newest() const { return newest_; }
  uint64_t capacity() const { return capacity_; }

  /// Walks the ring and counts the places where an entry is missing, damaged or not linked to the one before.
  /// After a power cut the unsynced tail may show as one break.
  base::Result<uint64_t> CountBreaks();

 private:
  uint64_t OffsetOf(uint64_t sequence) const { return begin_ + (sequence % capacity_) * stride_; }

  hal::Partition& data_;
  uint64_t begin_ = 0;
  uint64_t capacity_ = 0;
  uint32_t stride_ = 0;
  uint64_t newest_ = 0;
  base::Digest newest_digest_;
  bool open_ = false;
  alignas(16) std::array<uint8_t, 4096> entry_{};
};

}  // namespace dipper::store
