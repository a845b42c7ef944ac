// Two doubles at a time: the widest vector that every target has (SSE2, aarch64; scalar VFP on armhf, where
// the compiler takes the pairs apart). Elementwise + - * / and selections only, so the bits do not depend on
// it; sums keep the fixed eight-lane order of math/lanes.h. Thread-safe: pure functions.
#pragma once

#include <cmath>
#include <cstring>

#include "agent/learn/math/lanes.h"

namespace dipper::learn {

using Pair = double __attribute__((vector_size(16)));

inline Pair LoadPair(const double* from) {
  Pair pair;
  std::memcpy(&pair, from, sizeof pair);
  return pair;
}
inline void StorePair(double* to, Pair pair) { std::memcpy(to, &pair, sizeof pair); }
inline Pair Both(double x) { return Pair{x, x}; }
inline Pair Larger(Pair a, Pair b) { return a > b ? a : b; }
inline Pair Smaller(Pair a, Pair b) { return a < b ? a : b; }
inline Pair Absolute(Pair a) { return Larger(a, -a); }

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

/// Sum of a[i] * b[i] over `count` elements, a multiple of 2. Equal to Dot() bit for bit.
inline double PairDot(const double* a, const double* b, size_t count) {
  PairLanes sum;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sum.lane[0] += LoadPair(a + i) * LoadPair(b + i);
    sum.lane[1] += LoadPair(a + i + 2) * LoadPair(b + i + 2);
    sum.lane[2] += LoadPair(a + i + 4) * LoadPair(b + i + 4);
    sum.lane[3] += LoadPair(a + i + 6) * LoadPair(b + i + 6);
  }
  for (size_t j = 0; i < count; i += 2, ++j) sum.lane[j] += LoadPair(a + i) * LoadPair(b + i);
  return sum.Combine();
}

}  // namespace dipper::learn
