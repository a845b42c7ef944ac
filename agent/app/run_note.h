// RunNote: how a run ended, and whose code was running. A few bytes in a shared mapping of a file: they
// outlive the process, not the machine, which is the point: a crash names the model whose code was running, a
// power cut names nobody. The signal handler is async-signal-safe; everything else is for one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/runtime/run_marker.h"

namespace dipper::app {

/// How the previous run ended, as far as its note tells.
struct LastEnd {
  enum Kind : uint8_t {
    kUnknown,   ///< There is no note: the first run, or the note lay in memory that the machine's restart
                ///< emptied.
    kPlanned,   ///< It stopped as it was told to.
    kCrashed,   ///< By a fault signal.
    kWatchdog,  ///< Ended by a watchdog: it hung, or a part of it did not answer any more.
    kKilled,    ///< It ended without a word while the machine ran on: SIGKILL, out of memory.
    kMachine,   ///< It ended with the machine: power, reset, kernel.
  } kind = kUnknown;
  int signal = 0;         ///< Of kCrashed.
  bool in_model = false;  ///< Of kCrashed and kWatchdog: inside the code of `model`.
  std::string model;
  base::Digest package;
  std::string silent;  ///< Of kWatchdog: the part that did not answer, when it was not the loop itself.
};

class RunNote final : public runtime::RunMarker {
 public:
  RunNote() = default;
  ~RunNote();
  RunNote(const RunNote&) = delete;
  RunNote& operator=(const RunNote&) = delete;

  /// Maps `path`, making it if needed. kUnavailable: it cannot be made or mapped; crashes then have no name.
  base::Status Open(const std::string& path);

  /// @param boot  The machine's boot id now.
  LastEnd PreviousEnd(const std::string& boot) const;
  /// Forgets the previous run, of which PreviousEnd has told before, and begins this one.
  /// @param models  Their ids, in the order of their numbers; at most kMaxModels.
  void Begin(const std::string& boot, const std::vector<std::string>& models);
  /// This run ends as planned.
  void End();

  void Enter(uint32_t model, const base::Digest& package) override;
  void Leave() override;

  /// The main loop begins another turn at this CLOCK_BOOTTIME: whoever ends a process whose last turn is long
  /// ago ends a hung one.
  void Turn(int64_t now_ns);
  /// This part does not answer, so nobody is patted; empty: all answer again.
  void Silent(std::string_view part);

  /// From now on SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT mark the note as a crash before they end the
  /// process. A SIGABRT from outside while no turn came for `hung_ns` (systemd's watchdog), and SIGALRM (our
  /// own, ahead of the machine's watchdog), mark it as hung.
  void InstallCrashHandler(int64_t hung_ns = kHungNs);

  /// Without a watchdog's period to go by. No single turn takes that long.
  static constexpr int64_t kHungNs = 5'000'000'000;

 private:
  struct Page;
  Page* page_ = nullptr;
  bool begun_ = false;  ///< Until then the note is the previous run's.
};

}  // namespace dipper::app
