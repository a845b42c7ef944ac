// The composition root: owns every object of the agent as members of one struct and runs the loop. One call
// per process.
#pragma once

#include "agent/app/config/config.h"

namespace dipper::app {

/// Opens the partitions, starts the agent, and runs it until SIGTERM or SIGINT.
/// @returns the exit code: 0 after a clean stop, 1 when it could not start or storage failed; stderr says
/// what, why and what to do.
/// @param arguments  The process's own, ending in a null: after the command wipe it begins anew with them.
int Run(const Config& config, char* const* arguments);

}  // namespace dipper::app
