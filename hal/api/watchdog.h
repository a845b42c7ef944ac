// Watchdog: resets the device, or restarts the agent, when it is not patted in time. One thread.
#pragma once

#include <cstdint>

#include "agent/base/status.h"

namespace dipper::hal {

class Watchdog {
 public:
  /// Starts the timer. kUnavailable: no such device. kOutOfRange: it cannot do `timeout_ms`.
  virtual base::Status Arm(uint32_t timeout_ms) = 0;
  /// Restarts the timer. Call only when every component has answered.
  virtual base::Status Pat() = 0;
  /// Stops the timer for a planned stop.
  virtual base::Status Disarm() = 0;

 protected:
  ~Watchdog() = default;
};

}  // namespace dipper::hal
