// Observers of values: histograms; see hoeffding_tree_observer_kinds.h.
#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_observer_kinds.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr double kLargestTarget = 1e6;  // scaled targets, so that their float sums keep a range
constexpr float kLargestRange = 1e30F;  // values beyond count as this in a histogram

void AddSums(float* triple, double target, double weight) {
  triple[0] = ToFloat(Wide(triple[0]) + weight);
  triple[1] = ToFloat(Wide(triple[1]) + weight * target);
  triple[2] = ToFloat(Wide(triple[2]) + weight * target * target);
}

/// Doubles a histogram's width, downwards or upwards.
void Fold(float* histogram, bool down) {
  float* bins = histogram + kHistogramHead;
  if (down) histogram[0] -= static_cast<float>(kBins) / histogram[1];
  histogram[1] *= 0.5F;
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

/// Bin of a value that is outside the range or the first one: the range grows at once while young, later only
/// when enough weight has fallen outside.
uint32_t OuterBin(float* histogram, float x, double seen, double weight) {
  if (!(histogram[1] > 0.0F)) {
    const float size = std::fabs(x);
    const float width = size > 1e-24F ? size * 0x1p-18F : 1e-30F;
    histogram[1] = 1.0F / width;
    histogram[0] = x - width * (static_cast<float>(kBins) / 2);
  }
  for (uint32_t folds = 0; folds < 256; ++folds) {
    const double position = (Wide(x) - Wide(histogram[0])) * Wide(histogram[1]);
    const bool below = position < 0.0;
    if (!below && position < static_cast<double>(kBins)) return SaturatingToInt<uint32_t>(position);
    float& clipped = histogram[below ? 2 : 3];
    const double outside = Wide(clipped) + (folds == 0 ? weight : 0.0);
    const bool young = seen < 32.0;
    if ((!young && outside < 0.02 * seen) || histogram[1] < 1e-31F) {
      clipped = ToFloat(outside);
      return below ? 0 : kBins - 1;
    }
    Fold(histogram, below);
    clipped = young ? 0.0F : ToFloat(0.5 * outside);
  }
  return x < histogram[0] ? 0 : kBins - 1;
}

uint32_t BinOf(float* histogram, float value, double seen, double weight) {
  const float x = value > kLargestRange ? kLargestRange : (value < -kLargestRange ? -kLargestRange : value);
  const double position = (Wide(x) - Wide(histogram[0])) * Wide(histogram[1]);
  if (histogram[1] > 0.0F && position >= 0.0 && position < static_cast<double>(kBins)) {
    return static_cast<uint32_t>(position);
  }
  return OuterBin(histogram, x, seen, weight);
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

/// The observer of a column in a regression leaf, or null if the leaf does not watch it.
float* ValueObserver(const View& view, StatsHead* stats, uint32_t column) {
  const Column& info = view.columns[column];
  if (info.categories != 0) return view.nominal(stats, info);
  const uint16_t* watched = view.watched(stats);
  for (uint32_t i = 0; i < view.header->watched; ++i) {
    if (watched[i] == column) return view.histogram(stats, i);
  }
  return nullptr;
}

const float* Triples(const Column& info, const float* observer) {
  return info.categories == 0 ? observer + kHistogramHead : observer;
}

/// Sums on the left of the split: bins below the edge, or the one value.
Sums LeftSums(const Column& info, const float* observer, uint32_t edge) {
  Sums left;
  const float* triples = Triples(info, observer);
  if (info.categories != 0) {
    left.Add(triples + 3 * edge);
    return left;
  }
  for (uint32_t i = 0; i < edge; ++i) left.Add(triples + 3 * i);
  return left;
}

Sums AllSums(const Column& info, const float* observer) {
  Sums all;
  const float* triples = Triples(info, observer);
  for (uint32_t i = 0; i < (info.categories == 0 ? kBins : info.categories + 1); ++i)
    all.Add(triples + 3 * i);
  return all;
}

float EdgeAt(const float* histogram, uint32_t edge) {
  return ToFloat(Wide(histogram[0]) + static_cast<double>(edge) / Wide(histogram[1]));
}

}  // namespace

void StartValues(const View& view, StatsHead* stats) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < header.watched; ++i) view.watched(stats)[i] = static_cast<uint16_t>(i);
}

void ObserveValue(const View& view, StatsHead* stats, std::span<const float> x, double y, double weight) {
  const PoolHeader& header = *view.header;
  double target = y * stats->inverse_scale;
  target = target > kLargestTarget ? kLargestTarget : (target < -kLargestTarget ? -kLargestTarget : target);
  const uint16_t* watched = view.watched(stats);
  for (uint32_t i = 0; i < header.watched; ++i) {
    const float value = x[view.columns[watched[i]].input];
    if (!IsFinite(value)) continue;
    float* observer = view.histogram(stats, i);
    const uint32_t bin = BinOf(observer, value, stats->weight, weight);
    AddSums(observer + kHistogramHead + 3 * bin, target, weight);
  }
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    const float value = x[info.input];
    if (!IsFinite(value)) continue;
    AddSums(view.nominal(stats, info) + 3 * NominalValue(value, info.categories), target, weight);
  }
}

Candidate BestValueSplit(const View& view, StatsHead* stats, uint32_t column) {
  Candidate best;
  const Column& info = view.columns[column];
  const float* observer = ValueObserver(view, stats, column);
  if (observer == nullptr) return best;
  const bool numeric = info.categories == 0;
  const Sums all = AllSums(info, observer);
  const double before = all.Deviations();
  if (!(before > 0.0) || (numeric && !(observer[1] > 0.0F))) return best;
  Sums below;
  for (uint32_t k = 0; k < (numeric ? kBins : info.categories + 1); ++k) {
    const Sums left = numeric ? below : LeftSums(info, observer, k);
    if (numeric) below.Add(observer + kHistogramHead + 3 * k);
    const double share = left.weight / all.weight;
    if (share < Wide(kLeastShare) || share > 1.0 - Wide(kLeastShare)) continue;
    const double merit = 1.0 - (left.Deviations() + all.Without(left).Deviations()) / before;
    const float threshold = numeric ? EdgeAt(observer, k) : static_cast<float>(k);
    if (merit > best.merit) best = {merit, column, threshold, share};
  }
  return best;
}

void InheritRanges(const View& view, StatsHead* parent, StatsHead* child, const Candidate& split,
                   uint32_t side) {
  const PoolHeader& header = *view.header;
  for (uint32_t i = 0; i < header.watched; ++i) {
    const uint32_t column = view.watched(child)[i];
    const float* from = ValueObserver(view, parent, column);
    float* to = view.histogram(child, i);
    if (from == nullptr || !(from[1] > 0.0F)) {
      std::memset(to, 0, kHistogramFloats * sizeof(float));
      continue;
    }
    uint32_t first = 0;
    uint32_t end = kBins;
    while (first + 1 < end && !(from[kHistogramHead + 3 * first] > 0.0F)) ++first;
    while (end > first + 1 && !(from[kHistogramHead + 3 * (end - 1)] > 0.0F)) --end;
    float low = EdgeAt(from, first);
    float high = EdgeAt(from, end);
    if (column == split.column) (side == 0 ? high : low) = split.threshold;
    const float width = (high - low) / static_cast<float>(kBins);
    std::memset(to, 0, kHistogramFloats * sizeof(float));
    // Too narrow: let it find its range anew.
    if (!(width > std::fabs(low) * 0x1p-20F) || !(width > 1e-36F) || !IsFinite(width)) continue;
    to[0] = low;
    to[1] = 1.0F / width;
  }
  for (uint32_t i = header.numeric; i < header.inputs; ++i) {
    const Column& info = view.columns[i];
    std::memset(view.nominal(child, info), 0, (info.categories + 1) * 3 * sizeof(float));
  }
  child->weight = 0;
}

SideMoments SplitMoments(const View& view, StatsHead* stats, const Candidate& split) {
  const Column& info = view.columns[split.column];
  const float* observer = ValueObserver(view, stats, split.column);
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

}  // namespace dipper::learn::tree
