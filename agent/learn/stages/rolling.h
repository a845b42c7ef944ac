// Rolling statistics: appends, for each selected input, statistics of its last `window` samples. Nothing is
// ever subtracted from a running sum, so that no rounding error outlives its window and a wild value leaves
// no trace: the window is a suffix of the previous block of `window` samples, whose aggregates are computed
// backwards once per chunk of about sqrt(window) samples, and a prefix of the present block (two stacks, as
// in Tangwongsan, Hirzel and Schneider, "Low-latency sliding-window aggregation in worst-case constant time",
// DEBS 2017, section 2.2, here with two levels to save memory). Moments: Chan, Golub and LeVeque, "Updating
// formulae and a pairwise algorithm for computing sample variances", 1979; third and fourth: Pebay, "Formulas
// for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", Sandia
// 2008, section 3. A view over caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

/// Over the present values x_1 .. x_n of the window, the newest included; m_k is their k-th central moment
/// with divisor n.
enum class RollingStatistic : uint16_t {
  kMean = 0,
  kStd = 1,  ///< sqrt(m_2); missing until 2 values
  kMin = 2,
  kMax = 3,
  kRms = 4,            ///< root of the mean square
  kPeakToPeak = 5,     ///< max - min
  kCrest = 6,          ///< largest |x| / rms; missing while rms is 0
  kKurtosis = 7,       ///< m_4 / m_2^2 (Gaussian: 3); missing until 2 different values
  kSkewness = 8,       ///< m_3 / m_2^1.5; missing until 2 different values
  kZeroCrossings = 9,  ///< part of the neighbouring values of which just one is negative; missing until 2
  kDeviation = 10,     ///< newest value - mean; missing if the newest value is
  kMedian = 11,        ///< costs `window` more floats per input, and moving them
};
inline constexpr uint16_t kRollingStatistics = 12;

struct RollingConfig {
  uint32_t width = 0;                      ///< inputs in
  std::span<const uint16_t> inputs{};      ///< which have statistics, ascending
  std::span<const uint16_t> statistics{};  ///< values of RollingStatistic, each once, in any order
  uint32_t window = 64;                    ///< samples, 2 .. 4096; missing ones have a place in it, too
};

class Rolling {
 public:
  static base::Result<uint64_t> StateBytes(const RollingConfig& config);
  static base::Status Create(const RollingConfig& config, base::MutableBytes memory);
  static base::Status Validate(const RollingConfig& config, base::ByteView memory);
  Rolling(const RollingConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Inputs out: width + inputs * statistics, in the order (first input: every statistic in the order of the
  /// list), (second input: ...), ... All are missing while the window holds no value.
  static uint32_t OutWidth(const RollingConfig& config);

  /// Extends `row` (room for OutWidth values) in place. kFrozen advances like kLearn: nothing is learned
  /// beyond the window. Cost: per input about four merges of aggregates on average; in one call per `window`
  /// samples about 3 sqrt(window).
  void Apply(StageMode mode, float* row) const;

  /// Forgets all earlier samples. Cost: O(bytes).
  void Reset() const;

 private:
  RollingConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
