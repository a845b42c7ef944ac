// Robust clip: cuts each selected input to median +- limit * deviation, both taken from 64 values spread over
// the recent past: the identifier of Hampel ("The influence curve and its role in robust estimation", JASA
// 69, 1974), with the upper quartile of the distances from the median instead of their median, scaled to the
// standard deviation of a Gaussian. So up to a quarter of the sample may be wild without moving the bounds
// far, and what a quarter of the values do (a duty cycle, a second mode) is not wild and stays. The sample is
// drawn by strata, one value at random from each block of window / 64 values (Cochran, "Sampling Techniques",
// 1977, chapter 5), so that its age and its bytes are bounded, no period of the signal can resonate with it,
// and no step size needs the input's unit, as quantile tracking by steps does (Ma, Muthukrishnan and Sandler,
// "Frugal streaming for estimating quantiles", 2013). A view over caller memory; state is a pure function of
// the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

struct RobustClipConfig {
  uint32_t width = 0;                  ///< inputs in and out
  std::span<const uint16_t> inputs{};  ///< which are cut, ascending; the others pass
  double limit = 6;                    ///< deviations from the median that remain, 1 .. 1e6
  uint32_t window = 4096;              ///< present values that the sample is spread over, 64 .. 2^24
};

class RobustClip {
 public:
  static base::Result<uint64_t> StateBytes(const RobustClipConfig& config);
  static base::Status Create(const RobustClipConfig& config, base::MutableBytes memory);
  static base::Status Validate(const RobustClipConfig& config, base::ByteView memory);
  RobustClip(const RobustClipConfig& config, base::MutableBytes memory)
      : config_(config), memory_(memory.data()) {}

  /// Inputs out: width, in their old order.
  static uint32_t OutWidth(const RobustClipConfig& config) { return config.width; }

  /// Cuts `row` in place by the bounds from earlier values. Nothing is cut before an input had 16 values, nor
  /// while fewer than 8 of its sampled values differ from their median (a constant, or a rare flag, has no
  /// deviation); equal values do not count toward the deviation, so that an input that is mostly 0 keeps its
  /// range. Missing passes and does not count. Only StageMode::kLearn moves the sample. Cost: two comparisons
  /// per input; in one of window / 64 calls also an insertion into 64 sorted values.
  void Apply(StageMode mode, float* row) const;

 private:
  RobustClipConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
