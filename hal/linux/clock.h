// The system's clocks. Thread-safe.
#pragma once

#include "hal/api/clock.h"

namespace dipper::hal {

/// CLOCK_BOOTTIME and CLOCK_REALTIME; synchronized as the kernel's clock discipline says (adjtimex).
class LinuxClock final : public Clock {
 public:
  int64_t MonotonicNs() override;
  int64_t WallNs() override;
  bool WallSynchronized() override;
  Discipline WallDiscipline() override;
  base::Status SetWall(int64_t wall_ns) override;
};

}  // namespace dipper::hal
