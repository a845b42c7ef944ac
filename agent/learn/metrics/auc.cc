// See auc.h.
#include "agent/learn/metrics/auc.h"

#include <algorithm>
#include <cstring>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

struct AucWindow::State {
  uint32_t window;
  uint32_t count;
  uint32_t next;  // place of the next pair; the oldest one when full
  uint32_t positives;
};
// After it: double score[window], then uint8 label[window], zero-filled to 16.

base::Result<uint64_t> AucWindow::StateBytes(const AucWindowConfig& config) {
  static_assert(sizeof(State) == 16);
  if (config.window < 1 || config.window > 65536) return base::Status::kInvalidArgument;
  return base::AlignUp(sizeof(State) + uint64_t{config.window} * 9, 16);
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
  uint32_t positives = 0;
  for (uint32_t i = 0; i < config.window; ++i) {
    if (!IsFinite(base::Load<double>(memory.data() + sizeof(State) + i * sizeof(double))))
      return base::Status::kDataLoss;
    const uint8_t label = memory[sizeof(State) + config.window * sizeof(double) + i];
    if (label > 1 || (label == 1 && i >= s.count)) return base::Status::kDataLoss;
    positives += label;
  }
  return positives == s.positives ? base::Status::kOk : base::Status::kDataLoss;
}

AucWindow::AucWindow(const AucWindowConfig& config, base::MutableBytes memory)
    : window_(config.window), memory_(memory.data()) {}

AucWindow::State& AucWindow::state() const { return *PlaceOf<State>(memory_); }
double* AucWindow::scores() const { return PlaceOf<double>(memory_ + sizeof(State)); }
uint8_t* AucWindow::labels() const { return memory_ + sizeof(State) + window_ * sizeof(double); }

void AucWindow::Add(double score, bool positive) {
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

double AucWindow::Read(std::span<uint32_t> scratch) const {
  const State& s = state();
  DIPPER_CHECK(scratch.size() >= s.count);
  const uint64_t negatives = s.count - s.positives;
  if (s.positives == 0 || negatives == 0) return CanonicalNan();
  for (uint32_t i = 0; i < s.count; ++i) scratch[i] = i;
  const double* score = scores();
  const uint8_t* label = labels();
  std::sort(scratch.begin(), scratch.begin() + s.count,
            [score](uint32_t a, uint32_t b) { return score[a] != score[b] ? score[a] < score[b] : a < b; });
  // Twice the number of (positive, negative) pairs in the right order, ties counting once: an exact integer.
  uint64_t twice = 0;
  uint64_t below = 0;
  for (uint32_t i = 0; i < s.count;) {
    uint64_t tied_positives = 0;
    uint64_t tied_negatives = 0;
    const double value = score[scratch[i]];
    for (; i < s.count && score[scratch[i]] == value; ++i) {
      tied_positives += label[scratch[i]];
      tied_negatives += 1U - label[scratch[i]];
    }
    twice += tied_positives * (2 * below + tied_negatives);
    below += tied_negatives;
  }
  return static_cast<double>(twice) /
         (2.0 * static_cast<double>(s.positives) * static_cast<double>(negatives));
}

}  // namespace dipper::learn
