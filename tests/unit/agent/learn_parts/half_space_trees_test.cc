// Half-space trees against a naive walk of the same trees, on drifting, unscaled, missing and hostile data.
#include "agent/learn/learners/half_space_trees.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "agent/learn/learners/half_space_layout.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::half_space_trees_test {
namespace {

using HstSection = Section<HalfSpaceTrees, HalfSpaceTreesConfig>;
using half_space::View;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

HalfSpaceTreesConfig Small(uint32_t inputs, uint64_t pool_bytes = 65536) {
  HalfSpaceTreesConfig config;
  config.inputs = inputs;
  config.pool_bytes = pool_bytes;
  config.window = 2048;
  return config;
}

double Normal(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

struct Stream {
  uint32_t inputs = 0;
  std::vector<float> x;
  std::vector<int> anomaly;
  size_t size() const { return anomaly.size(); }
  std::span<const float> row(size_t i) const { return {x.data() + i * inputs, inputs}; }
};

/// Three clusters of four inputs that wander; anomalies are uniform over the whole square.
Stream Clusters(size_t count, uint64_t seed) {
  Stream stream{4, {}, {}};
  RandomState random = SeedRandom(seed);
  std::array<double, 12> centre;
  for (double& c : centre) c = NextUniform(random);
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < 12; ++j) centre[j] += 1e-5 * (j % 2 == 0 ? 1 : -1);
    const bool anomaly = NextUniform(random) < 0.01;
    const size_t cluster = NextBelow(random, 3) * 4;
    for (size_t j = 0; j < 4; ++j) {
      const double x =
          anomaly ? 1.4 * NextUniform(random) - 0.2 : centre[cluster + j] + 0.03 * Normal(random);
      stream.x.push_back(static_cast<float>(x));
    }
    stream.anomaly.push_back(anomaly ? 1 : 0);
  }
  return stream;
}

std::vector<double> RunAll(HstSection& section, const Stream& stream) {
  std::vector<double> scores;
  for (size_t i = 0; i < stream.size(); ++i) {
    scores.push_back(section.part().ScoreAndLearn(stream.row(i), 1.0));
  }
  return scores;
}

double RocAuc(const std::vector<double>& scores, const std::vector<int>& truth) {
  double above = 0;
  double pairs = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (truth[i] == 0) continue;
    for (size_t j = 0; j < scores.size(); ++j) {
      if (truth[j] != 0) continue;
      pairs += 1;
      above += scores[i] > scores[j] ? 1 : (scores[i] < scores[j] ? 0 : 0.5);
    }
  }
  return above / pairs;
}

double AucOf(const HalfSpaceTreesConfig& config, const Stream& stream) {
  HstSection section(config);
  const double auc = RocAuc(RunAll(section, stream), stream.anomaly);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  return auc;
}

/// The score as its definition says: recursion, logarithms of the library, missing values looked at first.
double NaiveScore(HstSection& section, std::span<const float> x) {
  const View view(section.bytes_mutable().data());
  double sum = 0;
  for (uint32_t t = 0; t < view.header->trees; ++t) {
    const uint64_t first = view.FirstNode(t);
    const std::function<uint32_t(uint32_t)> walk = [&](uint32_t index) {
      const half_space::Node& node = view.nodes[first + index];
      if (node.child == index) return index;
      const float value = x[node.input];
      const bool high =
          std::isnan(value) ? view.volumes[first + index] == half_space::kMissingHigh : value > node.value;
      return walk(node.child + (high ? 1U : 0U));
    };
    const uint64_t leaf = first + walk(0);
    sum += std::log2((static_cast<double>(view.masses[leaf]) + 0.125) / view.trees[t].total) +
           0.5 * view.volumes[leaf] / 256.0;
  }
  return std::clamp((8.0 - sum / view.header->trees) / 32.0, 0.0, 1.0);
}

TEST(HalfSpaceTrees, ScoresAreThoseOfANaiveWalk) {
  HstSection section(Small(4));
  const Stream stream = Clusters(6000, 1);
  RandomState random = SeedRandom(2);
  for (size_t i = 0; i < stream.size(); ++i) {
    if (i % 7 == 0 && !section.part().cold()) {
      std::vector<float> x(stream.row(i).begin(), stream.row(i).end());
      if (i % 2 == 0) x[NextBelow(random, 4)] = kMissing;
      ASSERT_NEAR(section.part().Score(x), NaiveScore(section, x), 0.1 / 32.0);
    }
    section.part().Learn(stream.row(i), 1.0);
  }
}

TEST(HalfSpaceTrees, MassesAndVolumesAddUp) {
  HstSection section(Small(4));
  const Stream stream = Clusters(5000, 3);
  RunAll(section, stream);
  const View view(section.bytes_mutable().data());
  for (uint32_t t = 0; t < view.header->trees; ++t) {
    double mass = 0;
    double volume = 0;
    for (uint32_t i = 0; i < view.trees[t].node_count; ++i) {
      const uint64_t node = view.FirstNode(t) + i;
      if (view.nodes[node].child != i) continue;
      mass += static_cast<double>(view.masses[node]);
      volume += std::exp2(-view.volumes[node] / 256.0);
    }
    EXPECT_NEAR(mass / view.trees[t].total, 1.0, 1e-5);
    EXPECT_NEAR(volume, 1.0, 0.01);
    // What the window remembers when the tree is drawn, and at most a cycle's samples since.
    EXPECT_GE(view.trees[t].total, 2000.0);
    EXPECT_LE(view.trees[t].total, 2.0 * 2048 + 64);
  }
}

TEST(HalfSpaceTrees, FindsPointAnomaliesAmongDriftingClusters) {
  std::vector<double> aucs;
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    HalfSpaceTreesConfig config = Small(4);
    config.seed = seed;
    aucs.push_back(AucOf(config, Clusters(12000, 4)));
  }
  std::sort(aucs.begin(), aucs.end());
  EXPECT_GT(aucs[0], 0.97);
  EXPECT_GT(aucs[2], 0.975);
}

TEST(HalfSpaceTrees, ScaleDoesNotMatterAndPermutationLittle) {
  const Stream stream = Clusters(8000, 5);
  HstSection plain(Small(4));
  const std::vector<double> scores = RunAll(plain, stream);
  const double auc = RocAuc(scores, stream.anomaly);
  for (const double scale : {0x1p20, 0x1p-20, 1e6, 1e-6}) {
    Stream scaled = stream;
    for (size_t i = 0; i < scaled.x.size(); i += 2) {
      scaled.x[i] = static_cast<float>(static_cast<double>(scaled.x[i]) * scale);
    }
    HstSection section(Small(4));
    const std::vector<double> other = RunAll(section, scaled);
    if (scale > 0x1p19 && scale < 1e6 + 1e5) {
      double apart = 0;
      for (size_t i = 0; i < other.size(); ++i) apart += std::fabs(other[i] - scores[i]);
      EXPECT_LT(apart / static_cast<double>(other.size()), 0.02);
    }
    if (scale == 0x1p20 || scale == 0x1p-20) {
      EXPECT_EQ(other, scores);  // only exponents differ
    }
    EXPECT_NEAR(RocAuc(other, stream.anomaly), auc, 0.01) << scale;
  }
  Stream permuted = stream;
  for (size_t i = 0; i < stream.size(); ++i) {
    std::reverse(permuted.x.begin() + static_cast<ptrdiff_t>(i * 4),
                 permuted.x.begin() + static_cast<ptrdiff_t>(i * 4 + 4));
  }
  EXPECT_NEAR(AucOf(Small(4), permuted), auc, 0.015);
}

TEST(HalfSpaceTrees, WildValuesDoNotSpoilTheRanges) {
  const Stream stream = Clusters(8000, 6);
  const double auc = AucOf(Small(4), stream);
  Stream wild = stream;
  for (size_t i = 10; i < stream.size(); i += 500)
    wild.x[i * 4 + i / 500 % 4] = i % 1000 == 10 ? 1e30F : -1e30F;
  HstSection section(Small(4));
  std::vector<double> scores = RunAll(section, wild);
  for (size_t i = 10; i < stream.size(); i += 500) scores[i] = 0;  // judged: the others
  EXPECT_NEAR(RocAuc(scores, stream.anomaly), auc, 0.01);
}

TEST(HalfSpaceTrees, OneInputOfManyThatMoves) {
  Stream stream{20, {}, {}};
  RandomState random = SeedRandom(7);
  for (size_t i = 0; i < 10000; ++i) {
    const bool anomaly = i > 1000 && NextUniform(random) < 0.01;
    const uint32_t moved = NextBelow(random, 20);
    for (uint32_t j = 0; j < 20; ++j) {
      const double x = Normal(random) + (anomaly && j == moved ? 12.0 : 0.0);
      stream.x.push_back(static_cast<float>(x * std::exp2(static_cast<double>(j) - 10.0)));
    }
    stream.anomaly.push_back(anomaly ? 1 : 0);
  }
  EXPECT_GT(AucOf(Small(20, 262144), stream), 0.93);
}

TEST(HalfSpaceTrees, ChangeOfAConstantInputIsSeen) {
  for (const float level : {0.0F, 5.0F, -1e20F}) {
    HstSection section(Small(2));
    RandomState random = SeedRandom(8);
    double usual = 0;
    for (int i = 0; i < 3000; ++i) {
      const std::array<float, 2> x{level, static_cast<float>(NextUniform(random))};
      const double score = section.part().ScoreAndLearn(x, 1.0);
      if (i >= 1000) usual = std::max(usual, score);
    }
    const std::array<float, 2> moved{level == 0.0F ? 1e-3F : level * 1.001F, 0.5F};
    EXPECT_GT(section.part().Score(moved), usual) << level;
  }
}

TEST(HalfSpaceTrees, RareCategoriesAreAnomalous) {
  const std::array<uint16_t, 2> categories{20, 0};
  HalfSpaceTreesConfig config = Small(2);
  config.categories = categories;
  HstSection section(config);
  RandomState random = SeedRandom(9);
  for (int i = 0; i < 5000; ++i) {
    const std::array<float, 2> x{NextBelow(random, 2) == 0 ? 3.0F : 11.0F,
                                 static_cast<float>(Normal(random))};
    section.part().Learn(x, 1.0);
  }
  for (const float rare : {0.0F, 7.0F, 20.0F}) {
    EXPECT_GT(section.part().Score(std::array<float, 2>{rare, 0.0F}),
              section.part().Score(std::array<float, 2>{3.0F, 0.0F}) + 0.05);
  }
}

TEST(HalfSpaceTrees, MissingFollowsTheHeavierSide) {
  Stream stream = Clusters(8000, 10);
  const double auc = AucOf(Small(4), stream);
  RandomState random = SeedRandom(11);
  for (float& x : stream.x) x = NextUniform(random) < 0.1 ? kMissing : x;
  EXPECT_GT(AucOf(Small(4), stream), auc - 0.04);

  // A missing value looks normal: by itself it never raises the score as an odd one does.
  HstSection section(Small(4));
  const Stream normal = Clusters(4000, 12);
  RunAll(section, normal);
  const std::array<float, 4> nothing{kMissing, kMissing, kMissing, kMissing};
  const std::array<float, 4> odd{9.0F, 9.0F, 9.0F, 9.0F};
  EXPECT_LT(section.part().Score(nothing) + 0.1, section.part().Score(odd));

  // An input that is always missing changes nothing for the others but which cuts are drawn.
  Stream with_missing{5, {}, normal.anomaly};
  for (size_t i = 0; i < normal.size(); ++i) {
    with_missing.x.insert(with_missing.x.end(), normal.row(i).begin(), normal.row(i).end());
    with_missing.x.push_back(kMissing);
  }
  EXPECT_NEAR(AucOf(Small(5), with_missing), AucOf(Small(4), normal), 0.02);
}

TEST(HalfSpaceTrees, ColdUntilEveryTreeIsDrawn) {
  HstSection section(Small(4));
  const Stream stream = Clusters(200, 13);
  size_t first = 0;
  for (size_t i = 0; i < stream.size(); ++i) {
    const double score = section.part().ScoreAndLearn(stream.row(i), 1.0);
    if (score > 0.0 && first == 0) first = i;
    EXPECT_EQ(score > 0.0, first != 0);
  }
  EXPECT_EQ(first, 31 + section.part().tree_count());
  EXPECT_FALSE(section.part().cold());
}

TEST(HalfSpaceTrees, Weights) {
  const Stream stream = Clusters(3000, 14);
  HstSection once(Small(4));
  HstSection split(Small(4));
  HstSection heavy(Small(4));
  for (size_t i = 0; i < stream.size(); ++i) {
    const double score = once.part().ScoreAndLearn(stream.row(i), 1.0);
    EXPECT_EQ(split.part().Score(stream.row(i)), score);
    split.part().Learn(stream.row(i), 1.0);
    split.part().Learn(stream.row((i + 1) % stream.size()), 0.0);
    heavy.part().Learn(stream.row(i), 2.0);
  }
  EXPECT_TRUE(once == split);
  // Twice the weight everywhere is twice the mass in the same trees.
  const View one(once.bytes_mutable().data());
  const View two(heavy.bytes_mutable().data());
  for (uint32_t t = 0; t < one.header->trees; ++t) {
    EXPECT_EQ(two.trees[t].total, 2.0 * one.trees[t].total);
    EXPECT_EQ(two.masses[one.FirstNode(t)], 2.0F * one.masses[one.FirstNode(t)]);
  }
}

TEST(HalfSpaceTrees, HostileInputs) {
  const std::vector<float> hostile{0.0F,     -0.0F, 1e30F,      -1e30F,  1e-45F, -1e-45F, 1.17549435e-38F,
                                   kMissing, 1.0F,  1.0000001F, -1e-30F, 5e29F};
  for (const double weight : {1.0, 1e-300, 1e300}) {
    HstSection section(Small(3, 16384));
    RandomState random = SeedRandom(15);
    for (int i = 0; i < 6000; ++i) {
      std::array<float, 3> x;
      for (float& value : x) {
        const auto choice = NextBelow(random, static_cast<uint32_t>(hostile.size()));
        value = i < 1500 ? hostile[2] : (i < 3000 ? kMissing : hostile[choice]);
      }
      const double score = section.part().ScoreAndLearn(x, weight);
      ASSERT_TRUE(score >= 0.0 && score <= 1.0);
      if (i % 100 == 0) {
        ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
      }
    }
    ASSERT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(HalfSpaceTrees, EveryPoolIsUsedExactly) {
  for (const uint64_t pool : {uint64_t{16384}, uint64_t{65541}, uint64_t{262144}, uint64_t{1048576}}) {
    for (const uint32_t inputs : {1U, 3U, 20U, 64U}) {
      HstSection section(Small(inputs, pool));
      EXPECT_EQ(section.bytes().size(), pool / 16 * 16);
      EXPECT_EQ(section.Validate(), base::Status::kOk);
      EXPECT_GE(section.part().tree_count(), 1U);
      EXPECT_GE(section.part().node_limit(), 23U);
      const std::vector<float> x(inputs, 1.0F);
      for (int i = 0; i < 100; ++i) section.part().Learn(x, 1.0);
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
  HalfSpaceTreesConfig chosen = Small(3);
  chosen.trees = 7;
  chosen.depth = 5;
  HstSection section(chosen);
  EXPECT_EQ(section.part().tree_count(), 7U);
  EXPECT_EQ(section.part().node_limit(), 63U);
  const Stream stream = Clusters(1000, 16);
  for (size_t i = 0; i < stream.size(); ++i) section.part().Learn(stream.row(i).first(3), 1.0);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(HalfSpaceTrees, CopiesContinueIdentically) {
  HstSection section(Small(4));
  const Stream stream = Clusters(5000, 17);
  for (size_t i = 0; i < 2500; ++i) section.part().Learn(stream.row(i), 1.0);
  HstSection copy = section;
  for (size_t i = 2500; i < 5000; ++i) {
    ASSERT_EQ(section.part().ScoreAndLearn(stream.row(i), 1.0),
              copy.part().ScoreAndLearn(stream.row(i), 1.0));
  }
  EXPECT_TRUE(section == copy);
  HalfSpaceTreesConfig other = Small(4);
  other.seed = 2;
  HstSection differs(other);
  RunAll(differs, stream);
  EXPECT_FALSE(section == differs);
}

TEST(HalfSpaceTrees, DamageIsRefusedOrHarmless) {
  HalfSpaceTreesConfig config = Small(2, 4096);
  config.window = 128;
  HstSection section(config);
  const Stream stream = Clusters(500, 18);
  const auto use = [&](HstSection& damaged) {
    for (size_t i = 0; i < 40; ++i) {
      const double score = damaged.part().ScoreAndLearn(stream.row(i).first(2), 1.0);
      ASSERT_TRUE(score >= 0.0 && score <= 1.0);
    }
    EXPECT_EQ(damaged.Validate(), base::Status::kOk);
  };
  for (size_t i = 0; i < 40; ++i) section.part().Learn(stream.row(i).first(2), 1.0);  // some trees drawn
  EXPECT_GT(FlipEveryByte(section, use), 4000U);
  for (size_t i = 40; i < 500; ++i) section.part().Learn(stream.row(i).first(2), 1.0);
  EXPECT_GT(FlipEveryByte(section, use), 4000U);
}

TEST(HalfSpaceTrees, BadConfigurations) {
  const std::array<uint16_t, 2> categories{1025, 0};
  const auto status = [](const std::function<void(HalfSpaceTreesConfig&)>& change) {
    HalfSpaceTreesConfig config = Small(2);
    change(config);
    return HalfSpaceTrees::StateBytes(config).status();
  };
  EXPECT_EQ(status([](auto&) {}), base::Status::kOk);
  EXPECT_EQ(status([](auto& c) { c.inputs = 0; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.inputs = 4097; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.trees = 257; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.depth = 33; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.window = 63; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([&](auto& c) { c.categories = categories; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = uint64_t{1} << 40; }), base::Status::kInvalidArgument);
  EXPECT_EQ(status([](auto& c) { c.pool_bytes = 512; }), base::Status::kResourceExhausted);
  EXPECT_EQ(status([](auto& c) { c.inputs = 4096; }), base::Status::kResourceExhausted);
}

}  // namespace
}  // namespace dipper::learn::half_space_trees_test
