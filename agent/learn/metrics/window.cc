// See window.h.
#include "agent/learn/metrics/window.h"

#include <bit>

#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMostLabels = 65536;
constexpr double kLargestLoss = 1e38;
constexpr double kLargestWeight = 1e30;

uint64_t Words(const LossWindowConfig& config) { return (config.window + 63) / 64; }
uint64_t LossBytes(const LossWindowConfig& config) {
  return config.zero_one ? Words(config) * sizeof(uint64_t) : config.window * sizeof(float);
}

bool IsLoss(float x) { return IsFinite(x) && std::bit_cast<uint32_t>(x) >> 31 == 0; }

}  // namespace

struct LossWindow::State {
  uint32_t count;
  uint32_t next;  // place of the next loss; the oldest one when full
  uint64_t reserved;
};
// After it: uint64 bits[window / 64, up] or float loss[window], then, if weighted, float weight[window],
// zero-filled to 16.

base::Result<uint64_t> LossWindow::StateBytes(const LossWindowConfig& config) {
  static_assert(sizeof(State) == 16);
  if (config.window < 1 || config.window > kMostLabels) return base::Status::kInvalidArgument;
  const uint64_t weights = config.weighted ? config.window * sizeof(float) : 0;
  return base::AlignUp(sizeof(State) + LossBytes(config) + weights, 16);
}

base::Status LossWindow::Create(const LossWindowConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status LossWindow::Validate(const LossWindowConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  const bool full = s.count == config.window;
  if (s.count > config.window || s.next >= config.window || s.reserved != 0 || (!full && s.next != s.count)) {
    return base::Status::kDataLoss;
  }
  const uint8_t* at = memory.data() + sizeof(State);
  const uint32_t places = config.zero_one ? static_cast<uint32_t>(Words(config)) * 64 : config.window;
  for (uint32_t i = 0; i < places; ++i) {
    const bool held = i < s.count;
    if (config.zero_one) {
      const bool set = (base::Load<uint64_t>(at + i / 64 * sizeof(uint64_t)) >> (i % 64) & 1) != 0;
      if (set && !held) return base::Status::kDataLoss;
      continue;
    }
    const float loss = base::Load<float>(at + i * sizeof(float));
    if (!IsLoss(loss) || (!held && loss != 0.0F)) return base::Status::kDataLoss;
  }
  at += LossBytes(config);
  for (uint32_t i = 0; config.weighted && i < config.window; ++i) {
    const float weight = base::Load<float>(at + i * sizeof(float));
    if (!IsLoss(weight) || (weight > 0.0F) != (i < s.count)) return base::Status::kDataLoss;
  }
  at += config.weighted ? config.window * sizeof(float) : 0;
  for (; at < memory.data() + bytes; ++at) {
    if (*at != 0) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

LossWindow::LossWindow(const LossWindowConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline LossWindow::State& LossWindow::state() const { return *PlaceOf<State>(memory_); }
inline uint64_t* LossWindow::bits() const { return PlaceOf<uint64_t>(memory_ + sizeof(State)); }
inline float* LossWindow::losses() const { return PlaceOf<float>(memory_ + sizeof(State)); }
inline float* LossWindow::weights() const {
  return PlaceOf<float>(memory_ + sizeof(State) + LossBytes(config_));
}

void LossWindow::Add(double loss, double weight) {
  const float narrow = static_cast<float>(weight < kLargestWeight ? weight : kLargestWeight);
  if (!(narrow > 0.0F)) return;  // 0, or nothing left of it
  State& s = state();
  if (config_.weighted) weights()[s.next] = narrow;
  if (config_.zero_one) {
    uint64_t& word = bits()[s.next / 64];
    const uint64_t bit = uint64_t{1} << (s.next % 64);
    word = loss > 0.5 ? word | bit : word & ~bit;
  } else {
    const double cut = loss < kLargestLoss ? loss : kLargestLoss;
    losses()[s.next] = static_cast<float>(cut > 0.0 ? cut : 0.0);
  }
  s.next = s.next + 1 == config_.window ? 0 : s.next + 1;
  if (s.count < config_.window) s.count += 1;
}

uint32_t LossWindow::count() const { return state().count; }

double LossWindow::Read() const {
  const uint32_t count = state().count;
  if (count == 0) return CanonicalNan();
  if (config_.zero_one && !config_.weighted) {
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < Words(config_); ++i) wrong += static_cast<uint64_t>(std::popcount(bits()[i]));
    return static_cast<double>(wrong) / static_cast<double>(count);
  }
  const auto loss = [this](size_t i) {
    if (config_.zero_one) return static_cast<double>(bits()[i / 64] >> (i % 64) & 1);
    return static_cast<double>(losses()[i]);
  };
  if (!config_.weighted) return LaneSum(count, loss) / static_cast<double>(count);
  const auto weight = [this](size_t i) { return static_cast<double>(weights()[i]); };
  return LaneSum(count, [&](size_t i) { return weight(i) * loss(i); }) / LaneSum(count, weight);
}

}  // namespace dipper::learn
