// Stages against plain reference computations.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/stages/lags.h"
#include "agent/learn/stages/one_hot.h"
#include "agent/learn/stages/standard_scaler.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

const float kMissing = CanonicalNanFloat();

template <typename Stage, typename Config>
std::unique_ptr<AlignedBytes> Make(const Config& config) {
  auto memory = std::make_unique<AlignedBytes>(Stage::StateBytes(config).value());
  EXPECT_TRUE(base::Ok(Stage::Create(config, memory->bytes())));
  return memory;
}

TEST(StandardScaler, MatchesTwoPassMoments) {
  const std::vector<uint16_t> inputs = {0, 2};
  const StandardScalerConfig config = {3, inputs, 0.0, 0.0};
  const auto memory = Make<StandardScaler>(config);
  const StandardScaler scaler(config, memory->bytes());
  Numbers numbers(1);
  std::vector<double> seen[2];
  for (int i = 0; i < 500; ++i) {
    float row[3] = {static_cast<float>(20.0 + 3.0 * numbers.Normal()), 7.0F,
                    static_cast<float>(1e6 * numbers.Normal())};
    const float before[2] = {row[0], row[2]};
    scaler.Apply(StageMode::kLearn, row);
    EXPECT_EQ(row[1], 7.0F);
    for (int j = 0; j < 2; ++j) {
      seen[j].push_back(static_cast<double>(before[j]));
      double mean = 0, variance = 0;
      for (const double x : seen[j]) mean += x / static_cast<double>(seen[j].size());
      for (const double x : seen[j])
        variance += (x - mean) * (x - mean) / static_cast<double>(seen[j].size());
      const double expected = i == 0 ? 0.0 : (seen[j].back() - mean) / std::sqrt(variance);
      EXPECT_NEAR(static_cast<double>(row[2 * j]), expected, 1e-5 * (1.0 + std::fabs(expected)));
    }
  }
  EXPECT_TRUE(base::Ok(StandardScaler::Validate(config, memory->bytes())));
}

TEST(StandardScaler, ExponentialMomentsFollowTheirRecursion) {
  const std::vector<uint16_t> inputs = {0};
  const StandardScalerConfig config = {1, inputs, 0.9, 0.0};
  const auto memory = Make<StandardScaler>(config);
  const StandardScaler scaler(config, memory->bytes());
  double mean = 0, variance = 0;
  for (int i = 1; i <= 300; ++i) {
    const auto value = static_cast<float>(std::sin(i * 0.7) + (i > 150 ? 5.0 : 0.0));
    float row[1] = {value};
    scaler.Apply(StageMode::kLearn, row);
    const double rate = std::max(1.0 / i, 0.1);
    const double deviation = static_cast<double>(value) - mean;
    mean += rate * deviation;
    variance = (1 - rate) * (variance + rate * deviation * deviation);
    const double expected = i == 1 ? 0.0 : (static_cast<double>(value) - mean) / std::sqrt(variance);
    EXPECT_NEAR(static_cast<double>(row[0]), expected, 1e-5) << i;
  }
}

TEST(StandardScaler, MissingIsTheMeanConstantIsZeroAndOutliersAreTamed) {
  const std::vector<uint16_t> inputs = {0};
  const StandardScalerConfig config = {1, inputs, 0.0, 10.0};
  const auto memory = Make<StandardScaler>(config);
  const StandardScaler scaler(config, memory->bytes());
  float row[1];
  for (int i = 0; i < 50; ++i) {
    row[0] = 1e6F;
    scaler.Apply(StageMode::kLearn, row);
    EXPECT_EQ(row[0], 0.0F);
  }
  Numbers numbers(2);
  for (int i = 0; i < 200; ++i) {
    row[0] = static_cast<float>(numbers.Normal());
    scaler.Apply(StageMode::kLearn, row);
  }
  row[0] = kMissing;
  scaler.Apply(StageMode::kLearn, row);
  EXPECT_EQ(row[0], 0.0F);
  row[0] = 1e30F;
  scaler.Apply(StageMode::kLearn, row);
  EXPECT_EQ(row[0], 10.0F);
  // One wild value moved the moments by 20 deviations at most: ordinary values still differ.
  float low[1] = {-1.0F};
  float high[1] = {1e6F};
  scaler.Apply(StageMode::kPeek, low);
  scaler.Apply(StageMode::kPeek, high);
  EXPECT_GT(high[0] - low[0], 0.1F);
}

// Plain moments of one input, as the header describes them.
struct PlainScaler {
  double decay = 0;
  double count = 0, mean = 0, variance = 0;
  double Apply(double value, double clip) {
    double deviation = value - mean;
    if (count >= 30 && variance > 0 && std::fabs(deviation) > 20 * std::sqrt(variance)) {
      deviation = std::copysign(20 * std::sqrt(variance), deviation);
    }
    count += 1;
    const double rate = std::max(1.0 / count, decay > 0 ? 1.0 - decay : 0.0);
    mean += rate * deviation;
    variance = (1 - rate) * (variance + rate * deviation * deviation);
    if (!(variance > 1e-14 * mean * mean)) return 0;
    return std::clamp((value - mean) / std::sqrt(variance), -clip, clip);
  }
};

TEST(StandardScaler, MatchesPlainMomentsThroughDriftGapsAndOutliers) {
  for (const size_t width : {1U, 2U, 3U, 4U, 5U, 8U, 11U}) {
    for (const double decay : {0.0, 0.999, 0.9}) {
      std::vector<uint16_t> inputs;
      for (size_t i = 0; i < width; ++i) inputs.push_back(static_cast<uint16_t>(i));
      const StandardScalerConfig config = {static_cast<uint32_t>(width), inputs, decay, 10.0};
      const auto memory = Make<StandardScaler>(config);
      ASSERT_EQ(memory->bytes().size(), (width + 3) / 4 * 128);
      std::vector<PlainScaler> plain(width, PlainScaler{decay});
      Numbers numbers(width);
      for (int i = 0; i < 4000; ++i) {
        std::vector<float> row(width);
        for (size_t j = 0; j < width; ++j) {
          const double size = i < 2000 ? 1.0 : 30.0;
          row[j] = static_cast<float>(size * numbers.Normal() + static_cast<double>(j) + i * 1e-3);
          if (j % 3 == 1 && i % 50 == 7) row[j] = kMissing;
          if (j % 3 == 2 && i % 700 == 699) row[j] = 1e9F;
          if (j % 5 == 3) row[j] = 2.5F;
        }
        const std::vector<float> before = row;
        StandardScaler(config, memory->bytes()).Apply(StageMode::kLearn, row.data());
        for (size_t j = 0; j < width; ++j) {
          const double expected =
              IsNan(before[j]) ? 0.0 : plain[j].Apply(static_cast<double>(before[j]), 10.0);
          ASSERT_NEAR(static_cast<double>(row[j]), expected, 2e-7 * (1.0 + std::fabs(expected)))
              << width << " " << decay << " " << i << " " << j;
        }
      }
      EXPECT_TRUE(base::Ok(StandardScaler::Validate(config, memory->bytes())));
    }
  }
}

TEST(StandardScaler, LateOutliersAreTamedToo) {
  // So late that one value hardly moves the variance, and the plain way is taken.
  const std::vector<uint16_t> inputs = {0, 1, 2, 3};
  const StandardScalerConfig config = {4, inputs, 0.0, 1e6};
  const auto memory = Make<StandardScaler>(config);
  PlainScaler plain[4];
  Numbers numbers(11);
  for (int i = 0; i < 60000; ++i) {
    float row[4];
    for (float& value : row) value = static_cast<float>(numbers.Normal());
    if (i > 50000 && i % 10 == 0) row[i % 4] = 24.0F;
    double expected[4];
    for (size_t j = 0; j < 4; ++j) expected[j] = plain[j].Apply(static_cast<double>(row[j]), 1e6);
    StandardScaler(config, memory->bytes()).Apply(StageMode::kLearn, row);
    for (size_t j = 0; j < 4; ++j)
      ASSERT_NEAR(static_cast<double>(row[j]), expected[j], 2e-7 * (1.0 + std::fabs(expected[j]))) << i;
  }
}

TEST(StandardScaler, NeighboursAndScatteredInputsGiveTheSameBits) {
  const std::vector<uint16_t> together = {0, 1, 2, 3, 4, 5};
  const std::vector<uint16_t> scattered = {0, 2, 3, 5, 7, 8};
  const StandardScalerConfig a = {6, together, 0.0, 10.0};
  const StandardScalerConfig b = {9, scattered, 0.0, 10.0};
  const auto memory_a = Make<StandardScaler>(a);
  const auto memory_b = Make<StandardScaler>(b);
  Numbers numbers(9);
  for (int i = 0; i < 1000; ++i) {
    float row_a[6];
    float row_b[9] = {};
    for (size_t j = 0; j < 6; ++j) {
      row_a[j] = i % 11 == 3 ? kMissing : static_cast<float>(numbers.Normal());
      row_b[scattered[j]] = row_a[j];
    }
    StandardScaler(a, memory_a->bytes()).Apply(StageMode::kLearn, row_a);
    StandardScaler(b, memory_b->bytes()).Apply(StageMode::kLearn, row_b);
    for (size_t j = 0; j < 6; ++j)
      ASSERT_EQ(std::bit_cast<uint32_t>(row_a[j]), std::bit_cast<uint32_t>(row_b[scattered[j]])) << i;
    ASSERT_EQ(row_b[1] + row_b[4] + row_b[6], 0.0F);
  }
  EXPECT_TRUE(std::equal(memory_a->bytes().begin(), memory_a->bytes().end(), memory_b->bytes().begin()));
}

TEST(StandardScaler, WildValuesStayFiniteAndDamageIsRefused) {
  const std::vector<uint16_t> inputs = {0, 1, 2, 3, 4};
  const StandardScalerConfig config = {5, inputs, 0.0, 10.0};
  const auto memory = Make<StandardScaler>(config);
  const float wild[] = {1e30F, -1e30F, 1e-40F, 0.0F, 1.0F, 3e-20F, kMissing};
  Numbers numbers(10);
  for (int i = 0; i < 3000; ++i) {
    float row[5];
    for (size_t j = 0; j < 5; ++j) row[j] = wild[numbers.Below(j == 4 ? 2 : 7)];
    StandardScaler(config, memory->bytes()).Apply(StageMode::kLearn, row);
    for (const float value : row) ASSERT_LE(std::fabs(value), 10.0F);
  }
  ASSERT_TRUE(base::Ok(StandardScaler::Validate(config, memory->bytes())));
  // count, mean, variance and inverse deviation of the first four inputs lie one after another.
  const std::vector<uint8_t> good(memory->bytes().begin(), memory->bytes().end());
  for (const auto& [at, value] : std::vector<std::pair<size_t, double>>{{0, -1.0},
                                                                        {0, 1.5},
                                                                        {32, 1e40},
                                                                        {64, -1.0},
                                                                        {64, 1.0},
                                                                        {96, -1.0},
                                                                        {96, 1e-3},
                                                                        {96, std::nan("")}}) {
    base::Store(memory->bytes().data() + at, value);
    EXPECT_EQ(StandardScaler::Validate(config, memory->bytes()), base::Status::kDataLoss)
        << at << " " << value;
    std::copy(good.begin(), good.end(), memory->bytes().begin());
  }
}

TEST(StandardScaler, OnlyLearningMovesTheMoments) {
  const std::vector<uint16_t> inputs = {0};
  const StandardScalerConfig config = {1, inputs, 0.0, 0.0};
  const auto memory = Make<StandardScaler>(config);
  const StandardScaler scaler(config, memory->bytes());
  for (int i = 0; i < 10; ++i) {
    float row[1] = {static_cast<float>(i)};
    scaler.Apply(StageMode::kLearn, row);
  }
  const std::vector<uint8_t> before(memory->bytes().begin(), memory->bytes().end());
  float row[1] = {100.0F};
  scaler.Apply(StageMode::kFrozen, row);
  scaler.Apply(StageMode::kPeek, row);
  EXPECT_TRUE(std::equal(before.begin(), before.end(), memory->bytes().begin()));
}

TEST(Lags, MatchHistory) {
  const std::vector<uint16_t> inputs = {0, 1};
  const std::vector<uint16_t> lags = {1, 3, 4};
  for (const bool differences : {false, true}) {
    const LagsConfig config = {2, inputs, lags, differences};
    const auto memory = Make<Lags>(config);
    const Lags stage(config, memory->bytes());
    ASSERT_EQ(Lags::OutWidth(config), 8U);
    std::vector<std::vector<float>> history;
    Numbers numbers(3);
    for (int i = 0; i < 40; ++i) {
      const std::vector<float> now = {static_cast<float>(numbers.Normal()),
                                      i % 7 == 0 ? kMissing : static_cast<float>(i)};
      float row[8] = {now[0], now[1]};
      float peek[8] = {now[0], now[1]};
      stage.Apply(StageMode::kPeek, peek);
      stage.Apply(i % 2 == 0 ? StageMode::kLearn : StageMode::kFrozen, row);
      EXPECT_EQ(std::memcmp(row, peek, sizeof row), 0);
      size_t at = 2;
      for (size_t input = 0; input < 2; ++input) {
        for (const uint16_t lag : lags) {
          float expected = kMissing;
          if (lag <= i) expected = history[history.size() - lag][input];
          if (differences && !IsNan(expected))
            expected = IsNan(now[input]) ? kMissing : now[input] - expected;
          EXPECT_EQ(std::bit_cast<uint32_t>(row[at]), std::bit_cast<uint32_t>(expected)) << i << " " << at;
          ++at;
        }
      }
      history.push_back(now);
    }
    EXPECT_TRUE(base::Ok(Lags::Validate(config, memory->bytes())));
    stage.Reset();
    float row[8] = {1.0F, 2.0F};
    stage.Apply(StageMode::kLearn, row);
    for (size_t at = 2; at < 8; ++at) EXPECT_TRUE(IsNan(row[at]));
  }
}

TEST(Lags, RefusesDamage) {
  const std::vector<uint16_t> inputs = {0};
  const std::vector<uint16_t> lags = {2};
  const LagsConfig config = {1, inputs, lags, false};
  const auto memory = Make<Lags>(config);
  memory->bytes()[0] = 2;  // next row beyond the ring
  EXPECT_EQ(Lags::Validate(config, memory->bytes()), base::Status::kDataLoss);
  memory->bytes()[0] = 0;
  base::Store(memory->bytes().data() + 16, std::numeric_limits<float>::infinity());
  EXPECT_EQ(Lags::Validate(config, memory->bytes()), base::Status::kDataLoss);
}

TEST(OneHot, ReplacesInPlace) {
  const std::vector<uint16_t> inputs = {1};
  const std::vector<uint16_t> categories = {2};
  const OneHotConfig config = {3, inputs, categories};
  ASSERT_EQ(OneHot::OutWidth(config), 5U);
  const auto run = [&](float category) {
    std::vector<float> row = {9.0F, category, 8.0F, 0.0F, 0.0F};
    OneHot(config, {}).Apply(StageMode::kLearn, row.data());
    return row;
  };
  EXPECT_EQ(run(0.0F), (std::vector<float>{9, 1, 0, 0, 8}));
  EXPECT_EQ(run(1.0F), (std::vector<float>{9, 0, 1, 0, 8}));
  EXPECT_EQ(run(2.0F), (std::vector<float>{9, 0, 0, 1, 8}));
  EXPECT_EQ(run(77.0F), (std::vector<float>{9, 0, 0, 1, 8}));
  EXPECT_EQ(run(kMissing), (std::vector<float>{9, 0, 0, 0, 8}));
}

}  // namespace
}  // namespace dipper::learn::testing
