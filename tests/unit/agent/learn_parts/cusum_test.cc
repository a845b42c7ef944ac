// CUSUM against Page's recursion over kept values, run lengths for normal and rare losses, scale, runs and
// damage.
#include "agent/learn/drift/cusum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::cusum_test {
namespace {

using CusumSection = Section<Cusum, CusumConfig>;

double Normal(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

/// Both sums from all values since the last restart; moments from their definitions.
struct Textbook {
  std::vector<double> past;
  double rise = 0, fall = 0;
  double rise_statistic = 0, fall_statistic = 0;

  void Update(double x, const CusumConfig& c) {
    if (past.size() >= c.min_samples) {
      const double n = static_cast<double>(past.size());
      const auto [mean, deviation, skewness] = Moments();
      const double z = (x - mean) / deviation;
      const double limit = 4 + 2 * std::max(0.0, z > 0 ? skewness : -skewness);
      ASSERT_LE(std::fabs(z), 2 * limit);  // nothing in this stream is cut before it is learned
      const double step = std::clamp(z, -limit, limit);
      rise = std::max(0.0, rise + step - c.delta - 1 / std::sqrt(n));
      fall = std::max(0.0, fall - step - c.delta - 1 / std::sqrt(n));
    }
    past.push_back(x);
    const double skewness = std::get<2>(Moments());
    rise_statistic = rise * 2 * c.delta / (1 + 2 * c.delta * std::max(0.0, skewness) / 3);
    fall_statistic = fall * 2 * c.delta / (1 + 2 * c.delta * std::max(0.0, -skewness) / 3);
  }
  std::tuple<double, double, double> Moments() const {
    const double n = static_cast<double>(past.size());
    double mean = 0, square = 0, cube = 0;
    for (double v : past) mean += v / n;
    for (double v : past) square += (v - mean) * (v - mean) / n, cube += std::pow(v - mean, 3) / n;
    return {mean, std::sqrt(square), square > 0 ? cube / std::pow(square, 1.5) : 0};
  }
};

TEST(Cusum, MatchesTheTextbook) {
  for (const bool falls : {false, true}) {
    CusumConfig config;
    config.falls = falls;
    config.autocorrelation = false;
    config.threshold = 6;
    CusumSection section(config);
    Cusum test = section.part();
    Textbook textbook;
    RandomState random = SeedRandom(5);
    uint64_t alarms = 0, renewed = 0;
    for (int i = 0; i < 6000; ++i) {
      const double level = i / 500 % 2 == 0 ? 0.2 : 0.7;
      const double u = NextUniform(random);
      const double x = u * u + level;
      textbook.Update(x, config);
      const double fall_to_judge = falls ? textbook.fall_statistic : 0;
      const bool alarm = std::max(textbook.rise_statistic, fall_to_judge) > config.threshold;
      const bool renew = !alarm && textbook.fall_statistic > config.threshold;
      if (alarm || renew) textbook = Textbook();
      alarms += alarm ? 1 : 0;
      renewed += renew ? 1 : 0;
      ASSERT_EQ(test.Update(x) == DriftLevel::kAlarm, alarm) << i;
      const double expected = alarm || renew ? 0 : std::max(textbook.rise_statistic, fall_to_judge);
      ASSERT_NEAR(test.statistic(), expected, 1e-9) << i;
    }
    EXPECT_EQ(test.alarms(), alarms);
    EXPECT_GE(alarms, falls ? 10U : 5U);
    EXPECT_EQ(renewed > 0, !falls);
    EXPECT_GE(test.warnings(), alarms);
  }
}

TEST(Cusum, ScaleAndOffsetDoNotMatter) {
  for (const double scale : {1e-6, 1.0, 1e6}) {
    CusumSection section(CusumConfig{});
    Cusum test = section.part();
    RandomState random = SeedRandom(6);
    int delay = -1;
    for (int i = 0; i < 6000 && delay < 0; ++i) {
      if (test.Update(scale * (100 + Normal(random) + (i >= 5000 ? 1 : 0))) != DriftLevel::kAlarm) continue;
      ASSERT_GE(i, 5000);
      delay = i - 5000;
    }
    EXPECT_GT(delay, 0) << scale;
    EXPECT_LT(delay, 100) << scale;
  }
}

TEST(Cusum, FewFalseAlarmsHoweverRareTheErrors) {
  for (const double rate : {0.001, 0.01, 0.2, 0.5}) {
    CusumConfig config;
    config.falls = true;
    CusumSection section(config);
    Cusum test = section.part();
    RandomState random = SeedRandom(7);
    for (int i = 0; i < 200000; ++i) test.Update(NextUniform(random) < rate ? 1 : 0);
    EXPECT_LE(test.alarms(), 2U) << rate;
  }
}

TEST(Cusum, FindsEveryRiseSoonAndRelearnsAfterFalls) {
  CusumSection section(CusumConfig{});
  Cusum test = section.part();
  RandomState random = SeedRandom(8);
  int found = 0, delay = 0;
  for (int change = 0; change < 10; ++change) {
    for (int i = 0; i < 20000; ++i) {
      const DriftLevel level = test.Update(NextUniform(random) < (i < 10000 ? 0.2 : 0.4) ? 1 : 0);
      if (level != DriftLevel::kAlarm || i < 10000) continue;
      ++found;
      delay += i - 10000;
    }
  }
  EXPECT_EQ(found, 10);
  EXPECT_EQ(test.alarms(), 10U);
  EXPECT_LT(delay / found, 200);
}

TEST(Cusum, RunsAreNoChange) {
  uint64_t alarms[2] = {};
  for (const bool corrected : {false, true}) {
    CusumConfig config;
    config.autocorrelation = corrected;
    CusumSection section(config);
    Cusum test = section.part();
    RandomState random = SeedRandom(11);
    double x = 0;
    for (int i = 0; i < 100000; ++i) {
      x = 0.8 * x + Normal(random);
      test.Update(x);
    }
    alarms[corrected ? 1 : 0] = test.alarms();
  }
  EXPECT_GT(alarms[0], 50U);
  EXPECT_LE(alarms[1], 1U);
}

TEST(Cusum, OutliersConstantsAndHugeValues) {
  CusumSection section(CusumConfig{});
  Cusum test = section.part();
  RandomState random = SeedRandom(12);
  int delay = -1;
  for (int i = 0; i < 4000 && delay < 0; ++i) {
    double x = Normal(random) + (i >= 3000 ? 1.5 : 0);
    if (i == 2000) x = 1e30;
    if (test.Update(x) != DriftLevel::kAlarm) continue;
    ASSERT_GE(i, 3000);
    delay = i - 3000;
  }
  EXPECT_GT(delay, 0);
  EXPECT_LT(delay, 100);
  CusumSection constant(CusumConfig{});
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(constant.part().Update(0.1), DriftLevel::kStable);
  for (int i = 0; i < 1000; ++i) static_cast<void>(constant.part().Update(1.0));
  EXPECT_EQ(constant.part().alarms(), 1U);
  for (int i = 0; i < 3000; ++i) {
    const double hostile[] = {1.7e308, -1.7e308, 5e-324, 1e30, 0.0};
    constant.part().Update(hostile[NextBelow(random, 5)]);
    ASSERT_EQ(constant.Validate(), base::Status::kOk) << i;
  }
}

TEST(Cusum, CopiesContinueIdenticallyAndDamageIsRefused) {
  CusumSection section(CusumConfig{});
  RandomState random = SeedRandom(8);
  for (int i = 0; i < 100; ++i) section.part().Update(NextUniform(random));
  CusumSection copy = section;
  for (int i = 0; i < 100; ++i) {
    const double x = NextUniform(random);
    EXPECT_EQ(section.part().Update(x), copy.part().Update(x));
  }
  EXPECT_TRUE(section == copy);
  const size_t refused = FlipEveryByte(section, [](CusumSection& damaged) {
    for (int i = 0; i < 40; ++i) damaged.part().Update(0.5 * i);
    static_cast<void>(damaged.part().statistic());
  });
  EXPECT_GT(refused, 20U);
  EXPECT_EQ(Cusum::StateBytes(CusumConfig{}).value(), 112U);
  CusumConfig bad[6];
  bad[0].delta = 0;
  bad[1].delta = std::nan("");
  bad[2].delta = 11;
  bad[3].threshold = 0;
  bad[4].threshold = std::nan("");
  bad[5].min_samples = 1;
  for (const CusumConfig& one : bad) {
    EXPECT_EQ(Cusum::StateBytes(one).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::cusum_test
