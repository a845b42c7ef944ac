// What the partitions say when no agent runs: read without a lock and without one write, so that an agent may
// start at any moment. Not thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "agent/app/config/config.h"
#include "agent/app/control/view.h"

namespace dipper::app {

struct ConfiguredModel {
  int exit_code = 0;    ///< As protocol.h.
  std::string message;  ///< Why there is none.
  size_t index = 0;
};
/// The model called `only`, or the only one when it is empty.
ConfiguredModel FindConfigured(const Config& config, std::string_view only);

/// Status or slots of the models, or of the one named `only`. @returns false: `*message` says what cannot be
/// read, why and what to do; or that there is no such model (`*not_found`).
bool ViewOffline(const Config& config, std::string_view only, bool with_slots, ControlView* view,
                 bool* not_found, std::string* message);

/// Calls `show` with the newest `count` entries of the event log, oldest first. Same result.
bool ReadLogOffline(const Config& config, std::string_view model, uint64_t count,
                    const std::function<void(const store::Event&)>& show, std::string* message);

}  // namespace dipper::app
