// Contributions and importances of trees against a plain walk; that they sum to the answer and change
// nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing::explain_tree_test {
namespace {

using base::Status;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::array<uint16_t, 4> kMixed = {0, 3, 0, 0};  // the second one is nominal

double Total(const std::vector<double>& terms) { return std::accumulate(terms.begin(), terms.end(), 0.0); }

/// A tree in memory of its own.
class TreeSection {
 public:
  explicit TreeSection(const HoeffdingTreeConfig& config) : config_(config), memory_(config.pool_bytes) {
    EXPECT_EQ(HoeffdingTree::Create(config, memory_.bytes()), Status::kOk);
  }
  const HoeffdingTreeConfig& config() const { return config_; }
  HoeffdingTree part() { return HoeffdingTree(config_, memory_.bytes()); }
  tree::View view() { return tree::View(memory_.bytes().data()); }
  bool SameAs(TreeSection& other) { return std::ranges::equal(memory_.bytes(), other.memory_.bytes()); }

 private:
  HoeffdingTreeConfig config_;
  AlignedBytes memory_;
};

HoeffdingTreeConfig TreeConfig(bool classification) {
  HoeffdingTreeConfig config;
  config.inputs = 4;
  config.outputs = classification ? 3 : 1;
  config.classification = classification;
  config.categories = kMixed;
  config.pool_bytes = 65536;
  return config;
}

std::array<float, 4> DrawInputs(Numbers& numbers, bool missing) {
  std::array<float, 4> x = {static_cast<float>(numbers.Uniform()), static_cast<float>(numbers.Below(4)),
                            static_cast<float>(100 * numbers.Uniform()),
                            static_cast<float>(numbers.Normal())};
  for (float& value : x) value = missing && numbers.Below(20) == 0 ? kMissing : value;
  return x;
}

/// A rule on the first three inputs; turned round it is another one.
double Rule(const std::array<float, 4>& x, bool classification, bool turned) {
  const bool first = (x[0] < 0.5F) != turned;
  if (classification) return x[1] == 2 ? 2 : (first == (x[2] < 30) ? 0 : 1);
  return (x[1] == 1 ? 50.0 : 0.0) + (first ? 20.0 : -5.0) + (x[2] < 30 ? 8.0 : 0.0);
}

void LearnRule(TreeSection& section, uint64_t seed, int samples, bool turned) {
  HoeffdingTree tree = section.part();
  const bool classification = section.config().classification;
  Numbers numbers(seed);
  for (int i = 0; i < samples; ++i) {
    const std::array<float, 4> x = DrawInputs(numbers, true);
    tree.Learn(x, {}, Rule(x, classification, turned) + (classification ? 0.0 : numbers.Normal()), 1.0);
  }
}

/// Weight of a branch and the sum of what its leaves hold of `output`, by recursion.
void SumBranch(const tree::View& view, uint32_t at, uint32_t output, double* weight, double* sum) {
  const tree::Node& node = view.nodes[at];
  if (node.kind != tree::NodeKind::kLeaf) {
    SumBranch(view, node.left, output, weight, sum);
    return SumBranch(view, node.left + 1, output, weight, sum);
  }
  tree::ModelHead* model = view.model(node.model);
  *weight += model->weight;
  *sum += view.classification() ? view.class_weights(model)[output] : model->weight * model->mean;
}

double BranchMean(const tree::View& view, uint32_t at, uint32_t output) {
  double weight = 0;
  double sum = 0;
  SumBranch(view, at, output, &weight, &sum);
  return sum / weight;
}

TEST(ExplainTree, ContributionsFollowThePath) {
  for (const bool classification : {true, false}) {
    TreeSection section(TreeConfig(classification));
    LearnRule(section, 1, 20000, false);
    LearnRule(section, 2, 3000, true);  // now alternates grow
    const HoeffdingTree part = section.part();
    ASSERT_GE(part.leaf_count(), 4U);
    TreeSection before = section;
    const tree::View view = section.view();
    const uint32_t outputs = section.config().outputs;
    std::vector<double> out(outputs);
    Numbers numbers(3);
    int moved = 0;
    int plain = 0;
    for (int i = 0; i < 300; ++i) {
      const std::array<float, 4> x = DrawInputs(numbers, true);
      const uint32_t output = static_cast<uint32_t>(numbers.Below(outputs));
      part.Predict(x, out);
      std::vector<double> terms(6, 1e9);
      part.Contributions(x, output, terms);
      ASSERT_NEAR(Total(terms), out[output], 1e-9);
      std::vector<double> expected(6);
      const uint32_t leaf = tree::FindLeaf(view, 0, x);
      for (uint32_t at = leaf; at != 0; at = view.nodes[at].parent) {
        const uint32_t parent = view.nodes[at].parent;
        expected[view.nodes[parent].input] += BranchMean(view, at, output) - BranchMean(view, parent, output);
      }
      expected[4] = BranchMean(view, 0, output);
      expected[5] = out[output] - BranchMean(view, leaf, output);
      ASSERT_NEAR(terms[4], expected[4], 1e-9);
      // What comes on top of the path is of the leaf's model.
      if (tree::BestPredictor(view, view.nodes[leaf]) == tree::Predictor::kBase) {
        for (size_t j = 0; j < terms.size(); ++j) ASSERT_NEAR(terms[j], expected[j], 1e-9) << j;
        ++plain;
      }
      double of_leaf = terms[5];
      for (size_t j = 0; j < 4; ++j) of_leaf += terms[j] - expected[j];
      ASSERT_NEAR(of_leaf, expected[5], 1e-9);
      moved += std::fabs(terms[0]) + std::fabs(terms[1]) + std::fabs(terms[2]) > 0.1;
    }
    EXPECT_GT(moved, 250);
    EXPECT_LT(plain, 300);
    EXPECT_TRUE(section.SameAs(before));
  }
}

/// Log odds of class 1, or the value.
double LinkOf(const HoeffdingTree& part, std::span<const float> x, bool classification) {
  std::vector<double> out(classification ? 2 : 1);
  part.Predict(x, out);
  return classification ? std::log(out[1] / out[0]) : out[0];
}

TEST(ExplainTree, OneLeafsModelIsDividedByItsTerms) {
  // One leaf, so that nothing is of a path; leaving an input out takes its term from the link.
  for (const bool classification : {true, false}) {
    for (const bool bayes : {true, false}) {
      if (bayes && !classification) continue;
      HoeffdingTreeConfig config = TreeConfig(classification);
      config.outputs = classification ? 2 : 1;
      config.grace_labels = 1000000;
      TreeSection section(config);
      HoeffdingTree part = section.part();
      Numbers numbers(12);
      for (int i = 0; i < 3000; ++i) {
        std::array<float, 4> x = DrawInputs(numbers, false);
        const double line = 3.0 * static_cast<double>(x[0]) - 0.04 * static_cast<double>(x[2]) +
                            (x[1] == 1 ? 0.5 : 0.0) + 0.2 * numbers.Normal();
        // Normal inputs of different width are what naive Bayes sees and a line does not.
        const auto wide = static_cast<double>(numbers.Below(2));
        if (bayes) x[3] *= 1.0F + 9.0F * static_cast<float>(wide);
        part.Learn(x, {}, bayes ? wide : (classification ? (line > -0.4 ? 1.0 : 0.0) : line), 1.0);
      }
      const tree::View view = section.view();
      ASSERT_EQ(part.leaf_count(), 1U);
      ASSERT_EQ(tree::BestPredictor(view, view.nodes[0]),
                bayes ? tree::Predictor::kBayes : tree::Predictor::kLinear);
      for (int i = 0; i < 50; ++i) {
        const std::array<float, 4> x = DrawInputs(numbers, false);
        const double link = LinkOf(part, x, classification);
        if (std::fabs(link) > 5.0) continue;  // float32 exponentials end there
        double moves[4];
        double sum = 0.0;
        for (size_t j = 0; j < 4; ++j) {
          std::array<float, 4> without = x;
          without[j] = kMissing;
          moves[j] = link - LinkOf(part, without, classification);
          sum += moves[j];
        }
        std::vector<double> terms(6);
        part.Contributions(x, classification ? 1 : 0, terms);
        double whole = terms[0] + terms[1] + terms[2] + terms[3];
        // Of classes each has the share of the whole move that its term has of the link's.
        for (size_t j = 0; j < 4; ++j) {
          const double expected =
              classification ? (std::fabs(sum) > 0.05 ? whole * moves[j] / sum : terms[j]) : moves[j];
          EXPECT_NEAR(terms[j], expected, classification ? 0.01 : 1e-5) << j << bayes;
        }
        std::vector<double> out(config.outputs);
        part.Predict(x, out);
        EXPECT_NEAR(Total(terms), out[classification ? 1 : 0], 1e-9);
        EXPECT_LT(std::fabs(terms[5]), 0.35);  // the model without any input is near the mean
      }
    }
  }
}

TEST(ExplainTree, BeforeTheFirstLabelAllIsBase) {
  TreeSection section(TreeConfig(true));
  const float x[4] = {1, 2, 3, 4};
  std::vector<double> terms(6, 9.0);
  section.part().Contributions(x, 1, terms);
  for (size_t i = 0; i < 6; ++i) EXPECT_DOUBLE_EQ(terms[i], i == 4 ? 1.0 / 3.0 : 0.0);
  std::vector<double> importance(4, 9.0);
  section.part().Importance(importance);
  for (const double value : importance) EXPECT_EQ(value, 0.0);
}

/// Weight times entropy, or the squared deviations of the leaves' means, of a branch.
double Spread(const tree::View& view, uint32_t at, uint32_t outputs) {
  double spread = 0;
  double weight = 0;
  for (uint32_t output = 0; output < outputs && outputs > 1; ++output) {
    double own = 0;
    weight = 0;
    SumBranch(view, at, output, &weight, &own);
    if (own > 0) spread -= own * std::log(own / weight);
  }
  return spread;
}

void NaiveImportance(const tree::View& view, uint32_t at, uint32_t outputs, std::vector<double>* out) {
  const tree::Node& node = view.nodes[at];
  if (node.kind == tree::NodeKind::kLeaf) return;
  double gain = 0;
  if (outputs > 1) {
    gain =
        Spread(view, at, outputs) - Spread(view, node.left, outputs) - Spread(view, node.left + 1, outputs);
  } else {
    for (const uint32_t side : {node.left, node.left + 1}) {
      double weight = 0;
      double sum = 0;
      SumBranch(view, side, 0, &weight, &sum);
      gain += weight * std::pow(sum / weight - BranchMean(view, at, 0), 2);
    }
  }
  (*out)[node.input] += gain;
  NaiveImportance(view, node.left, outputs, out);
  NaiveImportance(view, node.left + 1, outputs, out);
}

TEST(ExplainTree, ImportanceMatchesTheTextbook) {
  for (const bool classification : {true, false}) {
    TreeSection section(TreeConfig(classification));
    LearnRule(section, 4, 20000, false);
    ASSERT_GE(section.part().leaf_count(), 4U);
    std::vector<double> importance(4);
    section.part().Importance(importance);
    std::vector<double> expected(4);
    NaiveImportance(section.view(), 0, section.config().outputs, &expected);
    const double sum = Total(expected);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(importance[i], expected[i] / sum, 1e-9);
    EXPECT_LT(importance[3], 0.05);
  }
}

TEST(ExplainTree, AddsShares) {
  TreeSection section(TreeConfig(false));
  LearnRule(section, 5, 5000, false);
  const float x[4] = {0.2F, 1, 10, 0};
  std::vector<double> once(6);
  std::vector<double> twice(6, 1.0);
  section.part().Contributions(x, 0, once);
  section.part().AddContributions(x, 0, 0.25, twice);
  section.part().AddContributions(x, 0, 0.5, twice);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(twice[i], 1.0 + 0.75 * once[i], 1e-12);
}

}  // namespace
}  // namespace dipper::learn::testing::explain_tree_test
