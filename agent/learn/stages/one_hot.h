// One-hot: replaces each selected categorical input by one 0/1 input per category and one for `other`; a
// missing value gives zeros. It has no state. Thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct OneHotConfig {
  uint32_t width = 0;                    ///< inputs in
  std::span<const uint16_t> inputs;      ///< which are replaced, ascending
  std::span<const uint16_t> categories;  ///< for each of them: n, for values 0 .. n - 1 and n = other
};

class OneHot {
 public:
  static base::Result<uint64_t> StateBytes(const OneHotConfig&) { return uint64_t{0}; }
  static base::Status Create(const OneHotConfig&, base::MutableBytes) { return base::Status::kOk; }
  static base::Status Validate(const OneHotConfig&, base::ByteView) { return base::Status::kOk; }
  OneHot(const OneHotConfig& config, base::MutableBytes) : config_(config) {}

  /// Inputs out: every input in its old order, a replaced one as n + 1 inputs.
  static uint32_t OutWidth(const OneHotConfig& config);

  /// Rewrites `row` (room for OutWidth values) in place, from the last input to the first. Cost: O(inputs
  /// out).
  void Apply(StageMode mode, float* row) const;

 private:
  OneHotConfig config_;
};

}  // namespace dipper::learn
