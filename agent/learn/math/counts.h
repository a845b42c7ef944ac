// What a stored count may be. Thread-safe: pure functions.
#pragma once

#include <cstdint>

namespace dipper::learn {

/// No device counts as far, at a count a nanosecond for 158 years; much farther, one more would come round to
/// 0, and a division by it would be infinite.
inline constexpr uint64_t kMostCounted = 5'000'000'000'000'000'000;

template <typename... Counts>
bool ValidCounts(Counts... counts) {
  return ((counts <= kMostCounted) && ...);
}

}  // namespace dipper::learn
