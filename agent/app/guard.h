// Guard: pats whoever watches over this process, systemd and the machine's watchdog, as long as every part of
// the agent answers. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/app/run_note.h"
#include "agent/app/service_notify.h"
#include "hal/linux/watchdog.h"

namespace dipper::app {

class Guard {
 public:
  /// @param service, note  Outlive this.
  Guard(ServiceNotify& service, RunNote& note) : service_(service), note_(note) {}
  /// The machine's watchdog goes on: only Stop disarms it.
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  /// Arms the machine's watchdog. False: `*message` says why and what to do; the agent can go on without it.
  bool OpenWatchdog(const std::string& path, uint32_t timeout_s, std::string* message);
  bool ResetTheMachine() const { return watchdog_.ResetTheMachine(); }

  /// After how long without a turn of the loop somebody ends this process; for RunNote::InstallCrashHandler.
  int64_t hung_ns() const;

  /// Once a turn of the main loop. Pats when it is time and nobody is silent.
  /// @param silent  The part that does not answer; empty: all do.
  /// @returns a line for the log when something changed; else empty.
  std::string Turn(int64_t now_ns, std::string_view silent);

  /// Orderly end: disarms. A line for the log, or empty.
  std::string Stop();

 private:
  int64_t period_ns() const;

  ServiceNotify& service_;
  RunNote& note_;
  hal::DeviceWatchdog watchdog_;
  int64_t next_pat_ns_ = 0;
  std::string silent_;
  bool pat_failed_ = false;
};

}  // namespace dipper::app
