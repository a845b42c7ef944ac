// Runs over many starts that a single cut does not reach: nights without power, endless service restarts, a
// champion that poisons itself. Each returns what went wrong, or nothing.
#pragma once

#include <string>

#include "tests/fault/store/told.h"

namespace dipper::store {

/// A good model on trial at a site that loses its power every night, at any moment.
std::string NightlyPowerOff(uint64_t seed);

/// A good model on trial on a device whose service is restarted again and again.
std::string PlannedStopsForEver();

/// A champion whose learned state goes bad and crashes after each healthy start, until an older state serves.
std::string PoisonedChampion();

}  // namespace dipper::store
