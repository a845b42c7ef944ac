// Hashed categories: replaces the selected categorical inputs by a fixed number of numeric ones, for
// categories too many for one_hot. Each (input, value) has one bucket and one sign, to which it adds +1 or
// -1, so that collisions cancel on average (Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature
// hashing for large scale multitask learning", ICML 2009, section 2). It has no state. Thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct HashedConfig {
  uint32_t width = 0;                  ///< inputs in
  std::span<const uint16_t> inputs{};  ///< which are replaced, ascending; they share the buckets
  uint32_t buckets = 32;               ///< numeric inputs that replace them, 1 .. 256
};

class Hashed {
 public:
  /// Always 0. kInvalidArgument: the selection, the buckets, or more than kMaxInputs inputs out.
  static base::Result<uint64_t> StateBytes(const HashedConfig& config);
  static base::Status Create(const HashedConfig& config, base::MutableBytes memory);
  static base::Status Validate(const HashedConfig& config, base::ByteView memory);
  Hashed(const HashedConfig& config, base::MutableBytes) : config_(config) {}

  /// Inputs out: the inputs that are not selected in their old order, then the buckets.
  static uint32_t OutWidth(const HashedConfig& config);

  /// Where (input, value) goes: the bucket of `buckets`, and whether it counts as -1. The same for ever.
  struct Place {
    uint32_t bucket;
    bool negative;
  };
  static Place PlaceFor(uint32_t input, uint32_t value, uint32_t buckets);

  /// Rewrites `row` (room for OutWidth values) in place. A missing value adds nothing. Cost: O(width +
  /// buckets) and two multiplications per selected input; 1 KiB of stack.
  void Apply(StageMode mode, float* row) const;

 private:
  HashedConfig config_;
};

}  // namespace dipper::learn
