// Page-Hinkley against the textbook recursion in its minimum form, scale invariance, delay and false alarms.
#include "agent/learn/drift/page_hinkley.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::page_hinkley_test {
namespace {

using PhSection = Section<PageHinkley, PageHinkleyConfig>;

/// m_t = sum (z - delta), alarm when m_t - min m > threshold, as Page wrote it; z is the standardized,
/// clipped value.
struct Textbook {
  double n = 0, sum = 0, squares = 0, m = 0, least = 0;
  bool Update(double x, const PageHinkleyConfig& c) {
    if (n >= c.min_samples) {
      const double mean = sum / n;
      const double deviation = std::sqrt(squares / n - mean * mean);
      m += std::clamp((x - mean) / deviation, -4.0, 4.0) - c.delta;
      least = std::min(least, m);
    }
    n += 1;
    sum += x;
    squares += x * x;
    const bool alarm = m - least > c.threshold;
    if (alarm) *this = Textbook{};
    return alarm;
  }
};

TEST(PageHinkley, MatchesTheTextbook) {
  const PageHinkleyConfig config{0.1, 20, 30};
  PhSection section(config);
  PageHinkley test = section.part();
  Textbook textbook;
  RandomState random = SeedRandom(5);
  uint64_t alarms = 0;
  for (int i = 0; i < 20000; ++i) {
    const double level = i / 1000 % 2 == 0 ? 0.2 : 0.7;
    const double x = NextUniform(random) + level;
    const bool alarm = textbook.Update(x, config);
    alarms += alarm ? 1 : 0;
    ASSERT_EQ(test.Update(x) == DriftLevel::kAlarm, alarm) << i;
    ASSERT_NEAR(test.statistic(), textbook.m - textbook.least, 1e-6);
  }
  EXPECT_EQ(test.alarms(), alarms);
  EXPECT_GE(alarms, 10U);
  EXPECT_GE(test.warnings(), alarms);
}

TEST(PageHinkley, ScaleAndOffsetDoNotMatter) {
  for (double scale : {1e-6, 1.0, 1e6}) {
    PhSection section(PageHinkleyConfig{});
    PageHinkley test = section.part();
    RandomState random = SeedRandom(6);
    int delay = -1;
    for (int i = 0; i < 6000 && delay < 0; ++i) {
      const DriftLevel level = test.Update(scale * (NextUniform(random) + (i >= 5000 ? 0.5 : 0.0)));
      if (level != DriftLevel::kAlarm) continue;
      ASSERT_GE(i, 5000);
      delay = i - 5000;
    }
    EXPECT_GT(delay, 0) << scale;
    EXPECT_LT(delay, 100) << scale;
  }
}

TEST(PageHinkley, FewFalseAlarmsAndEveryChangeFound) {
  PhSection section(PageHinkleyConfig{});
  PageHinkley test = section.part();
  RandomState random = SeedRandom(7);
  for (int i = 0; i < 200000; ++i) test.Update(NextUniform(random) < 0.2 ? 1 : 0);
  EXPECT_LE(test.alarms(), 1U);
  const uint64_t before = test.alarms();
  int found = 0;
  for (int change = 0; change < 10; ++change) {
    bool alarmed = false;
    for (int i = 0; i < 20000; ++i) {
      const DriftLevel level = test.Update(NextUniform(random) < (i < 10000 ? 0.2 : 0.4) ? 1 : 0);
      if (i >= 10000 && level == DriftLevel::kAlarm) alarmed = true;
    }
    found += alarmed ? 1 : 0;
  }
  EXPECT_EQ(found, 10);
  EXPECT_LE(test.alarms() - before, 12U);
}

TEST(PageHinkley, ConstantThenOtherAndHugeValues) {
  PhSection section({0.1, 20, 30});
  PageHinkley test = section.part();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(test.Update(0.0), DriftLevel::kStable);
  for (int i = 0; i < 100; ++i) static_cast<void>(test.Update(1.0));
  EXPECT_EQ(test.alarms(), 1U);
  for (double x : {1.7e308, -1.7e308, 5e-324, 1.7e308, 0.0}) {
    static_cast<void>(test.Update(x));
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(PageHinkley, CopiesContinueIdenticallyAndDamageIsRefused) {
  PhSection section(PageHinkleyConfig{});
  RandomState random = SeedRandom(8);
  for (int i = 0; i < 100; ++i) static_cast<void>(section.part().Update(NextUniform(random)));
  PhSection copy = section;
  for (int i = 0; i < 100; ++i) {
    const double x = NextUniform(random);
    EXPECT_EQ(section.part().Update(x), copy.part().Update(x));
  }
  EXPECT_TRUE(section == copy);
  const size_t refused =
      FlipEveryByte(section, [](PhSection& damaged) { static_cast<void>(damaged.part().Update(0.5)); });
  EXPECT_GT(refused, 10U);
  for (PageHinkleyConfig bad : {PageHinkleyConfig{-1, 50, 30},
                                {0.1, 0, 30},
                                {0.1, 50, 1},
                                {std::nan(""), 50, 30},
                                {0.1, std::nan(""), 30}}) {
    EXPECT_EQ(PageHinkley::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::page_hinkley_test
