// Observers of classes: Gaussians and counts; see hoeffding_tree_observer_kinds.h.
#include <cmath>

#include "agent/learn/learners/hoeffding_tree_observer_kinds.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::tree {
namespace {

constexpr uint32_t kThresholds = 12;  // candidates between least and greatest value of a Gaussian observer
// No deviation below a hundredth of the input's own range: one repeated value would outvote everything.
constexpr float kLeastDeviation = 0.01F;
constexpr float kLeastVariance = 1e-36F;
constexpr float kGreatestFloor = 1e36F;  // also of inputs never seen, whose range is minus infinity
constexpr float kLeastAdded = 1e-30F;    // weight of a label, so that the sum of any is positive
constexpr double kInherited = 8.0;       // labels per class that a parent's Gaussians count in a child
constexpr double kNatsPerBit = 0x1.62e42fefa39efp-1;

/// Least variance of four inputs with these ranges.
Quad Floor(Quad low, Quad high) {
  const Quad range = All(kLeastDeviation) * (high - low);
  return Smaller(Larger(range * range, All(kLeastVariance)), All(kGreatestFloor));
}

/// Binary logarithm of the product of a class's variances; the unused lanes add the same for all classes.
double LogVariances(const View& view, StatsHead* stats, uint32_t c) {
  const uint32_t stride = view.header->stride;
  const float* variance = view.gaussians(stats, c) + stride;
  return Wide(QuadSum(stride, [variance](uint32_t i) { return QuadLog2(LoadQuad(variance + i)); }));
}

/// Four splits at a time: shares of the leaf's weight by class on the left, their sum, and what entropy the
/// split takes away, in bits; 0 where a side has too little.
struct FourSplits {
  Quad left_share;
  Quad gain;
};

/// p log p of four shares; 0 of 0.
Quad Surprise(Quad share) { return share * QuadLog2(share); }

/// `all`: class shares; left(c): four times what part of class c goes left.
template <typename Left>
FourSplits Judge(const float* all, uint32_t classes, Left left) {
  Quad left_share = All(0.0F);
  Quad within = All(0.0F);
  float whole = 0;
  for (uint32_t c = 0; c < classes; ++c) {
    if (!(all[c] > 0.0F)) continue;
    const Quad own = All(all[c]);
    const Quad on_left = own * left(c);
    left_share += on_left;
    within += Surprise(on_left) + Surprise(own - on_left);
    whole += Surprise(own)[0];
  }
  const Quad right_share = All(1.0F) - left_share;
  const Quad gain = within - Surprise(left_share) - Surprise(Larger(right_share, All(0.0F))) - All(whole);
  const Quad least = All(kLeastShare);
  return {left_share, Smaller(left_share, right_share) < least ? All(0.0F) : gain};
}

/// Class shares of weights; false if there are none.
bool SharesOf(const double* weights, uint32_t classes, float* shares) {
  double total = 0;
  for (uint32_t c = 0; c < classes; ++c) total += weights[c];
  if (!(total > 0.0)) return false;
  for (uint32_t c = 0; c < classes; ++c) shares[c] = static_cast<float>(weights[c] / total);
  return true;
}

double ShareBelow(double mean, double variance, double threshold) {
  const double distance = threshold - mean;
  if (!(variance > 1e-60)) return distance > 0.0 ? 1.0 : 0.0;
  return 0.5 * (1.0 + Erf(distance / std::sqrt(variance) * 0x1.6a09e667f3bcdp-1));
}

void KeepBest(const FourSplits& four, uint32_t column, Quad thresholds, uint32_t count, Candidate* best) {
  for (uint32_t j = 0; j < count; ++j) {
    const double gain = Wide(four.gain[j]);
    if (gain > best->merit) *best = {gain, column, thresholds[j], Wide(four.left_share[j])};
  }
}

Candidate BestGaussianSplit(const View& view, StatsHead* stats, uint32_t column) {
  Candidate best;
  const uint32_t classes = view.header->outputs;
  const uint32_t stride = view.header->stride;
  const float least = view.ranges(stats)[column];
  const float step = (view.ranges(stats)[stride + column] - least) / static_cast<float>(kThresholds + 1);
  float all[kMaxOutputs];
  if (!(step > 0.0F) || !SharesOf(view.seen(stats), classes, all)) return best;
  float inverse[kMaxOutputs];
  for (uint32_t c = 0; c < classes; ++c) {
    const float variance = view.gaussians(stats, c)[stride + column];
    inverse[c] = 1.0F / std::sqrt(variance > kLeastVariance ? variance : kLeastVariance);
  }
  for (uint32_t k = 1; k <= kThresholds; k += 4) {
    const float first = static_cast<float>(k);
    const Quad thresholds = All(least) + All(step) * Quad{first, first + 1, first + 2, first + 3};
    const FourSplits four = Judge(all, classes, [&](uint32_t c) {
      return QuadNormalShare((thresholds - All(view.gaussians(stats, c)[column])) * All(inverse[c]));
    });
    KeepBest(four, column, thresholds, 4, &best);
  }
  return best;
}

Candidate BestCountSplit(const View& view, StatsHead* stats, uint32_t column) {
  Candidate best;
  const Column& info = view.columns[column];
  const uint32_t classes = view.header->outputs;
  const uint32_t values = info.categories + 1;
  const float* observer = view.nominal(stats, info);
  double weights[kMaxOutputs] = {};
  float all[kMaxOutputs];
  for (uint32_t v = 0; v < values; ++v) {
    for (uint32_t c = 0; c < classes; ++c) weights[c] += Wide(observer[v * classes + c]);
  }
  if (!SharesOf(weights, classes, all)) return best;
  for (uint32_t v = 0; v < values; v += 4) {
    const uint32_t count = values - v < 4 ? values - v : 4;
    const FourSplits four = Judge(all, classes, [&](uint32_t c) {
      Quad part = All(0.0F);
      for (uint32_t j = 0; j < count; ++j)
        part[j] = static_cast<float>(Wide(observer[(v + j) * classes + c]) / weights[c]);
      return part;
    });
    const float first = static_cast<float>(v);
    KeepBest(four, column, Quad{first, first + 1, first + 2, first + 3}, count, &best);
  }
  return best;
}

/// Adds the numeric inputs to the Gaussians of a class. Variances are kept at or above the floor of the
/// moment, so that nothing is left to do for it when they are read.
template <bool kMissing>
void AddGaussians(const View& view, StatsHead* stats, const Sample& sample, uint32_t label, double weight) {
  const uint32_t stride = view.header->stride;
  float* least = view.ranges(stats);
  float* greatest = least + stride;
  float* present = greatest + stride;
  float* means = view.gaussians(stats, label);
  float* variances = means + stride;
  // The share of the class's labels with this input is taken for that of all labels, which saves a count per
  // class and input.
  const Quad of_present = All(ToFloat(weight * ((stats->weight + weight) / view.seen(stats)[label])));
  const float heavy = static_cast<float>(weight);
  const Quad added = All(heavy > kLeastAdded ? heavy : kLeastAdded);
  for (uint32_t i = 0; i < stride; i += 4) {
    const Quad raw = LoadQuad(sample.value + i);
    const Quad low = Smaller(raw, LoadQuad(least + i));  // a missing raw keeps the other one
    const Quad high = Larger(raw, LoadQuad(greatest + i));
    StoreQuad(least + i, low);
    StoreQuad(greatest + i, high);
    const Quad there = kMissing ? (raw == raw ? All(1.0F) : All(0.0F)) : All(1.0F);
    const Quad total = LoadQuad(present + i) + (kMissing ? there * added : added);
    StoreQuad(present + i, total);
    const Quad share = Smaller(of_present / (kMissing ? Larger(total, All(kLeastAdded)) : total), All(1.0F));
    const Quad rate = kMissing ? share * there : share;
    Quad mean = LoadQuad(means + i);
    Quad variance = LoadQuad(variances + i);
    if (kMissing) {
      // What the class has never shown may be anywhere in the range.
      const Quad new_here = there + variance;
      mean = new_here > All(0.0F) ? mean : All(0.5F) * (low + high);
      variance = new_here > All(0.0F) ? variance : Smaller((high - low) * (high - low), All(kGreatestFloor));
    }
    const Quad before = (kMissing ? (raw == raw ? raw : mean) : raw) - mean;
    StoreQuad(means + i, mean + rate * before);
    StoreQuad(variances + i,
              Larger((All(1.0F) - rate) * (variance + rate * (before * before)), Floor(low, high)));
  }
}

void UpdateNorm(const View& view, StatsHead* stats, uint32_t label) {
  const double seen = Wide(FastLog2(ToFloat(view.seen(stats)[label])));
  view.norm(stats)[label] = kNatsPerBit * (seen - 0.5 * LogVariances(view, stats, label));
}

/// Logarithm of how often class c shows the value of a nominal input.
double NominalScore(const View& view, StatsHead* stats, const Column& info, float value, uint32_t c) {
  const uint32_t classes = view.header->outputs;
  const float* observer = view.nominal(stats, info);
  double total = 0;
  for (uint32_t v = 0; v <= info.categories; ++v) total += Wide(observer[v * classes + c]);
  const double own = Wide(observer[NominalValue(value, info.categories) * classes + c]);
  const double share = (own + 1.0) / (total + static_cast<double>(info.categories) + 1.0);
  return kNatsPerBit * Wide(FastLog2(static_cast<float>(share)));
}

/// Adds the nominal inputs to the scores.
void NominalScores(const View& view, StatsHead* stats, std::span<const float> x, std::span<double> out) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    const float value = x[info.input];
    if (!IsFinite(value)) continue;
    for (uint32_t c = 0; c < header.outputs; ++c) out[c] += NominalScore(view, stats, info, value, c);
  }
}

/// The norms count all inputs; takes those out that are missing.
void LeaveOutMissing(const View& view, StatsHead* stats, const Sample& sample, std::span<double> out) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < header.numeric; ++i) {
    if (IsFinite(sample.value[i])) continue;
    for (uint32_t c = 0; c < header.outputs; ++c) {
      out[c] += 0.5 * kNatsPerBit * Wide(FastLog2(view.gaussians(stats, c)[header.stride + i]));
    }
  }
}

/// Half the squared distance from a class's means, in its deviations.
template <bool kMissing>
double HalfDistance(const float* mean, uint32_t stride, const Sample& sample) {
  const float* value = sample.value;
  return 0.5 * Wide(QuadSum(stride, [=](uint32_t i) {
           const Quad raw = LoadQuad(value + i);
           const Quad own = LoadQuad(mean + i);
           const Quad distance = (kMissing ? (raw == raw ? raw : own) : raw) - own;
           return distance * distance / LoadQuad(mean + stride + i);
         }));
}

/// Moments of a normal variable given that it lies on one side of a threshold.
void Truncate(float* mean, float* variance, double threshold, uint32_t side) {
  const double deviation = std::sqrt(Wide(*variance));
  if (!(deviation > 1e-30)) return;
  const double sign = side == 0 ? 1.0 : -1.0;
  const double t = sign * (threshold - Wide(*mean)) / deviation;
  const double share = 0.5 * (1.0 + Erf(t * 0x1.6a09e667f3bcdp-1));
  if (share < 1e-3) {  // hardly anything there: close to the threshold
    *mean = ToFloat(threshold);
    *variance = *variance * 0.04F;
    *variance = *variance > kLeastVariance ? *variance : kLeastVariance;
    return;
  }
  const double ratio = Exp(-0.5 * t * t) * 0x1.9884533d43651p-2 / share;  // density over share
  const double left = 1.0 - t * ratio - ratio * ratio;
  const float moved = ToFloat(Wide(*mean) - sign * deviation * ratio);
  *mean =
      moved > kLargestObserved ? kLargestObserved : (moved < -kLargestObserved ? -kLargestObserved : moved);
  const float narrower = ToFloat(Wide(*variance) * (left > 0.01 ? left : 0.01));
  *variance = narrower > kLeastVariance ? narrower : kLeastVariance;
}

}  // namespace

void StartClasses(const View& view, StatsHead* stats) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < header.numeric; ++i) {
    view.ranges(stats)[i] = kEmptyRange;
    view.ranges(stats)[header.stride + i] = -kEmptyRange;
  }
}

void ObserveClass(const View& view, StatsHead* stats, const Sample& sample, uint32_t label, double weight) {
  const PoolHeader& header = *view.header;
  view.seen(stats)[label] += weight;
  if (sample.missing) {
    AddGaussians<true>(view, stats, sample, label, weight);
  } else {
    AddGaussians<false>(view, stats, sample, label, weight);
  }
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    const float value = sample.x[info.input];
    if (!IsFinite(value)) continue;
    float& count = view.nominal(stats, info)[NominalValue(value, info.categories) * header.outputs + label];
    count = ToFloat(Wide(count) + weight);
  }
  UpdateNorm(view, stats, label);
}

Candidate BestClassSplit(const View& view, StatsHead* stats, uint32_t column) {
  return column < view.header->numeric ? BestGaussianSplit(view, stats, column)
                                       : BestCountSplit(view, stats, column);
}

void InheritClasses(const View& view, StatsHead* child, const Candidate& split, uint32_t side) {
  const PoolHeader& header = *view.header;
  const uint32_t classes = header.outputs;
  const uint32_t stride = header.stride;
  double shares[kMaxOutputs];
  LeftShares(view, child, split, {shares, classes});
  double factor[kMaxOutputs];
  double before = 0;
  double after = 0;
  double* seen = view.seen(child);
  for (uint32_t c = 0; c < classes; ++c) {
    const double own = seen[c] * (side == 0 ? shares[c] : 1.0 - shares[c]);
    const double kept = own < kInherited ? own : kInherited;
    factor[c] = seen[c] > 0.0 ? kept / seen[c] : 0.0;
    before += seen[c];
    after += kept;
    seen[c] = kept;
  }
  const float shrink = ToFloat(before > 0.0 ? after / before : 0.0);
  float* ranges = view.ranges(child);
  for (uint32_t i = 0; i < stride; ++i) ranges[2 * stride + i] *= shrink;
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    float* counts = view.nominal(child, info);
    for (uint32_t v = 0; v <= info.categories; ++v) {
      const bool here = i != split.column || ((static_cast<float>(v) == split.threshold) == (side == 0));
      for (uint32_t c = 0; c < classes; ++c)
        counts[v * classes + c] = here ? ToFloat(Wide(counts[v * classes + c]) * factor[c]) : 0.0F;
    }
  }
  if (split.column < header.numeric) {
    ranges[(side == 0 ? stride : 0) + split.column] = split.threshold;
    for (uint32_t c = 0; c < classes; ++c) {
      float* mean = view.gaussians(child, c) + split.column;
      Truncate(mean, mean + stride, Wide(split.threshold), side);
    }
  }
  child->weight = after;
  for (uint32_t c = 0; c < classes; ++c) {
    if (seen[c] > 0.0) UpdateNorm(view, child, c);
  }
}

void BayesScores(const View& view, StatsHead* stats, const Sample& sample, std::span<double> out) {
  const PoolHeader& header = *view.header;
  const double* norm = view.norm(stats);
  const double* seen = view.seen(stats);
  const float* mean = view.gaussians(stats, 0);
  for (uint32_t c = 0; c < header.outputs; ++c, mean += 2 * header.stride) {
    out[c] = kUnseen;
    if (!(seen[c] > 0.0)) continue;
    out[c] = norm[c] - (sample.missing ? HalfDistance<true>(mean, header.stride, sample)
                                       : HalfDistance<false>(mean, header.stride, sample));
  }
  if (sample.missing) LeaveOutMissing(view, stats, sample, out);
  if (header.numeric < header.inputs) NominalScores(view, stats, sample.x, out);
}

double AddBayesTerms(const View& view, StatsHead* stats, const Sample& sample, uint32_t c, double scale,
                     std::span<double> terms) {
  const PoolHeader& header = *view.header;
  const float* mean = view.gaussians(stats, c);
  const float* variance = mean + header.stride;
  double sum = 0;
  for (uint32_t i = 0; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    double term = 0.0;
    if (i < header.numeric) {
      if (!IsFinite(sample.value[i])) continue;
      const double distance = Wide(sample.value[i]) - Wide(mean[i]);
      term = -0.5 * (distance * distance / Wide(variance[i]) + kNatsPerBit * Wide(FastLog2(variance[i])));
    } else if (const float value = sample.x[info.input]; IsFinite(value)) {
      term = NominalScore(view, stats, info, value, c);
    }
    sum += term;
    if (!terms.empty()) terms[info.input] += scale * term;
  }
  return sum;
}

void LeftShares(const View& view, StatsHead* stats, const Candidate& split, std::span<double> shares) {
  const Column& info = view.columns[split.column];
  const uint32_t classes = view.header->outputs;
  const double* seen = view.seen(stats);
  for (uint32_t c = 0; c < classes; ++c) {
    if (info.categories == 0) {
      const float* mean = view.gaussians(stats, c) + split.column;
      const double variance = Wide(mean[view.header->stride]);
      shares[c] =
          seen[c] > 0.0 ? ShareBelow(Wide(mean[0]), variance, Wide(split.threshold)) : split.left_share;
      continue;
    }
    const float* observer = view.nominal(stats, info);
    double total = 0;
    for (uint32_t v = 0; v <= info.categories; ++v) total += Wide(observer[v * classes + c]);
    const double left = Wide(observer[NominalValue(split.threshold, info.categories) * classes + c]);
    shares[c] = total > 0.0 ? left / total : split.left_share;
  }
}

}  // namespace dipper::learn::tree
