// Pats four times in the shortest period. Ahead of the machine's watchdog, which ends everything without a
// word, an alarm of our own ends this process with one: the note then tells which model hung.
#include "agent/app/guard.h"

#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "agent/base/time.h"

namespace dipper::app {
namespace {

constexpr int64_t kPatsInAPeriod = 4;

// 0: off.
void SetAlarm(int64_t after_ns) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(after_ns / base::kSecondNs);
  timer.it_value.tv_usec = static_cast<suseconds_t>(after_ns % base::kSecondNs / 1000);
  (void)::setitimer(ITIMER_REAL, &timer, nullptr);  // fails only for values out of range
}

std::string Why(base::Status status) {
  switch (status) {
    case base::Status::kNotFound:
      return "there is no such device; load its driver, or remove the key watchdog.device";
    case base::Status::kPermissionDenied:
      return "no permission; give the agent's user the device (docs/how-to/run-as-a-service.md)";
    case base::Status::kFailedPrecondition:
      return "another process has it open; systemd does with RuntimeWatchdogSec: use one of both";
    default:
      return std::strerror(errno);
  }
}

}  // namespace

Guard::~Guard() { SetAlarm(0); }

bool Guard::OpenWatchdog(const std::string& path, uint32_t timeout_s, std::string* message) {
  const base::Status status = watchdog_.Open(path.c_str(), timeout_s);
  if (!Ok(status)) {
    *message = "watchdog.device: cannot use " + path + ": " + Why(status);
    return false;
  }
  SetAlarm(watchdog_.timeout_ns() / 4 * 3);
  return true;
}

int64_t Guard::period_ns() const {
  const int64_t service = service_.watchdog_ns();
  const int64_t machine = watchdog_.armed() ? watchdog_.timeout_ns() : 0;
  return service == 0 || machine == 0 ? std::max(service, machine) : std::min(service, machine);
}

int64_t Guard::hung_ns() const {
  return period_ns() == 0 ? RunNote::kHungNs : std::min(RunNote::kHungNs, period_ns() / 2);
}

std::string Guard::Turn(int64_t now_ns, std::string_view silent) {
  note_.Turn(now_ns);
  std::string told;
  if (silent != silent_) {
    told = silent.empty() ? silent_ + " answers again"
                          : std::string(silent) + " does not answer any more: no watchdog is patted";
    silent_ = silent;
    note_.Silent(silent);
  }
  const int64_t period = period_ns();
  if (period == 0 || !silent.empty() || now_ns < next_pat_ns_) return told;
  next_pat_ns_ = now_ns + period / kPatsInAPeriod;
  service_.Pat();
  if (!watchdog_.armed()) return told;
  const bool failed = !Ok(watchdog_.Pat());
  if (failed && !pat_failed_) told = "the machine's watchdog does not take a pat: a reset may follow";
  pat_failed_ = failed;
  SetAlarm(watchdog_.timeout_ns() / 4 * 3);
  return told;
}

std::string Guard::Stop() {
  SetAlarm(0);
  if (!watchdog_.armed() || Ok(watchdog_.Disarm())) return {};
  return "the machine's watchdog cannot be stopped: unless the agent starts again soon, the machine is reset";
}

}  // namespace dipper::app
