// See conformal.h. State, then float ring[window] in the order of arrival and float sorted[window], the same
// scores ascending: one order statistic per answer and one rank per label, so an array kept in order by
// moving at most 4 W bytes beats any tree, and it is exact where a sketch is not.
#include "agent/learn/metrics/conformal.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kLeastWindow = 32;
constexpr uint32_t kMostWindow = 1024;
constexpr double kLargestScore = 1e38;  // as a float with room to spare
constexpr uint32_t kExperts = 8;
static_assert(kExperts == kLanes);
// Step sizes and the length of an interval for which the regret is tuned, as in the paper's experiments.
constexpr double kSteps[kExperts] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128};
constexpr double kRegretInterval = 500.0;
constexpr double kShare = 1.0 / (2.0 * kRegretInterval);
// exp(-x) as (1 - x / 16)^16, which is below it by x^2 / 32 of it and 0 from 16 on: the weights need no more.
constexpr double kExpTerms = 16.0;
// Late labels: largest relative step of the widening, the most that is on the way at a time, and its limits.
constexpr double kLateStep = 0.01;
constexpr double kLateSteps = 2.0;
constexpr double kWidest = 16.0;
constexpr double kLargestRadius = kLargestScore * kWidest;
// Fractions of the golden ratio fill [0, 1) evenly: ties are broken by them instead of by random numbers.
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

/// The paper's learning rate for a target miscoverage a: least regret over the interval while ranks are
/// uniform.
double LearningRate(double a) {
  const double b = 1.0 - a;
  const double spread = b * b * (a * a * a) + a * a * (b * b * b);
  return std::sqrt(3.0 / kRegretInterval * ((Log(2.0 * kExperts * kRegretInterval) + 1.0) / spread));
}

/// Whether `scores` are enough for a finite radius at the target; 10 (1 - 0.9) is a little less than 1.
bool Enough(uint32_t scores, double coverage) {
  return (static_cast<double>(scores) + 1.0) * (1.0 - coverage) >= 1.0 - 1e-9;
}

float Narrow(double score) {
  const double cut = score < kLargestScore ? score : kLargestScore;
  return static_cast<float>(cut > 0.0 ? cut : 0.0);
}

/// The next larger float, for x >= 0 and finite.
float NextAbove(float x) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) + 1U); }

/// How many of the ascending `values` are below `x`. Blocks first, then inside one: about as many compares as
/// places in a block, none of which waits for the one before or can be mispredicted.
uint32_t CountBelow(const float* values, uint32_t count, float x) {
  constexpr uint32_t kBlock = 16;
  uint32_t blocks = 0;
  for (uint32_t last = kBlock - 1; last < count; last += kBlock) blocks += values[last] < x ? 1 : 0;
  uint32_t below = blocks * kBlock;
  const uint32_t end = below + kBlock < count ? below + kBlock : count;
  for (uint32_t i = blocks * kBlock; i < end; ++i) below += values[i] < x ? 1 : 0;
  return below;
}

}  // namespace

struct Conformal::State {
  uint64_t labels;
  double weight;
  double covered;
  double bounded;  // weight of the bounded ones, and their widths
  double width;
  double faded_weight;
  double faded_covered;
  double faded_bounded;
  double faded_width;
  double rate;      // learning rate of the experts' weights
  double widening;  // factor of every radius issued, for labels that come late; 1 while they are prompt
  uint64_t phase;   // breaks the next tie, a fraction of 2^64
  uint32_t count;   // scores held
  uint32_t next;    // place of the next one in the ring; the oldest when full
  double level[kExperts];
  double share[kExperts];  // weights, sum 1
  uint64_t reserved;       // 0
};

base::Result<uint64_t> Conformal::StateBytes(const ConformalConfig& config) {
  static_assert(sizeof(State) == 112 + 16 * kExperts);
  const bool valid = config.coverage >= 0.5 && config.coverage <= 0.999 && config.window >= kLeastWindow &&
                     config.window <= kMostWindow && config.fading > 0.0 && config.fading <= 1.0;
  if (!valid || !Enough(config.window, config.coverage)) return base::Status::kInvalidArgument;
  return base::AlignUp(sizeof(State) + uint64_t{config.window} * 8, 16);
}

base::Status Conformal::Create(const ConformalConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  State state{};
  state.rate = LearningRate(1.0 - config.coverage);
  state.widening = 1.0;
  for (uint32_t k = 0; k < kExperts; ++k) {
    state.level[k] = 1.0 - config.coverage;
    state.share[k] = 1.0 / kExperts;
  }
  std::memcpy(memory.data(), &state, sizeof state);
  return base::Status::kOk;
}

base::Status Conformal::Validate(const ConformalConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  const double sums[] = {s.weight,       s.covered,       s.bounded,       s.width,
                         s.faded_weight, s.faded_covered, s.faded_bounded, s.faded_width};
  for (const double sum : sums) {
    if (!IsFinite(sum) || sum < 0.0) return base::Status::kDataLoss;
  }
  const bool full = s.count == config.window;
  if (!ValidCounts(s.labels) || s.count > config.window || s.next >= config.window ||
      (!full && s.next != s.count) || s.rate != LearningRate(1.0 - config.coverage) || s.reserved != 0 ||
      !(s.widening >= 1.0 / kWidest && s.widening <= kWidest))
    return base::Status::kDataLoss;
  double shares = 0;
  for (uint32_t k = 0; k < kExperts; ++k) {
    if (!(s.level[k] >= -1.0 && s.level[k] <= 2.0 && s.share[k] >= 0.0)) return base::Status::kDataLoss;
    shares += s.share[k];
  }
  if (!(std::fabs(shares - 1.0) < 1e-9)) return base::Status::kDataLoss;
  // The sorted scores are those of the ring, and what is not used yet is zero.
  std::array<float, kMostWindow> scores{};
  std::memcpy(scores.data(), memory.data() + sizeof(State), config.window * sizeof(float));
  for (uint32_t i = 0; i < config.window; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(scores[i]);
    if (!IsFinite(scores[i]) || (bits >> 31) != 0 || (i >= s.count && bits != 0))
      return base::Status::kDataLoss;
  }
  std::sort(scores.data(), scores.data() + s.count);
  const uint8_t* sorted = memory.data() + sizeof(State) + config.window * sizeof(float);
  if (std::memcmp(scores.data(), sorted, config.window * sizeof(float)) != 0) return base::Status::kDataLoss;
  const uint8_t* rest = memory.data() + sizeof(State) + uint64_t{config.window} * 8;
  for (; rest < memory.data() + bytes; ++rest) {
    if (*rest != 0) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

Conformal::Conformal(const ConformalConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline Conformal::State& Conformal::state() const { return *PlaceOf<State>(memory_); }
inline float* Conformal::ring() const { return PlaceOf<float>(memory_ + sizeof(State)); }
inline float* Conformal::sorted() const { return ring() + config_.window; }

inline double Conformal::Level() const {
  const State& s = state();
  return PairDot(s.share, s.level, kExperts);
}

inline double Conformal::Radius(double level) const {
  const double scores = static_cast<double>(state().count);
  if (level <= 0.0 || !Enough(state().count, config_.coverage)) return kUnbounded;
  // Between the order statistics around place (1 - level) (n + 1), so that the level is met in the mean.
  const double place = (1.0 - level) * (scores + 1.0);
  if (!(place > 0.0)) return 0.0;  // every score is too many
  const float* order = sorted();
  if (place >= scores) return static_cast<double>(order[state().count - 1]);
  const auto below = static_cast<uint32_t>(place);
  const double low = below == 0 ? 0.0 : static_cast<double>(order[below - 1]);
  const double high = static_cast<double>(order[below]);
  return low + (high - low) * (place - static_cast<double>(below));
}

double Conformal::Issue() const {
  const double radius = Radius(Level());
  return Unbounded(radius) ? radius : radius * state().widening;
}

uint64_t Conformal::Set(std::span<const double> probabilities, double issued) {
  uint64_t set = 0;
  for (size_t c = 0; c < probabilities.size() && c < 64; ++c) {
    const bool in = Unbounded(issued) || static_cast<double>(Narrow(1.0 - probabilities[c])) <= issued;
    set |= uint64_t{in} << c;
  }
  return set;
}

Conformal::Outcome Conformal::UpdateValue(double answer, double actual, double issued, uint64_t late,
                                          double weight) {
  const float score = Narrow(std::fabs(actual - answer));
  Outcome outcome;
  outcome.unbounded = Unbounded(issued);
  outcome.covered = outcome.unbounded || static_cast<double>(score) <= issued;
  outcome.width = outcome.unbounded ? 0.0 : 2.0 * (issued < kLargestRadius ? issued : kLargestRadius);
  if (!(weight > 0.0)) return outcome;
  Count(outcome, weight);
  Correct(score, outcome, late);
  Learn(score);
  return outcome;
}

Conformal::Outcome Conformal::UpdateClass(std::span<const double> probabilities, uint32_t actual,
                                          double issued, uint64_t late, double weight) {
  DIPPER_CHECK(actual < probabilities.size());
  const uint64_t set = Set(probabilities, issued);
  Outcome outcome;
  outcome.unbounded = Unbounded(issued);
  outcome.covered = ((set >> actual) & 1) != 0;
  outcome.width = outcome.unbounded ? 0.0 : static_cast<double>(std::popcount(set));
  if (!(weight > 0.0)) return outcome;
  Count(outcome, weight);
  const float score = Narrow(1.0 - probabilities[actual]);
  Correct(score, outcome, late);
  Learn(score);
  return outcome;
}

inline void Conformal::Count(const Outcome& outcome, double weight) {
  State& s = state();
  const double covered = outcome.covered ? weight : 0.0;
  const double bounded = outcome.unbounded ? 0.0 : weight;
  s.labels += 1;
  s.weight += weight;
  s.covered += covered;
  s.bounded += bounded;
  s.width += weight * outcome.width;
  s.faded_weight = s.faded_weight * config_.fading + weight;
  s.faded_covered = s.faded_covered * config_.fading + covered;
  s.faded_bounded = s.faded_bounded * config_.fading + bounded;
  s.faded_width = s.faded_width * config_.fading + weight * outcome.width;
}

inline void Conformal::Correct(float score, const Outcome& outcome, uint64_t late) {
  State& s = state();
  if (late == 0) {
    // The experts see themselves how this one fared.
    s.widening += kLateStep * (1.0 - s.widening);
    if (std::fabs(s.widening - 1.0) < kLateStep) s.widening = 1.0;
    return;
  }
  if (outcome.unbounded) return;  // a factor would have changed nothing
  // What was issued then missed, and what the experts would issue now would not: they never see that. A step
  // shows its effect only when the labels come, so all steps on the way together are at most
  // kLateSteps.
  const double now = Radius(Level());
  const bool misses = !Unbounded(now) && static_cast<double>(score) > now;
  const double more = (outcome.covered ? 0.0 : 1.0) - (misses ? 1.0 : 0.0);
  const double share = kLateSteps / static_cast<double>(late);
  const double widening = s.widening * (1.0 + (share < kLateStep ? share : kLateStep) * more);
  s.widening = widening > kWidest ? kWidest : (widening < 1.0 / kWidest ? 1.0 / kWidest : widening);
}

inline void Conformal::Learn(float score) {
  State& s = state();
  const uint32_t below = CountBelow(sorted(), s.count, score);
  if (s.count > 0) {
    // The score's rank from above among the window's and itself, as a share: the largest level at which it
    // would have been covered. Ties count in part, so that it is uniform while nothing changes.
    const bool tied = below < s.count && sorted()[below] == score;
    const uint32_t ties = tied ? CountBelow(sorted(), s.count, NextAbove(score)) - below : 0;
    s.phase += kGolden;
    const double part = static_cast<double>(s.phase >> 11) * 0x1p-53;
    const double above = static_cast<double>(s.count - below - ties);
    Follow((above + part * (static_cast<double>(ties) + 1.0)) / (static_cast<double>(s.count) + 1.0));
  }
  Keep(score, below);
}

inline void Conformal::Follow(double rank) {
  State& s = state();
  const double target = 1.0 - config_.coverage;
  constexpr uint32_t kPairs = kExperts / 2;
  Pair loss[kPairs];
  Pair least = Both(2.0);
  for (uint32_t k = 0; k < kPairs; ++k) {
    // Pinball loss of the level against the rank.
    const Pair ahead = Both(rank) - LoadPair(s.level + 2 * k);
    loss[k] = Larger(Both(target) * ahead, Both(target - 1.0) * ahead);
    least = Smaller(loss[k], least);
  }
  least = Smaller(least, Pair{least[1], least[0]});
  const Pair rate = Both(s.rate / kExpTerms);
  PairLanes sum;
  Pair weight[kPairs];
  for (uint32_t k = 0; k < kPairs; ++k) {
    Pair factor = Larger(Both(1.0) - rate * (loss[k] - least), Both(0.0));
    factor *= factor;
    factor *= factor;
    factor *= factor;
    weight[k] = LoadPair(s.share + 2 * k) * (factor * factor);
    sum.lane[k] = weight[k];
  }
  const Pair scale = Both((1.0 - kShare) / sum.Combine());
  for (uint32_t k = 0; k < kPairs; ++k) {
    StorePair(s.share + 2 * k, scale * weight[k] + Both(kShare / kExperts));
    const Pair level = LoadPair(s.level + 2 * k);
    const Pair move = level >= Both(rank) ? Both(target - 1.0) : Both(target);
    StorePair(s.level + 2 * k, level + LoadPair(kSteps + 2 * k) * move);
  }
}

inline void Conformal::Keep(float score, uint32_t in) {
  State& s = state();
  float* order = sorted();
  if (s.count < config_.window) {
    std::memmove(order + in + 1, order + in, (s.count - in) * sizeof(float));
    order[in] = score;
    s.count += 1;
  } else {
    // The oldest leaves, the new one enters: only what lies between them moves.
    const uint32_t out = CountBelow(order, s.count, ring()[s.next]);
    if (in > out) {
      std::memmove(order + out, order + out + 1, (in - out - 1) * sizeof(float));
      order[in - 1] = score;
    } else {
      std::memmove(order + in + 1, order + in, (out - in) * sizeof(float));
      order[in] = score;
    }
  }
  ring()[s.next] = score;
  s.next = s.next + 1 == config_.window ? 0 : s.next + 1;
}

Conformal::Summary Conformal::Read() const {
  const State& s = state();
  Summary out;
  out.labels = s.labels;
  out.coverage = Ratio(s.covered, s.weight);
  out.width = Ratio(s.width, s.bounded);
  out.unbounded = Ratio(s.weight - s.bounded, s.weight);
  out.faded_coverage = Ratio(s.faded_covered, s.faded_weight);
  out.faded_width = Ratio(s.faded_width, s.faded_bounded);
  out.faded_unbounded = Ratio(s.faded_weight - s.faded_bounded, s.faded_weight);
  out.radius = Issue();
  out.level = Level();
  return out;
}

}  // namespace dipper::learn
