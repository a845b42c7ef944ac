// See hoeffding_tree.h.
#include "agent/learn/learners/hoeffding_tree.h"

#include <cstring>

#include "agent/learn/learners/hoeffding_tree_explain.h"
#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {
namespace {

// Leaves per statistics block: a leaf without statistics still predicts and learns its linear model.
constexpr uint32_t kLeavesPerStats = 2;

tree::GrowConfig GrowOf(const HoeffdingTreeConfig& config) {
  tree::GrowConfig grow;
  grow.grace = static_cast<double>(config.grace_labels);
  grow.delta = config.delta;
  grow.tie = config.tie;
  grow.max_depth = config.max_depth;
  grow.adaptive = config.adaptive;
  return grow;
}

base::Result<tree::PoolConfig> PoolOf(const HoeffdingTreeConfig& config) {
  const bool valid = config.grace_labels >= 1 && config.delta > 0.0 && config.delta < 1.0 &&
                     config.tie >= 0.0 && config.tie <= 1.0 && config.max_depth >= 1 &&
                     config.max_depth <= 64;
  if (!valid) return base::Status::kInvalidArgument;
  tree::PoolConfig pool;
  pool.inputs = config.inputs;
  pool.outputs = config.outputs;
  pool.classification = config.classification;
  pool.categories = config.categories;
  pool.bytes = config.pool_bytes / 16 * 16;
  pool.watched = config.inputs;
  pool.leaves_per_stats = kLeavesPerStats;
  return pool;
}

}  // namespace

base::Result<uint64_t> HoeffdingTree::StateBytes(const HoeffdingTreeConfig& config) {
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PoolOf(config));
  DIPPER_ASSIGN_OR_RETURN([[maybe_unused]] const tree::PoolHeader header, tree::PlanPool(pool));
  return pool.bytes;
}

base::Status HoeffdingTree::Create(const HoeffdingTreeConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PoolOf(config));
  DIPPER_RETURN_IF_ERROR(tree::CreatePool(pool, memory));
  const tree::View view(memory.data());
  const uint32_t root = tree::Plant(view, GrowOf(config), tree::kNone);
  DIPPER_CHECK(root == 0);
  return base::Status::kOk;
}

base::Status HoeffdingTree::Validate(const HoeffdingTreeConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const tree::PoolConfig pool, PoolOf(config));
  const uint32_t roots[] = {0};
  return tree::ValidatePool(pool, config.max_depth, roots, memory);
}

HoeffdingTree::HoeffdingTree(const HoeffdingTreeConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

void HoeffdingTree::Predict(std::span<const float> x, std::span<double> out) const {
  const tree::View view(memory_);
  DIPPER_CHECK(x.size() == view.header->inputs && out.size() == view.header->outputs);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  tree::LeafAnswer(view, view.nodes[tree::FindLeaf(view, 0, x)], sample, out);
}

void HoeffdingTree::Learn(std::span<const float> x, std::span<const double>, double y, double weight) {
  const tree::View view(memory_);
  DIPPER_CHECK(x.size() == view.header->inputs);
  DIPPER_CHECK(!view.classification() || (y >= 0.0 && y < static_cast<double>(view.header->outputs)));
  if (!(weight > 0.0)) return;
  const double counted = weight < tree::kLargestWeight ? weight : tree::kLargestWeight;
  const double target = tree::CutTarget(y);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  tree::CountLabel(view, sample, target, counted);
  tree::LearnTree(view, GrowOf(config_), 0, sample, target, counted);
}

void HoeffdingTree::Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const {
  for (double& term : terms) term = 0.0;
  AddContributions(x, output, 1.0, terms);
}

void HoeffdingTree::AddContributions(std::span<const float> x, uint32_t output, double share,
                                     std::span<double> terms) const {
  const tree::View view(memory_);
  DIPPER_CHECK(x.size() == view.header->inputs);
  tree::Sample sample;
  tree::Standardize(view, x, &sample);
  tree::AddContributions(view, 0, sample, output, share, terms);
}

void HoeffdingTree::Importance(std::span<double> out) const {
  for (double& x : out) x = 0.0;
  tree::AddImportance(tree::View(memory_), 0, 1.0, out);
  tree::Normalize(out);
}

uint32_t HoeffdingTree::node_count() const { return tree::View(memory_).node_count(); }
uint32_t HoeffdingTree::alternate_count() const { return tree::View(memory_).header->tree_count - 1; }
uint32_t HoeffdingTree::leaf_count() const { return tree::View(memory_).header->leaf_count; }
uint32_t HoeffdingTree::active_leaf_count() const { return tree::View(memory_).header->active_count; }
uint32_t HoeffdingTree::max_leaf_count() const { return tree::View(memory_).header->max_leaves; }

}  // namespace dipper::learn
