// How an adaptive forest lies in its pool. Internal to adaptive_forest*. Not thread-safe.
//
//   ForestHeader | TreeSlot[trees] | pool of nodes and leaves (hoeffding_tree_layout.h)
#pragma once

#include <array>
#include <cstdint>

#include "agent/learn/learners/adaptive_forest.h"
#include "agent/learn/learners/forest_detector.h"
#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/math/random.h"

namespace dipper::learn::forest {

inline constexpr uint32_t kMaxTrees = 64;
inline constexpr double kVoteHorizon = 500;      // labels that a tree's vote looks back
inline constexpr double kTypicalHorizon = 5000;  // labels that say what an ordinary regression error is

struct ForestHeader {
  RandomState random;
  uint64_t warnings;
  uint64_t drifts;
  uint64_t promoted;  // of the drifts: a background tree took over
  uint64_t reserved;
  PoissonTable poisson;  // kept because making it takes an exponential and 48 multiplications
};
static_assert(sizeof(ForestHeader) == 448);

/// One tree with what watches it.
struct TreeSlot {
  uint32_t root;
  uint32_t background;  // root or kNone
  double error;         // faded share of loss, which gives the vote
  double weight;        // labels behind it, cut at the horizon
  double background_error;
  double background_weight;
  double typical;         // regression: mean absolute error, the measure of the detector's
  double typical_weight;  // labels behind it, cut at its horizon
  double reserved[2];
  Detector detector;
};
static_assert(sizeof(TreeSlot) == 400);

struct Places {
  ForestHeader* header;
  TreeSlot* slots;
  uint8_t* pool;
};

inline uint64_t PoolOffset(uint32_t trees) {
  return sizeof(ForestHeader) + uint64_t{trees} * sizeof(TreeSlot);
}

inline Places PlacesOf(uint8_t* memory, uint32_t trees) {
  return {PlaceOf<ForestHeader>(memory), PlaceOf<TreeSlot>(memory + sizeof(ForestHeader)),
          memory + PoolOffset(trees)};
}

/// How many inputs a leaf may split by (classification) or watches of the numeric ones (regression).
uint32_t Subspace(const AdaptiveForestConfig& config);

/// kInvalidArgument: a config out of range.
base::Result<tree::PoolConfig> PlanForest(const AdaptiveForestConfig& config);

/// The whole of AdaptiveForest::Validate.
base::Status ValidateForest(const AdaptiveForestConfig& config, base::ByteView memory);

}  // namespace dipper::learn::forest
