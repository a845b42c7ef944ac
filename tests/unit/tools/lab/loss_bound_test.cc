// The bound that a spec gets for the health gate: scale, outliers, targets that hardly move.
#include "tools/lab/loss_bound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace dipper::lab {
namespace {

/// Back and forth between 0 and `step`.
std::vector<double> Saw(double step, size_t rows = 1000) {
  std::vector<double> values(rows);
  for (size_t i = 0; i < rows; ++i) values[i] = i % 2 == 0 ? 0 : step;
  return values;
}

TEST(LossBound, IsFourTimesWhatTheLastValueIsOffBy) {
  EXPECT_DOUBLE_EQ(InferLossBound(Saw(1), 1), 4);
  EXPECT_DOUBLE_EQ(InferLossBound(Saw(0.25), 1), 1);
  EXPECT_DOUBLE_EQ(InferLossBound(Saw(1.234), 1), 5);  // 4.936, rounded up to two digits
  EXPECT_DOUBLE_EQ(InferLossBound(Saw(1234), 1), 5000);
  EXPECT_DOUBLE_EQ(InferLossBound(Saw(1e-6), 1), 4e-6);
}

TEST(LossBound, SingleOutliersDoNotCount) {
  std::vector<double> values = Saw(1);
  values[500] = 1e9;
  EXPECT_DOUBLE_EQ(InferLossBound(values, 1), 4);
}

TEST(LossBound, ATargetThatRarelyMovesHasATwentiethOfItsRange) {
  std::vector<double> values(1000, 10);
  for (size_t i = 500; i < values.size(); ++i) values[i] = 30;
  EXPECT_DOUBLE_EQ(InferLossBound(values, 1), 1);
}

TEST(LossBound, MissingValuesAreNoLosses) {
  std::vector<double> values = Saw(1);
  for (size_t i = 0; i < values.size(); i += 10) values[i] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_DOUBLE_EQ(InferLossBound(values, 1), 4);
}

TEST(LossBound, IsAlwaysOneThatAPackageTakes) {
  EXPECT_EQ(InferLossBound({}, 1), 1);
  EXPECT_EQ(InferLossBound(std::vector<double>(10, 7), 1), 1);
  EXPECT_EQ(InferLossBound(std::vector<double>{1}, 1), 1);
  for (const double step : {1e-30, 1e-9, 0.3, 7.0, 1e12, 1e29, 1e300}) {
    const double bound = InferLossBound(Saw(step), 1);
    EXPECT_TRUE(bound > 0 && bound <= 1e30) << step;
  }
}

}  // namespace
}  // namespace dipper::lab
