// See standard_scaler.h.
#include "agent/learn/stages/standard_scaler.h"

#include <cmath>

#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr double kOutlierDeviations = 20.0;
constexpr double kOutlierCount = 30.0;
// Counts stop here by themselves: adding 1 no longer changes them.
constexpr double kLargestCount = 0x1p53;
// A deviation below this part of the mean is float32 rounding, not variation.
constexpr double kFlatRelativeVariance = 1e-14;
constexpr double kFlatVariance = 1e-70;

// Inputs are taken four at a time, as two pairs.
constexpr size_t kBlock = 4;
// The inverse deviation follows the variance by the series of (1 - change)^(-1/2) up to the third power. For
// a change of at most 2^-6 of the variance that leaves 35/128 2^-24 = 1.6e-8 of it, less than float32 shows,
// and the next step starts from that, so errors do not add up. A larger change takes the root.
constexpr double kLargestChange = 0x1p-6;
// What a stored inverse may be off, relative to the variance: twice the above, and room for rounding.
constexpr double kInverseTolerance = 0x1p-24;

// The state of four inputs; those that pad the last block are 0, or what a constant 0 makes of them.
struct Block {
  double count[kBlock];
  double mean[kBlock];
  double variance[kBlock];
  double inverse[kBlock];  // 1 / deviation; 0: no value yet
};
static_assert(sizeof(Block) == 128);

uint64_t Blocks(const StandardScalerConfig& config) {
  return base::AlignUp(config.inputs.size(), kBlock) / kBlock;
}

// Two neighbours of a block.
struct Moments {
  Pair count;
  Pair mean;
  Pair variance;
  Pair inverse;
};

Moments LoadMoments(const Block& block, size_t at) {
  return {LoadAligned(block.count + at), LoadAligned(block.mean + at), LoadAligned(block.variance + at),
          LoadAligned(block.inverse + at)};
}

void StoreMoments(const Moments& m, Block* block, size_t at) {
  StoreAligned(block->count + at, m.count);
  StoreAligned(block->mean + at, m.mean);
  StoreAligned(block->variance + at, m.variance);
  StoreAligned(block->inverse + at, m.inverse);
}

// What one call knows about every input.
struct Rule {
  bool learn;
  Pair slowest;      // least share of a value in the moments
  Pair least, most;  // of scaled values
  Pair common;       // the count that most inputs have after this value,
  Pair rate;         // and the value's share with it
};

Pair Floored(Pair variance) { return Larger(variance, Both(kFlatVariance)); }

// How far `inverse` is off for this variance, and what follows it.
Pair ChangeOf(Pair floored, Pair inverse) { return Both(1.0) - floored * inverse * inverse; }
Pair Follow(Pair inverse, Pair change) {
  const Pair series = Both(0.5) + change * (Both(0.375) + change * Both(0.3125));
  return inverse + inverse * change * series;
}

Pair ScaleAndCut(Pair deviation, const Moments& m, const Rule& rule) {
  const Pair cut = Larger(Smaller(deviation * m.inverse, rule.most), rule.least);
  return OrZero(m.variance > Both(kFlatRelativeVariance) * (m.mean * m.mean), cut);
}

// A value further than 20 deviations from the mean counts as 20.
Pair Tame(Pair deviation, const Moments& m) {
  const Pair bound_squared = Both(kOutlierDeviations * kOutlierDeviations) * m.variance;
  const PairBits far = deviation * deviation > bound_squared;
  const PairBits sure = (m.count >= Both(kOutlierCount)) & (m.variance > Both(0.0));
  const Pair bound = SquareRoot(bound_squared);
  const Pair tamed = Larger(Smaller(deviation, bound), -bound);
  return (far & sure) ? tamed : deviation;
}

// One pair in full: missing values, outliers, inputs with counts of their own, large changes.
[[gnu::noinline]] Pair ApplyPair(Pair value, const Rule& rule, Block* block, size_t at) {
  Moments m = LoadMoments(*block, at);
  const PairBits present = value == value;
  if (rule.learn) {
    const Pair deviation = Tame(OrZero(present, value - m.mean), m);
    m.count += OrZero(present, Both(1.0));
    const Pair rate = OrZero(present, Larger(Both(1.0) / Larger(m.count, Both(1.0)), rule.slowest));
    const Pair step = rate * deviation;
    m.mean += step;
    m.variance = (Both(1.0) - rate) * (m.variance + step * deviation);
    const Pair floored = Floored(m.variance);
    const Pair change = ChangeOf(floored, m.inverse);
    const PairBits near = Absolute(change) <= Both(kLargestChange);
    m.inverse = near ? Follow(m.inverse, change) : Both(1.0) / SquareRoot(floored);
    StoreMoments(m, block, at);
  }
  return OrZero(present, ScaleAndCut(value - m.mean, m, rule));
}

// What ApplyPair comes to while nothing special happens: present values, no outlier, a small change. Returns
// whether that was so; if not, `m` and `scaled` are void. m.count is the new one, `rate` its value's share.
inline PairBits LearnPlainly(Pair value, Pair rate, const Rule& rule, Moments* m, Pair* scaled) {
  const Pair deviation = value - m->mean;
  const Pair bound_squared = Both(kOutlierDeviations * kOutlierDeviations) * m->variance;
  const PairBits usual = deviation * deviation <= bound_squared;  // not so for NaN
  const Pair step = rate * deviation;
  m->mean += step;
  m->variance = (Both(1.0) - rate) * (m->variance + step * deviation);
  const Pair change = ChangeOf(Floored(m->variance), m->inverse);
  m->inverse = Follow(m->inverse, change);
  *scaled = ScaleAndCut(value - m->mean, *m, rule);
  return BothTrue(usual, Absolute(change) <= Both(kLargestChange));
}

// Four neighbouring values, scaled in place.
inline void ApplyBlock(const Rule& rule, Block* block, float* values) {
  const Pair first = GatherFloats(values[0], values[1]);
  const Pair second = GatherFloats(values[2], values[3]);
  if (rule.learn) {
    Moments m1 = LoadMoments(*block, 0);
    Moments m2 = LoadMoments(*block, 2);
    Pair scaled1;
    Pair scaled2;
    m1.count += Both(1.0);
    m2.count += Both(1.0);
    Pair rate1 = rule.rate;
    Pair rate2 = rule.rate;
    if (!AllTrue(BothTrue(m1.count == rule.common, m2.count == rule.common))) {
      rate1 = Larger(Both(1.0) / m1.count, rule.slowest);
      rate2 = Larger(Both(1.0) / m2.count, rule.slowest);
    }
    const PairBits plain1 = LearnPlainly(first, rate1, rule, &m1, &scaled1);
    const PairBits plain2 = LearnPlainly(second, rate2, rule, &m2, &scaled2);
    if (AllTrue(BothTrue(plain1, plain2))) [[likely]] {
      StoreMoments(m1, block, 0);
      StoreMoments(m2, block, 2);
      StoreFloats(values, scaled1);
      StoreFloats(values + 2, scaled2);
      return;
    }
  }
  StoreFloats(values, ApplyPair(first, rule, block, 0));
  StoreFloats(values + 2, ApplyPair(second, rule, block, 2));
}

bool GoodInverse(double variance, double inverse) {
  if (inverse == 0.0) return true;
  const double floored = variance > kFlatVariance ? variance : kFlatVariance;
  return inverse > 0.0 && std::fabs(1.0 - floored * inverse * inverse) <= kInverseTolerance;
}

}  // namespace

base::Result<uint64_t> StandardScaler::StateBytes(const StandardScalerConfig& config) {
  if (!(config.decay >= 0.0 && config.decay < 1.0) || !(config.clip >= 0.0 && config.clip <= 1e6)) {
    return base::Status::kInvalidArgument;
  }
  for (const uint16_t input : config.inputs) {
    if (input >= config.width) return base::Status::kInvalidArgument;
  }
  return sizeof(Block) * Blocks(config);
}

base::Status StandardScaler::Create(const StandardScalerConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status StandardScaler::Validate(const StandardScalerConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const Block* blocks = PlaceOf<Block>(memory.data());
  for (uint64_t i = 0; i < Blocks(config) * kBlock; ++i) {
    const Block& block = blocks[i / kBlock];
    const uint64_t at = i % kBlock;
    const bool good = block.count[at] >= 0.0 && block.count[at] <= kLargestCount &&
                      std::floor(block.count[at]) == block.count[at] && block.mean[at] >= -1e31 &&
                      block.mean[at] <= 1e31 && block.variance[at] >= 0.0 && block.variance[at] <= 1e66 &&
                      GoodInverse(block.variance[at], block.inverse[at]);
    if (!good) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

void StandardScaler::Apply(StageMode mode, float* row) const {
  const uint16_t* inputs = config_.inputs.data();
  const size_t count = config_.inputs.size();
  Block* block = PlaceOf<Block>(memory_);
  const double limit = config_.clip > 0.0 ? config_.clip : static_cast<double>(3e38F);
  const Pair slowest = Both(config_.decay > 0.0 ? 1.0 - config_.decay : 0.0);
  // All inputs mostly have the same count, so one division serves them all.
  const Pair common = Both((count > 0 ? block->count[0] : 0.0) + 1.0);
  const Rule rule = {mode == StageMode::kLearn,          slowest, Both(-limit), Both(limit), common,
                     Larger(Both(1.0) / common, slowest)};
  for (size_t i = 0; i < count; i += kBlock, ++block) {
    const uint16_t* chosen = inputs + i;
    // Ascending, so these are neighbours if first and last are right; others are gathered first.
    const bool neighbours = i + kBlock <= count && chosen[3] == chosen[0] + 3;
    float gathered[kBlock];
    float* values = neighbours ? row + chosen[0] : gathered;
    if (!neighbours) [[unlikely]] {
      for (size_t j = 0; j < kBlock; ++j) gathered[j] = i + j < count ? row[chosen[j]] : 0.0F;
    }
    ApplyBlock(rule, block, values);
    if (!neighbours) [[unlikely]] {
      for (size_t j = 0; j < kBlock && i + j < count; ++j) row[chosen[j]] = gathered[j];
    }
  }
}

}  // namespace dipper::learn
