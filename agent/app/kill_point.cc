// Implementation of kill_point.h.
#include "agent/app/kill_point.h"

#if defined(DIPPER_TEST_FAULTS)
#include <csignal>
#include <cstdlib>
#include <string>

#include "agent/telemetry/encoders.h"

namespace dipper::app {

void MaybeKill(schema::UpdateState state, const char* edge) {
  const char* wanted = std::getenv("DIPPER_TEST_KILL");
  if (wanted == nullptr) return;
  if (std::string(telemetry::WordOf(state).view()) + ":" + edge == wanted) std::raise(SIGKILL);
}

void MaybeKill(const char* place) {
  const char* wanted = std::getenv("DIPPER_TEST_KILL");
  if (wanted != nullptr && std::string(place) == wanted) std::raise(SIGKILL);
}

}  // namespace dipper::app
#endif
