// LatencyHistogram: quantiles of call times in fixed memory, eight buckets an octave from 64 ns to 64 s. Not
// thread-safe.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace dipper::runtime {

class LatencyHistogram {
 public:
  void Add(int64_t ns) {
    const uint64_t value = ns < 64 ? 64 : static_cast<uint64_t>(ns);
    const uint32_t octave = static_cast<uint32_t>(std::bit_width(value)) - 1;  // >= 6
    const uint32_t eighth = static_cast<uint32_t>(value >> (octave - 3)) & 7;
    const uint32_t bucket = (octave - 6) * 8 + eighth;
    ++counts_[bucket < kBuckets ? bucket : kBuckets - 1];
    ++total_;
    if (ns > max_ns_) max_ns_ = ns;
  }

  /// Upper end of the bucket that holds the quantile, at most 12.5 % above it, and never above the maximum.
  int64_t QuantileNs(double quantile) const {
    if (total_ == 0) return 0;
    const auto rank = static_cast<uint64_t>(quantile * static_cast<double>(total_ - 1));
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += counts_[bucket];
      if (seen > rank) {
        const uint64_t upper = ((uint64_t{8} + bucket % 8 + 1) << (bucket / 8 + 6)) >> 3;
        return static_cast<int64_t>(upper) < max_ns_ ? static_cast<int64_t>(upper) : max_ns_;
      }
    }
    return max_ns_;
  }
  int64_t MaxNs() const { return max_ns_; }
  uint64_t total() const { return total_; }

 private:
  static constexpr uint32_t kBuckets = 30 * 8;
  std::array<uint32_t, kBuckets> counts_{};
  uint64_t total_ = 0;
  int64_t max_ns_ = 0;
};

}  // namespace dipper::runtime
