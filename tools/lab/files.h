// Whole files at the desk. Errors are lab::Error: not found (3), unreadable or unwritable (1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/bytes.h"

namespace dipper::lab {

/// @param max_bytes  Larger files are refused.
std::vector<uint8_t> ReadFile(const std::string& path, uint64_t max_bytes = uint64_t{1} << 32U);
std::string ReadTextFile(const std::string& path, uint64_t max_bytes = 16U << 20U);

/// Writes beside the file and renames, so that a reader sees the old or the new file and never half of one.
/// @param secret  Only its owner may read it (mode 0600), at no moment anybody else.
void WriteFile(const std::string& path, base::ByteView bytes, bool secret = false);

}  // namespace dipper::lab
