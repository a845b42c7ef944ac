// The structures in a pool of Hoeffding trees, at fixed offsets without padding; how they lie there:
// hoeffding_tree_layout.h. Internal to hoeffding_tree* and adaptive_forest*. Thread-safe: plain values.
#pragma once

#include <cstdint>

namespace dipper::learn::tree {

inline constexpr uint32_t kNone = 0xffffffffU;
inline constexpr uint32_t kMaxTreeInputs = 512;
inline constexpr uint32_t kMaxLeastSquares = 33;  // terms of a regression leaf that learns by least squares
inline constexpr uint32_t kBins = 16;             // histogram bins of a numeric input in a regression leaf
inline constexpr uint32_t kHistogramHead = 4;     // floats before the bins
inline constexpr uint32_t kHistogramFloats = kHistogramHead + 3 * kBins;
inline constexpr uint32_t kMaxOutputs = 64;
inline constexpr float kEmptyRange = 3e38F;  // least and minus greatest of an input that was never seen
// Float sums and squares of values up to this stay finite; greater ones count as this.
inline constexpr float kLargestObserved = 1e18F;

struct PoolHeader {
  uint32_t inputs;
  uint32_t outputs;
  uint32_t classification;
  uint32_t numeric;  // numeric inputs: columns 0 .. numeric - 1

  uint32_t watched;       // numeric columns that a leaf observes: all, or fewer in a regression forest
  uint32_t stride;        // the same, up to a multiple of 4
  uint32_t linear_rows;   // of a leaf's linear model: 1, or one per class when there are more than two
  uint32_t linear_width;  // floats per row: numeric, bias, zeros up to a multiple of 4, one-hot nominal

  uint32_t max_leaves;  // and pairs
  uint32_t max_stats;
  uint32_t reserved;
  uint32_t nominal_float;  // where the nominal observers of a statistics block begin

  uint32_t model_bytes;
  uint32_t stats_bytes;
  uint32_t pairs_used;  // handed out at least once
  uint32_t models_used;

  uint32_t stats_used;
  uint32_t leaf_count;    // models in use
  uint32_t active_count;  // statistics in use
  uint32_t pair_count;    // pairs in use

  uint32_t free_pair;  // first of the free ones or kNone
  uint32_t free_model;
  uint32_t free_stats;
  uint32_t tree_count;  // roots and alternates; a tree of n leaves has n pairs, its root's included

  uint64_t moments_offset;
  uint64_t nodes_offset;
  uint64_t monitors_offset;
  uint64_t models_offset;
  uint64_t stats_offset;
  uint64_t reserved2;
  double labels;         // weight learned
  double target_mean;    // regression
  double target_square;  // regression: squared deviations
  double last_reclaim;   // labels when the leaves' visits were last aged
};
static_assert(sizeof(PoolHeader) == 176);

/// One input; numeric inputs come first, then nominal ones, each in the order of the inputs.
struct Column {
  uint32_t input;
  uint32_t categories;    // 0: numeric
  uint32_t stats_float;   // nominal: where its observer begins in a statistics block
  uint32_t linear_float;  // where its weights begin in a row of a linear model
};
static_assert(sizeof(Column) == 16);

enum class NodeKind : uint8_t { kUnused = 0, kLeaf = 1, kNumeric = 2, kNominal = 3 };

struct Node {
  float threshold;     // numeric: left if x < threshold; nominal: left if x == threshold
  uint32_t left;       // left child, the right one is left + 1; 0 in a leaf; in a free pair the next free one
  uint32_t parent;     // kNone in a root; in an alternate's root the node it stands beside
  uint32_t model;      // leaf model; kNone in a split node
  uint32_t stats;      // leaf statistics or kNone
  uint32_t alternate;  // split node: root of the tree grown beside it or kNone
  uint16_t input;      // split input
  uint8_t depth;
  NodeKind kind;
  uint8_t missing_right;
  uint8_t beside;       // 1 in an alternate tree
  uint16_t categories;  // of the split input
};
static_assert(sizeof(Node) == 32);

/// How a split node's answers have been: errors in 0 .. 1.
struct Monitor {
  float labels;            // since the node began, cut at the long horizon
  float recent;            // error, faded over the short horizon
  float ordinary;          // error, faded over the long horizon
  float until_look;        // labels since the last look
  float alternate_error;   // faded over the short horizon
  float alternate_labels;  // since the alternate began
  float reserved[2];
};
static_assert(sizeof(Monitor) == 32);

/// Followed by double class_weight[outputs] (classification), up to 16, then float
/// linear[linear_rows][linear_width], then (regression, up to 32 numeric inputs) float covariance[], the
/// columns of U above the diagonal with D behind each, of U D U'.
struct ModelHead {
  double weight;        // learned here, what the parent's split handed down included
  double next_check;    // weight at which the next split is tried
  double mistakes;      // error mass since the leaf began, aged: how much a split could win
  double visits;        // weight since the leaf began, aged
  double mean;          // regression target
  double square;        // its squared deviations
  double base_error;    // faded errors of the three predictors: majority or mean,
  double bayes_error;   // naive Bayes (classification),
  double linear_error;  // logistic or linear regression
  uint32_t owner;       // node; kNone: free
  uint32_t next;        // next free one
};
static_assert(sizeof(ModelHead) == 80);

/// Followed by observers.
///   classification: double seen[outputs], double norm[outputs] (log of weight over deviations), then floats:
///     least[stride], greatest[stride], present[stride], per class {mean[stride], variance[stride]}, then per
///     nominal input per value 0 .. categories, per class weight
///   regression: uint16 column[watched] up to 16 bytes, then floats: per watched column {low edge, 1 / bin
///     width (0: empty), weight clipped below, above, kBins x {weight, sum, square}}, then per nominal input
///     per value {weight, sum, square}; sums of residual * inverse_scale
struct StatsHead {
  double weight;         // observed by this block
  double inverse_scale;  // of residuals (regression)
  uint32_t owner;        // node; kNone: free
  uint32_t next;         // next free one
  uint32_t seed;         // of the choice of inputs in a forest
  uint32_t reserved;
};
static_assert(sizeof(StatsHead) == 32);

}  // namespace dipper::learn::tree
