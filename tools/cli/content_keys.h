// Content keys of encrypted packages, for recordings and snapshots of their models. Errors are lab::Error: a
// file that is not there (3), that is no key or package (5), too many keys (2). Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "tools/lab/recording.h"

namespace dipper::cli {

/// @param packages    Package files; those that are not encrypted, or not for one of the keys, open nothing.
/// @param group_keys  Files with private keys of device groups, at most package::kMaxGroupKeys.
/// @returns what gives the content key of a package by its digest, if it is among them.
lab::ContentKeys LoadContentKeys(const std::vector<std::string>& packages,
                                 const std::vector<std::string>& group_keys);

}  // namespace dipper::cli
