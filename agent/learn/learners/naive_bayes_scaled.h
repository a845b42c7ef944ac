// Long products without overflow: the exponent apart from the mantissa. Internal to naive_bayes*.
// Thread-safe: pure functions.
#pragma once

#include <bit>
#include <cstdint>

#include "agent/learn/math/functions.h"

namespace dipper::learn::bayes {

inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;
// Of a double's bits.
inline constexpr uint64_t kMantissaBits = 0x000fffffffffffffULL;
inline constexpr uint64_t kOneBits = 0x3ff0000000000000ULL;
inline constexpr uint64_t kExponentBias = 1023;

/// A positive number as mantissa * 2^exponent, mantissa in [1, 2) after each Multiply.
struct Scaled {
  double mantissa;
  int32_t exponent;

  void Multiply(double factor) {
    const uint64_t bits = std::bit_cast<uint64_t>(mantissa * factor);
    mantissa = std::bit_cast<double>((bits & kMantissaBits) | kOneBits);
    exponent += static_cast<int32_t>((bits >> 52) - kExponentBias);
  }
  double LogOf() const { return Log(mantissa) + static_cast<double>(exponent) * kLn2; }
};

/// Logarithm of a positive normal number, to 0.01: a parabola through 1 and 2 and the exponent.
inline double RoughLog(double x) {
  Scaled own = {1.0, 0};
  own.Multiply(x);
  const double m = own.mantissa;
  return kLn2 * (static_cast<double>(own.exponent) + (2.0 - m * (1.0 / 3.0)) * m - 5.0 / 3.0);
}

}  // namespace dipper::learn::bayes
