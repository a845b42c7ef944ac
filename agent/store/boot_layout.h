// BootLayout: where each copy of each structure lies in the boot partition, every copy in erase units of its
// own, computed from the geometry alone. Byte layout: docs/reference/storage.md. Thread-safe: pure functions.
#pragma once

#include <cstdint>

#include "agent/base/status.h"
#include "agent/store/page.h"
#include "hal/api/partition.h"

namespace dipper::store {

inline constexpr uint32_t kMaxModels = 4;
inline constexpr uint32_t kRootPageBytes = 8 * 1024;
inline constexpr uint32_t kCountersPageBytes = 4 * 1024;
inline constexpr uint32_t kRecordPageBytes =
    4 * 1024;  ///< Buffer; a record takes its bytes in whole write units.

struct BootLayout {
  CopyPairLayout roots;
  CopyPairLayout counters;
  uint64_t records_offset = 0;
  uint64_t record_stride = 0;
  uint32_t record_bytes = 0;  ///< One copy, in whole write units.
  uint32_t models = 0;        ///< Records that fit, at most kMaxModels.

  CopyPairLayout Record(uint32_t model) const;
};

/// kInvalidArgument: unusable shape (see CheckGeometry). kResourceExhausted: not even one model's records
/// fit.
base::Result<BootLayout> ComputeBootLayout(const hal::Geometry& geometry);

/// Event log and backlog on the data partition; the rest is left for the flight recorder.
struct DataLayout {
  uint64_t events_offset = 0;
  uint64_t events_bytes = 0;
  CopyPairLayout backlog_position;
  uint64_t backlog_offset = 0;
  uint64_t backlog_bytes = 0;
};

/// Errors as ComputeBootLayout; the least size is 64 KiB or 16 erase units.
base::Result<DataLayout> ComputeDataLayout(const hal::Geometry& geometry);

/// Empties a boot partition for a device that is being set up. An agent never needs it on blank media:
/// without a valid record Start writes the first one. kAlreadyExists: it holds valid pages and `force` is not
/// set; nothing is written. kUnimplemented: pages of a newer agent; never overwritten.
base::Status FormatBoot(hal::Partition& boot, bool force);

/// Empties event log and backlog. Same errors.
base::Status FormatData(hal::Partition& data, bool force);

}  // namespace dipper::store
