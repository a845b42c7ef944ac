// Hoeffding tree: naive Bayes and splits against textbook computations, growth within the pool, missing and
// hostile values, damaged bytes, copies, and quality on generated streams.
#include "agent/learn/learners/hoeffding_tree.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "agent/learn/learners/hoeffding_tree_grow.h"
#include "agent/learn/learners/hoeffding_tree_layout.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/learners/hoeffding_tree_observer.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::hoeffding_tree_test {
namespace {

using TreeSection = Section<HoeffdingTree, HoeffdingTreeConfig>;
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::array<uint16_t, 3> kMixed = {0, 3, 0};  // numeric, three values and other, numeric

HoeffdingTreeConfig ClassConfig(uint64_t pool = 65536) {
  HoeffdingTreeConfig config;
  config.inputs = 3;
  config.outputs = 3;
  config.categories = kMixed;
  config.pool_bytes = pool;
  return config;
}

HoeffdingTreeConfig ValueConfig(uint64_t pool = 65536) {
  HoeffdingTreeConfig config = ClassConfig(pool);
  config.outputs = 1;
  config.classification = false;
  return config;
}

struct Sample {
  std::array<float, 3> x;
  double y;
};

/// Classes by nested conditions on all three inputs; 5 % of the inputs are missing if asked for.
Sample DrawClass(RandomState& random, bool missing) {
  Sample s;
  s.x = {static_cast<float>(NextUniform(random)), static_cast<float>(NextBelow(random, 4)),
         static_cast<float>(NextUniform(random) * 100)};
  s.y = s.x[1] == 2 ? 2 : ((s.x[0] < 0.5F) == (s.x[2] < 30) ? 0 : 1);
  for (float& x : s.x) {
    if (missing && NextBelow(random, 20) == 0) x = kMissing;
  }
  return s;
}

Sample DrawValue(RandomState& random, bool missing) {
  Sample s = DrawClass(random, false);
  s.y = (s.x[1] == 1 ? 50.0 : 0.0) + 20 * std::fabs(static_cast<double>(s.x[0]) - 0.4) +
        0.1 * static_cast<double>(s.x[2]);
  for (float& x : s.x) {
    if (missing && NextBelow(random, 20) == 0) x = kMissing;
  }
  return s;
}

/// Error over the last `count` of `total` samples.
double LearnStream(TreeSection& section, uint64_t seed, int total, int count, bool missing) {
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(seed);
  const bool classification = section.config().classification;
  std::vector<double> out(section.config().outputs);
  double error = 0;
  for (int i = 0; i < total; ++i) {
    const Sample s = classification ? DrawClass(random, missing) : DrawValue(random, missing);
    tree.Predict(s.x, out);
    if (classification) {
      double sum = 0;
      for (double p : out) {
        EXPECT_GE(p, 0.0);
        sum += p;
      }
      EXPECT_NEAR(sum, 1.0, 1e-9);
    }
    const double loss = classification ? tree::Greatest(out) != s.y : std::fabs(out[0] - s.y);
    if (i >= total - count) error += loss;
    tree.Learn(s.x, out, s.y, 1);
  }
  return error / count;
}

TEST(HoeffdingTree, LearnsNestedConditions) {
  TreeSection section(ClassConfig());
  EXPECT_LT(LearnStream(section, 1, 30000, 5000, false), 0.04);
  EXPECT_GE(section.part().leaf_count(), 4U);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(HoeffdingTree, LearnsARegression) {
  TreeSection section(ValueConfig());
  const double error = LearnStream(section, 2, 30000, 5000, false);
  EXPECT_LT(error, 1.0);  // the target's own mean deviation is about 20
  EXPECT_GE(section.part().leaf_count(), 3U);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(HoeffdingTree, LearnsALinearFunctionLikeLeastSquares) {
  HoeffdingTreeConfig config = ValueConfig();
  config.categories = {};
  TreeSection section(config);
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(3);
  double error = 0;
  for (int i = 0; i < 600; ++i) {
    const float common = static_cast<float>(NextUniform(random));  // strongly correlated inputs
    const std::array<float, 3> x = {common + 0.05F * static_cast<float>(NextUniform(random)), common,
                                    100 * static_cast<float>(NextUniform(random))};
    const double y = 5 + 100 * static_cast<double>(x[0]) - 80 * static_cast<double>(x[1]) +
                     0.3 * static_cast<double>(x[2]);
    double out = 0;
    tree.Predict(x, {&out, 1});
    if (i >= 500) error += std::fabs(out - y) / 100;
    tree.Learn(x, {}, y, 1);
  }
  EXPECT_LT(error, 0.6);  // without the difference of the first two it would be above 1
}

/// Errors over the first and the last 2000 labels after the classes have turned round.
std::array<double, 2> AfterDrift(bool adaptive, uint64_t pool) {
  HoeffdingTreeConfig config = ClassConfig(pool);
  config.adaptive = adaptive;
  TreeSection section(config);
  LearnStream(section, 15, 30000, 1, false);
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(16);
  std::array<double, 2> errors{};
  std::array<double, 3> out;
  for (int i = 0; i < 12000; ++i) {
    Sample s = DrawClass(random, false);
    if (s.x[1] != 2) s.y = 1 - s.y;  // one branch stays as it was
    tree.Predict(s.x, out);
    if (i < 2000 || i >= 10000) errors[i < 2000 ? 0 : 1] += (tree::Greatest(out) != s.y) / 2000.0;
    tree.Learn(s.x, out, s.y, 1);
    if (i % 100 == 0) {
      EXPECT_EQ(section.Validate(), base::Status::kOk) << i;
    }
  }
  EXPECT_EQ(tree.node_count(), 2 * tree.leaf_count() - 1 - tree.alternate_count());
  return errors;
}

TEST(HoeffdingTree, StaleBranchesAreReplaced) {
  for (const uint64_t pool : {12000U, 65536U}) {
    const std::array<double, 2> stiff = AfterDrift(false, pool);
    const std::array<double, 2> adaptive = AfterDrift(true, pool);
    EXPECT_LT(adaptive[0], stiff[0]) << pool;
    EXPECT_LT(adaptive[1], 0.06) << pool;
  }
}

TEST(HoeffdingTree, AFullPoolGrowsWhereLabelsCome) {
  // Two regions take turns; the leaves of the first are of no use in the second.
  HoeffdingTreeConfig config = ClassConfig(16000);
  config.grace_labels = 50;
  config.tie = 1;
  config.adaptive = false;
  TreeSection section(config);
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(17);
  std::array<double, 3> out;
  double errors[2] = {};
  for (int region = 0; region < 2; ++region) {
    for (int i = 0; i < 40000; ++i) {
      Sample s = DrawClass(random, false);
      s.y = static_cast<int>(s.x[2] / 10) % 2;  // ten stripes
      s.x[0] += 10.0F * static_cast<float>(region);
      if (region == 1) s.x[2] += 1000;
      tree.Predict(s.x, out);
      if (i >= 35000) errors[region] += (tree::Greatest(out) != s.y) / 5000.0;
      tree.Learn(s.x, out, s.y, 1);
    }
    EXPECT_GE(tree.leaf_count() + 1, tree.max_leaf_count());
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
  EXPECT_LT(errors[0], 0.35);
  EXPECT_LT(errors[1], errors[0] + 0.1);
}

TEST(TreeQuads, FunctionsAreCloseToExact) {
  for (double x = 1e-30; x < 1e30; x *= 1.37) {
    EXPECT_NEAR(static_cast<double>(tree::FastLog2(static_cast<float>(x))), std::log2(x),
                1e-6 * std::fabs(std::log2(x)) + 1e-6);
  }
  for (double x = -120; x < 120; x += 0.37) {
    const double got = static_cast<double>(tree::QuadExp2(tree::All(static_cast<float>(x)))[0]);
    EXPECT_NEAR(got / std::exp2(static_cast<double>(static_cast<float>(x))), 1.0, 3e-6) << x;
  }
  for (double x = -8; x < 8; x += 0.03) {
    const double got = static_cast<double>(tree::QuadNormalShare(tree::All(static_cast<float>(x)))[0]);
    EXPECT_NEAR(got, 0.5 * std::erfc(-x / std::sqrt(2.0)), 5e-7) << x;
  }
}

TEST(HoeffdingTree, MissingValuesTakeADefinedBranch) {
  for (const HoeffdingTreeConfig& config : {ClassConfig(), ValueConfig()}) {
    TreeSection section(config);
    LearnStream(section, 3, 20000, 100, true);
    EXPECT_EQ(section.Validate(), base::Status::kOk);
    const tree::View view(section.bytes_mutable().data());
    ASSERT_NE(view.nodes[0].kind, tree::NodeKind::kLeaf);
    std::vector<double> out(config.outputs);
    const std::array<float, 3> all_missing = {kMissing, kMissing, kMissing};
    section.part().Predict(all_missing, out);
    EXPECT_TRUE(IsFinite(out[0]));
  }
}

TEST(HoeffdingTree, UniformBeforeTheFirstLabel) {
  TreeSection section(ClassConfig());
  std::array<double, 3> out;
  section.part().Predict(std::array<float, 3>{1, 2, 3}, out);
  for (double p : out) EXPECT_DOUBLE_EQ(p, 1.0 / 3);
}

TEST(HoeffdingTree, NaiveBayesMatchesTheTextbook) {
  TreeSection section(ClassConfig());
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(4);
  std::vector<Sample> seen;
  for (int i = 0; i < 150; ++i) {
    Sample s = DrawClass(random, false);
    s.x[0] += static_cast<float>(s.y);
    seen.push_back(s);
    tree.Learn(s.x, {}, s.y, 1);
  }
  const tree::View view(section.bytes_mutable().data());
  ASSERT_EQ(view.nodes[0].kind, tree::NodeKind::kLeaf);
  std::array<double, 3> got;
  const Sample probe = DrawClass(random, false);
  tree::Sample sample;
  tree::Standardize(view, probe.x, &sample);
  tree::BayesScores(view, view.stats_head(view.nodes[0].stats), sample, got);
  tree::Softmax(got);
  std::array<double, 3> expected{};
  double total = 0;
  for (int c = 0; c < 3; ++c) {
    double n = 0, value = 0;
    double mean[3] = {}, square[3] = {};
    for (const Sample& s : seen) {
      if (s.y != c) continue;
      n += 1;
      value += s.x[1] == probe.x[1];
      for (size_t j : {size_t{0}, size_t{2}}) mean[j] += static_cast<double>(s.x[j]);
    }
    for (size_t j : {size_t{0}, size_t{2}}) {
      for (const Sample& s : seen) {
        if (s.y == c) square[j] += std::pow(static_cast<double>(s.x[j]) - mean[j] / n, 2);
      }
    }
    expected[static_cast<size_t>(c)] = n * (value + 1) / (n + 4);
    for (size_t j : {size_t{0}, size_t{2}}) {
      const double variance = square[j] / n, distance = static_cast<double>(probe.x[j]) - mean[j] / n;
      expected[static_cast<size_t>(c)] *=
          std::exp(-0.5 * distance * distance / variance) / std::sqrt(variance);
    }
    total += expected[static_cast<size_t>(c)];
  }
  for (size_t c = 0; c < 3; ++c) EXPECT_NEAR(got[c], expected[c] / total, 1e-4);  // observers are float32
}

TEST(HoeffdingTree, NominalGainMatchesTheTextbook) {
  HoeffdingTreeConfig config = ClassConfig();
  config.grace_labels = 1000000;
  TreeSection section(config);
  HoeffdingTree tree = section.part();
  RandomState random = SeedRandom(5);
  double count[4][3] = {};
  for (int i = 0; i < 2000; ++i) {
    const Sample s = DrawClass(random, false);
    count[static_cast<int>(s.x[1])][static_cast<int>(s.y)] += 1;
    tree.Learn(s.x, {}, s.y, 1);
  }
  const auto entropy = [](const double* c) {
    const double n = c[0] + c[1] + c[2];
    double h = 0;
    for (int i = 0; i < 3; ++i) h -= c[i] > 0 ? c[i] / n * std::log2(c[i] / n) : 0;
    return h * n;
  };
  double all[3] = {}, best = 0;
  for (const auto& row : count) {
    for (int c = 0; c < 3; ++c) all[c] += row[c];
  }
  for (const auto& row : count) {
    const double rest[3] = {all[0] - row[0], all[1] - row[1], all[2] - row[2]};
    best = std::max(best, (entropy(all) - entropy(row) - entropy(rest)) / 2000);
  }
  const tree::View view(section.bytes_mutable().data());
  const tree::Candidate split = tree::BestSplit(view, view.stats_head(0), 2);  // nominal columns come last
  EXPECT_NEAR(split.merit, best, 1e-5);                                        // judged in float32
  EXPECT_EQ(split.threshold, 2.0F);
}

TEST(HoeffdingTree, FullPoolNeverFailsAndKeepsLearning) {
  for (HoeffdingTreeConfig config : {ClassConfig(), ValueConfig()}) {
    config.grace_labels = 20;
    config.tie = 1;  // split at every try
    for (uint64_t pool = 0; pool < 12000; pool += 496) {
      config.pool_bytes = pool;
      const auto bytes = HoeffdingTree::StateBytes(config);
      if (!bytes.ok()) {
        EXPECT_EQ(bytes.status(), base::Status::kResourceExhausted);
        EXPECT_LT(pool, 4000U);
        continue;
      }
      EXPECT_EQ(*bytes, pool / 16 * 16);
      TreeSection section(config);
      LearnStream(section, 6, 4000, 100, true);
      HoeffdingTree tree = section.part();
      EXPECT_LE(tree.leaf_count(), tree.max_leaf_count());
      EXPECT_EQ(tree.node_count(), 2 * tree.leaf_count() - 1 - tree.alternate_count());
      EXPECT_GE(tree.leaf_count(), tree.max_leaf_count() - 1) << pool;
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(HoeffdingTree, DepthIsBounded) {
  HoeffdingTreeConfig config = ClassConfig(1 << 20);
  config.grace_labels = 10;
  config.tie = 1;
  config.max_depth = 3;
  TreeSection section(config);
  LearnStream(section, 7, 5000, 100, false);
  EXPECT_LE(section.part().leaf_count(), 8U);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(HoeffdingTree, HostileValuesStayFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {3.4e38F, -3.4e38F, 1e-45F, -0.0F, inf,  -inf, kMissing,
                          1e20F,   -1.0F,    7.5F,   0.0F,  1.0F, 5e9F};
  for (HoeffdingTreeConfig config : {ClassConfig(16384), ValueConfig(16384)}) {
    config.grace_labels = 10;
    config.tie = 1;
    TreeSection section(config);
    HoeffdingTree tree = section.part();
    RandomState random = SeedRandom(8);
    std::vector<double> out(config.outputs);
    for (int i = 0; i < 5000; ++i) {
      std::array<float, 3> x;
      for (float& value : x)
        value = NextBelow(random, 2) == 0 ? values[NextBelow(random, 13)]
                                          : static_cast<float>(NextUniform(random));
      tree.Predict(x, out);
      for (double value : out) ASSERT_TRUE(IsFinite(value)) << i;
      const double targets[] = {1.7e308, -1.7e308, 0.0, 1e25, -1e-300};
      const double weights[] = {1, 0, 1e308, 1e-308, 2.5};
      tree.Learn(x, out, config.classification ? NextBelow(random, 3) : targets[NextBelow(random, 5)],
                 weights[NextBelow(random, 5)]);
      ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
    }
  }
}

TEST(HoeffdingTree, OneClassAndConstantInputsNeverSplit) {
  TreeSection section(ClassConfig());
  for (int i = 0; i < 5000; ++i)
    section.part().Learn(std::array<float, 3>{static_cast<float>(i), 1, 5}, {}, 1, 1);
  EXPECT_EQ(section.part().leaf_count(), 1U);
  TreeSection values(ValueConfig());
  for (int i = 0; i < 5000; ++i) values.part().Learn(std::array<float, 3>{5, 1, 5}, {}, i % 10, 1);
  EXPECT_EQ(values.part().leaf_count(), 1U);
}

TEST(HoeffdingTree, WeightZeroLearnsNothing) {
  TreeSection section(ClassConfig());
  LearnStream(section, 9, 500, 10, false);
  TreeSection copy = section;
  section.part().Learn(std::array<float, 3>{1, 1, 1}, {}, 1, 0);
  EXPECT_TRUE(section == copy);
}

TEST(HoeffdingTree, CopiesContinueIdentically) {
  for (const HoeffdingTreeConfig& config : {ClassConfig(), ValueConfig()}) {
    TreeSection section(config);
    LearnStream(section, 10, 3000, 10, true);
    TreeSection copy = section;
    EXPECT_EQ(LearnStream(section, 11, 3000, 3000, true), LearnStream(copy, 11, 3000, 3000, true));
    EXPECT_TRUE(section == copy);
  }
}

TEST(HoeffdingTree, DamageIsRefusedOrHarmless) {
  for (HoeffdingTreeConfig config : {ClassConfig(4096), ValueConfig(4096)}) {
    config.grace_labels = 50;
    config.tie = 1;
    TreeSection section(config);
    LearnStream(section, 12, 400, 10, true);
    ASSERT_GE(section.part().leaf_count(), 2U);
    const size_t refused = FlipEveryByte(section, [](TreeSection& damaged) {
      double terms[5];
      damaged.part().Contributions(std::array<float, 3>{0.3F, 1, kMissing}, 0, terms);
      damaged.part().Importance(std::span(terms).first(3));
      LearnStream(damaged, 13, 120, 1, true);
    });
    EXPECT_GT(refused, 2000U);
  }
}

TEST(HoeffdingTree, LinksAreChecked) {
  HoeffdingTreeConfig config = ClassConfig();
  TreeSection section(config);
  LearnStream(section, 14, 20000, 10, false);
  ASSERT_GE(section.part().leaf_count(), 4U);
  const auto refused = [&](auto change) {
    TreeSection damaged = section;
    change(tree::View(damaged.bytes_mutable().data()));
    return damaged.Validate() == base::Status::kDataLoss;
  };
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].left = 0; }));  // a cycle
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].left = 3; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].left = 2 * v.header->pairs_used - 2; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].left = 0xffffffffU; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].alternate = v.nodes[0].left; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[2].parent = 2; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[3].parent = 2; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[2].depth += 1; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].input = 3; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[0].threshold = kMissing; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.header->pair_count += 1; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.header->free_pair = 0; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.header->free_model = 0; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.header->leaf_count -= 1; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.model(1)->owner = v.model(0)->owner; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.stats_head(1)->owner = v.stats_head(0)->owner; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.model(0)->weight = -1; }));
  EXPECT_TRUE(refused([](const tree::View& v) { v.nodes[2 * v.header->pairs_used].input = 1; }));
  EXPECT_FALSE(refused([](const tree::View&) {}));
}

TEST(HoeffdingTree, RefusesConfigs) {
  const auto status = [](auto change) {
    HoeffdingTreeConfig config = ClassConfig();
    change(config);
    return HoeffdingTree::StateBytes(config).status();
  };
  const base::Status invalid = base::Status::kInvalidArgument;
  EXPECT_EQ(status([](auto& c) { c.inputs = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.inputs = 4; }), invalid);  // not as many as categories
  EXPECT_EQ(status([](auto& c) { c.outputs = 1; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.outputs = 65; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.classification = false; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.delta = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.delta = std::nan(""); }), invalid);
  EXPECT_EQ(status([](auto& c) { c.tie = 2; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.max_depth = 65; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.grace_labels = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = uint64_t{1} << 40; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = 100; }), base::Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::learn::hoeffding_tree_test
