// Giving back branches and leaves; see hoeffding_tree_branches.h.
#include "agent/learn/learners/hoeffding_tree_branches.h"

namespace dipper::learn::tree {
namespace {

// A pair of leaves is given back for a leaf that is visited so many times as often.
constexpr double kReclaimRatio = 4;

/// The better child's model and statistics become those of the pair's parent, which is a leaf again.
void Collapse(const View& view, uint32_t pair) {
  const uint32_t parent = view.nodes[pair].parent;
  Node& node = view.nodes[parent];
  const uint32_t models[2] = {view.nodes[pair].model, view.nodes[pair + 1].model};
  const uint32_t kept = view.model(models[0])->visits >= view.model(models[1])->visits ? 0 : 1;
  ModelHead* model = view.model(models[kept]);
  const ModelHead* other = view.model(models[1 - kept]);
  model->visits += other->visits;
  model->mistakes += other->mistakes;
  model->next_check = model->weight;  // it may split again at once if it earns it
  if (view.nodes[pair + 1 - kept].stats != kNone) GiveStats(view, view.nodes[pair + 1 - kept].stats);
  GiveModel(view, models[1 - kept]);
  if (node.alternate != kNone) Fell(view, node.alternate);
  node.alternate = kNone;
  node.kind = NodeKind::kLeaf;
  node.threshold = 0;
  node.input = 0;
  node.categories = 0;
  node.left = 0;
  node.missing_right = 0;
  node.model = models[kept];
  node.stats = view.nodes[pair + kept].stats;
  model->owner = parent;
  if (node.stats != kNone) view.stats_head(node.stats)->owner = parent;
  view.monitors[parent] = Monitor{};
  GivePair(view, pair);
}

}  // namespace

void FellBelow(const View& view, uint32_t from) {
  const uint32_t alternate = view.nodes[from].alternate;
  if (alternate != kNone) Fell(view, alternate);
  VisitBelow(view, from, [&](uint32_t at) {
    const Node& node = view.nodes[at];
    if (at != from && node.alternate != kNone) Fell(view, node.alternate);  // these have none
    if (node.kind == NodeKind::kLeaf) {
      GiveModel(view, node.model);
      if (node.stats != kNone) GiveStats(view, node.stats);
    }
  });
  // The pairs last, since their nodes lead to each other.
  uint32_t waiting[kDeepest + 2];
  uint32_t count = 0;
  if (view.nodes[from].kind != NodeKind::kLeaf) waiting[count++] = view.nodes[from].left;
  while (count > 0) {
    const uint32_t pair = waiting[--count];
    for (uint32_t i = pair; i < pair + 2; ++i) {
      if (view.nodes[i].kind != NodeKind::kLeaf) waiting[count++] = view.nodes[i].left;
    }
    GivePair(view, pair);
  }
}

void Fell(const View& view, uint32_t root) {
  FellBelow(view, root);
  GivePair(view, root);
  view.header->tree_count -= 1;
}

bool HasRoom(const View& view, const GrowConfig& config) {
  return view.header->leaf_count + config.reserve < view.header->max_leaves;
}

bool MayReclaim(const View& view) {
  return view.header->labels - view.header->last_reclaim >=
         static_cast<double>(view.header->max_leaves) / 8.0;
}

bool Reclaim(const View& view, const GrowConfig& config, uint32_t leaf) {
  PoolHeader& header = *view.header;
  const double since = header.labels - header.last_reclaim;
  const double leaves = static_cast<double>(header.max_leaves);
  header.last_reclaim = header.labels;
  // A leaf's visits are forgotten in about the time in which every leaf can collect a grace.
  const double keep = 1.0 / (1.0 + since / (leaves * config.grace));
  uint32_t least = kNone;
  double least_visits = view.model(view.nodes[leaf].model)->visits / kReclaimRatio;
  for (uint32_t pair = 0; pair < 2 * header.pairs_used; pair += 2) {
    double visits = 0;
    bool leaves_both = true;
    for (uint32_t i = pair; i < pair + 2; ++i) {
      if (view.nodes[i].kind != NodeKind::kLeaf) {
        leaves_both = false;
        continue;
      }
      ModelHead* model = view.model(view.nodes[i].model);
      model->visits *= keep;
      visits += model->visits;
    }
    if (!leaves_both || (leaf & ~1U) == pair || visits >= least_visits) continue;
    least = pair;
    least_visits = visits;
  }
  if (least == kNone) return false;
  Collapse(view, least);
  return HasRoom(view, config);
}

}  // namespace dipper::learn::tree
