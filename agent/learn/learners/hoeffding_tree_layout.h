// How Hoeffding trees lie in a pool: one tree, or the trees of a forest side by side. Internal to
// hoeffding_tree* and adaptive_forest*. Not thread-safe.
//
//   PoolHeader | Column[inputs] | moments of the numeric columns | Node[2 max_leaves] | Monitor[2 max_leaves]
//   | leaf models[max_leaves] | leaf statistics[max_stats]
//
// Nodes (in pairs: siblings are neighbours; a root has a pair of its own and leaves its second half unused),
// models and statistics are handed out from the front and, once given back, from a free list. What is free
// is zero but for its link; what was never handed out is zero.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/learners/hoeffding_tree_quads.h"
#include "agent/learn/math/place.h"

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

/// What a pool is made for.
struct PoolConfig {
  uint32_t inputs = 0;
  uint32_t outputs = 1;
  bool classification = true;
  std::span<const uint16_t> categories;
  uint64_t bytes = 0;             // multiple of 16
  uint32_t roots = 1;             // trees that may be there at once
  uint32_t watched = 0;           // numeric inputs with a histogram in a regression leaf
  uint32_t leaves_per_stats = 1;  // leaves for each block of split statistics
};

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

/// What standardizes the numeric columns: arrays of numeric elements, up to a multiple of 4.
struct Moments {
  double* weight;  // of the values seen, missing ones not counted
  double* mean;
  double* square;  // squared deviations
  float* center;   // the mean, and the inverse of the deviation (0 without any), refreshed now and then
  float* scale;
};

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

/// One sample as all leaves of a pool take it. 4 KiB.
struct Sample {
  std::span<const float> x;
  bool missing;                             // a numeric input is
  alignas(16) float value[kMaxTreeInputs];  // numeric columns, cut; missing ones NaN; zeros up to a quad
  alignas(16) float z[kMaxTreeInputs + 4];  // standardized, missing ones 0; the constant 1; zeros
};

/// Pointers into one pool. A `View` on const bytes is only ever read.
struct View {
  PoolHeader* header;
  Column* columns;
  Moments moments;
  Node* nodes;
  Monitor* monitors;
  uint8_t* models;
  uint8_t* stats;

  explicit View(uint8_t* memory)
      : header(PlaceOf<PoolHeader>(memory)),
        columns(PlaceOf<Column>(memory + sizeof(PoolHeader))),
        moments(MomentsOf(memory + header->moments_offset, Width())),
        nodes(PlaceOf<Node>(memory + header->nodes_offset)),
        monitors(PlaceOf<Monitor>(memory + header->monitors_offset)),
        models(memory + header->models_offset),
        stats(memory + header->stats_offset) {}

  uint32_t node_count() const { return 2 * header->leaf_count - header->tree_count; }
  /// Numeric columns up to a multiple of 4.
  uint32_t Width() const { return (header->numeric + 3) / 4 * 4; }
  bool has_nominal() const { return header->numeric < header->inputs; }
  bool classification() const { return header->classification != 0; }
  ModelHead* model(uint32_t index) const {
    return PlaceOf<ModelHead>(models + uint64_t{index} * header->model_bytes);
  }
  double* class_weights(ModelHead* head) const { return PlaceOf<double>(After(head)); }
  float* linear(ModelHead* head) const {
    const uint32_t classes = header->classification != 0 ? header->outputs : 0;
    return PlaceOf<float>(After(head) + (classes + 1) / 2 * 16);
  }
  float* covariance(ModelHead* head) const {
    return linear(head) + header->linear_rows * header->linear_width;
  }
  StatsHead* stats_head(uint32_t index) const {
    return PlaceOf<StatsHead>(stats + uint64_t{index} * header->stats_bytes);
  }
  // Classification.
  double* seen(StatsHead* head) const { return PlaceOf<double>(After(head)); }
  double* norm(StatsHead* head) const { return seen(head) + header->outputs; }
  float* ranges(StatsHead* head) const { return floats(head) + 4 * header->outputs; }
  float* gaussians(StatsHead* head, uint32_t c) const { return ranges(head) + (3 + 2 * c) * header->stride; }
  // Regression.
  uint16_t* watched(StatsHead* head) const { return PlaceOf<uint16_t>(After(head)); }
  float* histogram(StatsHead* head, uint32_t at) const {
    return floats(head) + (header->watched + 7) / 8 * 4 + at * kHistogramFloats;
  }
  // Both.
  float* nominal(StatsHead* head, const Column& column) const { return floats(head) + column.stats_float; }

 private:
  static Moments MomentsOf(uint8_t* memory, uint32_t width) {
    double* weight = PlaceOf<double>(memory);
    float* center = PlaceOf<float>(memory + uint64_t{3} * width * sizeof(double));
    return {weight, weight + width, weight + 2 * width, center, center + width};
  }
  template <typename Head>
  static uint8_t* After(Head* head) {
    return static_cast<uint8_t*>(static_cast<void*>(head + 1));
  }
  static float* floats(StatsHead* head) { return PlaceOf<float>(After(head)); }
};

/// Header for a configuration. kInvalidArgument: shape out of range; kResourceExhausted: less than two leaves
/// per root.
base::Result<PoolHeader> PlanPool(const PoolConfig& config);

/// Column `index` as planned.
Column PlanColumn(const PoolConfig& config, const PoolHeader& header, uint32_t index);

/// Writes header and columns into zeroed memory of config.bytes.
base::Status CreatePool(const PoolConfig& config, base::MutableBytes memory);

/// kDataLoss unless everything in the pool is in range and consistent and exactly the nodes in `roots` (kNone
/// skipped) are roots.
base::Status ValidatePool(const PoolConfig& config, uint32_t max_depth, std::span<const uint32_t> roots,
                          base::ByteView memory);

/// Value of a nominal input: 0 .. categories - 1, anything else is categories ("other").
uint32_t NominalValue(float x, uint32_t categories);

/// Narrows to float; beyond its range the end of the range, so that sums never become infinite.
inline float ToFloat(double x) {
  constexpr double kLargest = 3e38;
  return static_cast<float>(x > kLargest ? kLargest : (x < -kLargest ? -kLargest : x));
}

// Handing out and giving back. The callers see to it that something is free.
bool HasFree(const View& view);  ///< a pair and a model
uint32_t TakePair(const View& view);
uint32_t TakeModel(const View& view);  ///< zeroed
uint32_t TakeStats(const View& view);  ///< zeroed; kNone if none is free
void GivePair(const View& view, uint32_t pair);
void GiveModel(const View& view, uint32_t model);
void GiveStats(const View& view, uint32_t stats);

}  // namespace dipper::learn::tree
