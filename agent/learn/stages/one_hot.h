// One-hot: replaces each selected categorical input by one 0/1 input per category and one for `other`; a
// missing value gives zeros. It has no state. Thread-safe: pure function.
#pragma once

#include <cstdint>
#include <span>

namespace dipper::learn {

struct OneHotConfig {
  uint32_t width = 0;                    ///< inputs in
  std::span<const uint16_t> inputs;      ///< which are replaced, ascending
  std::span<const uint16_t> categories;  ///< for each of them: n, for values 0 .. n - 1 and n = other
};

/// Inputs out: every input in its old order, a replaced one as n + 1 inputs.
uint32_t OneHotOutWidth(const OneHotConfig& config);

/// Cost: O(inputs out), no heap. `in` and `out` do not overlap.
void ApplyOneHot(const OneHotConfig& config, const float* in, float* out);

}  // namespace dipper::learn
