// The private keys of device groups, from the files that the configuration names. Not thread-safe; start
// only.
#pragma once

#include <string>
#include <vector>

#include "agent/package/seal.h"

namespace dipper::app {

/// Reads every file; each is a PEM key that no other user may read. False: `*message` says what, why and what
/// to do.
bool LoadGroupKeys(const std::vector<std::string>& paths, package::GroupKeys* keys, std::string* message);

}  // namespace dipper::app
