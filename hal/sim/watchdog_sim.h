// A watchdog in simulated time. Not thread-safe.
#pragma once

#include "hal/api/watchdog.h"

namespace dipper::hal {

class SimWatchdog final : public Watchdog {
 public:
  /// @param stoppable  Whether Disarm works (the kernel's `nowayout` is its opposite).
  explicit SimWatchdog(int64_t timeout_ns, bool stoppable = true)
      : timeout_ns_(timeout_ns), stoppable_(stoppable) {}

  int64_t timeout_ns() const override { return timeout_ns_; }
  base::Status Pat() override {
    if (!armed_) return base::Status::kFailedPrecondition;
    since_pat_ns_ = 0;
    return base::Status::kOk;
  }
  base::Status Disarm() override {
    if (!armed_) return base::Status::kFailedPrecondition;
    armed_ = false;
    runs_ = !stoppable_;
    return stoppable_ ? base::Status::kOk : base::Status::kUnavailable;
  }
  bool ResetTheMachine() const override { return fired_; }

  void Pass(int64_t ns) {
    since_pat_ns_ += ns;
    fired_ = fired_ || (runs_ && since_pat_ns_ > timeout_ns_);
  }
  bool fired() const { return fired_; }

 private:
  int64_t timeout_ns_;
  bool stoppable_;
  bool armed_ = true;  ///< We hold it.
  bool runs_ = true;   ///< Its time runs.
  bool fired_ = false;
  int64_t since_pat_ns_ = 0;
};

}  // namespace dipper::hal
