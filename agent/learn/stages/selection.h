// What stages have in common: which inputs they take, and the one narrowing of a computed value to an input.
// Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {

/// At least one input, ascending, each once and below `width`.
inline bool IsSelection(uint32_t width, std::span<const uint16_t> inputs) {
  if (inputs.empty() || width > kMaxInputs) return false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] >= width || (i > 0 && inputs[i] <= inputs[i - 1])) return false;
  }
  return true;
}

/// Narrows a result to an input: cut to the largest magnitude an input may have, NaN becomes missing.
inline float ToInput(double value) {
  constexpr double kLimit = static_cast<double>(kMaxMagnitude);
  if (IsNan(value)) return CanonicalNanFloat();
  if (value > kLimit) return kMaxMagnitude;
  return static_cast<float>(value < -kLimit ? -kLimit : value);
}

}  // namespace dipper::learn
