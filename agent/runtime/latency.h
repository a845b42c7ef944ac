// LatencyHistogram: quantiles of the newest call times in fixed memory, eight buckets an octave from 64 ns to
// 64 s. They are of the newest 1,024 to 2,047 calls: a slowdown shows after some hundred of them, whatever
// went before, and no count grows without end. Not thread-safe.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace dipper::runtime {

class LatencyHistogram {
 public:
  /// Calls of a window. Two are kept: the one that fills, and the whole one before it.
  static constexpr uint32_t kWindow = 1024;

  void Add(int64_t ns) {
    if (filled_ == kWindow) {
      windows_[1] = windows_[0];
      windows_[0] = {};
      filled_ = 0;
      before_ = kWindow;
    }
    const uint64_t value = ns < 64 ? 64 : static_cast<uint64_t>(ns);
    const uint32_t octave = static_cast<uint32_t>(std::bit_width(value)) - 1;  // >= 6
    const uint32_t eighth = static_cast<uint32_t>(value >> (octave - 3)) & 7;
    const uint32_t bucket = (octave - 6) * 8 + eighth;
    ++windows_[0][bucket < kBuckets ? bucket : kBuckets - 1];
    ++filled_;
    if (ns > max_ns_) max_ns_ = ns;
  }

  /// Upper end of the bucket that holds the quantile, at most 12.5 % above it, and never above the maximum.
  int64_t QuantileNs(double quantile) const {
    if (total() == 0) return 0;
    const auto rank = static_cast<uint64_t>(quantile * static_cast<double>(total() - 1));
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += uint64_t{windows_[0][bucket]} + windows_[1][bucket];
      if (seen > rank) {
        const uint64_t upper = ((uint64_t{8} + bucket % 8 + 1) << (bucket / 8 + 6)) >> 3;
        return static_cast<int64_t>(upper) < max_ns_ ? static_cast<int64_t>(upper) : max_ns_;
      }
    }
    return max_ns_;
  }
  /// Of all calls, those long ago among them.
  int64_t MaxNs() const { return max_ns_; }
  /// Calls that the quantiles are of.
  uint32_t total() const { return filled_ + before_; }

 private:
  static constexpr uint32_t kBuckets = 30 * 8;
  using Window = std::array<uint16_t, kBuckets>;
  static_assert(kWindow <= UINT16_MAX);
  std::array<Window, 2> windows_{};   ///< The newest first.
  uint32_t filled_ = 0, before_ = 0;  ///< Calls in each.
  int64_t max_ns_ = 0;
};

}  // namespace dipper::runtime
