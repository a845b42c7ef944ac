// Partition: a fixed range of durable bytes, written in place: a block device by GPT name or path, or a file.
// Raw flash (MTD, UBI) wants erases first and is none. Not thread-safe: one thread at a time for each.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::hal {

/// Shape of a partition, fixed while it is open.
struct Geometry {
  uint64_t size_bytes = 0;        ///< A whole number of erase units.
  uint32_t write_unit_bytes = 1;  ///< Writes start and end at multiples of it.
  uint32_t erase_unit_bytes =
      512;  ///< Smallest range that Erase takes; a torn write never reaches beyond its unit.
};

/// Durable bytes that may lose power at any moment.
///
/// A Write or Erase is durable only after a Sync that returned kOk: a cut before may leave each touched
/// sector old, new or torn, in any order between operations. Erase makes bytes read as 0xFF where the medium
/// can, and in any case makes previous content unreadable after the next Sync. Every implementation, real and
/// simulated, passes tests/contract/hal/partition_contract.h.
class Partition {
 public:
  virtual Geometry geometry() const = 0;

  /// Reads exactly to.size() bytes at `offset`.
  /// kOutOfRange: past the end, nothing read. kUnavailable: I/O error, content of `to` undefined.
  virtual base::Status Read(uint64_t offset, base::MutableBytes to) = 0;

  /// Writes `from` at `offset`. kOutOfRange: past the end. kInvalidArgument: not in whole write units;
  /// nothing written in both cases. kUnavailable: I/O error, kResourceExhausted: no space; the range holds
  /// old, new or torn bytes.
  virtual base::Status Write(uint64_t offset, base::ByteView from) = 0;

  /// Erases [offset, offset + length), both multiples of the erase unit. Errors as Write.
  virtual base::Status Erase(uint64_t offset, uint64_t length) = 0;

  /// Barrier: all earlier writes and erases are durable when it returns kOk.
  /// kUnavailable: nothing may be assumed about what was not synced before.
  virtual base::Status Sync() = 0;

 protected:
  ~Partition() = default;
};

}  // namespace dipper::hal
