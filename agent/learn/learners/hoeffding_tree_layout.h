// How a Hoeffding tree lies in its pool. Internal to hoeffding_tree*. Not thread-safe.
//
//   TreeHeader | InputInfo[inputs] | Node[2 max_leaves - 1] | leaf models[max_leaves] | leaf
//   statistics[max_stats]
//
// Nodes, models and statistics are handed out in order and never given back; a leaf that loses its statistics
// passes the block on. Node 0 is the root; siblings are neighbours. Everything that is not handed out is
// zero.
#pragma once

#include <cstdint>

#include "agent/learn/learners/hoeffding_tree.h"
#include "agent/learn/math/place.h"

namespace dipper::learn::tree {

inline constexpr uint32_t kNone = 0xffffffffU;
inline constexpr uint32_t kBins = 16;          // histogram bins of a numeric input in a regression leaf
inline constexpr uint32_t kHistogramHead = 4;  // floats before the bins
inline constexpr uint32_t kMaxOutputs = 64;
inline constexpr float kEmptyRange = 3e38F;  // least and minus greatest of an observer that has seen nothing

struct TreeHeader {
  uint32_t inputs;
  uint32_t outputs;
  uint32_t classification;
  uint32_t linear_outputs;  // rows of a leaf's linear model: 1, or one per class when there are more than two
  uint32_t linear_width;    // floats per row: bias, one per numeric input, categories + 1 per nominal one
  uint32_t max_leaves;
  uint32_t max_stats;
  uint32_t model_bytes;
  uint32_t stats_bytes;
  uint32_t node_count;
  uint32_t leaf_count;
  uint32_t stats_count;
  uint64_t nodes_offset;
  uint64_t models_offset;
  uint64_t stats_offset;
  double labels;         // weight learned
  double target_mean;    // regression
  double target_square;  // regression: squared deviations
};
static_assert(sizeof(TreeHeader) == 96);

struct InputInfo {
  double weight;  // of the values seen, missing ones not counted
  double mean;
  double square;  // squared deviations
  double inverse_deviation;
  uint32_t categories;    // 0: numeric
  uint32_t stats_float;   // where its observer begins in a statistics block, in floats after StatsHead
  uint32_t linear_float;  // where its weights begin in a row of a linear model
  uint32_t reserved;
};
static_assert(sizeof(InputInfo) == 48);

enum class NodeKind : uint8_t { kUnused = 0, kLeaf = 1, kNumeric = 2, kNominal = 3 };

struct Node {
  float threshold;  // numeric: left if x < threshold; nominal: left if x == threshold
  uint32_t input;   // split input
  uint32_t left;    // left child, the right one is left + 1; 0 in a leaf
  uint32_t parent;  // kNone in the root
  uint32_t model;   // leaf model; kNone in a split node
  uint32_t stats;   // leaf statistics or kNone
  uint16_t depth;
  NodeKind kind;
  uint8_t missing_right;
  uint32_t reserved;
};
static_assert(sizeof(Node) == 32);

/// Followed by double class_weight[outputs] (classification), then float
/// linear[linear_outputs][linear_width].
struct ModelHead {
  double weight;        // learned here, what the parent's split handed down included
  double next_check;    // weight at which the next split is tried
  double mistakes;      // error mass since the leaf began, aged: how much a split could win
  double mean;          // regression target
  double square;        // its squared deviations
  double base_error;    // faded errors of the three predictors: majority or mean,
  double bayes_error;   // naive Bayes (classification),
  double linear_error;  // logistic or linear regression
  uint32_t owner;       // node
  uint32_t reserved;
  double reserved2;
};
static_assert(sizeof(ModelHead) == 80);

/// Followed by the inputs' observers, floats:
///   classification, numeric: least, greatest, then per class {weight, mean, squared deviations}
///   classification, nominal: per value 0 .. categories, per class weight
///   regression, numeric: low edge, bin width (0: empty), weight clipped below, above, then kBins x {weight,
///   sum, square} regression, nominal: per value {weight, sum, square}; sums of residual * inverse_scale
struct StatsHead {
  double weight;         // observed by this block
  double inverse_scale;  // of residuals (regression)
  uint32_t owner;        // node
  uint32_t reserved;
  double reserved2;
};
static_assert(sizeof(StatsHead) == 32);

/// Pointers into one tree's pool. `View` on const bytes is only ever read.
struct View {
  TreeHeader* header;
  InputInfo* inputs;
  Node* nodes;
  uint8_t* models;
  uint8_t* stats;

  explicit View(uint8_t* memory)
      : header(PlaceOf<TreeHeader>(memory)),
        inputs(PlaceOf<InputInfo>(memory + sizeof(TreeHeader))),
        nodes(PlaceOf<Node>(memory + header->nodes_offset)),
        models(memory + header->models_offset),
        stats(memory + header->stats_offset) {}

  ModelHead* model(uint32_t index) const {
    return PlaceOf<ModelHead>(models + uint64_t{index} * header->model_bytes);
  }
  double* class_weights(ModelHead* head) const { return PlaceOf<double>(after(head)); }
  float* linear(ModelHead* head) const {
    return PlaceOf<float>(after(head) + (header->classification != 0 ? header->outputs * sizeof(double) : 0));
  }
  StatsHead* stats_head(uint32_t index) const {
    return PlaceOf<StatsHead>(stats + uint64_t{index} * header->stats_bytes);
  }
  static float* observers(StatsHead* head) { return static_cast<float*>(static_cast<void*>(head + 1)); }
  static const float* observers(const StatsHead* head) {
    return static_cast<const float*>(static_cast<const void*>(head + 1));
  }

 private:
  static uint8_t* after(ModelHead* head) { return static_cast<uint8_t*>(static_cast<void*>(head + 1)); }
};

/// Header (counts zero) and input table for a configuration. kInvalidArgument, kResourceExhausted as
/// StateBytes.
base::Result<TreeHeader> PlanTree(const HoeffdingTreeConfig& config);
InputInfo PlanInput(const HoeffdingTreeConfig& config, const TreeHeader& header, uint32_t input,
                    const InputInfo* before);

/// Value of a nominal input: 0 .. categories - 1, anything else is categories ("other").
uint32_t NominalValue(float x, uint32_t categories);

/// The whole of HoeffdingTree::Validate.
base::Status ValidateTree(const HoeffdingTreeConfig& config, base::ByteView memory);

}  // namespace dipper::learn::tree
