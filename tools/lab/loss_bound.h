// The largest loss that counts at the health gate (`loss_bound` of a spec), from the target's first values.
// Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <span>

namespace dipper::lab {

/// Four times the mean loss of the trivial rival, which answers with the value `back` rows before, as the
/// gate itself would find in its warm-up; each loss cut at their 99th percentile, so that single outliers do
/// not count. At least a twentieth of the width in which 98 % of the values lie, so that a target that rarely
/// moves gets no bound below every model's error. Rounded up to two digits; 1 for a target that never moves.
/// @param values  Of the target in order; NaN where there is none. In its unit, as the result.
double InferLossBound(std::span<const double> values, uint32_t back);

}  // namespace dipper::lab
