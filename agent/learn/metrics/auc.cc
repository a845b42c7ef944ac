// See auc.h.
#include "agent/learn/metrics/auc.h"

#include <algorithm>
#include <cstring>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr double kLargestWeight = 1e30;

uint64_t PairBytes(const AucWindowConfig& config) {
  return sizeof(double) + sizeof(uint8_t) + (config.weighted ? sizeof(float) : 0);
}

}  // namespace

struct AucWindow::State {
  uint32_t window;
  uint32_t count;
  uint32_t next;  // place of the next pair; the oldest one when full
  uint32_t positives;
};
// After it: double score[window], if weighted float weight[window], uint8 label[window], zero-filled to 16.

base::Result<uint64_t> AucWindow::StateBytes(const AucWindowConfig& config) {
  static_assert(sizeof(State) == 16);
  if (config.window < 1 || config.window > 65536) return base::Status::kInvalidArgument;
  return base::AlignUp(sizeof(State) + config.window * PairBytes(config), 16);
}

base::Status AucWindow::Create(const AucWindowConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  const State state = {config.window, 0, 0, 0};
  std::memcpy(memory.data(), &state, sizeof state);
  return base::Status::kOk;
}

base::Status AucWindow::Validate(const AucWindowConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  const bool full = s.count == config.window;
  if (s.window != config.window || s.count > config.window || s.next >= config.window)
    return base::Status::kDataLoss;
  if (!full && s.next != s.count) return base::Status::kDataLoss;
  const AucWindow part(config, {const_cast<uint8_t*>(memory.data()), memory.size()});  // reads only
  uint32_t positives = 0;
  for (uint32_t i = 0; i < config.window; ++i) {
    const uint8_t label = part.labels()[i];
    const double weight = part.WeightOf(i);
    const bool held = i < s.count;
    if (!IsFinite(part.scores()[i]) || label > 1 || (label == 1 && !held)) return base::Status::kDataLoss;
    if (config.weighted && !(held ? weight > 0.0 && weight <= 2.0 * kLargestWeight : weight == 0.0)) {
      return base::Status::kDataLoss;
    }
    positives += label;
  }
  const uint8_t* rest = part.labels() + config.window;
  for (; rest < memory.data() + bytes; ++rest) {
    if (*rest != 0) return base::Status::kDataLoss;
  }
  return positives == s.positives ? base::Status::kOk : base::Status::kDataLoss;
}

AucWindow::AucWindow(const AucWindowConfig& config, base::MutableBytes memory)
    : window_(config.window), weighted_(config.weighted), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline AucWindow::State& AucWindow::state() const { return *PlaceOf<State>(memory_); }
inline double* AucWindow::scores() const { return PlaceOf<double>(memory_ + sizeof(State)); }
inline float* AucWindow::weights() const {
  return PlaceOf<float>(memory_ + sizeof(State) + window_ * sizeof(double));
}
inline uint8_t* AucWindow::labels() const {
  return memory_ + sizeof(State) + window_ * (sizeof(double) + (weighted_ ? sizeof(float) : 0));
}
inline double AucWindow::WeightOf(uint32_t place) const {
  return weighted_ ? static_cast<double>(weights()[place]) : 1.0;
}

void AucWindow::Add(double score, bool positive, double weight) {
  if (weighted_) {
    const float narrow = static_cast<float>(weight < kLargestWeight ? weight : kLargestWeight);
    if (!(narrow > 0.0F)) return;  // 0, or nothing left of it
    weights()[state().next] = narrow;
  } else if (!(weight > 0.0)) {
    return;
  }
  State& s = state();
  if (s.count == window_) {
    s.positives -= labels()[s.next];
  } else {
    s.count += 1;
  }
  scores()[s.next] = score;
  labels()[s.next] = positive ? 1 : 0;
  s.positives += positive ? 1 : 0;
  s.next = s.next + 1 == window_ ? 0 : s.next + 1;
}

uint32_t AucWindow::count() const { return state().count; }
uint32_t AucWindow::positives() const { return state().positives; }

AucWindow::Areas AucWindow::ReadAreas(std::span<uint32_t> scratch) const {
  const State& s = state();
  DIPPER_CHECK(scratch.size() >= s.count);
  if (s.positives == 0 || s.positives == s.count) return {CanonicalNan(), CanonicalNan()};
  const double* score = scores();
  const uint8_t* label = labels();
  double positives = 0;
  double negatives = 0;
  for (uint32_t i = 0; i < s.count; ++i) {
    scratch[i] = i;
    (label[i] != 0 ? positives : negatives) += WeightOf(i);
  }
  std::sort(scratch.data(), scratch.data() + s.count,
            [score](uint32_t a, uint32_t b) { return score[a] != score[b] ? score[a] < score[b] : a < b; });
  // Twice the weight of (positive, negative) pairs in the right order, ties counting once; with weights of 1
  // all sums are exact integers.
  double twice = 0;
  double precisions = 0;
  double positives_below = 0;
  double negatives_below = 0;
  for (uint32_t i = 0; i < s.count;) {
    double tied_positives = 0;
    double tied_negatives = 0;
    const double value = score[scratch[i]];
    for (; i < s.count && score[scratch[i]] == value; ++i) {
      (label[scratch[i]] != 0 ? tied_positives : tied_negatives) += WeightOf(scratch[i]);
    }
    twice += tied_positives * (2.0 * negatives_below + tied_negatives);
    if (tied_positives > 0.0) {
      // With weights, rounding could leave less than what is counted now.
      const double rest = positives - positives_below;
      const double right = rest > tied_positives ? rest : tied_positives;
      const double wrong = negatives - negatives_below;
      precisions += tied_positives * (right / (right + (wrong > 0.0 ? wrong : 0.0)));
    }
    positives_below += tied_positives;
    negatives_below += tied_negatives;
  }
  return {twice / (2.0 * positives * negatives), precisions / positives};
}

}  // namespace dipper::learn
