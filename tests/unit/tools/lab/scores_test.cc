// Scores against numbers worked out by hand.
#include "tools/lab/scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace dipper::lab {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
using Column = std::vector<double>;

TEST(ExactAuc, CountsPairsAndHalfTies) {
  EXPECT_DOUBLE_EQ(ExactAuc(Column{0.1, 0.4, 0.35, 0.8}, Column{0, 0, 1, 1}), 0.75);
  EXPECT_DOUBLE_EQ(ExactAuc(Column{1, 2, 3, 4}, Column{0, 0, 1, 1}), 1.0);
  EXPECT_DOUBLE_EQ(ExactAuc(Column{4, 3, 2, 1}, Column{0, 0, 1, 1}), 0.0);
  EXPECT_DOUBLE_EQ(ExactAuc(Column{5, 5, 5, 5}, Column{0, 1, 0, 1}), 0.5);
  EXPECT_DOUBLE_EQ(ExactAuc(Column{1, 2, 2, 3}, Column{0, 1, 0, 1}), 0.875);
  EXPECT_DOUBLE_EQ(ExactAuc(Column{0.1, 9, 0.9}, Column{0, kNone, 1}), 1.0);  // unlabelled ones do not count
  EXPECT_TRUE(std::isnan(ExactAuc(Column{1, 2}, Column{0, 0})));
}

TEST(ScoreRange, ScoresClasses) {
  // confusion: truth 0: 3 right 1 wrong; truth 1: 1 wrong, 5 right. p = .8, chance = .4 x .4 + .6 x .6 = .52
  const Column truth = {0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
  const Column predicted = {0, 0, 0, 1, 0, 1, 1, 1, 1, 1};
  const Column trivial = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1};  // 7 of 10
  const ScoredRange range = ScoreRange({truth, predicted, trivial, {}, {}, {}}, 2, 0, 10);
  EXPECT_EQ(range.model.rows, 10U);
  EXPECT_DOUBLE_EQ(range.model.accuracy, 0.8);
  EXPECT_DOUBLE_EQ(range.model.kappa, (0.8 - 0.52) / 0.48);
  EXPECT_DOUBLE_EQ(range.model.kappa_temporal, (0.8 - 0.7) / 0.3);
  EXPECT_DOUBLE_EQ(range.trivial.accuracy, 0.7);
  EXPECT_DOUBLE_EQ(range.trivial.kappa_temporal, 0.0);
  EXPECT_TRUE(std::isnan(range.model.mae));
  EXPECT_TRUE(std::isnan(range.model.auc));
}

TEST(ScoreRange, ScoresPartsAndLeavesOutUnlabelledRows) {
  const Column truth = {0, kNone, 1, 1};
  const Column predicted = {1, 1, 1, 1};
  const Column trivial = {0, 0, 0, 1};
  const Records records = {truth, predicted, trivial, {}, {}, {}};
  EXPECT_DOUBLE_EQ(ScoreRange(records, 2, 0, 4).model.accuracy, 2.0 / 3);
  EXPECT_DOUBLE_EQ(ScoreRange(records, 2, 2, 4).model.accuracy, 1.0);
  EXPECT_EQ(ScoreRange(records, 2, 1, 2).model.rows, 0U);
  EXPECT_TRUE(std::isnan(ScoreRange(records, 2, 1, 2).model.accuracy));
}

TEST(ScoreRange, ScoresValues) {
  const Column truth = {1, 2, kNone, 4};
  const Column predicted = {1, 4, 100, 3};
  const Column trivial = {0, 1, 2, 2};
  const ScoredRange range = ScoreRange({truth, predicted, trivial, {}, {}, {}}, 0, 0, 4);
  EXPECT_DOUBLE_EQ(range.model.mae, 1.0);
  EXPECT_DOUBLE_EQ(range.model.rmse, std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(range.trivial.mae, 4.0 / 3);
  EXPECT_TRUE(std::isnan(range.model.accuracy));
}

TEST(Scores, PrAucIsTheMeanPrecisionOfTheOnes) {
  const std::vector<double> flag = {0, 1, 0, 1, 0};
  EXPECT_DOUBLE_EQ(ExactPrAuc(std::vector<double>{0.1, 0.9, 0.2, 0.8, 0.3}, flag), 1.0);
  // From the top: one (1/1), zero, one (2/3), zero, zero.
  EXPECT_DOUBLE_EQ(ExactPrAuc(std::vector<double>{0.1, 0.9, 0.8, 0.7, 0.3}, flag), (1.0 + 2.0 / 3.0) / 2.0);
  // A scorer that says nothing has the share of the ones.
  EXPECT_DOUBLE_EQ(ExactPrAuc(std::vector<double>(5, 0.5), flag), 0.4);
  EXPECT_TRUE(std::isnan(ExactPrAuc(std::vector<double>{1, 2}, std::vector<double>{0, 0})));
}

}  // namespace
}  // namespace dipper::lab
