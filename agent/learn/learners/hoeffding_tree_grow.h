// The life of the trees in a pool: planting, finding leaves, learning, splitting, giving back what is no
// longer of use, and replacing branches that went stale. Internal to hoeffding_tree* and adaptive_forest*.
// Sources: Domingos and Hulten 2000; Garcia-Martin, Lavesson, Grahn, Casalicchio and Boeva, "Energy-aware
// very fast decision tree", JDSA 11, 2021 (when to try again); Bifet and Gavalda, "Adaptive learning from
// evolving data streams", IDA 2009 (alternate trees). Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/math/random.h"

namespace dipper::learn::tree {

struct GrowConfig {
  double grace = 200;
  double delta = 1e-7;
  double tie = 0.05;
  uint32_t max_depth = 20;
  double linear_share = 1;        // of a label's weight in the steps of the linear models
  double rate = 0.1;              // of the logistic models
  uint32_t candidates = 0;        // columns a leaf may split by, chosen for each leaf; 0: all
  RandomState* random = nullptr;  // for that choice
  uint32_t reserve = 0;           // leaves that splits leave free
  bool adaptive = false;          // split nodes watch their errors and grow alternates
};

/// A new tree of one leaf, like the leaf `model_of` (kNone: like nothing). Returns its root; kNone if the
/// pool is full.
uint32_t Plant(const View& view, const GrowConfig& config, uint32_t model_of);

/// Gives back a whole tree.
void Fell(const View& view, uint32_t root);

/// The leaf of x below `root`.
uint32_t FindLeaf(const View& view, uint32_t root, std::span<const float> x);

/// Counts a label in what all trees share: target moments and the standardization of the inputs.
void CountLabel(const View& view, const Sample& sample, double y, double weight);

/// Teaches one tree; weight 0 teaches nothing. Returns the loss of its answer before: 0 or 1, or the absolute
/// error.
double LearnTree(const View& view, const GrowConfig& config, uint32_t root, const Sample& sample, double y,
                 double weight);

/// The loss as a share of 1: regression errors count in four deviations of the target.
double LossShare(const View& view, double loss);

inline constexpr double kLargestWeight = 1e6;
/// Targets beyond count as this: float weights and squares stay finite.
inline constexpr double kLargestTarget = 1e30;
inline double CutTarget(double y) {
  return y > kLargestTarget ? kLargestTarget : (y < -kLargestTarget ? -kLargestTarget : y);
}

}  // namespace dipper::learn::tree
