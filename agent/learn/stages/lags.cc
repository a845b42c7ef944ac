// See lags.h. State: a ring of the last `depth` values of each selected input, depth = the largest lag.
#include "agent/learn/stages/lags.h"

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

struct State {
  uint32_t next;  // ring row that the next sample overwrites
  uint32_t held;  // samples in the ring
  uint64_t reserved;
};
static_assert(sizeof(State) == 16);

uint32_t Depth(const LagsConfig& config) { return config.lags.back(); }

}  // namespace

uint32_t Lags::OutWidth(const LagsConfig& config) {
  return config.width + static_cast<uint32_t>(config.inputs.size() * config.lags.size());
}

base::Result<uint64_t> Lags::StateBytes(const LagsConfig& config) {
  if (config.inputs.empty() || config.lags.empty()) return base::Status::kInvalidArgument;
  uint32_t before = 0;
  for (const uint16_t lag : config.lags) {
    if (lag <= before || lag > kMaxLag) return base::Status::kInvalidArgument;
    before = lag;
  }
  for (const uint16_t input : config.inputs) {
    if (input >= config.width) return base::Status::kInvalidArgument;
  }
  const uint64_t values = uint64_t{Depth(config)} * config.inputs.size();
  return sizeof(State) + base::AlignUp(values * sizeof(float), 16);
}

base::Status Lags::Create(const LagsConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status Lags::Validate(const LagsConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State state = base::Load<State>(memory.data());
  if (state.next >= Depth(config) || state.held > Depth(config) || state.reserved != 0) {
    return base::Status::kDataLoss;
  }
  const float* values = PlaceOf<float>(memory.data() + sizeof(State));
  const uint64_t count = (bytes - sizeof(State)) / sizeof(float);
  for (uint64_t i = 0; i < count; ++i) {
    if (!IsFiniteOrMissing(values[i])) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void Lags::Apply(StageMode mode, float* row) const {
  State& state = *PlaceOf<State>(memory_);
  float* ring = PlaceOf<float>(memory_ + sizeof(State));
  const uint32_t depth = Depth(config_);
  const size_t selected = config_.inputs.size();
  float* out = row + config_.width;
  for (size_t i = 0; i < selected; ++i) {
    const float now = row[config_.inputs[i]];
    for (const uint16_t lag : config_.lags) {
      float value = CanonicalNanFloat();
      if (lag <= state.held) {
        const uint32_t at = state.next >= lag ? state.next - lag : state.next + depth - lag;
        value = ring[at * selected + i];
        // A missing side makes the difference missing; the sum is not formed, its NaN would not be the
        // canonical one.
        if (config_.differences && !IsNan(value)) {
          value = IsNan(now) ? CanonicalNanFloat() : now - value;
        }
      }
      *out++ = value;
    }
  }
  if (mode == StageMode::kPeek) return;
  for (size_t i = 0; i < selected; ++i) ring[state.next * selected + i] = row[config_.inputs[i]];
  state.next = state.next + 1 == depth ? 0 : state.next + 1;
  if (state.held < depth) ++state.held;
}

void Lags::Reset() const { *PlaceOf<State>(memory_) = State{}; }

}  // namespace dipper::learn
