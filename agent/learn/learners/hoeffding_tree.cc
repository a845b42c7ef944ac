// See hoeffding_tree.h: finding leaves, learning, splitting, and moving statistics to the leaves that need
// them most.
#include "agent/learn/learners/hoeffding_tree.h"

#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {
namespace {

using namespace tree;

constexpr double kErrorFading = 0.998;  // memory of the leaf's judgement of its predictors
constexpr double kLargestWeight = 1e6;
constexpr double kLargestTarget =
    1e30;                               // targets beyond count as this: float weights and squares stay finite
constexpr double kContestAging = 0.95;  // of all leaves' mistakes at each contest for statistics

uint32_t FindLeaf(const View& view, std::span<const float> x) {
  uint32_t at = 0;
  for (;;) {
    const Node& node = view.nodes[at];
    if (node.kind == NodeKind::kLeaf) return at;
    const float value = x[node.input];
    bool right = node.missing_right != 0;
    if (IsFinite(value)) {
      right =
          node.kind == NodeKind::kNumeric
              ? !(value < node.threshold)
              : static_cast<float>(NominalValue(value, view.inputs[node.input].categories)) != node.threshold;
    }
    at = node.left + (right ? 1 : 0);
  }
}

/// Where a fresh leaf's statistics come from: the block and the split of its parent, and the side. All null:
/// nowhere.
struct Origin {
  StatsHead* parent = nullptr;
  const Candidate* split = nullptr;
  uint32_t side = 0;
};

/// Gives a statistics block to a leaf, empty but for the ranges that the parent's block (perhaps this very
/// one) knows.
void Activate(const View& view, uint32_t leaf, uint32_t stats, const Origin& origin) {
  StatsHead* head = view.stats_head(stats);
  view.nodes[leaf].stats = stats;
  if (view.header->classification != 0 || origin.parent == nullptr) {
    ClearStats(view, head);
  } else {
    InheritRanges(view, origin.parent, head, *origin.split, origin.side);
  }
  *head = StatsHead{};
  head->owner = leaf;
  if (view.header->classification != 0) return;
  // Residuals are kept in units of the target's deviation, so that float sums serve targets of any scale.
  const double variance = view.header->labels > 0.0 ? view.header->target_square / view.header->labels : 0.0;
  head->inverse_scale = variance > 1e-60 ? 1.0 / std::sqrt(variance) : 1.0;
}

/// A block for a leaf that would win `mistakes` with it: a free one, or that of the leaf that needs it least.
/// kNone: no leaf needs its block clearly less. Aging makes a leaf that is no longer visited lose its place.
uint32_t ContestStats(const View& view, double mistakes, uint32_t spared) {
  TreeHeader& header = *view.header;
  if (header.stats_count < header.max_stats) return header.stats_count++;
  uint32_t least = kNone;
  double least_mistakes = 0;
  for (uint32_t i = 0; i < header.stats_count; ++i) {
    ModelHead* model = view.model(view.nodes[view.stats_head(i)->owner].model);
    model->mistakes *= kContestAging;
    if (i == spared || (least != kNone && model->mistakes >= least_mistakes)) continue;
    least = i;
    least_mistakes = model->mistakes;
  }
  if (least == kNone || 2.0 * least_mistakes >= mistakes) return kNone;
  view.nodes[view.stats_head(least)->owner].stats = kNone;
  return least;
}

/// A new leaf model as a copy of another: predictors go on where the parent's were.
uint32_t CopyModel(const View& view, uint32_t from) {
  const uint32_t index = view.header->leaf_count++;
  std::memcpy(view.model(index), view.model(from), view.header->model_bytes);
  return index;
}

/// Divides the parent's class weights or target moments between the two children.
void DivideModel(const View& view, StatsHead* stats, const Candidate& split, ModelHead* left,
                 ModelHead* right) {
  const double labels = left->weight;
  if (view.header->classification != 0) {
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
      models[i]->mean += sides.mean[i];
      models[i]->square = sides.square[i];
    }
  }
  left->mistakes *= split.left_share;
  right->mistakes *= 1.0 - split.left_share;
  // Naive Bayes begins anew in both children.
  for (ModelHead* model : {left, right}) {
    if (model->bayes_error < model->base_error) model->bayes_error = model->base_error;
  }
}

void Split(const View& view, uint32_t leaf, const Candidate& split, double grace) {
  TreeHeader& header = *view.header;
  Node& node = view.nodes[leaf];
  const uint32_t stats = node.stats;
  const uint32_t models[2] = {node.model, CopyModel(view, node.model)};
  const uint32_t children = header.node_count;
  header.node_count += 2;
  for (uint32_t i = 0; i < 2; ++i) {
    Node& child = view.nodes[children + i];
    child = Node{};
    child.parent = leaf;
    child.model = models[i];
    child.stats = kNone;
    child.depth = static_cast<uint16_t>(node.depth + 1);
    child.kind = NodeKind::kLeaf;
    view.model(models[i])->owner = children + i;
  }
  ModelHead* left = view.model(models[0]);
  ModelHead* right = view.model(models[1]);
  DivideModel(view, view.stats_head(stats), split, left, right);
  left->next_check = left->weight + grace;
  right->next_check = right->weight + grace;
  node.kind = view.inputs[split.input].categories != 0 ? NodeKind::kNominal : NodeKind::kNumeric;
  node.threshold = split.threshold;
  node.input = split.input;
  node.left = children;
  node.model = kNone;
  node.stats = kNone;
  node.missing_right = split.left_share < 0.5 ? 1 : 0;

  // The needier child inherits the block (last: the other one still reads the parent's ranges); the other
  // contests one.
  const uint32_t heir = left->mistakes >= right->mistakes ? 0 : 1;
  StatsHead* parent = view.stats_head(stats);
  parent->owner = children + heir;
  view.nodes[children + heir].stats = stats;
  const uint32_t more = ContestStats(view, view.model(models[1 - heir])->mistakes, stats);
  if (more != kNone) Activate(view, children + 1 - heir, more, Origin{parent, &split, 1 - heir});
  Activate(view, children + heir, stats, Origin{parent, &split, heir});
}

/// Tries to split a leaf that has seen enough for a new try.
void TrySplit(const View& view, const HoeffdingTreeConfig& config, uint32_t leaf) {
  const TreeHeader& header = *view.header;
  const Node& node = view.nodes[leaf];
  StatsHead* stats = view.stats_head(node.stats);
  if (node.depth >= config.max_depth || header.leaf_count == header.max_leaves || !(stats->weight > 0.0))
    return;
  Candidate best;
  Candidate second;
  for (uint32_t i = 0; i < header.inputs; ++i) {
    const Candidate candidate = BestSplit(view, stats, i);
    if (candidate.merit > best.merit) {
      second = best;
      best = candidate;
    } else if (candidate.merit > second.merit) {
      second = candidate;
    }
  }
  if (!(best.merit > 1e-9)) return;
  // Hoeffding's bound on the difference of mean merits: bits of information, or for regression the ratio of
  // the merits.
  const bool classification = header.classification != 0;
  const double range = classification ? Log(static_cast<double>(header.outputs)) * 0x1.71547652b82fep+0 : 1.0;
  const double bound = range * std::sqrt(-Log(config.delta) / (2.0 * stats->weight));
  const bool better =
      classification ? best.merit - second.merit > bound : second.merit < best.merit * (1.0 - bound);
  if (better || bound < config.tie) Split(view, leaf, best, static_cast<double>(config.grace_labels));
}

/// A leaf without statistics that makes many mistakes asks for some.
void AskForStats(const View& view, const HoeffdingTreeConfig& config, uint32_t leaf) {
  const Node& node = view.nodes[leaf];
  if (node.depth >= config.max_depth || view.header->leaf_count == view.header->max_leaves) return;
  const uint32_t stats = ContestStats(view, view.model(node.model)->mistakes, kNone);
  if (stats != kNone) Activate(view, leaf, stats, Origin{});
}

void Fade(double& error, double loss, double weight) {
  // All three errors begin at 0 and share the factor, so their order is right from the first label on.
  error += (1.0 - kErrorFading) * (weight < 1.0 ? weight : 1.0) * (loss - error);
}

/// Judges the leaf's predictors on the label, then teaches its models. Returns the loss of the one that
/// answered; LearnValue also the residual of the linear model.
double LearnClass(const View& view, const Node& leaf, std::span<const float> x, double y, double weight) {
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
    BayesScores(view, leaf, x, out);
    bayes = Greatest(out) == label ? 0.0 : 1.0;
  }
  LinearAnswer(view, leaf, x, out);
  const double linear = Greatest(out) == label ? 0.0 : 1.0;
  LinearStep(view, leaf, x, out, y, weight);
  Fade(model->base_error, base, weight);
  Fade(model->bayes_error, bayes, weight);
  Fade(model->linear_error, linear, weight);
  weights[label] += weight;
  model->weight += weight;
  return chosen == Predictor::kBase ? base : (chosen == Predictor::kBayes ? bayes : linear);
}

double LearnValue(const View& view, const Node& leaf, std::span<const float> x, double y, double weight,
                  double* residual) {
  ModelHead* model = view.model(leaf.model);
  const Predictor chosen = BestPredictor(view, leaf);
  double answer = 0;
  LinearAnswer(view, leaf, x, {&answer, 1});
  *residual = y - answer;
  const double base = std::fabs(y - model->mean);
  const double linear = std::fabs(*residual);
  LinearStep(view, leaf, x, {&answer, 1}, y, weight);
  Fade(model->base_error, base, weight);
  Fade(model->linear_error, linear, weight);
  model->weight += weight;
  const double before = y - model->mean;
  const double move = before * (weight / model->weight);
  model->mean += move;
  const double square = model->square + weight * before * (y - model->mean);
  model->square = square > 0.0 ? square : 0.0;
  float* bias = view.linear(model);
  bias[0] = ToFloat(static_cast<double>(bias[0]) - move);
  return chosen == Predictor::kBase ? base : linear;
}

}  // namespace

base::Result<uint64_t> HoeffdingTree::StateBytes(const HoeffdingTreeConfig& config) {
  DIPPER_ASSIGN_OR_RETURN([[maybe_unused]] const TreeHeader header, PlanTree(config));
  return config.pool_bytes / 16 * 16;
}

base::Status HoeffdingTree::Create(const HoeffdingTreeConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(TreeHeader header, PlanTree(config));
  if (memory.size() != config.pool_bytes / 16 * 16) return base::Status::kInvalidArgument;
  header.node_count = 1;
  header.leaf_count = 1;
  std::memcpy(memory.data(), &header, sizeof header);
  const View view(memory.data());
  for (uint32_t i = 0; i < config.inputs; ++i) {
    view.inputs[i] = PlanInput(config, header, i, i == 0 ? nullptr : &view.inputs[i - 1]);
  }
  Node& root = view.nodes[0];
  root.kind = NodeKind::kLeaf;
  root.parent = kNone;
  view.model(0)->next_check = static_cast<double>(config.grace_labels);
  Activate(view, 0, ContestStats(view, 0.0, kNone), Origin{});
  return base::Status::kOk;
}

base::Status HoeffdingTree::Validate(const HoeffdingTreeConfig& config, base::ByteView memory) {
  return ValidateTree(config, memory);
}

HoeffdingTree::HoeffdingTree(const HoeffdingTreeConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

void HoeffdingTree::Predict(std::span<const float> x, std::span<double> out) const {
  const View view(memory_);
  DIPPER_CHECK(x.size() == view.header->inputs && out.size() == view.header->outputs);
  const Node& leaf = view.nodes[FindLeaf(view, x)];
  switch (BestPredictor(view, leaf)) {
    case Predictor::kLinear:
      LinearAnswer(view, leaf, x, out);
      return;
    case Predictor::kBayes:
      BayesScores(view, leaf, x, out);
      if (out[Greatest(out)] > -1e299) {
        Softmax(out);
        return;
      }
      break;  // no label yet
    case Predictor::kBase:
      break;
  }
  if (view.header->classification != 0) {
    BaseProbabilities(view, leaf, out);
  } else {
    out[0] = view.model(leaf.model)->mean;
  }
}

void HoeffdingTree::Learn(std::span<const float> x, std::span<const double>, double y, double weight) {
  const View view(memory_);
  DIPPER_CHECK(x.size() == view.header->inputs);
  if (!(weight > 0.0)) return;
  const double counted = weight < kLargestWeight ? weight : kLargestWeight;
  TreeHeader& header = *view.header;
  const bool classification = header.classification != 0;
  DIPPER_CHECK(!classification || (y >= 0.0 && y < static_cast<double>(header.outputs)));
  const double target = y > kLargestTarget ? kLargestTarget : (y < -kLargestTarget ? -kLargestTarget : y);
  header.labels += counted;
  if (!classification) {
    const double before = target - header.target_mean;
    header.target_mean += before * (counted / header.labels);
    const double square = header.target_square + counted * before * (target - header.target_mean);
    header.target_square = square > 0.0 ? square : 0.0;
  }
  const uint32_t at = FindLeaf(view, x);
  const Node& leaf = view.nodes[at];
  ModelHead* model = view.model(leaf.model);
  // Splits of a regression tree are judged by what the leaf's linear model leaves over: a slope needs no
  // branches.
  double observed = target;
  const double loss = classification ? LearnClass(view, leaf, x, target, counted)
                                     : LearnValue(view, leaf, x, target, counted, &observed);
  model->mistakes += counted * loss;
  if (leaf.stats != kNone) Observe(view, view.stats_head(leaf.stats), x, observed, counted);
  UpdateInputs(view, x, counted);
  if (model->weight < model->next_check) return;
  model->next_check = model->weight + static_cast<double>(config_.grace_labels);
  if (leaf.stats != kNone) {
    TrySplit(view, config_, at);
  } else {
    AskForStats(view, config_, at);
  }
}

uint32_t HoeffdingTree::node_count() const { return View(memory_).header->node_count; }
uint32_t HoeffdingTree::leaf_count() const { return View(memory_).header->leaf_count; }
uint32_t HoeffdingTree::active_leaf_count() const { return View(memory_).header->stats_count; }
uint32_t HoeffdingTree::max_leaf_count() const { return View(memory_).header->max_leaves; }

}  // namespace dipper::learn
