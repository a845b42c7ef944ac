// See half_space_trees.h: walking, scoring, learning. Not thread-safe.
#include "agent/learn/learners/half_space_trees.h"

#include <bit>
#include <cstring>

#include "agent/base/assert.h"
#include "agent/learn/learners/half_space_layout.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {
namespace {

using half_space::ForestHeader;
using half_space::Node;
using half_space::View;

constexpr uint32_t kFirstRows = 32;  // samples before the first tree is drawn
constexpr double kLargestWeight = 1e6;
constexpr double kLeastWeight = 1e-6;
constexpr float kPrior = 0.125F;    // mass that every leaf has beside what it counted
constexpr double kColdScore = 0.0;  // nothing is known that could make a sample anomalous
// Raw scores cover so many halvings of density, from the densest leaf downwards.
constexpr double kDensest = 8.0;
constexpr double kHalvings = 32.0;
// A float's bits read as an integer are 2^23 (log2(value) + 127), off by less than 0.09 between powers of
// two.
constexpr double kLogUnits = 0x1p23;
// Only half of the (logarithm of the) volume counts: between mass alone and density.
constexpr uint32_t kVolumeShift = 14;
static_assert((uint64_t{1} << kVolumeShift) * 2 * 256 == uint64_t{1} << 23);

constexpr uint32_t kGroup = 8;  // trees walked at once: the steps of one wait for each other

inline uint32_t Step(const Node* tree, uint32_t index, const float* x) {
  const Node& node = tree[index];
  return node.child + (x[node.input] > node.value ? 1U : 0U);
}

/// Leaves of x, which misses nothing, in the trees first .. first + kGroup - 1. A fixed number of steps has
/// no branch that could be foreseen wrongly; at a leaf they stay where they are.
inline void WalkGroup(const View& view, uint32_t first, const float* x, uint32_t* leaf) {
  const Node* tree = view.tree(first);
  const uint64_t stride = view.header->nodes;
  uint32_t a = 0;
  uint32_t b = 0;
  uint32_t c = 0;
  uint32_t d = 0;
  uint32_t e = 0;
  uint32_t f = 0;
  uint32_t g = 0;
  uint32_t h = 0;
  for (uint32_t depth = view.header->depth; depth > 0; --depth) {
    a = Step(tree, a, x);
    b = Step(tree + stride, b, x);
    c = Step(tree + 2 * stride, c, x);
    d = Step(tree + 3 * stride, d, x);
    e = Step(tree + 4 * stride, e, x);
    f = Step(tree + 5 * stride, f, x);
    g = Step(tree + 6 * stride, g, x);
    h = Step(tree + 7 * stride, h, x);
  }
  const uint32_t found[kGroup] = {a, b, c, d, e, f, g, h};
  std::memcpy(leaf, found, sizeof found);
}

/// Leaf of any x in one tree.
uint32_t WalkOne(const View& view, uint32_t tree, const float* x) {
  const Node* nodes = view.tree(tree);
  const uint16_t* missing_high = view.volumes + view.FirstNode(tree);
  uint32_t index = 0;
  while (nodes[index].child != index) {
    const Node& node = nodes[index];
    index = IsNan(x[node.input]) ? uint32_t{node.child} + missing_high[index] : Step(nodes, index, x);
  }
  return index;
}

bool MissesNothing(std::span<const float> x) {
  bool all = true;
  for (float value : x) all &= !IsNan(value);
  return all;
}

/// Calls visit(tree, leaf) for the leaf of x in each of the first `count` trees.
template <typename Visit>
void ForEachLeaf(const View& view, uint32_t count, std::span<const float> x, Visit visit) {
  uint32_t tree = 0;
  if (MissesNothing(x)) {
    for (; tree + kGroup <= count; tree += kGroup) {
      uint32_t leaf[kGroup];
      WalkGroup(view, tree, x.data(), leaf);
      for (uint32_t i = 0; i < kGroup; ++i) visit(tree + i, leaf[i]);
    }
  }
  for (; tree < count; ++tree) visit(tree, WalkOne(view, tree, x.data()));
}

int64_t LogUnits(float positive) { return std::bit_cast<int32_t>(positive); }

/// Logarithm of the density in a leaf, volumes counting half.
int64_t Density(const View& view, uint32_t tree, uint32_t leaf) {
  const uint64_t node = view.FirstNode(tree) + leaf;
  return LogUnits(view.masses[node] + kPrior) + (int64_t{view.volumes[node]} << kVolumeShift) -
         LogUnits(static_cast<float>(view.trees[tree].total));
}

/// Score from the trees' summed log densities.
double ToScore(int64_t sum, uint32_t trees) {
  const double density = static_cast<double>(sum) / (kLogUnits * static_cast<double>(trees));
  const double score = (kDensest - density) / kHalvings;
  return score > 1.0 ? 1.0 : (score < 0.0 ? 0.0 : score);
}

void AddMass(const View& view, uint32_t tree, uint32_t leaf, double weight) {
  float& place = view.masses[view.FirstNode(tree) + leaf];
  const double mass = static_cast<double>(place) + weight;
  if (mass > static_cast<double>(half_space::kLargestMass)) return;
  place = static_cast<float>(mass);
  view.trees[tree].total += weight;
}

double BoundedWeight(double weight) {
  return weight > kLargestWeight ? kLargestWeight : (weight < kLeastWeight ? kLeastWeight : weight);
}

/// Every sample has the same chance to be in the sample of rows at first; from a window on, an older one has
/// been replaced with a probability that grows with its age.
void KeepRow(const View& view, std::span<const float> x, double weight) {
  ForestHeader& h = *view.header;
  uint32_t place = h.row_count;
  if (h.row_count < h.rows) {
    h.row_count += 1;
  } else {
    if (NextUniform(h.random) * h.mass >= weight * static_cast<double>(h.rows)) return;
    place = NextBelow(h.random, h.rows);
  }
  float* row = view.row(place);
  for (size_t i = 0; i < x.size(); ++i) row[i] = Canonical(x[i]);
}

/// What a sample does beside adding to the masses.
void Advance(const HalfSpaceTreesConfig& config, const View& view, std::span<const float> x, double weight) {
  ForestHeader& h = *view.header;
  if (h.samples < h.window) {
    h.mass += weight;
  } else {
    h.mass += weight - h.mass / static_cast<double>(h.window);
  }
  h.samples += 1;
  KeepRow(view, x, weight);
  h.until_draw -= 1;
  if (h.until_draw > 0) return;
  half_space::DrawNextTree(config, view);
  const uint64_t remembered = h.samples < h.window ? h.samples : h.window;
  const uint64_t interval = h.drawn < h.trees ? 1 : remembered / h.trees;
  h.until_draw = interval > 1 ? static_cast<uint32_t>(interval) : 1;
}

}  // namespace

base::Result<uint64_t> HalfSpaceTrees::StateBytes(const HalfSpaceTreesConfig& config) {
  DIPPER_ASSIGN_OR_RETURN([[maybe_unused]] const ForestHeader header, half_space::PlanForest(config));
  return config.pool_bytes / 16 * 16;
}

base::Status HalfSpaceTrees::Create(const HalfSpaceTreesConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(ForestHeader header, half_space::PlanForest(config));
  if (memory.size() != config.pool_bytes / 16 * 16) return base::Status::kInvalidArgument;
  header.until_draw = kFirstRows;
  header.random = SeedRandom(config.seed);
  std::memcpy(memory.data(), &header, sizeof header);
  return base::Status::kOk;
}

base::Status HalfSpaceTrees::Validate(const HalfSpaceTreesConfig& config, base::ByteView memory) {
  return half_space::ValidateForest(config, memory);
}

HalfSpaceTrees::HalfSpaceTrees(const HalfSpaceTreesConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

double HalfSpaceTrees::Score(std::span<const float> x) const {
  const View view(memory_);
  const ForestHeader& h = *view.header;
  DIPPER_CHECK(x.size() == h.inputs);
  if (h.drawn < h.trees) return kColdScore;
  int64_t sum = 0;
  ForEachLeaf(view, h.trees, x, [&](uint32_t tree, uint32_t leaf) { sum += Density(view, tree, leaf); });
  return ToScore(sum, h.trees);
}

double HalfSpaceTrees::ScoreAndLearn(std::span<const float> x, double weight) {
  if (!(weight > 0.0)) return Score(x);
  const View view(memory_);
  const ForestHeader& h = *view.header;
  DIPPER_CHECK(x.size() == h.inputs);
  const double counted = BoundedWeight(weight);
  int64_t sum = 0;
  ForEachLeaf(view, h.drawn, x, [&](uint32_t tree, uint32_t leaf) {
    sum += Density(view, tree, leaf);
    AddMass(view, tree, leaf, counted);
  });
  const double score = h.drawn < h.trees ? kColdScore : ToScore(sum, h.trees);
  Advance(config_, view, x, counted);
  return score;
}

void HalfSpaceTrees::Learn(std::span<const float> x, double weight) {
  if (weight > 0.0) static_cast<void>(ScoreAndLearn(x, weight));
}

bool HalfSpaceTrees::cold() const {
  const ForestHeader& h = *View(memory_).header;
  return h.drawn < h.trees;
}
uint32_t HalfSpaceTrees::tree_count() const { return View(memory_).header->trees; }
uint32_t HalfSpaceTrees::node_limit() const { return View(memory_).header->nodes; }

}  // namespace dipper::learn
