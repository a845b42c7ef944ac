// Seasons found in waves, trends and noise, and not found where there are none.
#include "tools/lab/season.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace dipper::lab {
namespace {

std::vector<double> Wave(size_t count, double period, double noise, double trend = 0) {
  std::mt19937 random(7);
  std::vector<double> values(count);
  for (size_t i = 0; i < count; ++i) {
    const double t = static_cast<double>(i);
    const double uniform = static_cast<double>(random()) / 4294967296.0 - 0.5;
    values[i] = std::sin(2 * 3.14159265358979 * t / period) + trend * t + noise * uniform;
  }
  return values;
}

TEST(Season, FindsThePeriod) {
  for (const double period : {12.0, 24.0, 48.0, 144.0}) {
    const Season season = FindSeason(Wave(1000, period, 1.0));
    EXPECT_NEAR(season.period, period, 2) << period;
    EXPECT_GT(season.correlation, 0.5);
  }
}

TEST(Season, ATrendIsNoSeasonAndHidesNone) {
  EXPECT_EQ(FindSeason(Wave(1000, 48, 0.2, 0.1)).period, 48U);
  std::vector<double> line(1000);
  for (size_t i = 0; i < line.size(); ++i) line[i] = 0.3 * static_cast<double>(i);
  EXPECT_EQ(FindSeason(line).period, 0U);
}

TEST(Season, NoneInNoiseWalksConstantsAndShortStreams) {
  std::vector<double> noise = Wave(1000, 1e9, 1.0);
  EXPECT_EQ(FindSeason(noise).period, 0U);
  EXPECT_EQ(FindSeason(std::vector<double>(1000, 3.0)).period, 0U);
  EXPECT_EQ(FindSeason(Wave(40, 8, 0.0)).period, 0U);
  EXPECT_EQ(FindSeason({}).period, 0U);
}

TEST(Season, MissingValuesDoNotMatter) {
  std::vector<double> values = Wave(1000, 48, 0.2);
  for (size_t i = 0; i < values.size(); i += 9) values[i] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(FindSeason(values).period, 48U);
}

}  // namespace
}  // namespace dipper::lab
