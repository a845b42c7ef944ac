// Checks the settings of a whole fleet before a thousand devices get them: as TOML here, key by key by the
// agent itself where it is at hand. Errors are lab::Error (2). Thread-safe: no state.
#pragma once

#include <string>
#include <vector>

namespace dipper::fleet {

/// Ids of the [[model]] tables. Throws when it is no TOML or has a table that agent.toml has not, with the
/// line.
/// @param name  Of the file, for messages.
std::vector<std::string> ReadSettings(const std::string& name, const std::string& text);

/// Lets `dipper-agent --check-config` read a device's configuration with the settings beside it, where that
/// program lies beside this one: only it has the table of keys. Throws with what it says. Blocks for a
/// moment.
/// @param agent_toml  Of a device that could be.
/// @returns false: there is no such program, and only the tables were checked.
bool CheckSettings(const std::string& name, const std::string& text, const std::string& agent_toml);

}  // namespace dipper::fleet
