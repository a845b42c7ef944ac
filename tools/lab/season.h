// Finds the season of a stream's first values: the period after which it resembles itself. Thread-safe: pure
// function.
#pragma once

#include <cstdint>
#include <span>

namespace dipper::lab {

struct Season {
  uint32_t period = 0;     ///< in samples; 0: none
  double correlation = 0;  ///< of the values with those one period earlier
};

/// The lag of the first pronounced peak of the autocorrelation (Box, Jenkins and Reinsel, "Time series
/// analysis", 4th ed., 2008, section 2.1) of the values less their trend line. At least four periods must be
/// there. NaN values are left out. Cost: O(n^2 / 4).
Season FindSeason(std::span<const double> values);

}  // namespace dipper::lab
