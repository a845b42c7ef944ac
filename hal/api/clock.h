// Clock: monotonic and wall time. Thread-safe.
#pragma once

#include <cstdint>
#include <limits>

#include "agent/base/status.h"

namespace dipper::hal {

class Clock {
 public:
  /// Nanoseconds since some fixed point of this boot; never goes back, counts time asleep.
  virtual int64_t MonotonicNs() = 0;
  /// Nanoseconds since 1970 as the system tells it; may be wrong and may jump.
  virtual int64_t WallNs() = 0;
  /// True when the system says that its wall clock is synchronized.
  virtual bool WallSynchronized() = 0;
  /// How well the wall clock keeps time, in seconds: what is still corrected, and how wrong it may be.
  /// Not-a-number: nobody can tell.
  struct Discipline {
    double offset_seconds = std::numeric_limits<double>::quiet_NaN();
    double error_seconds = std::numeric_limits<double>::quiet_NaN();
  };
  virtual Discipline WallDiscipline() { return {}; }
  /// Sets the wall clock. kPermissionDenied: the agent may not. kUnimplemented: this clock cannot be set.
  virtual base::Status SetWall(int64_t wall_ns) {
    (void)wall_ns;
    return base::Status::kUnimplemented;
  }

 protected:
  ~Clock() = default;
};

}  // namespace dipper::hal
