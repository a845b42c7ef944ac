// Adaptive forest: quality on stable and drifting streams against one tree, growth and reuse within the pool,
// the detector against the textbook window, missing and hostile values, damaged bytes, copies.
#include "agent/learn/learners/adaptive_forest.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "agent/learn/learners/adaptive_forest_layout.h"
#include "agent/learn/learners/hoeffding_tree.h"
#include "agent/learn/learners/hoeffding_tree_leaf.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::adaptive_forest_test {
namespace {

using ForestSection = Section<AdaptiveForest, AdaptiveForestConfig>;
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::array<uint16_t, 4> kMixed = {0, 3, 0, 0};  // numeric, three values and other, numeric, numeric

AdaptiveForestConfig ClassConfig(uint64_t pool = 131072) {
  AdaptiveForestConfig config;
  config.inputs = 4;
  config.outputs = 3;
  config.categories = kMixed;
  config.pool_bytes = pool;
  config.seed = 7;
  return config;
}

AdaptiveForestConfig ValueConfig(uint64_t pool = 131072) {
  AdaptiveForestConfig config = ClassConfig(pool);
  config.outputs = 1;
  config.classification = false;
  return config;
}

struct Sample {
  std::array<float, 4> x;
  double y;
};

/// Classes by nested conditions; `concept_number` turns them round.
Sample DrawClass(RandomState& random, bool missing, uint32_t concept_number) {
  Sample s;
  s.x = {static_cast<float>(NextUniform(random)), static_cast<float>(NextBelow(random, 4)),
         static_cast<float>(NextUniform(random) * 100), static_cast<float>(NextUniform(random))};
  const int plain = s.x[1] == 2 ? 2 : ((s.x[0] < 0.5F) == (s.x[2] < 30) ? 0 : 1);
  s.y = (plain + static_cast<int>(concept_number)) % 3;
  for (float& x : s.x) {
    if (missing && NextBelow(random, 20) == 0) x = kMissing;
  }
  return s;
}

Sample DrawValue(RandomState& random, bool missing, uint32_t concept_number) {
  Sample s = DrawClass(random, false, 0);
  const double sign = concept_number % 2 == 0 ? 1.0 : -1.0;
  s.y = (s.x[1] == 1 ? 50.0 : 0.0) + sign * 20 * std::fabs(static_cast<double>(s.x[0]) - 0.4) +
        0.1 * static_cast<double>(s.x[2]);
  for (float& x : s.x) {
    if (missing && NextBelow(random, 20) == 0) x = kMissing;
  }
  return s;
}

/// Mean error over the last `count` of `total` samples.
template <typename AnySection>
double LearnStream(AnySection& section, uint64_t seed, int total, int count, bool missing,
                   uint32_t concept_number = 0) {
  auto part = section.part();
  RandomState random = SeedRandom(seed);
  const bool classification = section.config().classification;
  std::vector<double> out(section.config().outputs);
  double error = 0;
  for (int i = 0; i < total; ++i) {
    const Sample s = classification ? DrawClass(random, missing, concept_number)
                                    : DrawValue(random, missing, concept_number);
    part.Predict(s.x, out);
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
    part.Learn(s.x, out, s.y, 1);
  }
  return error / count;
}

TEST(AdaptiveForest, LearnsNestedConditions) {
  ForestSection section(ClassConfig());
  EXPECT_LT(LearnStream(section, 1, 8000, 2000, false), 0.03);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  EXPECT_EQ(section.part().drifts(), 0U);
}

TEST(AdaptiveForest, LearnsARegression) {
  ForestSection section(ValueConfig());
  EXPECT_LT(LearnStream(section, 2, 10000, 2000, false), 2.0);  // the target's own mean deviation is about 20
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(AdaptiveForest, RecoversFromDriftFasterThanATree) {
  ForestSection forest(ClassConfig());
  HoeffdingTreeConfig config;
  config.inputs = 4;
  config.outputs = 3;
  config.categories = kMixed;
  config.pool_bytes = 131072;
  Section<HoeffdingTree, HoeffdingTreeConfig> single(config);
  for (auto run : {0, 1}) {
    LearnStream(forest, static_cast<uint64_t>(run), 6000, 1, false);
    LearnStream(single, static_cast<uint64_t>(run), 6000, 1, false);
  }
  const double after_drift = LearnStream(forest, 3, 3000, 1000, false, 1);
  EXPECT_LT(after_drift, 0.05);
  EXPECT_LT(after_drift, 0.5 * LearnStream(single, 3, 3000, 1000, false, 1));
  EXPECT_GE(forest.part().drifts(), 5U);
  EXPECT_EQ(forest.Validate(), base::Status::kOk);
}

TEST(AdaptiveForest, ManyDriftsReuseThePool) {
  for (AdaptiveForestConfig config : {ClassConfig(48 << 10), ValueConfig(80 << 10)}) {
    config.trees = 4;
    ForestSection section(config);
    for (uint32_t i = 0; i < 12; ++i) {
      LearnStream(section, i, 2000, 1, true, i);
      ASSERT_EQ(section.Validate(), base::Status::kOk);
      const AdaptiveForest forest = section.part();
      ASSERT_LE(forest.leaf_count(), forest.max_leaf_count());
      // Every tree of n leaves has 2 n - 1 nodes.
      ASSERT_EQ(forest.node_count(), 2 * forest.leaf_count() - 4 - forest.background_count());
    }
    EXPECT_GE(section.part().drifts(), 10U);
  }
}

TEST(AdaptiveForest, SmallPoolsNeverFail) {
  for (AdaptiveForestConfig config : {ClassConfig(), ValueConfig()}) {
    config.trees = 3;
    config.grace_labels = 10;
    config.tie = 1;
    bool fits = false;
    for (uint64_t pool = 0; pool < 40000; pool += 2000) {
      config.pool_bytes = pool;
      const auto bytes = AdaptiveForest::StateBytes(config);
      if (!bytes.ok()) {
        EXPECT_EQ(bytes.status(), base::Status::kResourceExhausted);
        EXPECT_FALSE(fits);
        continue;
      }
      fits = true;
      EXPECT_EQ(*bytes, pool / 16 * 16);
      ForestSection section(config);
      for (uint32_t i = 0; i < 3; ++i) LearnStream(section, i, 700, 1, true, i);
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
    EXPECT_TRUE(fits);
  }
}

TEST(AdaptiveForest, ContributionsSumToTheAnswerAndNameTheInputs) {
  for (const AdaptiveForestConfig& config : {ClassConfig(), ValueConfig()}) {
    ForestSection section(config);
    LearnStream(section, 30, 12000, 1, true);
    LearnStream(section, 31, 2000, 1, true, 1);  // some trees are new, some have a background tree
    const ForestSection before = section;
    const AdaptiveForest forest = section.part();
    RandomState random = SeedRandom(32);
    std::vector<double> out(config.outputs);
    for (int i = 0; i < 200; ++i) {
      const Sample s = DrawClass(random, true, 0);
      forest.Predict(s.x, out);
      for (uint32_t c = 0; c < config.outputs; ++c) {
        double terms[6];
        forest.Contributions(s.x, c, terms);
        double sum = 0;
        for (const double term : terms) sum += term;
        ASSERT_NEAR(sum, out[c], 1e-9);
      }
    }
    double importance[4];
    forest.Importance(importance);
    EXPECT_NEAR(importance[0] + importance[1] + importance[2] + importance[3], 1.0, 1e-12);
    for (int i = 0; i < 3; ++i) EXPECT_GT(importance[i], 2 * importance[3]) << i;  // it means nothing
    EXPECT_TRUE(section == before);
  }
}

TEST(AdaptiveForest, LabelsDrawnZeroTimesTeachNothing) {
  for (AdaptiveForestConfig config : {ClassConfig(), ValueConfig()}) {
    config.lambda = 0.2;  // most draws are 0, those of a tree's first label too
    config.grace_labels = 5;
    ForestSection section(config);
    LearnStream(section, 21, 2000, 1, true);
    LearnStream(section, 22, 2000, 1, true, 1);
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(AdaptiveForest, SeedsDifferAndRepeat) {
  AdaptiveForestConfig config = ClassConfig();
  ForestSection first(config);
  ForestSection same(config);
  config.seed = 8;
  ForestSection other(config);
  LearnStream(first, 5, 1500, 1, true);
  LearnStream(same, 5, 1500, 1, true);
  LearnStream(other, 5, 1500, 1, true);
  EXPECT_TRUE(first == same);
  std::array<double, 3> a;
  std::array<double, 3> b;
  const std::array<float, 4> x = {0.45F, 1, 35, 0.5F};
  first.part().Predict(x, a);
  other.part().Predict(x, b);
  EXPECT_NE(a, b);
}

TEST(AdaptiveForest, UniformBeforeTheFirstLabel) {
  ForestSection section(ClassConfig());
  std::array<double, 3> out;
  section.part().Predict(std::array<float, 4>{1, 2, 3, 4}, out);
  for (double p : out) EXPECT_NEAR(p, 1.0 / 3, 1e-12);
}

TEST(AdaptiveForest, WeightZeroLearnsNothing) {
  ForestSection section(ClassConfig());
  LearnStream(section, 9, 500, 10, false);
  ForestSection copy = section;
  section.part().Learn(std::array<float, 4>{1, 1, 1, 1}, {}, 1, 0);
  EXPECT_TRUE(section == copy);
}

TEST(AdaptiveForest, CopiesContinueIdentically) {
  for (const AdaptiveForestConfig& config : {ClassConfig(), ValueConfig()}) {
    ForestSection section(config);
    LearnStream(section, 10, 2000, 10, true);
    ForestSection copy = section;
    EXPECT_EQ(LearnStream(section, 11, 2000, 2000, true, 1), LearnStream(copy, 11, 2000, 2000, true, 1));
    EXPECT_TRUE(section == copy);
  }
}

TEST(AdaptiveForest, HostileValuesStayFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  const float values[] = {3.4e38F, -3.4e38F, 1e-45F, -0.0F, inf,  -inf, kMissing,
                          1e20F,   -1.0F,    7.5F,   0.0F,  1.0F, 5e9F};
  for (AdaptiveForestConfig config : {ClassConfig(40000), ValueConfig(60000)}) {
    config.trees = 3;
    config.grace_labels = 10;
    config.tie = 1;
    ForestSection section(config);
    AdaptiveForest forest = section.part();
    RandomState random = SeedRandom(8);
    std::vector<double> out(config.outputs);
    for (int i = 0; i < 3000; ++i) {
      std::array<float, 4> x;
      for (float& value : x)
        value = NextBelow(random, 2) == 0 ? values[NextBelow(random, 13)]
                                          : static_cast<float>(NextUniform(random));
      forest.Predict(x, out);
      for (double value : out) ASSERT_TRUE(IsFinite(value)) << i;
      const double targets[] = {1.7e308, -1.7e308, 0.0, 1e25, -1e-300};
      const double weights[] = {1, 0, 1e308, 1e-308, 2.5};
      forest.Learn(x, out, config.classification ? NextBelow(random, 3) : targets[NextBelow(random, 5)],
                   weights[NextBelow(random, 5)]);
      ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
    }
  }
}

TEST(AdaptiveForest, DamageIsRefusedOrHarmless) {
  for (AdaptiveForestConfig config : {ClassConfig(12000), ValueConfig(16000)}) {
    config.trees = 2;
    config.grace_labels = 20;
    config.tie = 1;
    ForestSection section(config);
    for (uint32_t i = 0; i < 2; ++i) LearnStream(section, 12, 300, 10, true, i);
    ASSERT_GE(section.part().leaf_count(), 4U);
    const size_t refused =
        FlipEveryByte(section, [](ForestSection& damaged) { LearnStream(damaged, 13, 40, 1, true); });
    EXPECT_GT(refused, 4000U);
  }
}

TEST(AdaptiveForest, RefusesConfigs) {
  const auto status = [](auto change) {
    AdaptiveForestConfig config = ClassConfig();
    change(config);
    return AdaptiveForest::StateBytes(config).status();
  };
  const base::Status invalid = base::Status::kInvalidArgument;
  EXPECT_EQ(status([](auto& c) { c.inputs = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.inputs = 5; }), invalid);  // not as many as categories
  EXPECT_EQ(status([](auto& c) { c.outputs = 1; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.outputs = 65; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.trees = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.trees = 65; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.lambda = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.lambda = 17; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.lambda = std::nan(""); }), invalid);
  EXPECT_EQ(status([](auto& c) { c.delta = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.tie = 2; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.max_depth = 65; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.grace_labels = 0; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = uint64_t{1} << 40; }), invalid);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = 100; }), base::Status::kResourceExhausted);
}

// The detector.

TEST(ForestDetector, KeepsTheSumsOfItsWindow) {
  forest::Detector detector{};
  std::deque<double> values;
  RandomState random = SeedRandom(1);
  for (int i = 0; i < 60000; ++i) {
    const double value = NextBelow(random, 4) == 0 ? 1 : 0;
    ASSERT_EQ(detector.Add(value, 1e-300, 1e-300), forest::Change::kNone);
    values.push_back(value);
    while (values.size() > detector.count) values.pop_front();
  }
  ASSERT_EQ(values.size(), detector.count);
  EXPECT_GT(detector.count, 12000U);
  double sum = 0;
  for (double value : values) sum += value;
  EXPECT_DOUBLE_EQ(detector.total, sum);
  EXPECT_EQ(detector.Validate(), base::Status::kOk);
}

TEST(ForestDetector, FindsIncreasesAndIgnoresDecreases) {
  int alarms = 0;
  int late = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    forest::Detector detector{};
    RandomState random = SeedRandom(seed);
    const auto step = [&](double rate) { return detector.Add(NextUniform(random) < rate, 1e-2, 1e-3); };
    for (int i = 0; i < 5000; ++i) alarms += step(0.4) == forest::Change::kAlarm;
    for (int i = 0; i < 5000; ++i) alarms += step(0.2) == forest::Change::kAlarm;
    int delay = 0;
    while (delay < 1000 && step(0.4) != forest::Change::kAlarm) ++delay;
    late += delay > 400;
    ASSERT_EQ(detector.Validate(), base::Status::kOk);
  }
  EXPECT_EQ(alarms, 0);
  EXPECT_EQ(late, 0);
}

}  // namespace
}  // namespace dipper::learn::adaptive_forest_test
