// EventLimit: how many events of one kind are told when something repeats itself: a few at once, then one a
// while; what is left out is counted. Events go to flash and to the broker, so none of them may flood. Not
// thread-safe. No heap.
#pragma once

#include <cstdint>

namespace dipper::base {

class EventLimit {
 public:
  static constexpr uint32_t kBurst = 8;
  static constexpr int64_t kRefillNs = 60'000'000'000;

  /// @param burst      So many at once, >= 1.
  /// @param refill_ns  Then one each so long, > 0.
  EventLimit(uint32_t burst, int64_t refill_ns) : burst_(burst), refill_ns_(refill_ns), left_(burst) {}

  EventLimit() : EventLimit(kBurst, kRefillNs) {}

  /// Whether one more may be told now; if so it counts as told.
  bool TrySpend(int64_t now_ns) {
    const int64_t earned = (now_ns - refilled_ns_) / refill_ns_;
    if (earned >= int64_t{burst_} - left_) {
      left_ = burst_;
      refilled_ns_ = now_ns;
    } else {
      left_ += static_cast<uint32_t>(earned);
      refilled_ns_ += earned * refill_ns_;
    }
    if (left_ == 0) return false;
    --left_;
    return true;
  }

  /// @param now_ns    Monotonic time.
  /// @param left_out  Filled when it may be told: how many were not, since the last that was.
  bool Spend(int64_t now_ns, uint64_t* left_out) {
    if (!TrySpend(now_ns)) {
      ++left_out_;
      return false;
    }
    *left_out = left_out_;
    left_out_ = 0;
    return true;
  }

 private:
  uint32_t burst_;
  int64_t refill_ns_;
  uint32_t left_;
  int64_t refilled_ns_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace dipper::base
