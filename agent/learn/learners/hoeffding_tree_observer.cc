// See hoeffding_tree_observer.h.
#include "agent/learn/learners/hoeffding_tree_observer.h"

#include <cmath>
#include <cstring>

#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr uint32_t kThresholds = 10;    // candidates between least and greatest value of a Gaussian observer
constexpr double kLeastShare = 0.01;    // weight that each side of a split must have
constexpr double kLargestTarget = 1e6;  // scaled targets, so that their float sums keep a range
constexpr float kLargestRange = 1e30F;  // values beyond count as this in a histogram

double Wide(float x) { return static_cast<double>(x); }

void AddMoments(float* triple, double value, double weight) {
  const double total = Wide(triple[0]) + weight;
  const double before = value - Wide(triple[1]);
  const double mean = Wide(triple[1]) + before * (weight / total);
  triple[0] = ToFloat(total);
  triple[1] = ToFloat(mean);
  const double square = Wide(triple[2]) + weight * before * (value - mean);
  triple[2] = square > 0.0 ? ToFloat(square) : 0.0F;  // rounding of the mean can make a zero term negative
}

void AddSums(float* triple, double target, double weight) {
  triple[0] = ToFloat(Wide(triple[0]) + weight);
  triple[1] = ToFloat(Wide(triple[1]) + weight * target);
  triple[2] = ToFloat(Wide(triple[2]) + weight * target * target);
}

/// Doubles a histogram's width, downwards or upwards.
void Fold(float* histogram, bool down) {
  float* bins = histogram + kHistogramHead;
  if (down) histogram[0] -= static_cast<float>(kBins) * histogram[1];
  histogram[1] *= 2.0F;
  const uint32_t half = kBins / 2;
  float merged[3 * half];
  for (uint32_t i = 0; i < 3 * half; ++i) {
    const float* pair = bins + i / 3 * 6 + i % 3;
    merged[i] = pair[0] + pair[3];
  }
  for (uint32_t i = 0; i < 3 * half; ++i) {
    bins[i + (down ? 3 * half : 0)] = merged[i];
    bins[i + (down ? 0 : 3 * half)] = 0.0F;
  }
}

/// Bin of x; the range grows at once while young, later only when enough weight has fallen outside.
uint32_t BinOf(float* histogram, float value, double seen, double weight) {
  const float x = value > kLargestRange ? kLargestRange : (value < -kLargestRange ? -kLargestRange : value);
  if (!(histogram[1] > 0.0F)) {
    const float size = std::fabs(x);
    histogram[1] = size > 1e-24F ? size * 0x1p-18F : 1e-30F;
    histogram[0] = x - histogram[1] * (static_cast<float>(kBins) / 2);
  }
  for (uint32_t folds = 0; folds < 256; ++folds) {
    const double position = (Wide(x) - Wide(histogram[0])) / Wide(histogram[1]);
    const bool below = position < 0.0;
    if (!below && position < static_cast<double>(kBins)) return SaturatingToInt<uint32_t>(position);
    float& clipped = histogram[below ? 2 : 3];
    const double outside = Wide(clipped) + (folds == 0 ? weight : 0.0);
    const bool young = seen < 32.0;
    if ((!young && outside < 0.02 * seen) || histogram[1] > 1e31F) {
      clipped = ToFloat(outside);
      return below ? 0 : kBins - 1;
    }
    Fold(histogram, below);
    clipped = young ? 0.0F : ToFloat(0.5 * outside);
  }
  return x < histogram[0] ? 0 : kBins - 1;
}

double Entropy(const double* weights, uint32_t classes, double total) {
  if (!(total > 0.0)) return 0.0;
  double sum = 0;
  for (uint32_t c = 0; c < classes; ++c) {
    if (weights[c] > 0.0) sum += weights[c] * Log(weights[c]);
  }
  return (Log(total) - sum / total) * 0x1.71547652b82fep+0;  // bits
}

double ShareBelow(const float* triple, double threshold) {
  const double weight = Wide(triple[0]);
  if (!(weight > 0.0)) return 0.0;
  const double deviation = std::sqrt(Wide(triple[2]) / weight);
  const double distance = threshold - Wide(triple[1]);
  if (!(deviation > 1e-30)) return distance > 0.0 ? 1.0 : 0.0;
  return 0.5 * (1.0 + Erf(distance / deviation * 0x1.6a09e667f3bcdp-1));
}

/// Gain of dividing `all` into `left` and the rest.
double Gain(const double* all, const double* left, uint32_t classes, double parent_entropy,
            double* left_share) {
  double right[kMaxOutputs];
  double total = 0;
  double left_total = 0;
  for (uint32_t c = 0; c < classes; ++c) {
    right[c] = all[c] > left[c] ? all[c] - left[c] : 0.0;
    total += all[c];
    left_total += left[c];
  }
  *left_share = left_total / total;
  if (*left_share < kLeastShare || *left_share > 1.0 - kLeastShare) return 0.0;
  return parent_entropy - *left_share * Entropy(left, classes, left_total) -
         (1.0 - *left_share) * Entropy(right, classes, total - left_total);
}

Candidate BestClassSplit(const InputInfo& info, const float* observer, uint32_t input, uint32_t classes) {
  Candidate best;
  double all[kMaxOutputs] = {};
  double left[kMaxOutputs] = {};
  double total = 0;
  const bool numeric = info.categories == 0;
  for (uint32_t v = 0; v < (numeric ? 1 : info.categories + 1); ++v) {
    for (uint32_t c = 0; c < classes; ++c)
      all[c] += Wide(numeric ? observer[2 + 3 * c] : observer[v * classes + c]);
  }
  for (uint32_t c = 0; c < classes; ++c) total += all[c];
  if (!(total > 0.0)) return best;
  const double entropy = Entropy(all, classes, total);
  const double least = Wide(observer[0]);
  const double step = (Wide(observer[1]) - least) / (kThresholds + 1);
  for (uint32_t k = 0; k < (numeric ? kThresholds : info.categories + 1); ++k) {
    const float threshold = numeric ? ToFloat(least + step * (k + 1)) : static_cast<float>(k);
    for (uint32_t c = 0; c < classes; ++c) {
      left[c] = numeric ? all[c] * ShareBelow(observer + 2 + 3 * c, Wide(threshold))
                        : Wide(observer[k * classes + c]);
    }
    double share = 0;
    const double gain = Gain(all, left, classes, entropy, &share);
    if (gain > best.merit) best = {gain, input, threshold, share};
  }
  return best;
}

struct Sums {
  double weight = 0;
  double sum = 0;
  double square = 0;
  void Add(const float* triple) {
    weight += Wide(triple[0]);
    sum += Wide(triple[1]);
    square += Wide(triple[2]);
  }
  Sums Without(const Sums& part) const {
    Sums rest;
    rest.weight = weight > part.weight ? weight - part.weight : 0.0;
    rest.sum = sum - part.sum;
    rest.square = square - part.square;
    return rest;
  }
  /// Squared deviations from the mean.
  double Deviations() const {
    const double deviations = weight > 0.0 ? square - sum * (sum / weight) : 0.0;
    return deviations > 0.0 ? deviations : 0.0;
  }
};

const float* Triples(const InputInfo& info, const float* observer) {
  return info.categories == 0 ? observer + kHistogramHead : observer;
}

/// Sums on the left of the split: bins below the edge, or the one value.
Sums LeftSums(const InputInfo& info, const float* observer, uint32_t edge) {
  Sums left;
  const float* triples = Triples(info, observer);
  if (info.categories != 0) {
    left.Add(triples + 3 * edge);
    return left;
  }
  for (uint32_t i = 0; i < edge; ++i) left.Add(triples + 3 * i);
  return left;
}

Sums AllSums(const InputInfo& info, const float* observer) {
  Sums all;
  const float* triples = Triples(info, observer);
  for (uint32_t i = 0; i < (info.categories == 0 ? kBins : info.categories + 1); ++i)
    all.Add(triples + 3 * i);
  return all;
}

float EdgeAt(const float* histogram, uint32_t edge) {
  return histogram[0] + histogram[1] * static_cast<float>(edge);
}

Candidate BestValueSplit(const InputInfo& info, const float* observer, uint32_t input) {
  Candidate best;
  const Sums all = AllSums(info, observer);
  const double before = all.Deviations();
  if (!(before > 0.0) || (info.categories == 0 && !(observer[1] > 0.0F))) return best;
  for (uint32_t k = info.categories == 0 ? 1 : 0; k < (info.categories == 0 ? kBins : info.categories + 1);
       ++k) {
    const Sums left = LeftSums(info, observer, k);
    const double share = left.weight / all.weight;
    if (share < kLeastShare || share > 1.0 - kLeastShare) continue;
    const double merit = 1.0 - (left.Deviations() + all.Without(left).Deviations()) / before;
    const float threshold = info.categories == 0 ? EdgeAt(observer, k) : static_cast<float>(k);
    if (merit > best.merit && IsFinite(threshold)) best = {merit, input, threshold, share};
  }
  return best;
}

}  // namespace

void ClearStats(const View& view, StatsHead* stats) {
  std::memset(stats, 0, view.header->stats_bytes);
  if (view.header->classification == 0) return;
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    if (view.inputs[i].categories != 0) continue;
    float* observer = View::observers(stats) + view.inputs[i].stats_float;
    observer[0] = kEmptyRange;
    observer[1] = -kEmptyRange;
  }
}

void Observe(const View& view, StatsHead* stats, std::span<const float> x, double y, double weight) {
  const TreeHeader& header = *view.header;
  const bool classification = header.classification != 0;
  float* observers = View::observers(stats);
  double target = y * stats->inverse_scale;
  target = target > kLargestTarget ? kLargestTarget : (target < -kLargestTarget ? -kLargestTarget : target);
  const uint32_t label = classification ? SaturatingToInt<uint32_t>(y) : 0;
  for (uint32_t i = 0; i < header.inputs; ++i) {
    if (!IsFinite(x[i])) continue;
    const InputInfo& info = view.inputs[i];
    float* observer = observers + info.stats_float;
    if (classification && info.categories == 0) {
      observer[0] = x[i] < observer[0] ? x[i] : observer[0];
      observer[1] = x[i] > observer[1] ? x[i] : observer[1];
      AddMoments(observer + 2 + 3 * label, Wide(x[i]), weight);
    } else if (classification) {
      float& count = observer[NominalValue(x[i], info.categories) * header.outputs + label];
      count = ToFloat(Wide(count) + weight);
    } else if (info.categories == 0) {
      const uint32_t bin = BinOf(observer, x[i], stats->weight, weight);
      AddSums(observer + kHistogramHead + 3 * bin, target, weight);
    } else {
      AddSums(observer + 3 * NominalValue(x[i], info.categories), target, weight);
    }
  }
  stats->weight += weight;
}

void BayesFactors(const InputInfo& info, const float* observer, float x, uint32_t classes, double* squares,
                  double* product) {
  if (info.categories != 0) {
    const float* counts = observer + NominalValue(x, info.categories) * classes;
    for (uint32_t c = 0; c < classes; ++c) {
      double total = 0;
      for (uint32_t v = 0; v <= info.categories; ++v) total += Wide(observer[v * classes + c]);
      product[c] *= (Wide(counts[c]) + 1.0) / (total + static_cast<double>(info.categories) + 1.0);
    }
    return;
  }
  // No deviation below a hundredth of the input's own range here: one repeated value would outvote
  // everything.
  const double range = Wide(observer[1]) - Wide(observer[0]);
  if (range < 0.0) return;  // nothing seen yet
  const double floor = range * range * 1e-4 + 1e-60;
  for (uint32_t c = 0; c < classes; ++c) {
    const float* triple = observer + 2 + 3 * c;
    const double weight = Wide(triple[0]);
    double deviation = range + 1e-30;
    if (weight > 0.0) {
      const double own = Wide(triple[2]) / weight;
      const double variance = own > floor ? own : floor;
      const double distance = Wide(x) - Wide(triple[1]);
      squares[c] += distance * distance / variance;
      deviation = std::sqrt(variance);
    }
    product[c] /= deviation;
  }
}

Candidate BestSplit(const View& view, StatsHead* stats, uint32_t input) {
  const InputInfo& info = view.inputs[input];
  const float* observer = View::observers(stats) + info.stats_float;
  return view.header->classification != 0 ? BestClassSplit(info, observer, input, view.header->outputs)
                                          : BestValueSplit(info, observer, input);
}

void LeftShares(const View& view, StatsHead* stats, const Candidate& split, std::span<double> shares) {
  const InputInfo& info = view.inputs[split.input];
  const float* observer = View::observers(stats) + info.stats_float;
  const uint32_t classes = view.header->outputs;
  for (uint32_t c = 0; c < classes; ++c) {
    double total = 0;
    double left = 0;
    if (info.categories == 0) {
      total = Wide(observer[2 + 3 * c]);
      left = total * ShareBelow(observer + 2 + 3 * c, Wide(split.threshold));
    } else {
      for (uint32_t v = 0; v <= info.categories; ++v) total += Wide(observer[v * classes + c]);
      left = Wide(observer[NominalValue(split.threshold, info.categories) * classes + c]);
    }
    shares[c] = total > 0.0 ? left / total : split.left_share;
  }
}

SideMoments SplitMoments(const View& view, StatsHead* stats, const Candidate& split) {
  const InputInfo& info = view.inputs[split.input];
  const float* observer = View::observers(stats) + info.stats_float;
  uint32_t edge = NominalValue(split.threshold, info.categories);
  if (info.categories == 0) {
    edge = 1;
    while (edge + 1 < kBins && EdgeAt(observer, edge) < split.threshold) ++edge;
  }
  const Sums all = AllSums(info, observer);
  const Sums left = LeftSums(info, observer, edge);
  const Sums side[2] = {left, all.Without(left)};
  SideMoments moments{};
  const double scale = stats->inverse_scale > 0.0 ? 1.0 / stats->inverse_scale : 0.0;
  for (uint32_t i = 0; i < 2; ++i) {
    moments.weight[i] = side[i].weight;
    moments.mean[i] = (side[i].weight > 0.0 ? side[i].sum / side[i].weight : 0.0) * scale;
    moments.square[i] = side[i].Deviations() * scale * scale;
  }
  return moments;
}

void InheritRanges(const View& view, const StatsHead* parent, StatsHead* child, const Candidate& split,
                   uint32_t side) {
  for (uint32_t i = 0; i < view.header->inputs; ++i) {
    const InputInfo& info = view.inputs[i];
    const float* from = View::observers(parent) + info.stats_float;
    float* to = View::observers(child) + info.stats_float;
    if (info.categories != 0) {
      std::memset(to, 0, (info.categories + 1) * 3 * sizeof(float));
      continue;
    }
    uint32_t first = 0;
    uint32_t end = kBins;
    while (first + 1 < end && !(from[kHistogramHead + 3 * first] > 0.0F)) ++first;
    while (end > first + 1 && !(from[kHistogramHead + 3 * (end - 1)] > 0.0F)) --end;
    float low = EdgeAt(from, first);
    float high = EdgeAt(from, end);
    if (i == split.input) (side == 0 ? high : low) = split.threshold;
    const float width = (high - low) / static_cast<float>(kBins);
    std::memset(to, 0, (kHistogramHead + 3 * kBins) * sizeof(float));
    if (!(width > std::fabs(low) * 0x1p-20F) || !IsFinite(width))
      continue;  // too narrow: let it find its range anew
    to[0] = low;
    to[1] = width;
  }
}

}  // namespace dipper::learn::tree
