// Nearest neighbours against a plain search that sorts all rows; ties, weights, missing and hostile inputs,
// the window's turn-over, damage.
#include "agent/learn/learners/knn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::knn_test {
namespace {

using KnnSection = Section<Knn, KnnConfig>;

const float kMissing = std::numeric_limits<float>::quiet_NaN();

struct Row {
  std::vector<float> x;
  double y;
  double weight;
};

KnnConfig Classes(uint32_t inputs, uint32_t classes, uint32_t neighbors, uint32_t window, bool by_distance) {
  KnnConfig config;
  config.inputs = inputs;
  config.outputs = classes;
  config.neighbors = neighbors;
  config.window = window;
  config.by_distance = by_distance;
  config.pool_bytes = uint64_t{1} << 24;
  return config;
}

KnnConfig Values(uint32_t inputs, uint32_t neighbors, uint32_t window, bool by_distance) {
  KnnConfig config = Classes(inputs, 1, neighbors, window, by_distance);
  config.classification = false;
  return config;
}

void Learn(KnnSection& section, const Row& row) {
  const std::vector<double> stored(section.config().outputs);
  section.part().Learn(row.x, stored, row.y, row.weight);
}

std::vector<double> Predict(KnnSection& section, const std::vector<float>& x) {
  std::vector<double> out(section.config().outputs);
  section.part().Predict(x, out);
  return out;
}

uint32_t Greatest(const std::vector<double>& p) {
  return static_cast<uint32_t>(std::max_element(p.begin(), p.end()) - p.begin());
}

/// All rows ever learned; the last `capacity` of them are searched by sorting.
class Textbook {
 public:
  Textbook(const KnnConfig& config, uint32_t capacity) : config_(config), capacity_(capacity) {}

  void Learn(const Row& row) {
    if (row.weight > 0.0) rows_.push_back(row);
  }

  struct Neighbor {
    float distance;
    size_t age;
    double y, votes;
  };

  std::vector<Neighbor> Nearest(const std::vector<float>& x) const {
    std::vector<Neighbor> all;
    for (size_t age = 0; age < std::min<size_t>(rows_.size(), capacity_); ++age) {
      const Row& row = rows_[rows_.size() - 1 - age];
      float sum = 0;
      for (uint32_t i = 0; i < config_.inputs; ++i) {
        const float a = std::isnan(row.x[i]) ? 0.0F : std::clamp(row.x[i], -1e15F, 1e15F);
        const float b = std::isnan(x[i]) ? 0.0F : std::clamp(x[i], -1e15F, 1e15F);
        const float difference = a - b;
        const float square = difference * difference;
        sum = sum + square;
      }
      all.push_back({sum, age, row.y, row.weight});
    }
    std::sort(all.begin(), all.end(), [](const Neighbor& a, const Neighbor& b) {
      return a.distance != b.distance ? a.distance < b.distance : a.age < b.age;
    });
    all.resize(std::min<size_t>(all.size(), config_.neighbors));
    const double reach = all.empty() ? 0.0 : static_cast<double>(all.back().distance);
    for (Neighbor& one : all) {
      if (config_.by_distance && reach > 0.0)
        one.votes *= (1.0 + 1.0 / 32) / (static_cast<double>(one.distance) / reach + 1.0 / 32);
    }
    return all;
  }

  std::vector<double> Predict(const std::vector<float>& x) const {
    const std::vector<Neighbor> nearest = Nearest(x);
    std::vector<double> out(config_.outputs, 0.0);
    double all = 0;
    for (const Neighbor& one : nearest) {
      all += one.votes;
      out[config_.classification ? static_cast<size_t>(one.y) : 0] +=
          config_.classification ? one.votes : one.votes * one.y;
    }
    if (!config_.classification) {
      out[0] /= all > 0.0 ? all : 1.0;
      return out;
    }
    for (double& p : out) p = (p + 1.0 / config_.outputs) / (all + 1.0);
    return out;
  }

  uint32_t Winner(const std::vector<float>& x) const {
    std::vector<double> votes(config_.outputs, 0.0);
    const std::vector<Neighbor> nearest = Nearest(x);
    for (const Neighbor& one : nearest) votes[static_cast<size_t>(one.y)] += one.votes;
    const double most = *std::max_element(votes.begin(), votes.end());
    for (const Neighbor& one : nearest) {
      if (votes[static_cast<size_t>(one.y)] == most) return static_cast<uint32_t>(one.y);
    }
    return 0;
  }

 private:
  KnnConfig config_;
  uint32_t capacity_;
  std::vector<Row> rows_;
};

/// Coordinates on a coarse grid, so that equal distances are common; some missing.
Row DrawRow(RandomState& random, const KnnConfig& config) {
  Row row;
  for (uint32_t i = 0; i < config.inputs; ++i) {
    const double x = static_cast<double>(NextBelow(random, 9)) * 0.25 - 1.0;
    row.x.push_back(NextBelow(random, 20) == 0 ? kMissing : static_cast<float>(x));
  }
  row.y = config.classification ? NextBelow(random, config.outputs) : 10.0 * NextUniform(random) - 3.0;
  row.weight = NextBelow(random, 10) == 0 ? 0.0 : 1.0 + NextBelow(random, 3);
  return row;
}

void ExpectTextbook(const KnnConfig& config, int rows) {
  KnnSection section(config);
  Textbook textbook(config, section.part().capacity());
  RandomState random = SeedRandom(31);
  for (int i = 0; i < rows; ++i) {
    const Row row = DrawRow(random, config);
    const std::vector<double> ours = Predict(section, row.x);
    const std::vector<double> theirs = textbook.Predict(row.x);
    double sum = 0;
    for (size_t c = 0; c < ours.size(); ++c) {
      ASSERT_NEAR(ours[c], theirs[c], config.classification ? 2e-6 : 1e-5) << i;  // targets are float32
      sum += ours[c];
    }
    if (config.classification) {
      ASSERT_NEAR(sum, 1.0, 1e-12);
      if (!config.by_distance) {
        ASSERT_EQ(Greatest(ours), textbook.Winner(row.x)) << i;
      }
    }
    Learn(section, row);
    textbook.Learn(row);
  }
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(Knn, MatchesThePlainSearch) {
  for (const bool by_distance : {false, true}) {
    for (const uint32_t inputs : {1U, 3U, 8U, 17U, 40U}) {
      for (const uint32_t window : {64U, 77U, 200U}) {
        ExpectTextbook(Classes(inputs, 3, 5, window, by_distance), 500);
        ExpectTextbook(Values(inputs, 5, window, by_distance), 500);
      }
    }
    ExpectTextbook(Classes(4, 2, 1, 9, by_distance), 100);
    ExpectTextbook(Classes(4, 64, 64, 64, by_distance), 300);
    ExpectTextbook(Values(300, 3, 21, by_distance), 60);
  }
}

TEST(Knn, PlainVotesAreTheTextbooksWinners) {
  const KnnConfig config = Classes(2, 4, 6, 50, false);
  KnnSection section(config);
  Textbook textbook(config, 50);
  RandomState random = SeedRandom(32);
  int ties = 0;
  for (int i = 0; i < 2000; ++i) {
    const Row row = DrawRow(random, config);
    const std::vector<double> p = Predict(section, row.x);
    if (i > 0) {
      ASSERT_EQ(Greatest(p), textbook.Winner(row.x));
    }
    std::vector<double> sorted = p;
    std::sort(sorted.begin(), sorted.end());
    ties += sorted[3] - sorted[2] < 1e-5 ? 1 : 0;
    Learn(section, row);
    textbook.Learn(row);
  }
  EXPECT_GT(ties, 100);
}

TEST(Knn, OfEqualDistancesTheNewerIsNearer) {
  KnnSection section(Classes(1, 3, 1, 20, false));
  for (int i = 0; i < 60; ++i) {
    Learn(section, {{i % 2 == 0 ? 1.0F : -1.0F}, static_cast<double>(i % 3), 1});
    if (i >= 1) {
      ASSERT_EQ(Greatest(Predict(section, {0.0F})), static_cast<uint32_t>(i % 3)) << i;
    }
  }
}

TEST(Knn, NearerNeighboursCountMoreAndCopiesAreLimited) {
  for (const bool by_distance : {false, true}) {
    KnnSection section(Classes(1, 2, 3, 16, by_distance));
    Learn(section, {{0.1F}, 1, 1});
    Learn(section, {{1.0F}, 0, 1});
    Learn(section, {{-1.0F}, 0, 1});
    EXPECT_EQ(Greatest(Predict(section, {0.0F})), by_distance ? 1U : 0U);
  }
  // A copy of the sample counts as 33 of the farthest, not as infinitely many.
  KnnSection section(Classes(1, 2, 40, 64, true));
  Learn(section, {{0.0F}, 1, 1});
  for (int i = 0; i < 32; ++i) Learn(section, {{1.0F}, 0, 1});
  EXPECT_EQ(Greatest(Predict(section, {0.0F})), 1U);
  for (int i = 0; i < 2; ++i) Learn(section, {{1.0F}, 0, 1});
  EXPECT_EQ(Greatest(Predict(section, {0.0F})), 0U);
}

TEST(Knn, WeightsAreVotesAndZeroIsNothing) {
  KnnSection section(Classes(1, 2, 3, 16, false));
  Learn(section, {{1.0F}, 0, 1});
  Learn(section, {{1.5F}, 0, 1});
  Learn(section, {{2.0F}, 1, 2.5});
  EXPECT_EQ(Greatest(Predict(section, {0.0F})), 1U);
  const KnnSection before = section;
  Learn(section, {{0.0F}, 0, 0.0});
  EXPECT_TRUE(section == before);
  EXPECT_EQ(section.part().rows(), 3U);

  KnnSection mean(Values(1, 2, 16, false));
  Learn(mean, {{1.0F}, 3.0, 1});
  Learn(mean, {{1.0F}, 6.0, 2});
  EXPECT_NEAR(Predict(mean, {1.0F})[0], 5.0, 1e-12);
}

TEST(Knn, MissingIsTheMean) {
  KnnSection missing(Classes(2, 2, 1, 32, false));
  KnnSection zero(Classes(2, 2, 1, 32, false));
  RandomState random = SeedRandom(33);
  for (int i = 0; i < 100; ++i) {
    const float x = static_cast<float>(NextUniform(random)) - 0.5F;
    const double y = NextBelow(random, 2);
    const bool hole = i % 3 == 0;
    EXPECT_EQ(Predict(missing, {x, kMissing}), Predict(zero, {x, 0.0F}));
    Learn(missing, {{hole ? kMissing : x, x}, y, 1});
    Learn(zero, {{hole ? 0.0F : x, x}, y, 1});
  }
  EXPECT_TRUE(missing == zero);
}

TEST(Knn, TheWindowForgets) {
  for (const uint32_t window : {16U, 23U, 100U}) {
    KnnSection section(Classes(2, 2, 5, window, true));
    RandomState random = SeedRandom(34);
    const auto run = [&](int labels, bool swapped) {
      int right = 0;
      for (int i = 0; i < labels; ++i) {
        const uint32_t y = NextBelow(random, 2);
        const float x = ((y == 1) != swapped ? 1.0F : -1.0F) + static_cast<float>(NextUniform(random)) - 0.5F;
        right += Greatest(Predict(section, {x, 0.0F})) == y ? 1 : 0;
        Learn(section, {{x, 0.0F}, static_cast<double>(y), 1});
      }
      return right;
    };
    run(500, false);
    EXPECT_EQ(section.part().rows(), window);
    EXPECT_EQ(run(200, false), 200);
    run(static_cast<int>(window), true);
    EXPECT_EQ(run(200, true), 200);
  }
}

TEST(Knn, AnswersBeforeTheFirstLabel) {
  KnnSection classes(Classes(3, 4, 5, 16, true));
  EXPECT_EQ(Predict(classes, {1.0F, kMissing, 2.0F}), std::vector<double>(4, 0.25));
  KnnSection values(Values(3, 5, 16, true));
  EXPECT_EQ(Predict(values, {1.0F, kMissing, 2.0F})[0], 0.0);
}

TEST(Knn, HostileInputsStayFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float hostile[] = {1e30F, -1e30F,   3e38F, 1e-45F,   -1e-40F,   1e-20F, 0.0F,
                           -0.0F, kMissing, 1.0F,  infinity, -infinity, 5.0F};
  for (const bool classification : {true, false}) {
    const KnnConfig config = classification ? Classes(9, 3, 7, 50, true) : Values(9, 7, 50, true);
    KnnSection section(config);
    RandomState random = SeedRandom(35);
    for (int i = 0; i < 3000; ++i) {
      Row row;
      for (uint32_t j = 0; j < 9; ++j)
        row.x.push_back(i % 500 < 60 ? 1e30F : hostile[NextBelow(random, std::size(hostile))]);
      row.y = classification ? NextBelow(random, 3) : (i % 2 == 0 ? 1.7e308 : -1e-320);
      row.weight = i % 3 == 0 ? 1e300 : (i % 3 == 1 ? 5e-324 : 1.0);
      double sum = 0;
      for (const double one : Predict(section, row.x)) {
        ASSERT_TRUE(std::isfinite(one));
        sum += one;
      }
      if (classification) {
        ASSERT_NEAR(sum, 1.0, 1e-12);
      }
      Learn(section, row);
      if (i % 100 == 0) {
        ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
      }
    }
  }
}

TEST(Knn, BytesAreExactAndConfigsChecked) {
  EXPECT_EQ(*Knn::StateBytes(Classes(10, 5, 5, 1000, true)), 16U + 1000 * 12 * 4);
  EXPECT_EQ(*Knn::StateBytes(Classes(10, 5, 5, 1001, true)), 16U + 1008 * 12 * 4);
  KnnConfig pool = Classes(10, 5, 5, 0, true);
  for (const uint64_t bytes : {16384U, 65536U, 65551U, 262144U}) {
    pool.pool_bytes = bytes;
    EXPECT_EQ(*Knn::StateBytes(pool), bytes / 16 * 16);
    KnnSection section(pool);
    const uint64_t rows = section.part().capacity();
    EXPECT_EQ(rows % 8, 0U);
    EXPECT_LE(16 + rows * 48, bytes);
    EXPECT_GT(16 + (rows + 8) * 48, bytes / 16 * 16);
  }
  pool.pool_bytes = 16 + 7 * 48;
  EXPECT_EQ(Knn::StateBytes(pool).status(), base::Status::kResourceExhausted);
  pool.pool_bytes = 0;
  EXPECT_EQ(Knn::StateBytes(pool).status(), base::Status::kResourceExhausted);
  KnnConfig small = Classes(10, 5, 5, 1000, true);
  small.pool_bytes = 16 + 1000 * 48 - 1;
  EXPECT_EQ(Knn::StateBytes(small).status(), base::Status::kResourceExhausted);
  KnnConfig regression = Values(3, 5, 100, true);
  regression.outputs = 2;
  KnnConfig huge = Classes(3, 2, 5, 100, true);
  huge.pool_bytes = ~uint64_t{0};
  for (const KnnConfig& bad :
       {Classes(0, 2, 5, 100, true), Classes(513, 2, 5, 100, true), Classes(3, 1, 5, 100, true),
        Classes(3, 65, 5, 100, true), Classes(3, 2, 0, 100, true), Classes(3, 2, 65, 100, true),
        Classes(3, 2, 5, 4, true), Classes(3, 2, 5, (1U << 24) + 1, true), regression, huge}) {
    EXPECT_EQ(Knn::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

TEST(Knn, CopiesContinueIdenticallyAndDamageIsRefused) {
  for (const bool classification : {true, false}) {
    const KnnConfig config = classification ? Classes(3, 3, 4, 20, true) : Values(3, 4, 20, true);
    for (const int labels : {11, 90}) {
      KnnSection section(config);
      RandomState random = SeedRandom(36);
      for (int i = 0; i < labels; ++i) Learn(section, DrawRow(random, config));
      KnnSection copy = section;
      const size_t refused = FlipEveryByte(section, [&](KnnSection& damaged) {
        EXPECT_LE(damaged.part().rows(), damaged.part().capacity());
        for (int i = 0; i < 30; ++i) {
          const Row row = DrawRow(random, config);
          for (const double one : Predict(damaged, row.x)) EXPECT_TRUE(std::isfinite(one));
          Learn(damaged, row);
        }
        EXPECT_EQ(damaged.Validate(), base::Status::kOk);
      });
      EXPECT_GT(refused, section.bytes().size() / 8);
      for (int i = 0; i < 50; ++i) {
        const Row row = DrawRow(random, config);
        EXPECT_EQ(Predict(section, row.x), Predict(copy, row.x));
        Learn(section, row);
        Learn(copy, row);
      }
      EXPECT_TRUE(section == copy);
    }
  }
}

}  // namespace
}  // namespace dipper::learn::knn_test
