// A factory reset while no agent runs: on the partitions themselves, locked as by an agent, with the store's
// own code. Not thread-safe. Heap: as its values need.
#pragma once

#include <string>
#include <string_view>

#include "agent/app/config/config.h"
#include "agent/schema/update_generated.h"

namespace dipper::app {

struct ResetOutcome {
  int exit_code = 0;  ///< As protocol.h.
  std::string model;  ///< Whose partitions were looked at; empty: it did not come to that.
  schema::Reason reason = schema::Reason::None;  ///< The refusal.
  std::string message;                           ///< What was done, or what went wrong, why and what to do.
};

/// Resets the model `only`, or the only one. A refusal leaves packages and what they learned as they were;
/// what a cut interrupts, the next start of an agent finishes. Writes one entry into the event log.
ResetOutcome ResetOffline(const Config& config, std::string_view only);

}  // namespace dipper::app
