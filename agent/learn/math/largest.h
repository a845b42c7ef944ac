// The largest of a few numbers without a sort. Thread-safe: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dipper::learn {

/// Fills `places` with the places of the largest values above 0, the largest first, of equal ones the first;
/// at most 65536 values. Cost: O(values * places), no heap.
/// @returns How many were filled: fewer than places.size() if fewer values are above 0.
inline size_t LargestPlaces(std::span<const double> values, std::span<uint16_t> places) {
  size_t count = 0;
  for (size_t i = 0; i < values.size() && !places.empty(); ++i) {
    if (!(values[i] > 0.0)) continue;
    if (count == places.size() && !(values[i] > values[places[count - 1]])) continue;
    size_t at = count < places.size() ? count++ : count - 1;
    for (; at > 0 && values[i] > values[places[at - 1]]; --at) places[at] = places[at - 1];
    places[at] = static_cast<uint16_t>(i);
  }
  return count;
}

}  // namespace dipper::learn
