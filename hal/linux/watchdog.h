// /dev/watchdog as the kernel's watchdog interface has it. One thread.
#pragma once

#include "hal/api/watchdog.h"

namespace dipper::hal {

class DeviceWatchdog final : public Watchdog {
 public:
  DeviceWatchdog() = default;
  /// Without Disarm the device stays armed: an agent that crashed is followed by a reset, unless the next one
  /// opens it in time.
  ~DeviceWatchdog();
  DeviceWatchdog(const DeviceWatchdog&) = delete;
  DeviceWatchdog& operator=(const DeviceWatchdog&) = delete;

  /// Opens and arms. A device without a settable time keeps its own.
  /// @param timeout_s  Wanted; timeout_ns() says what the device made of it.
  /// kNotFound, kPermissionDenied, kFailedPrecondition (another process, often systemd itself, holds it),
  /// kUnavailable; errno tells more.
  base::Status Open(const char* path, uint32_t timeout_s);
  bool armed() const { return fd_ >= 0; }

  int64_t timeout_ns() const override { return timeout_ns_; }
  base::Status Pat() override;
  base::Status Disarm() override;
  bool ResetTheMachine() const override { return reset_the_machine_; }

 private:
  int fd_ = -1;
  int64_t timeout_ns_ = 0;
  bool stoppable_ = true;
  bool reset_the_machine_ = false;
};

}  // namespace dipper::hal
