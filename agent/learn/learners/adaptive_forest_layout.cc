// See adaptive_forest_layout.h.
#include "agent/learn/learners/adaptive_forest_layout.h"

#include <cmath>
#include <cstring>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::forest {
namespace {

bool ValidShare(double x, double most) { return x >= 0.0 && x <= most; }

}  // namespace

uint32_t Subspace(const AdaptiveForestConfig& config) {
  if (config.subspace != 0) return config.subspace < config.inputs ? config.subspace : config.inputs;
  const double inputs = static_cast<double>(config.inputs);
  const double share =
      config.classification ? std::floor(std::sqrt(inputs)) + 1.0 : std::floor(0.6 * inputs + 0.5);
  const uint32_t count = static_cast<uint32_t>(share < 2.0 ? 2.0 : share);
  return count < config.inputs ? count : config.inputs;
}

base::Result<tree::PoolConfig> PlanForest(const AdaptiveForestConfig& config) {
  const bool valid = config.trees >= 1 && config.trees <= kMaxTrees && config.lambda > 0.0 &&
                     config.lambda <= 16.0 && config.subspace <= tree::kMaxTreeInputs &&
                     config.grace_labels >= 1 && config.delta > 0.0 && config.delta < 1.0 &&
                     config.tie >= 0.0 && config.tie <= 1.0 && config.max_depth >= 1 &&
                     config.max_depth <= 64;
  if (!valid || config.pool_bytes > uint64_t{1} << 30) return base::Status::kInvalidArgument;
  tree::PoolConfig pool;
  pool.inputs = config.inputs;
  pool.outputs = config.outputs;
  pool.classification = config.classification;
  pool.categories = config.categories;
  const uint64_t bytes = config.pool_bytes / 16 * 16;
  const uint64_t before = PoolOffset(config.trees);
  pool.bytes = bytes > before ? bytes - before : 0;
  pool.roots = config.trees;
  pool.watched = Subspace(config);
  return pool;
}

base::Status ValidateForest(const AdaptiveForestConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PlanForest(config));
  DIPPER_ASSIGN_OR_RETURN(const PoissonTable poisson, MakePoissonTable(config.lambda));
  const uint64_t before = PoolOffset(config.trees);
  if (memory.size() != before + pool.bytes) return base::Status::kDataLoss;
  const ForestHeader* header = PlaceOf<ForestHeader>(memory.data());
  DIPPER_RETURN_IF_ERROR(ValidateRandom(header->random));
  if (!ValidCounts(header->warnings, header->drifts, header->promoted) || header->reserved != 0 ||
      header->poisson.threshold != poisson.threshold)
    return base::Status::kDataLoss;
  const TreeSlot* slots = PlaceOf<TreeSlot>(memory.data() + sizeof(ForestHeader));
  uint32_t roots[2 * kMaxTrees];
  for (uint32_t i = 0; i < config.trees; ++i) {
    const TreeSlot& slot = slots[i];
    roots[2 * i] = slot.root;
    roots[2 * i + 1] = slot.background;
    if (slot.root == tree::kNone) return base::Status::kDataLoss;
    if (!ValidShare(slot.error, 1.0) || !ValidShare(slot.weight, kVoteHorizon) ||
        !ValidShare(slot.background_error, 1.0) || !ValidShare(slot.background_weight, kVoteHorizon))
      return base::Status::kDataLoss;
    if (!ValidShare(slot.typical, 1e32) || !ValidShare(slot.typical_weight, kTypicalHorizon) ||
        slot.reserved[0] != 0.0 || slot.reserved[1] != 0.0)
      return base::Status::kDataLoss;
    if (slot.background == tree::kNone && (slot.background_error > 0.0 || slot.background_weight > 0.0))
      return base::Status::kDataLoss;
    DIPPER_RETURN_IF_ERROR(slot.detector.Validate());
  }
  return tree::ValidatePool(pool, config.max_depth, {roots, 2 * size_t{config.trees}},
                            memory.subspan(before));
}

}  // namespace dipper::learn::forest
