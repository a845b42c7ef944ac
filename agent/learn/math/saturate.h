// Float to integer with one result everywhere: a plain cast of 1e20 or NaN differs between x86 and ARM.
// Thread-safe: pure function.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>

#include "agent/learn/math/nan.h"

namespace dipper::learn {

/// Truncates toward zero; below or above the range gives the range's end, NaN gives 0.
template <std::integral Int>
Int SaturatingToInt(double x) {
  static_assert(sizeof(Int) <= 8);
  if (IsNan(x)) return 0;
  // max + 1 is a power of two, so exact as a double for every width.
  constexpr uint64_t kHalf = static_cast<uint64_t>(std::numeric_limits<Int>::max()) / 2 + 1;
  constexpr double kAbove = 2.0 * static_cast<double>(kHalf);
  constexpr double kLowest = static_cast<double>(std::numeric_limits<Int>::min());
  if (x >= kAbove) return std::numeric_limits<Int>::max();
  if (x <= kLowest) return std::numeric_limits<Int>::min();
  return static_cast<Int>(x);
}

}  // namespace dipper::learn
