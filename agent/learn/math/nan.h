// The one not-a-number an image may hold. 0/0 has another sign bit on x86 than on ARM, so NaN is
// canonicalized where data enter and never computed into the image. Thread-safe: pure functions.
#pragma once

#include <bit>
#include <cstdint>

namespace dipper::learn {

inline constexpr uint32_t kCanonicalNanFloatBits = 0x7fc00000U;
inline constexpr uint64_t kCanonicalNanBits = 0x7ff8000000000000ULL;

inline float CanonicalNanFloat() { return std::bit_cast<float>(kCanonicalNanFloatBits); }
inline double CanonicalNan() { return std::bit_cast<double>(kCanonicalNanBits); }

inline bool IsNan(float x) { return (std::bit_cast<uint32_t>(x) & 0x7fffffffU) > 0x7f800000U; }
inline bool IsNan(double x) {
  return (std::bit_cast<uint64_t>(x) & 0x7fffffffffffffffULL) > 0x7ff0000000000000ULL;
}
inline bool IsFinite(float x) { return (std::bit_cast<uint32_t>(x) & 0x7f800000U) != 0x7f800000U; }
inline bool IsFinite(double x) {
  return (std::bit_cast<uint64_t>(x) & 0x7ff0000000000000ULL) != 0x7ff0000000000000ULL;
}

/// Any NaN becomes the canonical one; everything else passes.
inline float Canonical(float x) { return IsNan(x) ? CanonicalNanFloat() : x; }
inline double Canonical(double x) { return IsNan(x) ? CanonicalNan() : x; }

/// a / b; missing where there is nothing to divide by, or so little that the result is no number.
inline double Ratio(double a, double b) {
  const double ratio = b != 0.0 ? a / b : CanonicalNan();
  return IsFinite(ratio) ? ratio : CanonicalNan();
}

/// What a stored input may be: finite, or the canonical NaN ("missing").
inline bool IsFiniteOrMissing(float x) {
  return IsFinite(x) || std::bit_cast<uint32_t>(x) == kCanonicalNanFloatBits;
}
inline bool IsFiniteOrMissing(double x) {
  return IsFinite(x) || std::bit_cast<uint64_t>(x) == kCanonicalNanBits;
}

}  // namespace dipper::learn
