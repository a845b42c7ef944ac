// See hoeffding_tree_grow.h: planting, finding leaves and teaching them.
#include "agent/learn/learners/hoeffding_tree_grow.h"

#include <cmath>
#include <cstring>

#include "agent/learn/learners/hoeffding_tree_branches.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn::tree {
namespace {

constexpr double kErrorFading = 0.998;  // memory of the leaf's judgement of its predictors

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

}  // namespace

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
