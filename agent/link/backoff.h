// Backoff: how long to wait before the next attempt to connect. Doubling, and spread over eight times its
// shortest wait from the first on, because a broker that restarts drops its whole fleet in one moment. Pure;
// not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

namespace dipper::link {

class Backoff {
 public:
  /// @param min_ms, max_ms  The first wait is 1 to 8 times `min_ms`, later ones half of `max_ms` to `max_ms`.
  Backoff(uint32_t min_ms, uint32_t max_ms) : min_ms_(min_ms), max_ms_(max_ms) {}

  /// @param random  Any 32 random bits.
  uint32_t NextMs(uint32_t random) {
    const uint64_t shortest = std::min<uint64_t>(uint64_t{min_ms_} << attempts_, max_ms_ / 2);
    const uint64_t longest = std::min<uint64_t>(shortest * kSpread, max_ms_);
    attempts_ = std::min(attempts_ + 1, kMostDoublings);
    return static_cast<uint32_t>(shortest + (uint64_t{random} * (longest - shortest + 1) >> 32));
  }
  /// A connection held: the next wait is a short one again.
  void Reset() { attempts_ = 0; }

 private:
  static constexpr uint32_t kMostDoublings = 16;
  static constexpr uint64_t kSpread = 8;
  uint32_t min_ms_;
  uint32_t max_ms_;
  uint32_t attempts_ = 0;
};

}  // namespace dipper::link
