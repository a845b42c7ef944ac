// Clock: monotonic and wall time. Thread-safe.
#pragma once

#include <cstdint>

namespace dipper::hal {

class Clock {
 public:
  /// Nanoseconds since some fixed point of this boot; never goes back, counts time asleep.
  virtual int64_t MonotonicNs() = 0;
  /// Nanoseconds since 1970 as the system tells it; may be wrong and may jump.
  virtual int64_t WallNs() = 0;
  /// True when the system says that its wall clock is synchronized.
  virtual bool WallSynchronized() = 0;

 protected:
  ~Clock() = default;
};

}  // namespace dipper::hal
