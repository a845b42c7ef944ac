// Lengths of time in the nanoseconds that every clock of the house counts in.
#pragma once

#include <cstdint>

namespace dipper::base {

inline constexpr int64_t kMillisecondNs = 1'000'000;
inline constexpr int64_t kSecondNs = 1'000'000'000;

}  // namespace dipper::base
