// Runs over many starts that a single cut does not reach: nights without power, endless service restarts, a
// champion that poisons itself, and one failing I/O call at every place. Each returns what went wrong, or
// nothing.
#pragma once

#include <string>

#include "tests/fault/store/crash_harness.h"

namespace dipper::store {

/// A good model on trial at a site that loses its power every night, at any moment.
std::string NightlyPowerOff(uint64_t seed, Mutation mutation);

/// A good model on trial on a device whose service is restarted again and again.
std::string PlannedStopsForEver(Mutation mutation);

/// A champion whose learned state goes bad and crashes after each healthy start, until an older state serves.
std::string PoisonedChampion(Mutation mutation);

/// Each read, write, erase and sync of the scenario fails once, with EIO or ENOSPC: a champion always serves,
/// and a later update works.
std::string OneFailingCall(const Scenario& scenario);

}  // namespace dipper::store
