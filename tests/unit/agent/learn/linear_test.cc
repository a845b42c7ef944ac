// Linear learner: it learns what it should, late labels and wild inputs included.
#include "agent/learn/learners/linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "agent/learn/math/nan.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

class Owned {
 public:
  explicit Owned(const LinearConfig& config)
      : config_(config), memory_(Linear::StateBytes(config).value()), linear_(config, memory_.bytes()) {
    EXPECT_TRUE(base::Ok(Linear::Create(config, memory_.bytes())));
  }
  Linear* operator->() { return &linear_; }
  bool Good() { return base::Ok(Linear::Validate(config_, memory_.bytes())); }

 private:
  LinearConfig config_;
  AlignedBytes memory_;
  Linear linear_;
};

double Error(const LinearConfig& config, double scale) {
  // Last third's mean absolute error on y = 3 + 2 a - b + noise of 0.1, in units of `scale`.
  Owned linear(config);
  Numbers numbers(5);
  double sum = 0;
  for (int i = 0; i < 6000; ++i) {
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    const double y =
        scale * (3.0 + 2.0 * static_cast<double>(x[0]) - static_cast<double>(x[1]) + 0.1 * numbers.Normal());
    double out[1];
    linear->Predict(x, out);
    if (i >= 4000) sum += std::fabs(y - out[0]) / scale;
    linear->Learn(x, out, y, 1.0);
  }
  EXPECT_TRUE(linear.Good());
  return sum / 2000;
}

TEST(Linear, RegressionReachesTheNoiseAtAnyTargetScale) {
  LinearConfig config;
  config.inputs = 2;
  config.outputs = 1;
  config.loss = LinearLoss::kSquared;
  for (const double scale : {1.0, 1e-6, 1e6}) EXPECT_LT(Error(config, scale), 0.12) << scale;
  config.optimizer = LinearOptimizer::kSgd;
  EXPECT_LT(Error(config, 1.0), 0.15);
}

TEST(Linear, ClassesAreSeparated) {
  for (const uint32_t classes : {2U, 3U}) {
    LinearConfig config;
    config.inputs = 2;
    config.outputs = classes;
    config.loss = classes == 2 ? LinearLoss::kLogistic : LinearLoss::kSoftmax;
    Owned linear(config);
    Numbers numbers(6);
    int right = 0;
    for (int i = 0; i < 4000; ++i) {
      const auto y = static_cast<uint32_t>(numbers.Below(classes));
      const float x[2] = {static_cast<float>(numbers.Normal() + (y == 1 ? 4.0 : 0.0)),
                          static_cast<float>(numbers.Normal() + (y == 2 ? 4.0 : 0.0))};
      double out[3] = {};
      linear->Predict(x, {out, classes});
      double sum = 0;
      uint32_t best = 0;
      for (uint32_t j = 0; j < classes; ++j) {
        sum += out[j];
        if (out[j] > out[best]) best = j;
      }
      EXPECT_NEAR(sum, 1.0, 1e-12);
      if (i >= 2000 && best == y) ++right;
      linear->Learn(x, {out, classes}, y, 1.0);
    }
    EXPECT_GT(right, 1850) << classes;
    EXPECT_TRUE(linear.Good());
  }
}

TEST(Linear, MissingContributesNothingAndWeightZeroLearnsNothing) {
  LinearConfig config;
  config.inputs = 2;
  config.outputs = 1;
  config.loss = LinearLoss::kSquared;
  Owned linear(config);
  Numbers numbers(7);
  for (int i = 0; i < 500; ++i) {
    const float x[2] = {static_cast<float>(numbers.Normal()), static_cast<float>(numbers.Normal())};
    double out[1];
    linear->Predict(x, out);
    linear->Learn(x, out, static_cast<double>(x[0]), 1.0);
  }
  const float missing[2] = {CanonicalNanFloat(), 0.5F};
  const float zero[2] = {0.0F, 0.5F};
  double a[1], b[1], c[1];
  linear->Predict(missing, a);
  linear->Predict(zero, b);
  EXPECT_EQ(a[0], b[0]);
  linear->Learn(zero, b, 1e6, 0.0);
  linear->Predict(zero, c);
  EXPECT_EQ(b[0], c[0]);
}

TEST(Linear, HugeInputsWithoutAScalerStayFinite) {
  for (const LinearOptimizer optimizer : {LinearOptimizer::kAutostep, LinearOptimizer::kSgd}) {
    LinearConfig config;
    config.inputs = 3;
    config.outputs = 1;
    config.loss = LinearLoss::kSquared;
    config.optimizer = optimizer;
    config.l2 = 0.01;
    Owned linear(config);
    Numbers numbers(8);
    const float wild[] = {1e30F, -1e30F, 1e-40F, 0.0F, 1.0F, 3e5F};
    for (int i = 0; i < 20000; ++i) {
      const float x[3] = {wild[numbers.Below(6)], wild[numbers.Below(6)], wild[numbers.Below(6)]};
      double out[1];
      linear->Predict(x, out);
      ASSERT_TRUE(IsFinite(out[0]));
      linear->Learn(x, out, static_cast<double>(wild[numbers.Below(6)]), i % 5 == 0 ? 1e6 : 1.0);
    }
    EXPECT_TRUE(linear.Good());
  }
}

TEST(Linear, RefusesShapes) {
  LinearConfig config;
  EXPECT_EQ(Linear::StateBytes(config).status(), base::Status::kInvalidArgument);  // no inputs
  config.inputs = 1;
  config.outputs = 2;
  EXPECT_EQ(Linear::StateBytes(config).value(), 32U + 4U * 2U * 8U);
  config.outputs = 3;
  EXPECT_EQ(Linear::StateBytes(config).status(),
            base::Status::kInvalidArgument);  // logistic with three classes
}

}  // namespace
}  // namespace dipper::learn::testing
