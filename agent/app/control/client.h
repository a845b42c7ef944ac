// The operator's commands of dipper-agent: status, slots, log, install, confirm, fall-back, undo,
// factory-reset. They ask the running agent through its control socket; when no agent answers the first three
// read the partitions, and the last one works on them.
#pragma once

#include <string_view>

namespace dipper::app {

/// True when the first argument names one of them.
bool IsControlCommand(const char* argument);
/// The command that was probably meant; empty: none is near.
std::string_view NearestControlCommand(std::string_view name);

/// @param argv  argv[0] is the command. @returns the exit code (docs/reference/cli.md).
int RunControlClient(int argc, char** argv);

}  // namespace dipper::app
