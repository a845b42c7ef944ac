// See hoeffding_tree_explain.h.
#include "agent/learn/learners/hoeffding_tree_explain.h"

#include "agent/learn/learners/hoeffding_tree_branches.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/learners/score_way.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/lanes.h"

namespace dipper::learn::tree {
namespace {

/// The labels of a branch: how many, and their mean (of the share of one class, or of the target).
struct Level {
  double weight = 0;
  double mean = 0;
};

Level LevelOf(const View& view, const Node& leaf, uint32_t output) {
  ModelHead* model = view.model(leaf.model);
  if (!view.classification()) return {model->weight, model->mean};
  const uint32_t classes = view.header->outputs;
  const double* weights = view.class_weights(model);
  double total = 0;
  for (uint32_t c = 0; c < classes; ++c) total += weights[c];
  return {total, total > 0.0 ? weights[output] / total : 1.0 / static_cast<double>(classes)};
}

/// Both together. Means, not sums, are carried along: sums could overflow.
Level Join(const Level& a, const Level& b) {
  const double total = a.weight + b.weight;
  if (!(total > 0.0)) return a;
  return {total, a.mean + (b.mean - a.mean) * (b.weight / total)};
}

Level LevelBelow(const View& view, uint32_t from, uint32_t output) {
  Level level;
  bool first = true;
  VisitBelow(view, from, [&](uint32_t at) {
    const Node& node = view.nodes[at];
    if (node.kind != NodeKind::kLeaf) return;
    const Level leaf = LevelOf(view, node, output);
    level = first ? leaf : Join(level, leaf);
    first = false;
  });
  return level;
}

void AddClasses(const View& view, uint32_t from, double* classes) {
  VisitBelow(view, from, [&](uint32_t at) {
    const Node& node = view.nodes[at];
    if (node.kind != NodeKind::kLeaf) return;
    const double* weights = view.class_weights(view.model(node.model));
    for (uint32_t c = 0; c < view.header->outputs; ++c) classes[c] += weights[c];
  });
}

/// Entropy times weight, in nats.
double Disorder(const double* weights, uint32_t classes) {
  double total = 0;
  for (uint32_t c = 0; c < classes; ++c) total += weights[c];
  double sum = 0;
  for (uint32_t c = 0; c < classes; ++c) {
    if (weights[c] > 0.0) sum -= weights[c] * Log(weights[c] / total);
  }
  return sum;
}

/// What a split takes away, weighted by its part of the tree's labels.
double GainOfClasses(const View& view, const Node& node, double whole) {
  const uint32_t classes = view.header->outputs;
  double side[2][kMaxOutputs] = {};
  double both[kMaxOutputs];
  AddClasses(view, node.left, side[0]);
  AddClasses(view, node.left + 1, side[1]);
  for (uint32_t c = 0; c < classes; ++c) both[c] = side[0][c] + side[1][c];
  return (Disorder(both, classes) - Disorder(side[0], classes) - Disorder(side[1], classes)) / whole;
}

double GainOfValues(const View& view, const Node& node, double whole) {
  const Level left = LevelBelow(view, node.left, 0);
  const Level right = LevelBelow(view, node.left + 1, 0);
  const double total = left.weight + right.weight;
  const double apart = left.mean - right.mean;
  return total > 0.0 ? (left.weight / whole) * (right.weight / total) * apart * apart : 0.0;
}

/// Where the scores of a leaf's model come from, of class k (of the one row of two classes: class 1).
struct LeafScores {
  const View& view;
  const Node& leaf;
  const Sample& sample;
  Predictor predictor;

  bool OneRow() const { return predictor == Predictor::kLinear && view.header->linear_rows == 1; }
  double AddTerms(uint32_t k, double scale, std::span<double> terms) const {
    if (predictor == Predictor::kBayes)
      return AddBayesTerms(view, view.stats_head(leaf.stats), sample, k, scale, terms);
    if (!OneRow()) return AddLinearTerms(view, leaf, sample, k, scale, terms);
    return k == 0 ? 0.0 : AddLinearTerms(view, leaf, sample, 0, scale, terms);
  }
  void Fill(std::span<double> scores) const {
    if (predictor == Predictor::kBayes) return BayesScores(view, view.stats_head(leaf.stats), sample, scores);
    LinearScores(view, leaf, sample, OneRow() ? scores.subspan(1) : scores);
    if (OneRow()) scores[0] = 0.0;
  }
};

/// What a leaf's model makes of the inputs: `scale` times the terms of each.
void AddLeafTerms(const View& view, const Node& leaf, const Sample& sample, uint32_t output, double scale,
                  std::span<double> terms) {
  const LeafScores from = {view, leaf, sample, BestPredictor(view, leaf)};
  if (from.predictor == Predictor::kBase) return;
  if (!view.classification()) {
    AddLinearTerms(view, leaf, sample, 0, scale, terms);
    return;
  }
  ScoreWay way;
  double scores[kMaxOutputs] = {};
  way.classes = view.header->outputs;
  from.Fill({scores, way.classes});
  if (!(scores[Greatest({scores, way.classes})] > kUnseen)) return;  // no label yet
  for (uint32_t c = 0; c < way.classes; ++c) {
    const bool seen = scores[c] > kUnseen;
    way.move[c] = seen ? from.AddTerms(c, 0.0, {}) : 0.0;
    way.first[c] = scores[c] - way.move[c];
  }
  double slopes[kMaxOutputs];
  if (!way.MeanSlopes(output, slopes)) return;
  for (uint32_t c = 0; c < way.classes; ++c) {
    if (scores[c] > kUnseen) from.AddTerms(c, scale * slopes[c], terms);
  }
}

}  // namespace

void AddContributions(const View& view, uint32_t root, const Sample& sample, uint32_t output, double share,
                      std::span<double> terms) {
  DIPPER_CHECK(terms.size() == view.header->inputs + size_t{2} && output < view.header->outputs);
  const uint32_t leaf = FindLeaf(view, root, sample.x);
  double answers[kMaxOutputs];
  LeafAnswer(view, view.nodes[leaf], sample, {answers, view.header->outputs});
  Level level = LevelOf(view, view.nodes[leaf], output);
  const std::span<double> inputs = terms.first(view.header->inputs);
  const double before = Sum(std::span<const double>(inputs));
  AddLeafTerms(view, view.nodes[leaf], sample, output, share, inputs);
  const double told = Sum(std::span<const double>(inputs)) - before;
  terms[view.header->inputs + 1] += share * (answers[output] - level.mean) - told;
  // Upwards: a node's labels are its own branch's and those of the sibling, which is its neighbour.
  for (uint32_t at = leaf; at != root;) {
    const uint32_t parent = view.nodes[at].parent;
    const Level above = Join(level, LevelBelow(view, at ^ 1U, output));
    terms[view.nodes[parent].input] += share * (level.mean - above.mean);
    level = above;
    at = parent;
  }
  terms[view.header->inputs] += share * level.mean;
}

void AddImportance(const View& view, uint32_t root, double share, std::span<double> out) {
  DIPPER_CHECK(out.size() == view.header->inputs);
  const double whole = LevelBelow(view, root, 0).weight;
  if (!(whole > 0.0)) return;
  VisitBelow(view, root, [&](uint32_t at) {
    const Node& node = view.nodes[at];
    if (node.kind == NodeKind::kLeaf) return;
    const double gain =
        view.classification() ? GainOfClasses(view, node, whole) : GainOfValues(view, node, whole);
    if (gain > 0.0) out[node.input] += share * gain;  // rounding can make a zero gain negative
  });
}

void Normalize(std::span<double> out) {
  const double sum = Sum(std::span<const double>(out));
  if (!(sum > 0.0)) return;
  for (double& x : out) x /= sum;
}

}  // namespace dipper::learn::tree
