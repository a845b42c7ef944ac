// Two doubles at a time: the widest vector that every target has (SSE2, aarch64; scalar VFP on armhf, where
// the compiler takes the pairs apart). Elementwise + - * / and selections only, so the bits do not depend on
// it; sums keep the fixed eight-lane order of math/lanes.h. Thread-safe: pure functions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "agent/learn/math/lanes.h"

namespace dipper::learn {

using Pair = double __attribute__((vector_size(16)));
using FloatPair = float __attribute__((vector_size(8)));
using PairBits = decltype(Pair{} < Pair{});  // per element all bits set, or none

inline Pair LoadPair(const double* from) {
  Pair pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}
inline void StorePair(double* to, Pair pair) { std::memcpy(to, &pair, sizeof pair); }

/// The same at a multiple of 16, which lets an instruction take its operand from there.
inline Pair LoadAligned(const double* from) {
  Pair pair;
  std::memcpy(&pair, __builtin_assume_aligned(from, sizeof pair), sizeof pair);
  return pair;
}
inline void StoreAligned(double* to, Pair pair) {
  std::memcpy(__builtin_assume_aligned(to, sizeof pair), &pair, sizeof pair);
}

/// Two neighbouring floats, widened; and back, each narrowed once.
inline Pair LoadFloats(const float* from) {
#ifdef __SSE2__
  return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadu_si64(from)));
#else
  FloatPair floats;
  std::memcpy(&floats, from, sizeof floats);
  return __builtin_convertvector(floats, Pair);
#endif
}
inline void StoreFloats(float* to, Pair pair) {
  const FloatPair floats = __builtin_convertvector(pair, FloatPair);
  std::memcpy(to, &floats, sizeof floats);
}

/// Two floats from anywhere, widened. By one load each even if they are neighbours: a wide load of what was
/// just stored one by one waits until the stores have left the store buffer.
inline Pair GatherFloats(const float& first, const float& second) {
#ifdef __SSE2__
  return _mm_cvtps_pd(_mm_unpacklo_ps(_mm_load_ss(&first), _mm_load_ss(&second)));
#else
  return Pair{static_cast<double>(first), static_cast<double>(second)};
#endif
}

inline Pair Both(double x) { return Pair{x, x}; }
#ifdef __SSE2__
// maxpd and minpd are exactly these selections, NaN and signed zeros included; compilers do not see it.
inline Pair Larger(Pair a, Pair b) { return _mm_max_pd(a, b); }
inline Pair Smaller(Pair a, Pair b) { return _mm_min_pd(a, b); }
#else
inline Pair Larger(Pair a, Pair b) { return a > b ? a : b; }
inline Pair Smaller(Pair a, Pair b) { return a < b ? a : b; }
#endif
inline Pair Absolute(Pair a) {
  return std::bit_cast<Pair>(std::bit_cast<PairBits>(a) & PairBits{INT64_MAX, INT64_MAX});
}
inline Pair SquareRoot(Pair a) {
#ifdef __SSE2__
  return _mm_sqrt_pd(a);
#else
  return Pair{std::sqrt(a[0]), std::sqrt(a[1])};
#endif
}
/// `a` where `keep` is true (all bits set), elsewhere +0.
inline Pair OrZero(PairBits keep, Pair a) {
#ifdef __SSE2__
  return _mm_and_pd(std::bit_cast<Pair>(keep), a);
#else
  return std::bit_cast<Pair>(keep & std::bit_cast<PairBits>(a));
#endif
}
/// 0 instead of NaN.
inline Pair NanToZero(Pair a) { return OrZero(a == a, a); }
inline PairBits BothTrue(PairBits a, PairBits b) {
#ifdef __SSE2__
  return std::bit_cast<PairBits>(_mm_and_pd(std::bit_cast<Pair>(a), std::bit_cast<Pair>(b)));
#else
  return a & b;
#endif
}
/// Whether a condition holds for both elements.
inline bool AllTrue(PairBits condition) {
#ifdef __SSE2__
  return _mm_movemask_pd(std::bit_cast<Pair>(condition)) == 3;
#else
  return (condition[0] & condition[1]) != 0;
#endif
}

/// The eight lanes of math/lanes.h as four pairs; element i belongs to lane i mod 8.
struct PairLanes {
  Pair lane[4] = {};
  double Combine() const {
    const Pair even = lane[0] + lane[2];
    const Pair odd = lane[1] + lane[3];
    const Pair both = even + odd;
    return both[0] + both[1];
  }
};

/// Sum of term(i) over i = 0, 2, .. below `count`, a multiple of 2, in the fixed order; `term` maps an index
/// to the pair that begins there. The tail is written out so that the lanes stay in registers; always inlined
/// since a call costs as much as a short sum.
template <typename Term>
[[gnu::always_inline]] inline double PairSum(size_t count, Term term) {
  PairLanes sum;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sum.lane[0] += term(i);
    sum.lane[1] += term(i + 2);
    sum.lane[2] += term(i + 4);
    sum.lane[3] += term(i + 6);
  }
  if (i < count) sum.lane[0] += term(i);
  if (i + 2 < count) sum.lane[1] += term(i + 2);
  if (i + 4 < count) sum.lane[2] += term(i + 4);
  return sum.Combine();
}

/// Sum of a[i] * b[i] over `count` elements, a multiple of 2. Equal to Dot() bit for bit.
inline double PairDot(const double* a, const double* b, size_t count) {
  return PairSum(count, [a, b](size_t i) { return LoadPair(a + i) * LoadPair(b + i); });
}

}  // namespace dipper::learn
