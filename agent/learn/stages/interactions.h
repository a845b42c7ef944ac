// Interactions: appends the product of every pair of the selected inputs, and their squares if asked, so that
// a linear learner can bend. Missing if one side is missing. It has no state. Thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct InteractionsConfig {
  uint32_t width = 0;                  ///< inputs in
  std::span<const uint16_t> inputs{};  ///< whose pairs are multiplied, ascending; scale them before
  bool squares = false;                ///< an input times itself, too
};

class Interactions {
 public:
  /// Always 0. kInvalidArgument: the selection, no product at all, or more than kMaxInputs inputs out.
  static base::Result<uint64_t> StateBytes(const InteractionsConfig& config);
  static base::Status Create(const InteractionsConfig& config, base::MutableBytes memory);
  static base::Status Validate(const InteractionsConfig& config, base::ByteView memory);
  Interactions(const InteractionsConfig& config, base::MutableBytes) : config_(config) {}

  /// Inputs out: width + s (s - 1) / 2 for s selected inputs, + s with squares. Order: (first, first) if
  /// squares, (first, second), (first, third), ..., (second, second) if squares, (second, third), ...
  static uint32_t OutWidth(const InteractionsConfig& config);

  /// Extends `row` (room for OutWidth values) in place. Products are formed in double and cut to +-1e30.
  /// Cost: one multiplication per product, no heap.
  void Apply(StageMode mode, float* row) const;

 private:
  InteractionsConfig config_;
};

}  // namespace dipper::learn
