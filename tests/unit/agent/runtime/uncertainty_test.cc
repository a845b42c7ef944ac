// agent/runtime/uncertainty: how unsure a model is of its answer.
#include "agent/runtime/uncertainty.h"

#include <gtest/gtest.h>

#include <array>

namespace dipper::runtime {
namespace {

TEST(Uncertainty, IsWhatTheModelCanTell) {
  const std::array<double, 3> probabilities = {0.2, 0.7, 0.1};
  learn::Output output;
  output.class_index = 1;
  output.probabilities = probabilities;
  ASSERT_TRUE(UncertaintyOf(schema::Task::Classification, output).has_value());
  EXPECT_DOUBLE_EQ(*UncertaintyOf(schema::Task::Classification, output), 1 - 0.7);
  output.probabilities = {};
  EXPECT_FALSE(UncertaintyOf(schema::Task::Classification, output).has_value());
  output = {};
  EXPECT_FALSE(UncertaintyOf(schema::Task::Regression, output).has_value());
  output.has_interval = true;
  output.low = 2;
  output.high = 5;
  EXPECT_EQ(*UncertaintyOf(schema::Task::Regression, output), 1.5);
  output.unbounded = true;
  EXPECT_FALSE(UncertaintyOf(schema::Task::Regression, output).has_value());
  EXPECT_FALSE(UncertaintyOf(schema::Task::Anomaly, output).has_value());
}

}  // namespace
}  // namespace dipper::runtime
