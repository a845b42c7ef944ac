// Standard scaler: (x - mean) / deviation by running moments (Welford 1962) or by exponentially weighted
// ones; missing becomes 0, the mean. A value is learned before it is scaled. A view over caller memory; state
// is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct StandardScalerConfig {
  uint32_t width = 0;                ///< inputs in and out
  std::span<const uint16_t> inputs;  ///< which are scaled, ascending; the others pass
  double decay = 0;                  ///< weight of the past per sample, in (0, 1); 0: all samples count alike
  double clip = 0;                   ///< scaled values are cut to +-clip; 0: not cut
};

class StandardScaler {
 public:
  /// 128 bytes for every four inputs begun.
  static base::Result<uint64_t> StateBytes(const StandardScalerConfig& config);
  static base::Status Create(const StandardScalerConfig& config, base::MutableBytes memory);
  static base::Status Validate(const StandardScalerConfig& config, base::ByteView memory);
  StandardScaler(const StandardScalerConfig& config, base::MutableBytes memory)
      : config_(config), memory_(memory.data()) {}

  /// Scales `row` in place. Once an input has 30 values, one further than 20 deviations from the mean is
  /// learned as 20, so that one wild value does not flatten all later ones. An input that never varied beyond
  /// float32's resolution becomes 0. Only StageMode::kLearn moves the moments. Cost: O(inputs); one division
  /// a call while all inputs have the same count; a root and a division more for two inputs of which one's
  /// variance moved by over 1.6 %, that were missing, or that held an outlier.
  void Apply(StageMode mode, float* row) const;

 private:
  const StandardScalerConfig& config_;  // outlives the view: a copy would cost as much as the work
  uint8_t* memory_;
};

}  // namespace dipper::learn
