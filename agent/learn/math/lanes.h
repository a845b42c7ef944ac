// Sums in one fixed order on every machine. Element i goes to lane i mod 8; each lane adds its elements in
// index order, starting from +0; the tail of n mod 8 elements goes to lanes 0.. as if it were the next row,
// other lanes are left alone. The lanes combine as ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7)), which
// is how two-, four- and eight-wide vector units fold their halves. Every product and sum is a double.
// Thread-safe: pure functions, no heap.
#pragma once

#include <cstddef>
#include <span>

#include "agent/base/assert.h"

namespace dipper::learn {

inline constexpr size_t kLanes = 8;

/// The documented combination of eight partial sums.
inline double CombineLanes(const double (&lane)[kLanes]) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/// Sum of term(0) .. term(count - 1) in the fixed order; `term` maps an index to a double.
template <typename Term>
double LaneSum(size_t count, Term term) {
  double lane[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) lane[j] += term(i + j);
  }
  for (size_t j = 0; i + j < count; ++j) lane[j] += term(i + j);
  return CombineLanes(lane);
}

/// Sum of a[i] * b[i], each factor widened to double first. A and B are float or double; equal lengths.
template <typename A, typename B>
double Dot(std::span<const A> a, std::span<const B> b) {
  DIPPER_CHECK(a.size() == b.size());
  const A* pa = a.data();
  const B* pb = b.data();
  return LaneSum(a.size(),
                 [pa, pb](size_t i) { return static_cast<double>(pa[i]) * static_cast<double>(pb[i]); });
}

/// Sum of a[i], widened to double first.
template <typename A>
double Sum(std::span<const A> a) {
  const A* pa = a.data();
  return LaneSum(a.size(), [pa](size_t i) { return static_cast<double>(pa[i]); });
}

}  // namespace dipper::learn
