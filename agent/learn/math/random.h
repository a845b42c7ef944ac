// Random numbers whose whole state is four plain words in the image: xoshiro256++ (Blackman and Vigna,
// "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021), seeded by SplitMix64 (Steele, Lea
// and Flood, OOPSLA 2014). Integer arithmetic only, so equal everywhere. Not cryptographic. Not thread-safe:
// one state per owner.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/base/status.h"

namespace dipper::learn {

/// Generator state as stored in an image. All zero is not a state.
struct RandomState {
  std::array<uint64_t, 4> word;
};
static_assert(sizeof(RandomState) == 32);

/// State for a seed; `stream` separates generators of one model. Any pair is fine.
RandomState SeedRandom(uint64_t seed, uint64_t stream = 0);

/// kDataLoss: the all-zero words, from which the generator would never leave.
base::Status ValidateRandom(const RandomState& state);

/// Next 64 uniform bits.
inline uint64_t NextU64(RandomState& state) {
  auto rotl = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
  std::array<uint64_t, 4>& s = state.word;
  const uint64_t result = rotl(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return result;
}

/// Uniform in [0, 1), a multiple of 2^-53.
inline double NextUniform(RandomState& state) { return static_cast<double>(NextU64(state) >> 11) * 0x1p-53; }

/// Uniform in 0 .. bound - 1, without bias (Lemire 2019 with 32-bit words). Precondition: bound >= 1.
uint32_t NextBelow(RandomState& state, uint32_t bound);

/// Poisson counts by comparing 53 uniform bits with cumulative thresholds; no floating point per draw.
struct PoissonTable {
  static constexpr uint32_t kMaxCount = 47;
  /// threshold[k] = P(count <= k) * 2^53, rounded down; the last one is 2^53.
  std::array<uint64_t, kMaxCount + 1> threshold;
};

/// Table for a mean in (0, 16]. Counts above 47 are cut to 47 (probability below 1e-9).
/// kInvalidArgument: mean out of range or not a number.
base::Result<PoissonTable> MakePoissonTable(double mean);

/// Draws one count. Cost: O(mean).
uint32_t NextPoisson(RandomState& state, const PoissonTable& table);

}  // namespace dipper::learn
