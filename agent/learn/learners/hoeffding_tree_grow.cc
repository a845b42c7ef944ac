// See hoeffding_tree_grow.h.
#include "agent/learn/learners/hoeffding_tree_grow.h"

#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr double kErrorFading = 0.998;  // memory of the leaf's judgement of its predictors
constexpr double kLeastMerit = 1e-5;    // below it is rounding
constexpr double kContestAging = 0.95;  // of all leaves' mistakes at each contest for statistics
constexpr double kLatestTry = 8;        // graces: how long a leaf may be left without a split attempt
constexpr double kBitsPerNat = 0x1.71547652b82fep+0;
constexpr uint32_t kDeepest = 64;
// Watching for stale branches, in labels: what is recent, what is ordinary, and how often to look.
constexpr float kRecent = 200;
constexpr float kOrdinary = 5000;
constexpr float kLookEvery = 32;
constexpr double kStaleDeviations = 3;    // recent above ordinary error that starts an alternate
constexpr double kReplaceDeviations = 2;  // of the errors' difference that decides between the two
// A pair of leaves is given back for a leaf that is visited so many times as often.
constexpr double kReclaimRatio = 4;

/// Where a fresh leaf's statistics come from: the block and the split of its parent, and the side.
struct Origin {
  StatsHead* parent = nullptr;
  const Candidate* split = nullptr;
  uint32_t side = 0;
};

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

/// Gives a statistics block to a leaf. origin.parent may be this very block.
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

/// A block for a leaf that would win `mistakes` with it: a free one, or that of the leaf that needs it least.
/// kNone: no leaf needs its block clearly less. Aging makes a leaf that is no longer visited lose its place.
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

/// Gives back all that hangs at a node, but not the node.
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

bool HasRoom(const View& view, const GrowConfig& config) {
  return view.header->leaf_count + config.reserve < view.header->max_leaves;
}

/// Looking for leaves to give back costs a pass over all of them: at most every so many labels, so that the
/// cost per label is bounded by a small constant.
bool MayReclaim(const View& view) {
  return view.header->labels - view.header->last_reclaim >=
         static_cast<double>(view.header->max_leaves) / 8.0;
}

/// A full pool: the pair of sibling leaves that is visited least goes, if the leaf that wants to split is
/// visited so much more. Returns whether a split is possible now.
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

/// Tries to split a leaf that has seen enough for a new try.
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

/// A leaf without statistics that makes many mistakes asks for some.
void AskForStats(const View& view, const GrowConfig& config, uint32_t leaf) {
  const Node& node = view.nodes[leaf];
  if (node.depth >= config.max_depth) return;
  const uint32_t stats = ContestStats(view, view.model(node.model)->mistakes, kNone);
  if (stats != kNone) Activate(view, config, leaf, stats, Origin{});
}

void Fade(double& error, double loss, double weight) {
  // All three errors begin at 0 and share the factor, so their order is right from the first label on.
  error += (1.0 - kErrorFading) * (weight < 1.0 ? weight : 1.0) * (loss - error);
}

/// Judges the leaf's predictors on the label, then teaches its models. Returns the loss of the one that
/// answered; LearnValue also the residual of the linear model.
double LearnClass(const View& view, const GrowConfig& config, const Node& leaf, const Sample& sample,
                  double y, double weight) {
  ModelHead* model = view.model(leaf.model);
  const uint32_t classes = view.header->outputs;
  const uint32_t label = SaturatingToInt<uint32_t>(y);
  double answer[kMaxOutputs];
  const std::span<double> out(answer, classes);
  const Predictor chosen = BestPredictor(view, leaf);
  double* weights = view.class_weights(model);
  const double base = Greatest({weights, classes}) == label ? 0.0 : 1.0;
  double bayes = base;
  if (leaf.stats != kNone) {
    BayesScores(view, view.stats_head(leaf.stats), sample, out);
    bayes = Greatest(out) == label ? 0.0 : 1.0;
  }
  LinearAnswer(view, leaf, sample, out);
  const double linear = Greatest(out) == label ? 0.0 : 1.0;
  LinearStep(view, leaf, sample, out, y, weight * config.linear_share, config.rate);
  Fade(model->base_error, base, weight);
  Fade(model->bayes_error, bayes, weight);
  Fade(model->linear_error, linear, weight);
  weights[label] += weight;
  model->weight += weight;
  return chosen == Predictor::kBase ? base : (chosen == Predictor::kBayes ? bayes : linear);
}

double LearnValue(const View& view, const GrowConfig& config, const Node& leaf, const Sample& sample,
                  double y, double weight, double* residual) {
  ModelHead* model = view.model(leaf.model);
  const Predictor chosen = BestPredictor(view, leaf);
  double answer = 0;
  LinearAnswer(view, leaf, sample, {&answer, 1});
  *residual = y - answer;
  const double base = std::fabs(y - model->mean);
  const double linear = std::fabs(*residual);
  LinearStep(view, leaf, sample, {&answer, 1}, y, weight * config.linear_share, config.rate);
  Fade(model->base_error, base, weight);
  Fade(model->linear_error, linear, weight);
  model->weight += weight;
  const double before = y - model->mean;
  const double move = before * (weight / model->weight);
  model->mean += move;
  const double square = model->square + weight * before * (y - model->mean);
  model->square = square > 0.0 ? square : 0.0;
  float& bias = view.linear(model)[view.header->numeric];
  bias = ToFloat(static_cast<double>(bias) - move);
  return chosen == Predictor::kBase ? base : linear;
}

/// The loss of the leaf's answer.
double LossOf(const View& view, const Node& leaf, const Sample& sample, double y) {
  double answer[kMaxOutputs];
  const std::span<double> out(answer, view.header->outputs);
  LeafAnswer(view, leaf, sample, out);
  if (!view.classification()) return std::fabs(y - answer[0]);
  return Greatest(out) == SaturatingToInt<uint32_t>(y) ? 0.0 : 1.0;
}

/// Teaches one leaf; returns the loss of its answer before.
double LearnLeaf(const View& view, const GrowConfig& config, uint32_t at, const Sample& sample, double y,
                 double weight) {
  const Node& leaf = view.nodes[at];
  ModelHead* model = view.model(leaf.model);
  // Splits of a regression tree are judged by what the leaf's linear model leaves over: a slope needs no
  // branches.
  double observed = y;
  const double loss = view.classification() ? LearnClass(view, config, leaf, sample, y, weight)
                                            : LearnValue(view, config, leaf, sample, y, weight, &observed);
  model->mistakes += weight * loss;
  model->visits += weight;
  if (leaf.stats != kNone) Observe(view, view.stats_head(leaf.stats), sample, observed, weight);
  if (model->weight < model->next_check) return loss;
  model->next_check = model->weight + config.grace;
  if (leaf.stats != kNone) {
    TrySplit(view, config, at);
  } else {
    AskForStats(view, config, at);
  }
  return loss;
}

void Average(float* mean, float value, float count, float horizon) {
  *mean += (value - *mean) / (count < horizon ? count : horizon);
}

/// The alternate's nodes become the node's own.
void Promote(const View& view, uint32_t at) {
  const uint32_t alternate = view.nodes[at].alternate;
  view.nodes[at].alternate = kNone;
  FellBelow(view, at);
  VisitBelow(view, alternate, [&](uint32_t below) { view.nodes[below].beside = 0; });
  Node& node = view.nodes[at];
  const Node place = node;
  node = view.nodes[alternate];
  node.parent = place.parent;
  view.monitors[at] = Monitor{};
  if (node.kind == NodeKind::kLeaf) {
    view.model(node.model)->owner = at;
    if (node.stats != kNone) view.stats_head(node.stats)->owner = at;
  } else {
    view.nodes[node.left].parent = at;
    view.nodes[node.left + 1].parent = at;
  }
  GivePair(view, alternate);
  view.header->tree_count -= 1;
}

/// Counts an answer in a split node's errors; whether they have risen. Looks now and then only.
bool Watch(const View& view, uint32_t at, float share) {
  Monitor& monitor = view.monitors[at];
  monitor.labels = monitor.labels < kOrdinary ? monitor.labels + 1.0F : kOrdinary;
  Average(&monitor.recent, share, monitor.labels, kRecent);
  Average(&monitor.ordinary, share, monitor.labels, kOrdinary);
  monitor.until_look += 1.0F;
  if (monitor.until_look < kLookEvery) return false;
  monitor.until_look = 0;
  const double ordinary = static_cast<double>(monitor.ordinary);
  // A faded mean over the horizon has the variance of one over twice as many labels.
  const double deviation = std::sqrt(ordinary * (1.0 - ordinary) / (2.0 * static_cast<double>(kRecent)));
  return monitor.labels >= 2.0F * kRecent &&
         static_cast<double>(monitor.recent) > ordinary + kStaleDeviations * deviation;
}

/// Plants an alternate beside a node, with the linear model of the leaf that answered last.
void StartAlternate(const View& view, const GrowConfig& config, uint32_t at, uint32_t leaf) {
  if (view.nodes[at].beside != 0 || !HasRoom(view, config)) return;
  // The leaf may have split while it learned; its children have copies of its model.
  const uint32_t model = view.nodes[leaf].kind == NodeKind::kLeaf ? view.nodes[leaf].model
                                                                  : view.nodes[view.nodes[leaf].left].model;
  const uint32_t alternate = Plant(view, config, model);
  if (alternate == kNone) return;
  view.nodes[alternate].parent = at;
  view.nodes[alternate].depth = view.nodes[at].depth;
  view.nodes[alternate].beside = 1;
  view.nodes[at].alternate = alternate;
  view.monitors[at].alternate_error = 0;
  view.monitors[at].alternate_labels = 0;
}

/// Teaches the alternate, and decides between it and the node when one has shown to be better.
void LearnAlternate(const View& view, const GrowConfig& config, uint32_t at, const Sample& sample, double y,
                    double weight) {
  Monitor& monitor = view.monitors[at];
  const uint32_t alternate = view.nodes[at].alternate;
  const double loss = LearnLeaf(view, config, FindLeaf(view, alternate, sample.x), sample, y, weight);
  monitor.alternate_labels += 1.0F;
  Average(&monitor.alternate_error, static_cast<float>(LossShare(view, loss)), monitor.alternate_labels,
          kRecent);
  if (monitor.until_look > 0.0F || monitor.alternate_labels < kRecent) return;
  const double gap = static_cast<double>(monitor.recent) - static_cast<double>(monitor.alternate_error);
  const double error = static_cast<double>(monitor.recent);
  const double bound = kReplaceDeviations * std::sqrt(error * (1.0 - error) / static_cast<double>(kRecent));
  if (gap > bound) {
    Promote(view, at);
  } else if (gap < -bound || monitor.alternate_labels >= kOrdinary) {
    Fell(view, alternate);
    view.nodes[at].alternate = kNone;
    // What is recent is ordinary now; else the next look would start another one.
    monitor.ordinary = monitor.recent;
    monitor.alternate_error = 0;
    monitor.alternate_labels = 0;
  }
}

}  // namespace

uint32_t Plant(const View& view, const GrowConfig& config, uint32_t model_of) {
  if (!HasFree(view)) return kNone;
  view.header->tree_count += 1;
  const uint32_t root = TakePair(view);
  const uint32_t index = TakeModel(view);
  Node& node = view.nodes[root];
  node.kind = NodeKind::kLeaf;
  node.parent = kNone;
  node.model = index;
  node.stats = kNone;
  node.alternate = kNone;
  ModelHead* model = view.model(index);
  if (model_of != kNone) {
    std::memcpy(view.linear(model), view.linear(view.model(model_of)),
                view.header->linear_rows * view.header->linear_width * sizeof(float));
    model->mean = view.model(model_of)->mean;
  }
  StartCovariance(view, model);
  model->owner = root;
  model->next_check = config.grace;
  const uint32_t stats = ContestStats(view, 0.0, kNone);
  if (stats != kNone) Activate(view, config, root, stats, Origin{});
  return root;
}

void Fell(const View& view, uint32_t root) {
  FellBelow(view, root);
  GivePair(view, root);
  view.header->tree_count -= 1;
}

uint32_t FindLeaf(const View& view, uint32_t root, std::span<const float> x) {
  uint32_t at = root;
  for (;;) {
    const Node& node = view.nodes[at];
    if (node.kind == NodeKind::kLeaf) return at;
    const float value = x[node.input];
    uint32_t right = 1U - static_cast<uint32_t>(value < node.threshold);  // no branch: it would be a guess
    if (node.kind == NodeKind::kNominal)
      right = 1U - static_cast<uint32_t>(static_cast<float>(NominalValue(value, node.categories)) ==
                                         node.threshold);
    if (!IsFinite(value)) right = node.missing_right;
    at = node.left + right;
  }
}

void CountLabel(const View& view, const Sample& sample, double y, double weight) {
  PoolHeader& header = *view.header;
  header.labels += weight;
  if (header.classification == 0) {
    const double before = y - header.target_mean;
    header.target_mean += before * (weight / header.labels);
    const double square = header.target_square + weight * before * (y - header.target_mean);
    header.target_square = square > 0.0 ? square : 0.0;
  }
  UpdateMoments(view, sample, weight);
}

double LossShare(const View& view, double loss) {
  const PoolHeader& header = *view.header;
  if (header.classification != 0) return loss;
  const double variance = header.labels > 0.0 ? header.target_square / header.labels : 0.0;
  if (!(variance > 1e-60)) return 0.0;
  const double share = loss / (4.0 * std::sqrt(variance));
  return share < 1.0 ? share : 1.0;
}

double LearnTree(const View& view, const GrowConfig& config, uint32_t root, const Sample& sample, double y,
                 double weight) {
  const uint32_t leaf = FindLeaf(view, root, sample.x);
  if (!(weight > 0.0)) return LossOf(view, view.nodes[leaf], sample, y);
  const uint32_t parent = view.nodes[leaf].parent;
  const double loss = LearnLeaf(view, config, leaf, sample, y, weight);
  if (!config.adaptive) return loss;
  const float share = static_cast<float>(LossShare(view, loss));
  bool may_start = true;  // one alternate on the way is enough: it bounds what a label costs
  for (uint32_t at = parent; at != kNone; at = view.nodes[at].parent)
    may_start = may_start && view.nodes[at].alternate == kNone;
  for (uint32_t at = parent; at != kNone; at = view.nodes[at].parent) {
    const bool stale = Watch(view, at, share);
    if (view.nodes[at].alternate != kNone) {
      LearnAlternate(view, config, at, sample, y, weight);
    } else if (stale && may_start) {
      may_start = false;
      StartAlternate(view, config, at, leaf);
    }
  }
  return loss;
}

}  // namespace dipper::learn::tree
