// clock_gettime and adjtimex behind hal::Clock.
#include "hal/linux/clock.h"

#include <sys/timex.h>

#include <cerrno>
#include <ctime>

#include "agent/base/assert.h"
#include "agent/base/time.h"

namespace dipper::hal {
namespace {

int64_t ReadNs(clockid_t id) {
  timespec now{};
  // Fails only for an unknown clock id, and both ids are as old as the oldest kernel we run on.
  DIPPER_CHECK(clock_gettime(id, &now) == 0);
  return now.tv_sec * base::kSecondNs + now.tv_nsec;
}

}  // namespace

int64_t LinuxClock::MonotonicNs() { return ReadNs(CLOCK_BOOTTIME); }

int64_t LinuxClock::WallNs() { return ReadNs(CLOCK_REALTIME); }

bool LinuxClock::WallSynchronized() {
  timex state{};
  const int result = adjtimex(&state);
  return result >= 0 && result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

Clock::Discipline LinuxClock::WallDiscipline() {
  timex state{};
  const int result = adjtimex(&state);
  if (result < 0 || result == TIME_ERROR || (state.status & STA_UNSYNC) != 0) return {};
  const double unit = (state.status & STA_NANO) != 0 ? 1e-9 : 1e-6;
  return {.offset_seconds = static_cast<double>(state.offset) * unit,
          .error_seconds = static_cast<double>(state.maxerror) * 1e-6};
}

base::Status LinuxClock::SetWall(int64_t wall_ns) {
  const timespec to{.tv_sec = static_cast<time_t>(wall_ns / base::kSecondNs),
                    .tv_nsec = static_cast<long>(wall_ns % base::kSecondNs)};
  if (clock_settime(CLOCK_REALTIME, &to) == 0) return base::Status::kOk;
  return errno == EPERM ? base::Status::kPermissionDenied : base::Status::kInvalidArgument;
}

}  // namespace dipper::hal
