// See fault.h. Compiled to nothing without DIPPER_TEST_FAULTS.
#include "agent/learn/stages/fault.h"

#ifdef DIPPER_TEST_FAULTS
#include <cstdlib>
#include <cstring>

#include "agent/learn/math/nan.h"

namespace dipper::learn {

void ApplyFault(const FaultConfig& config, uint64_t sample, double* poison) {
  if (sample < config.at_sample) return;
  const bool now = sample == config.at_sample;
  switch (config.action) {
    case FaultAction::kHang: {
      volatile bool forever = now;
      while (forever) {
      }
      return;
    }
    case FaultAction::kAbort:
      if (now) std::abort();
      return;
    case FaultAction::kNotANumber:
      if (now) *poison = CanonicalNan();
      return;
    case FaultAction::kSlow: {
      volatile uint64_t rounds = uint64_t{config.value} * 1000;
      while (rounds > 0) rounds = rounds - 1;
      return;
    }
    case FaultAction::kLeak: {
      // Lost on purpose; written so that it is resident.
      void* volatile lost = std::malloc(config.value);
      if (lost != nullptr) std::memset(lost, 1, config.value);
      return;
    }
  }
}

}  // namespace dipper::learn
#endif
