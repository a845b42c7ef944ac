// Watchdog: a timer of the machine that resets it when nobody pats it in time. One thread.
#pragma once

#include <cstdint>

#include "agent/base/status.h"

namespace dipper::hal {

/// Armed from the moment it is open. Every implementation, real and simulated, passes
/// tests/contract/hal/watchdog_contract.h.
class Watchdog {
 public:
  /// Time from a pat to the reset, as the device has it.
  virtual int64_t timeout_ns() const = 0;
  /// Starts the time anew. kUnavailable: the device did not take it; the machine will be reset.
  /// kFailedPrecondition: not armed.
  virtual base::Status Pat() = 0;
  /// Planned stop: no reset follows. kUnavailable: the device cannot be stopped once it runs (`nowayout`), so
  /// whoever comes next must pat it in time. It is not armed any more in both cases.
  virtual base::Status Disarm() = 0;
  /// The machine's last restart was this watchdog's doing.
  virtual bool ResetTheMachine() const = 0;

 protected:
  ~Watchdog() = default;
};

}  // namespace dipper::hal
