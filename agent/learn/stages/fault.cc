// See fault.h. Without DIPPER_TEST_FAULTS it does nothing and no spec can ask for it.
#include "agent/learn/stages/fault.h"

#include <cstdlib>
#include <cstring>
#include <limits>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

namespace {

struct State {
  uint64_t samples;
  double poison;
};
static_assert(sizeof(State) == 16);

#ifdef DIPPER_TEST_FAULTS
void Misbehave(const FaultConfig& config, bool now, double* poison) {
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
      return;  // NOLINT(clang-analyzer-unix.Malloc)
    }
  }
}
#else
void Misbehave(const FaultConfig&, bool, double*) {}
#endif

}  // namespace

base::Result<uint64_t> Fault::StateBytes(const FaultConfig&) { return uint64_t{sizeof(State)}; }

base::Status Fault::Validate(const FaultConfig&, base::ByteView memory) {
  const State s = base::Load<State>(memory.data());
  return ValidCounts(s.samples) && IsFinite(s.poison) ? base::Status::kOk : base::Status::kDataLoss;
}

void Fault::Apply(StageMode mode, float* row) const {
  if (mode == StageMode::kPeek) return;
  State& state = *PlaceOf<State>(memory_);
  const uint64_t sample = state.samples++;
  if (sample < config_.at_sample) return;
  Misbehave(config_, sample == config_.at_sample, &state.poison);
  // A NaN in the row would only be a missing value; this one goes through to the answer.
  if (!IsFinite(state.poison)) row[0] = std::numeric_limits<float>::infinity();
}

}  // namespace dipper::learn
