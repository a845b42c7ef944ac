// The day's bytes: the line of measurements, the end of events, days, clocks and restarts.
#include "agent/telemetry/byte_budget.h"

#include <gtest/gtest.h>

namespace dipper::telemetry {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kMidnight = 20000 * kDay;

TEST(ByteBudget, WithoutALimitEverythingIsSentAndCounted) {
  ByteBudget budget(0);
  budget.Tick(kMidnight, 0, true);
  budget.Spend(1'000'000'000);
  EXPECT_TRUE(budget.MayMeasure() && budget.MayCatchUp() && budget.MayTell());
  EXPECT_EQ(budget.spent(), 1'000'000'000u);
}

TEST(ByteBudget, MeasurementsFollowALineThroughTheDayAndEventsTheWholeOfIt) {
  ByteBudget budget(1000);
  budget.Tick(kMidnight, 0, true);
  budget.Spend(49);
  EXPECT_TRUE(budget.MayMeasure() && budget.MayCatchUp());
  budget.Spend(1);  // 50: 5 %
  EXPECT_TRUE(budget.MayMeasure());
  EXPECT_FALSE(budget.MayCatchUp());
  budget.Spend(50);  // 100: 10 %
  EXPECT_FALSE(budget.MayMeasure());
  EXPECT_TRUE(budget.MayTell());
  budget.Tick(kMidnight + 12 * kHour, 12 * kHour, true);  // 100 + 400
  budget.Spend(399);
  EXPECT_TRUE(budget.MayMeasure());
  budget.Spend(1);
  EXPECT_FALSE(budget.MayMeasure());
  budget.Spend(499);
  EXPECT_TRUE(budget.MayTell());
  budget.Spend(1);
  EXPECT_FALSE(budget.MayTell());
  budget.Tick(kMidnight + kDay, kDay, true);
  EXPECT_EQ(budget.spent(), 0u);
  EXPECT_TRUE(budget.MayMeasure() && budget.MayTell());
}

TEST(ByteBudget, ARestartGoesOnWithTheDay) {
  ByteBudget budget(1000);
  budget.Restore(20000, 1000);
  budget.Tick(kMidnight + kHour, 0, true);
  EXPECT_FALSE(budget.MayTell());
  ByteBudget next(1000);
  next.Restore(20000, 1000);
  next.Tick(kMidnight + kDay, 0, true);
  EXPECT_TRUE(next.MayTell());
}

TEST(ByteBudget, AClockThatStartsIn1970BeginsNoNewDay) {
  ByteBudget budget(1000);
  budget.Restore(20000, 1000);
  budget.Tick(5 * kSecond, 0, false);
  EXPECT_FALSE(budget.MayTell());
  budget.Tick(-5 * kSecond, kSecond, false);
  EXPECT_FALSE(budget.MayTell());
  budget.Tick(kMidnight + kHour, 2 * kSecond, true);
  EXPECT_FALSE(budget.MayTell()) << "the same day as before the restart";
}

TEST(ByteBudget, ADayThatNeverWasDoesNotHoldForEver) {
  ByteBudget budget(1000);
  budget.Tick(kMidnight + 30000 * kDay, 0, false);  // a wrong clock, 80 years ahead
  budget.Spend(1000);
  budget.Tick(kMidnight, kSecond, true);
  EXPECT_FALSE(budget.MayTell()) << "what was sent was sent";
  budget.Tick(kMidnight + kDay, kDay, true);
  EXPECT_TRUE(budget.MayTell());
}

TEST(ByteBudget, TheProjectionGoesOnAsThisRun) {
  ByteBudget budget(0);
  budget.Restore(20000, 500);
  budget.Tick(kMidnight + 12 * kHour, 0, true);
  budget.Spend(100);
  budget.Tick(kMidnight + 13 * kHour, kHour, true);  // 100 an hour, 11 hours left
  EXPECT_NEAR(budget.projected(), 600 + 1100, 1e-6);
}

}  // namespace
}  // namespace dipper::telemetry
