// KillPoint: ends the process by SIGKILL at a place that DIPPER_TEST_KILL names, so that a test can hit
// states that last microseconds. Only in builds with DIPPER_TEST_FAULTS; in all others it is nothing at all.
#pragma once

#include "agent/schema/update_generated.h"

namespace dipper::app {

#if defined(DIPPER_TEST_FAULTS)
/// "verifying:enter" or "verifying:exit": when that state has just been entered (stored and told) or is about
/// to be left (its end is durable, not yet told).
void MaybeKill(schema::UpdateState state, const char* edge);
/// A place of its own name: "wipe:answered", "wipe:model" (the slots of one are erased), "wipe:data",
/// "wipe:told".
void MaybeKill(const char* place);
#else
inline void MaybeKill(schema::UpdateState, const char*) {}
inline void MaybeKill(const char*) {}
#endif

}  // namespace dipper::app
