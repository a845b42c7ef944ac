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
#include "agent/learn/learners/hoeffding_tree_nodes.h"
#include "agent/learn/learners/hoeffding_tree_quads.h"
#include "agent/learn/math/place.h"

namespace dipper::learn::tree {

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

/// What standardizes the numeric columns: arrays of numeric elements, up to a multiple of 4.
struct Moments {
  double* weight;  // of the values seen, missing ones not counted
  double* mean;
  double* square;  // squared deviations
  float* center;   // the mean, and the inverse of the deviation (0 without any), refreshed now and then
  float* scale;
};

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
