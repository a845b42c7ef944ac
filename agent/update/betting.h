// What the gate's tests and its vetoes share: bets with fixed stakes, mixed. Each stake's wealth is at most a
// martingale's while the hypothesis holds, and so is their mean: it reaches 1 / alpha with a chance of at
// most alpha, at any time whatever (Ville's inequality). Pure functions. No heap. Source: Howard, Ramdas,
// McAuliffe and Sekhon 2021 (mixtures); Waudby-Smith and Ramdas 2024, section 4.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "agent/learn/math/functions.h"

namespace dipper::update {

/// As a ratio of the largest stake that cannot go bankrupt; a geometric ladder, since the best one is
/// mean / variance and may be anywhere.
inline constexpr std::array<double, 8> kStakes = {0.03, 0.06, 0.12, 0.22, 0.36, 0.52, 0.70, 0.85};
using LogWealths = std::array<double, kStakes.size()>;  ///< Logarithms of what each stake has won.

/// The mean over all wealths of all bets is at least 1 / alpha.
/// @param bets  How many.
/// @param of    Gives the LogWealths of bet 0 to `bets` - 1; asked twice for each where it comes near.
template <typename Of>
bool MeanWealthReaches(double alpha, uint32_t bets, Of of) {
  // A mean is not above its largest term: nearly every look ends here, without an exponential.
  const double needed = -learn::Log(alpha) - 1e-9;
  bool near = false;
  for (uint32_t i = 0; i < bets && !near; ++i) {
    const LogWealths wealths = of(i);
    near = *std::max_element(wealths.begin(), wealths.end()) >= needed;
  }
  if (!near) return false;
  double sum = 0;
  for (uint32_t i = 0; i < bets; ++i) {
    for (const double wealth : of(i)) sum += learn::Exp(std::min(wealth, 600.0));
  }
  return sum / (static_cast<double>(kStakes.size()) * bets) >= 1 / alpha;
}

}  // namespace dipper::update
