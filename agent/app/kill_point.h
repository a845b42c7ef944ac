// KillPoint: ends the process by SIGKILL at a place that DIPPER_TEST_KILL names, so that a test can hit
// states that last microseconds. Only in builds with DIPPER_TEST_FAULTS; in all others it is nothing at all.
#pragma once

#include "agent/schema/update_generated.h"

namespace dipper::app {

#if defined(DIPPER_TEST_FAULTS)
/// "verifying:enter" or "verifying:exit": when that state has just been entered (stored and told) or is about
/// to be left (its end is durable, not yet told).
void MaybeKill(schema::UpdateState state, const char* edge);
#else
inline void MaybeKill(schema::UpdateState, const char*) {}
#endif

}  // namespace dipper::app
