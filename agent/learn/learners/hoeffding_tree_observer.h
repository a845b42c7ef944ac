// What a Hoeffding tree's leaf remembers of each input, and the splits that these memories suggest: Gaussians
// per class, counts per nominal value, and for regression a histogram of 16 bins whose range doubles by
// folding pairs of bins. Internal to hoeffding_tree*. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"

namespace dipper::learn::tree {

/// Narrows to float; beyond its range the end of the range, so that sums never become infinite.
inline float ToFloat(double x) {
  constexpr double kLargest = 3e38;
  return static_cast<float>(x > kLargest ? kLargest : (x < -kLargest ? -kLargest : x));
}

/// A way to split a leaf. merit: information gain in bits, or the share of the variance that goes away.
struct Candidate {
  double merit = 0;
  uint32_t input = kNone;
  float threshold = 0;
  double left_share = 0.5;  // of the weight
};

/// Makes a block one that has seen nothing.
void ClearStats(const View& view, StatsHead* stats);

/// Adds a value with its label to the leaf's observers. y: class, or the residual of the leaf's linear model.
void Observe(const View& view, StatsHead* stats, std::span<const float> x, double y, double weight);

/// Multiplies the naive Bayes factors of one present input into squares and product (see BayesScores).
void BayesFactors(const InputInfo& info, const float* observer, float x, uint32_t classes, double* squares,
                  double* product);

/// Best split of one input; merit 0 when there is none.
Candidate BestSplit(const View& view, StatsHead* stats, uint32_t input);

/// Of each class's weight (classification) the share that goes left.
void LeftShares(const View& view, StatsHead* stats, const Candidate& split, std::span<double> shares);

/// Weight, mean and squared deviations of the residual on both sides (regression).
struct SideMoments {
  double weight[2];
  double mean[2];
  double square[2];
};
SideMoments SplitMoments(const View& view, StatsHead* stats, const Candidate& split);

/// Makes `child` (perhaps the same block as `parent`) empty histograms over the ranges that a split leaf saw,
/// cut at its threshold (regression): side 0 is left.
void InheritRanges(const View& view, const StatsHead* parent, StatsHead* child, const Candidate& split,
                   uint32_t side);

}  // namespace dipper::learn::tree
