// RunNote: who was running when the process died. A few bytes in a shared mapping of a file: they outlive the
// process, not the machine, which is the point: a crash names the model whose code was running, a power cut
// names nobody. The signal handler is async-signal-safe; everything else is for one thread.
#pragma once

#include <cstdint>
#include <string>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/runtime/run_marker.h"

namespace dipper::app {

class RunNote final : public runtime::RunMarker {
 public:
  RunNote() = default;
  ~RunNote();
  RunNote(const RunNote&) = delete;
  RunNote& operator=(const RunNote&) = delete;

  /// Maps `path`, making it if needed. kUnavailable: it cannot be made or mapped; crashes then have no name.
  base::Status Open(const std::string& path);

  /// True when the previous process died by a fault signal inside a model's calls; `*digest` says whose
  /// package.
  bool PreviousCrash(base::Digest* digest) const;
  /// Forgets the previous run; call once the store has acted on it.
  void Clear();

  void Enter(const base::Digest& package) override;
  void Leave() override;

  /// From now on SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT mark the note as a crash before they end the
  /// process.
  void InstallCrashHandler();

 private:
  struct Page;
  Page* page_ = nullptr;
};

}  // namespace dipper::app
