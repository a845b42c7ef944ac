// Contributions and importances: of trees against a plain walk, of a model against hand-made figures and
// numerical integrals; that they sum to the answer and change nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using base::Status;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::array<uint16_t, 4> kMixed = {0, 3, 0, 0};  // the second one is nominal

double Total(const std::vector<double>& terms) { return std::accumulate(terms.begin(), terms.end(), 0.0); }

// Trees.

/// A tree in memory of its own.
class TreeSection {
 public:
  explicit TreeSection(const HoeffdingTreeConfig& config) : config_(config), memory_(config.pool_bytes) {
    EXPECT_EQ(HoeffdingTree::Create(config, memory_.span()), Status::kOk);
  }
  const HoeffdingTreeConfig& config() const { return config_; }
  HoeffdingTree part() { return HoeffdingTree(config_, memory_.span()); }
  tree::View view() { return tree::View(memory_.span().data()); }
  bool SameAs(TreeSection& other) { return std::ranges::equal(memory_.span(), other.memory_.span()); }

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
      for (size_t j = 0; j < terms.size(); ++j) ASSERT_NEAR(terms[j], expected[j], 1e-9) << j;
      moved += std::fabs(terms[0]) + std::fabs(terms[1]) + std::fabs(terms[2]) > 0.1;
    }
    EXPECT_GT(moved, 250);
    EXPECT_TRUE(section.SameAs(before));
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

// Models.

std::vector<float> DrawRow(Numbers& numbers, size_t width) {
  std::vector<float> x(width);
  for (float& value : x) value = static_cast<float>(numbers.Normal());
  return x;
}

/// Labels by the third input (f2), or by a sum of all, and noise.
void Teach(Fixture& model, uint64_t seed, int samples, bool by_rule) {
  Numbers numbers(seed);
  const uint32_t classes = model->class_count();
  for (int i = 0; i < samples; ++i) {
    const std::vector<float> x = DrawRow(numbers, model->feature_count());
    double y = 0.3 * numbers.Normal();
    for (size_t j = 0; j < x.size(); ++j) {
      const double value = static_cast<double>(x[j]);
      y += by_rule ? (j == 2 ? (value > 0.4 ? 6.0 : -6.0) : 0.0) : value * (1.0 - static_cast<double>(j));
    }
    if (classes == 2) y = y > 0 ? 1 : 0;
    if (classes > 2) y = y > 1 ? 2 : (y < -1 ? 0 : 1);
    const uint64_t id = model->samples() + 1;
    ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
    ASSERT_EQ(model->Learn(id, y, 1.0, nullptr), Status::kOk);
  }
}

double AnswerOf(Fixture& model, std::span<const float> x, uint32_t output) {
  Output out;
  EXPECT_EQ(model->Predict(x, &out), Status::kOk);
  return out.class_index >= 0 ? out.probabilities[output] : out.value;
}

std::vector<double> TermsOf(Fixture& model, std::span<const float> x, uint32_t output) {
  std::vector<double> terms(model->input_count() + 2, 1e9);
  EXPECT_EQ(model->Contributions(x, output, terms), Status::kOk);
  return terms;
}

schema::SpecT SpecOf(const std::string& learner, uint32_t inputs, uint32_t classes) {
  schema::SpecT spec = MakeSpec(learner, inputs, classes);
  if (auto* tree = spec.learner.AsHoeffdingTree()) tree->pool_bytes = 32768;
  if (auto* race = spec.learner.AsRace()) race->members[1]->params.AsHoeffdingTree()->pool_bytes = 32768;
  return spec;
}

TEST(Explain, TermsSumToTheAnswerAndChangeNothing) {
  for (const char* learner : {"linear", "hoeffding_tree", "adaptive_forest", "race"}) {
    for (const uint32_t classes : {0U, 2U, 3U}) {
      schema::SpecT table = SpecOf(learner, 4, classes);
      AddStage(&table, schema::StandardScalerT());
      Fixture model(table);
      Teach(model, 1, 1500, true);
      const base::Digest before = model->ImageDigest();
      Numbers numbers(2);
      for (int i = 0; i < 60; ++i) {
        std::vector<float> x = DrawRow(numbers, 4);
        if (i % 5 == 0) x[numbers.Below(4)] = kMissing;
        for (uint32_t output = 0; output < (classes > 0 ? classes : 1); ++output) {
          ASSERT_NEAR(Total(TermsOf(model, x, output)), AnswerOf(model, x, output), 1e-9) << learner;
        }
      }
      std::vector<double> importance(4);
      ASSERT_EQ(model->Importance(importance), Status::kOk);
      EXPECT_NEAR(Total(importance), 1.0, 1e-12) << learner;
      for (const size_t other : {0U, 1U, 3U}) {
        EXPECT_GT(importance[2], 4 * importance[other]) << learner << classes;
      }
      EXPECT_EQ(model->ImageDigest(), before);
    }
  }
}

TEST(Explain, ATreeNamesTheInputOfTheRule) {
  for (const char* learner : {"hoeffding_tree", "adaptive_forest"}) {
    Fixture model(SpecOf(learner, 5, 2));
    Teach(model, 3, 6000, true);
    std::vector<double> importance(5);
    ASSERT_EQ(model->Importance(importance), Status::kOk);
    EXPECT_GT(importance[2], 0.8) << learner;
    Numbers numbers(4);
    for (int i = 0; i < 50; ++i) {
      std::vector<float> x = DrawRow(numbers, 5);
      x[2] = i % 2 == 0 ? 1.5F : -1.0F;
      const std::vector<double> terms = TermsOf(model, x, 1);
      EXPECT_EQ(terms[2] > 0, i % 2 == 0);
      for (const size_t other : {0U, 1U, 3U, 4U}) EXPECT_GT(std::fabs(terms[2]), std::fabs(terms[other]));
    }
  }
}

TEST(Explain, LinearValuesByHand) {
  Fixture model(SpecOf("linear", 3, 0));
  Teach(model, 5, 800, false);
  const std::vector<float> none(3);
  const double base = AnswerOf(model, none, 0);
  const std::vector<float> x = {0.5F, -2.0F, kMissing};
  const std::vector<double> terms = TermsOf(model, x, 0);
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> unit(3);
    unit[i] = 1.0F;
    EXPECT_NEAR(terms[i], static_cast<double>(x[i]) * (AnswerOf(model, unit, 0) - base), 1e-9);
  }
  EXPECT_EQ(terms[2], 0.0);
  EXPECT_NEAR(terms[3], base, 1e-9);
  EXPECT_NEAR(terms[4], 0.0, 1e-9);
}

TEST(Explain, LogisticTermsShareTheMoveByTheirLogOdds) {
  Fixture model(SpecOf("linear", 3, 2));
  Teach(model, 6, 800, false);
  const auto odds = [&](std::span<const float> x) {
    const double p = AnswerOf(model, x, 1);
    return std::log(p / (1.0 - p));
  };
  const std::vector<float> none(3);
  const std::vector<float> x = {0.25F, -0.5F, -0.125F};
  double move[3];
  for (size_t i = 0; i < 3; ++i) {
    std::vector<float> alone(3);
    alone[i] = x[i];
    move[i] = odds(alone) - odds(none);
  }
  for (const uint32_t output : {0U, 1U}) {
    const std::vector<double> terms = TermsOf(model, x, output);
    const double before = AnswerOf(model, none, output);
    const double whole = AnswerOf(model, x, output) - before;
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(terms[i], whole * move[i] / (move[0] + move[1] + move[2]), 1e-9);
    EXPECT_NEAR(terms[3], before, 1e-12);
    EXPECT_NEAR(terms[4], 0.0, 1e-12);
  }
}

TEST(Explain, SoftmaxTermsAreIntegratedGradients) {
  Fixture model(SpecOf("linear", 3, 4));
  Teach(model, 7, 1500, false);
  constexpr int kSteps = 256;  // powers of two: exact in float32
  const std::vector<float> x = {1.5F, -0.75F, 2.25F};
  for (uint32_t output = 0; output < 4; ++output) {
    const std::vector<double> terms = TermsOf(model, x, output);
    for (size_t i = 0; i < 3; ++i) {
      double integral = 0;
      for (int k = 0; k < kSteps; ++k) {
        std::vector<float> at = x;
        for (float& value : at) value *= (static_cast<float>(k) + 0.5F) / kSteps;
        const float half = 0.5F * x[i] / kSteps;
        at[i] += half;
        integral += AnswerOf(model, at, output);
        at[i] -= 2 * half;
        integral -= AnswerOf(model, at, output);
      }
      EXPECT_NEAR(terms[i], integral, 2e-5);
    }
    EXPECT_NEAR(terms[4], 0.0, 1e-5);  // what the rule of Simpson leaves
  }
}

TEST(Explain, WildLinearModelsStayFinite) {
  Fixture model(SpecOf("linear", 3, 4));
  Teach(model, 8, 500, false);
  for (const float size : {1e-30F, 1e3F, 1e30F}) {
    const std::vector<float> x = {size, -size, size};
    for (uint32_t output = 0; output < 4; ++output) {
      const std::vector<double> terms = TermsOf(model, x, output);
      for (const double term : terms) ASSERT_TRUE(std::isfinite(term));
      EXPECT_NEAR(Total(terms), AnswerOf(model, x, output), 1e-9);
    }
  }
}

TEST(Explain, ARaceBlendsTheMembersThatCanTell) {
  for (const uint32_t classes : {0U, 2U}) {
    Fixture race(SpecOf("race", 3, classes));  // linear, hoeffding_tree, knn, rls, the trivial rival
    Fixture linear(SpecOf("linear", 3, classes));
    Fixture tree(SpecOf("hoeffding_tree", 3, classes));
    for (Fixture* model : {&race, &linear, &tree}) Teach(*model, 9, 900, true);
    const double shares[2] = {race->race_weight(0), race->race_weight(1)};
    Numbers numbers(10);
    for (int i = 0; i < 20; ++i) {
      const std::vector<float> x = DrawRow(numbers, 3);
      const uint32_t output = classes > 0 ? 1 : 0;
      const std::vector<double> blend = TermsOf(race, x, output);
      const std::vector<double> first = TermsOf(linear, x, output);
      const std::vector<double> second = TermsOf(tree, x, output);
      for (size_t j = 0; j <= 3; ++j)
        ASSERT_NEAR(blend[j], shares[0] * first[j] + shares[1] * second[j], 1e-9);
      ASSERT_NEAR(Total(blend), AnswerOf(race, x, output), 1e-9);
    }
    std::vector<double> importance(3);
    std::vector<double> first(3);
    std::vector<double> second(3);
    ASSERT_EQ(race->Importance(importance), Status::kOk);
    ASSERT_EQ(linear->Importance(first), Status::kOk);
    ASSERT_EQ(tree->Importance(second), Status::kOk);
    for (size_t j = 0; j < 3; ++j) {
      const double sum = shares[0] + shares[1];
      EXPECT_NEAR(importance[j], (shares[0] * first[j] + shares[1] * second[j]) / sum, 1e-12);
    }
  }
}

TEST(Explain, AForecastStartsFromTheLastValue) {
  for (const char* learner : {"linear", "hoeffding_tree", "race"}) {
    Fixture model(MakeForecastSpec(learner, 2, 1));
    Numbers numbers(11);
    double level = 100.0;
    for (uint64_t id = 1; id <= 1500; ++id) {
      const auto drive = static_cast<float>(numbers.Normal());
      const float x[2] = {static_cast<float>(level), drive};
      ASSERT_EQ(model->Observe(id, 0, x, nullptr), Status::kOk);
      level += static_cast<double>(drive) - 0.05 * (level - 100.0);
    }
    const base::Digest before = model->ImageDigest();
    for (const float drive : {-1.0F, 0.0F, 2.0F}) {
      const float x[2] = {101.0F, drive};
      const std::vector<double> terms = TermsOf(model, x, 0);
      ASSERT_EQ(terms.size(), model->input_count() + 2);
      EXPECT_NEAR(Total(terms), AnswerOf(model, x, 0), 1e-9) << learner;
      EXPECT_NEAR(terms[model->input_count()], 101.0, 1.0) << learner;
    }
    EXPECT_EQ(model->ImageDigest(), before);
  }
}

TEST(Explain, RefusesWhatItCannotTell) {
  std::vector<double> terms(4);
  std::vector<double> importance(2);
  const std::vector<float> x(2);
  for (const char* learner : {"naive_bayes", "knn", "rls"}) {
    Fixture model(MakeSpec(learner, 2, 2));
    EXPECT_EQ(model->Contributions(x, 0, terms), Status::kUnimplemented) << learner;
    EXPECT_EQ(model->Importance(importance), Status::kUnimplemented) << learner;
  }
  schema::SpecT table = MakeSpec("race", 2, 2);
  table.learner.AsRace()->members.erase(table.learner.AsRace()->members.begin(),
                                        table.learner.AsRace()->members.begin() + 2);
  Fixture silent(table);  // knn and rls
  EXPECT_EQ(silent->Contributions(x, 0, terms), Status::kUnimplemented);
  EXPECT_EQ(silent->Importance(importance), Status::kUnimplemented);

  Fixture model(MakeSpec("linear", 2, 2));
  EXPECT_EQ(model->input_count(), 2U);
  EXPECT_EQ(model->Contributions(x, 2, terms), Status::kInvalidArgument);
  EXPECT_EQ(model->Contributions(std::span(x).first(1), 0, terms), Status::kInvalidArgument);
  EXPECT_EQ(model->Contributions(x, 0, std::span(terms).first(3)), Status::kInvalidArgument);
  EXPECT_EQ(model->Importance(std::span(importance).first(1)), Status::kInvalidArgument);
  ASSERT_EQ(model->Importance(importance), Status::kOk);  // knows nothing yet
  EXPECT_EQ(importance[0] + importance[1], 0.0);
}

}  // namespace
}  // namespace dipper::learn::testing
