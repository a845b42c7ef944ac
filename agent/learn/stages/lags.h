// Lags: appends, for each selected input and each lag L, the value L samples ago, or the difference to it;
// missing until there were that many samples. A view over caller memory; state is a pure function of the
// calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct LagsConfig {
  uint32_t width = 0;                ///< inputs in
  std::span<const uint16_t> inputs;  ///< which have lags, ascending
  std::span<const uint16_t> lags;    ///< ascending, >= 1
  bool differences = false;          ///< x[i] - x[i - L] instead of x[i - L]
};

class Lags {
 public:
  static base::Result<uint64_t> StateBytes(const LagsConfig& config);
  static base::Status Create(const LagsConfig& config, base::MutableBytes memory);
  static base::Status Validate(const LagsConfig& config, base::ByteView memory);
  Lags(const LagsConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Inputs out: width + inputs * lags, in the order (first input: every lag), (second input: every lag), ...
  static uint32_t OutWidth(const LagsConfig& config);

  /// Extends `row` (room for OutWidth values) in place. Cost: O(inputs * lags), no heap.
  void Apply(StageMode mode, float* row) const;

  /// Forgets all earlier samples.
  void Reset() const;

 private:
  LagsConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
