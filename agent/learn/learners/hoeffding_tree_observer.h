// What a leaf remembers of each input, and the splits that these memories suggest: Gaussians per class,
// counts per nominal value, and for regression a histogram of 16 bins whose range doubles by folding pairs of
// bins. Internal to hoeffding_tree* and adaptive_forest*. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"

namespace dipper::learn::tree {

/// A way to split a leaf. merit: information gain in bits, or the share of the variance that goes away.
struct Candidate {
  double merit = 0;
  uint32_t column = kNone;
  float threshold = 0;
  double left_share = 0.5;  // of the weight
};

/// Makes a zeroed block one that has seen nothing. `watched`: the columns with a histogram, ascending, as
/// many as the header says (regression; ignored else).
void StartStats(const View& view, StatsHead* stats);

/// Adds a value with its label to the leaf's observers. y: class, or the residual of the leaf's linear model.
void Observe(const View& view, StatsHead* stats, const Sample& sample, double y, double weight);

/// Unnormalized log probabilities by naive Bayes; a class never seen here gets kUnseen.
inline constexpr double kUnseen = -1e300;
void BayesScores(const View& view, StatsHead* stats, const Sample& sample, std::span<double> out);

/// Of a class's score by naive Bayes what belongs to inputs, which is all but its frequency: the sum of their
/// terms; adds each, times `scale`, to terms[input] unless there are no terms.
double AddBayesTerms(const View& view, StatsHead* stats, const Sample& sample, uint32_t c, double scale,
                     std::span<double> terms);

/// Best split of one column; merit 0 when there is none, or when its histogram is not kept.
Candidate BestSplit(const View& view, StatsHead* stats, uint32_t column);

/// Of each class's weight (classification) the share that goes left.
void LeftShares(const View& view, StatsHead* stats, const Candidate& split, std::span<double> shares);

/// Weight, mean and squared deviations of the residual on both sides (regression).
struct SideMoments {
  double weight[2];
  double mean[2];
  double square[2];
};
SideMoments SplitMoments(const View& view, StatsHead* stats, const Candidate& split);

/// Makes `child` (perhaps the same block as `parent`) what is known of one side (0: left) of a split before
/// its first label. Classification: Gaussians and counts with little weight, those of the split input cut at
/// the threshold; naive Bayes takes the inputs for independent given the class, so the other inputs keep
/// theirs. Regression: empty histograms over the ranges seen.
void InheritStats(const View& view, StatsHead* parent, StatsHead* child, const Candidate& split,
                  uint32_t side);

}  // namespace dipper::learn::tree
