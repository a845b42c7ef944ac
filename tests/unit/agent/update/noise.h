// Noise: seeded random numbers for tests of the gates (xorshift64*: Vigna 2016). Not thread-safe.
#pragma once

#include <cmath>
#include <cstdint>

namespace dipper::update {

class Noise {
 public:
  explicit Noise(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  /// In [0, 1).
  double Uniform() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<double>((state_ * 0x2545F4914F6CDD1DULL) >> 11) * 0x1p-53;
  }
  double Exponential(double mean) { return -mean * std::log(1 - Uniform()); }

 private:
  uint64_t state_;
};

}  // namespace dipper::update
