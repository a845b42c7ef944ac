// HandClock: time that moves when a test moves it. Wall time is apart from monotonic time by an amount of its
// own, so that a test notices which of the two was asked.
#pragma once

#include <cstdint>

#include "agent/base/time.h"
#include "hal/api/clock.h"

namespace dipper::test {

class HandClock final : public hal::Clock {
 public:
  int64_t MonotonicNs() override { return now_ns; }
  int64_t WallNs() override { return now_ns + wall_ahead_ns; }
  bool WallSynchronized() override { return true; }
  int64_t now_ns = base::kSecondNs;
  int64_t wall_ahead_ns = 5000;
};

}  // namespace dipper::test
