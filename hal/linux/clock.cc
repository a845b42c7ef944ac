// clock_gettime and adjtimex behind hal::Clock.
#include "hal/linux/clock.h"

#include <sys/timex.h>

#include <ctime>

#include "agent/base/assert.h"

namespace dipper::hal {
namespace {

int64_t ReadNs(clockid_t id) {
  timespec now{};
  // Fails only for an unknown clock id, and both ids are as old as the oldest kernel we run on.
  DIPPER_CHECK(clock_gettime(id, &now) == 0);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

}  // namespace

int64_t LinuxClock::MonotonicNs() { return ReadNs(CLOCK_BOOTTIME); }

int64_t LinuxClock::WallNs() { return ReadNs(CLOCK_REALTIME); }

bool LinuxClock::WallSynchronized() {
  timex state{};
  const int result = adjtimex(&state);
  return result >= 0 && result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace dipper::hal
