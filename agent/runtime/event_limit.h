// EventLimit: how many events of one kind are told when something repeats itself: a few at once, then one a
// while; what is left out is counted. Events go to flash and to the broker, so none of them may flood. Not
// thread-safe. No heap.
#pragma once

#include <cstdint>

namespace dipper::runtime {

class EventLimit {
 public:
  static constexpr uint32_t kBurst = 8;
  static constexpr int64_t kRefillNs = 60'000'000'000;

  /// @param now_ns    Monotonic time.
  /// @param left_out  Filled when it may be told: how many were not, since the last that was.
  bool Spend(int64_t now_ns, uint64_t* left_out) {
    const int64_t earned = (now_ns - refilled_ns_) / kRefillNs;
    if (earned >= int64_t{kBurst} - left_) {
      left_ = kBurst;
      refilled_ns_ = now_ns;
    } else {
      left_ += static_cast<uint32_t>(earned);
      refilled_ns_ += earned * kRefillNs;
    }
    if (left_ == 0) {
      ++left_out_;
      return false;
    }
    --left_;
    *left_out = left_out_;
    left_out_ = 0;
    return true;
  }

 private:
  uint32_t left_ = kBurst;
  int64_t refilled_ns_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace dipper::runtime
