// SystemMetrics: how the machine is doing. One thread.
#pragma once

#include <cstdint>

#include "agent/base/status.h"

namespace dipper::hal {

/// What a metric cannot tell is not-a-number (doubles) or 0 (counters).
struct SystemReading {
  double cpu_ratio = 0;            ///< Of all cores since the last call, 0 to 1.
  double process_cpu_seconds = 0;  ///< Of this process since its start.
  uint64_t process_rss_bytes = 0;
  uint64_t memory_total_bytes = 0;
  uint64_t memory_available_bytes = 0;
  double temperature_celsius = 0;  ///< Hottest thermal zone.
  double load_1m = 0;
  uint64_t uptime_seconds = 0;
  uint64_t disk_free_bytes = 0;
};

class SystemMetrics {
 public:
  /// kUnavailable: nothing could be read; the reading is all "cannot tell".
  virtual base::Status Read(SystemReading* reading) = 0;

 protected:
  ~SystemMetrics() = default;
};

}  // namespace dipper::hal
