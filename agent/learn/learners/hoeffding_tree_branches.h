// What the parts of a tree's growth need of each other: statistics and splits of leaves, giving back, and
// alternates. Internal to hoeffding_tree*. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"

namespace dipper::learn::tree {

inline constexpr uint32_t kDeepest = 64;

/// Calls visit(node) for a node and all below it, parents first, alternates not.
template <typename Visit>
void VisitBelow(const View& view, uint32_t from, Visit visit) {
  // Every node on the way leaves its pair waiting, so the depth bounds the stack.
  uint32_t waiting[kDeepest + 2];
  uint32_t count = 0;
  const auto enter = [&](uint32_t at) {
    const uint32_t left = view.nodes[at].left;
    const bool leaf = view.nodes[at].kind == NodeKind::kLeaf;
    visit(at);
    if (!leaf) waiting[count++] = left;
  };
  enter(from);
  while (count > 0) {
    const uint32_t pair = waiting[--count];
    enter(pair);
    enter(pair + 1);
  }
}

// Learning, in hoeffding_tree_grow.cc.

/// Teaches one leaf; returns the loss of its answer before.
double LearnLeaf(const View& view, const GrowConfig& config, uint32_t at, const Sample& sample, double y,
                 double weight);

// Splits, in hoeffding_tree_split.cc.

/// Where a fresh leaf's statistics come from: the block and the split of its parent, and the side.
struct Origin {
  StatsHead* parent = nullptr;
  const Candidate* split = nullptr;
  uint32_t side = 0;
};

/// Gives a statistics block to a leaf. origin.parent may be this very block.
void Activate(const View& view, const GrowConfig& config, uint32_t leaf, uint32_t stats,
              const Origin& origin);

/// A block for a leaf that would win `mistakes` with it: a free one, or that of the leaf that needs it least.
/// kNone: no leaf needs its block clearly less. Aging makes a leaf that is no longer visited lose its place.
uint32_t ContestStats(const View& view, double mistakes, uint32_t spared);

/// Tries to split a leaf that has seen enough for a new try.
void TrySplit(const View& view, const GrowConfig& config, uint32_t leaf);

/// A leaf without statistics that makes many mistakes asks for some.
void AskForStats(const View& view, const GrowConfig& config, uint32_t leaf);

// Giving back, in hoeffding_tree_reclaim.cc.

/// Gives back all that hangs at a node, but not the node.
void FellBelow(const View& view, uint32_t from);

/// Whether a split finds a free leaf.
bool HasRoom(const View& view, const GrowConfig& config);

/// Looking for leaves to give back costs a pass over all of them: at most every so many labels, so that the
/// cost per label is bounded by a small constant.
bool MayReclaim(const View& view);

/// A full pool: the pair of sibling leaves that is visited least goes, if the leaf that wants to split is
/// visited so much more. Returns whether a split is possible now.
bool Reclaim(const View& view, const GrowConfig& config, uint32_t leaf);

// Alternates, in hoeffding_tree_alternate.cc.

/// Counts an answer in a split node's errors; whether they have risen. Looks now and then only.
bool Watch(const View& view, uint32_t at, float share);

/// Plants an alternate beside a node, with the linear model of the leaf that answered last.
void StartAlternate(const View& view, const GrowConfig& config, uint32_t at, uint32_t leaf);

/// Teaches the alternate, and decides between it and the node when one has shown to be better.
void LearnAlternate(const View& view, const GrowConfig& config, uint32_t at, const Sample& sample, double y,
                    double weight);

}  // namespace dipper::learn::tree
