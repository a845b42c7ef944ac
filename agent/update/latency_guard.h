// LatencyGuard: is a model within its time a sample? Judged by medians of windows, so that neither one slow
// sample nor one busy moment of the device condemns it. Not thread-safe. No heap.
#pragma once

#include <cstdint>

namespace dipper::update {

class LatencyGuard {
 public:
  static constexpr uint32_t kWindow = 32;      ///< Timed samples of a window.
  static constexpr uint32_t kWindowsOver = 2;  ///< So many over the limit in a row condemn.

  LatencyGuard() = default;
  /// @param limit_ns  Time a sample; 0: nothing is asked.
  explicit LatencyGuard(uint64_t limit_ns) : limit_ns_(limit_ns) {}

  void Add(int64_t ns) {
    if (limit_ns_ == 0) return;
    if (ns > 0 && static_cast<uint64_t>(ns) > limit_ns_) ++above_;
    if (++count_ < kWindow) return;
    // More than half above the limit: so is the median.
    over_in_row_ = above_ > kWindow / 2 ? over_in_row_ + 1 : 0;
    judged_ = true;
    count_ = above_ = 0;
  }

  /// Nothing is known yet, or the window that is under way has a slow sample: time every sample until it is
  /// judged.
  bool urgent() const { return limit_ns_ != 0 && (!judged_ || above_ > 0); }
  bool condemned() const { return over_in_row_ >= kWindowsOver; }
  /// The newest whole window was within the limit and the one under way is so far, or nothing is asked.
  bool within() const { return limit_ns_ == 0 || (judged_ && over_in_row_ == 0 && above_ * 2 <= count_); }

 private:
  uint64_t limit_ns_ = 0;
  uint32_t count_ = 0, above_ = 0, over_in_row_ = 0;
  bool judged_ = false;
};

}  // namespace dipper::update
