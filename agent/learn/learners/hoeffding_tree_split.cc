// Splitting leaves, and which leaves hold statistics; see hoeffding_tree_branches.h.
#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_branches.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/functions.h"

namespace dipper::learn::tree {
namespace {

constexpr double kLeastMerit = 1e-5;    // below it is rounding
constexpr double kContestAging = 0.95;  // of all leaves' mistakes at each contest for statistics
constexpr double kLatestTry = 8;        // graces: how long a leaf may be left without a split attempt
constexpr double kBitsPerNat = 0x1.71547652b82fep+0;

/// Chooses `count` of the numeric columns for a regression leaf, ascending (Knuth, TAOCP 2, 3.4.2 S).
void ChooseWatched(const View& view, StatsHead* head, RandomState* random) {
  const PoolHeader& header = *view.header;
  if (header.watched == header.numeric || random == nullptr) return;
  uint32_t chosen = 0;
  for (uint32_t i = 0; i < header.numeric && chosen < header.watched; ++i) {
    if (NextBelow(*random, header.numeric - i) < header.watched - chosen)
      view.watched(head)[chosen++] = static_cast<uint16_t>(i);
  }
}

/// Divides the parent's class weights or target moments between the two children.
void DivideModel(const View& view, StatsHead* stats, const Candidate& split, ModelHead* left,
                 ModelHead* right) {
  const double labels = left->weight;
  if (view.classification()) {
    double shares[kMaxOutputs];
    const uint32_t classes = view.header->outputs;
    LeftShares(view, stats, split, {shares, classes});
    double left_weight = 0;
    for (uint32_t c = 0; c < classes; ++c) {
      const double all = view.class_weights(left)[c];
      view.class_weights(left)[c] = all * shares[c];
      view.class_weights(right)[c] = all * (1.0 - shares[c]);
      left_weight += all * shares[c];
    }
    left->weight = left_weight;
    right->weight = labels > left_weight ? labels - left_weight : 0.0;
  } else {
    const SideMoments sides = SplitMoments(view, stats, split);
    ModelHead* models[2] = {left, right};
    for (uint32_t i = 0; i < 2; ++i) {
      // The side's mean residual is what the linear model, an offset to the mean, missed there.
      models[i]->weight = sides.weight[i];
      models[i]->mean = CutTarget(models[i]->mean + sides.mean[i]);
      models[i]->square = sides.square[i];
    }
  }
  left->mistakes *= split.left_share;
  right->mistakes *= 1.0 - split.left_share;
  left->visits *= split.left_share;
  right->visits *= 1.0 - split.left_share;
}

void Split(const View& view, const GrowConfig& config, uint32_t leaf, const Candidate& split) {
  Node& node = view.nodes[leaf];
  const uint32_t stats = node.stats;
  const uint32_t models[2] = {node.model, TakeModel(view)};
  std::memcpy(view.model(models[1]), view.model(models[0]), view.header->model_bytes);
  const uint32_t children = TakePair(view);
  for (uint32_t i = 0; i < 2; ++i) {
    Node& child = view.nodes[children + i];
    child.parent = leaf;
    child.model = models[i];
    child.stats = kNone;
    child.alternate = kNone;
    child.depth = static_cast<uint8_t>(node.depth + 1);
    child.kind = NodeKind::kLeaf;
    child.beside = node.beside;
    view.model(models[i])->owner = children + i;
  }
  ModelHead* left = view.model(models[0]);
  ModelHead* right = view.model(models[1]);
  LoosenCovariance(view, left);
  LoosenCovariance(view, right);
  DivideModel(view, view.stats_head(stats), split, left, right);
  left->next_check = left->weight + config.grace;
  right->next_check = right->weight + config.grace;
  const Column& column = view.columns[split.column];
  node.kind = column.categories != 0 ? NodeKind::kNominal : NodeKind::kNumeric;
  node.threshold = split.threshold;
  node.input = static_cast<uint16_t>(column.input);
  node.categories = static_cast<uint16_t>(column.categories);
  node.left = children;
  node.model = kNone;
  node.stats = kNone;
  node.missing_right = split.left_share < 0.5 ? 1 : 0;
  view.monitors[leaf] = Monitor{};

  // The needier child inherits the block (last: the other one still reads the parent's); the other contests
  // one.
  const uint32_t heir = left->mistakes >= right->mistakes ? 0 : 1;
  StatsHead* parent = view.stats_head(stats);
  parent->owner = children + heir;
  view.nodes[children + heir].stats = stats;
  const uint32_t more = ContestStats(view, view.model(models[1 - heir])->mistakes, stats);
  if (more != kNone) {
    std::memcpy(view.stats_head(more), parent, view.header->stats_bytes);
    Activate(view, config, children + 1 - heir, more, Origin{parent, &split, 1 - heir});
  }
  Activate(view, config, children + heir, stats, Origin{parent, &split, heir});
}

/// The two best splits by the columns that are this leaf's to consider (Knuth, TAOCP 2, 3.4.2, algorithm S).
void BestTwo(const View& view, const GrowConfig& config, StatsHead* stats, Candidate* best,
             Candidate* second) {
  const uint32_t columns = view.header->inputs;
  uint32_t left = config.candidates == 0 ? columns : config.candidates;
  RandomState choice = SeedRandom(stats->seed);
  for (uint32_t i = 0; i < columns && left > 0; ++i) {
    if (left < columns - i && NextBelow(choice, columns - i) >= left) continue;
    --left;
    const Candidate candidate = BestSplit(view, stats, i);
    if (candidate.merit > best->merit) {
      *second = *best;
      *best = candidate;
    } else if (candidate.merit > second->merit) {
      *second = candidate;
    }
  }
}

}  // namespace

void Activate(const View& view, const GrowConfig& config, uint32_t leaf, uint32_t stats,
              const Origin& origin) {
  StatsHead* head = view.stats_head(stats);
  view.nodes[leaf].stats = stats;
  if (origin.parent == nullptr) {
    StartStats(view, head);
    head->weight = 0;
    if (!view.classification()) ChooseWatched(view, head, config.random);
  } else {
    InheritStats(view, origin.parent, head, *origin.split, origin.side);
  }
  head->owner = leaf;
  head->seed = config.random != nullptr ? static_cast<uint32_t>(NextU64(*config.random) >> 32) : 0;
  if (view.classification()) return;
  // Residuals are kept in units of the target's deviation, so that float sums serve targets of any scale.
  const double variance = view.header->labels > 0.0 ? view.header->target_square / view.header->labels : 0.0;
  head->inverse_scale = variance > 1e-60 ? 1.0 / std::sqrt(variance) : 1.0;
}

uint32_t ContestStats(const View& view, double mistakes, uint32_t spared) {
  const uint32_t free = TakeStats(view);
  if (free != kNone) return free;
  uint32_t least = kNone;
  double least_mistakes = 0;
  for (uint32_t i = 0; i < view.header->stats_used; ++i) {
    ModelHead* model = view.model(view.nodes[view.stats_head(i)->owner].model);
    model->mistakes *= kContestAging;
    if (i == spared || (least != kNone && model->mistakes >= least_mistakes)) continue;
    least = i;
    least_mistakes = model->mistakes;
  }
  if (least == kNone || 2.0 * least_mistakes >= mistakes) return kNone;
  view.nodes[view.stats_head(least)->owner].stats = kNone;
  std::memset(view.stats_head(least), 0, view.header->stats_bytes);
  return least;
}

void TrySplit(const View& view, const GrowConfig& config, uint32_t leaf) {
  const PoolHeader& header = *view.header;
  const Node& node = view.nodes[leaf];
  StatsHead* stats = view.stats_head(node.stats);
  if (node.depth >= config.max_depth || !(stats->weight > 0.0)) return;
  if (!HasRoom(view, config) && !MayReclaim(view)) return;
  Candidate best;
  Candidate second;
  BestTwo(view, config, stats, &best, &second);
  ModelHead* model = view.model(node.model);
  // Hoeffding's bound on the difference of mean merits: bits of information, or for regression the ratio of
  // the merits.
  const bool classification = header.classification != 0;
  const double range = classification ? Log(static_cast<double>(header.outputs)) * kBitsPerNat : 1.0;
  const double needed = range * range * -Log(config.delta) * 0.5;  // weight for a bound of 1
  const double bound = std::sqrt(needed / stats->weight);
  double gap = 0;
  if (best.merit > kLeastMerit)
    gap = classification ? best.merit - second.merit : 1.0 - second.merit / best.merit;
  if (best.merit > kLeastMerit && (gap > bound || bound < config.tie)) {
    if (HasRoom(view, config) || Reclaim(view, config, leaf)) Split(view, config, leaf, best);
    return;
  }
  // The gap seen now tells when the bound will have come down to it.
  const double least = gap > config.tie ? gap : config.tie;
  const double wait = least > 0.0 ? needed / (least * least) - stats->weight : config.grace;
  const double latest = kLatestTry * config.grace;
  model->next_check = model->weight + (wait < config.grace ? config.grace : (wait < latest ? wait : latest));
}

void AskForStats(const View& view, const GrowConfig& config, uint32_t leaf) {
  const Node& node = view.nodes[leaf];
  if (node.depth >= config.max_depth) return;
  const uint32_t stats = ContestStats(view, view.model(node.model)->mistakes, kNone);
  if (stats != kNone) Activate(view, config, leaf, stats, Origin{});
}

}  // namespace dipper::learn::tree
