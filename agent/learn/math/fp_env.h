// The floating-point environment that every result depends on, checked by computing rather than by reading
// control registers, so that it also notices a wrong build. Thread-safe; checks the calling thread.
#pragma once

#include "agent/base/status.h"

namespace dipper::learn {

/// Checks: rounding to nearest even (float and double), denormals kept as results and as inputs, no excess
/// precision, no fused multiply-add from contraction. Cost: below 1 us, no heap.
/// @returns kOk; kFailedPrecondition: results here would differ from other machines, do not learn.
base::Status CheckFloatEnvironment();

}  // namespace dipper::learn
