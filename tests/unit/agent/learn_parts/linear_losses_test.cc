// The losses of the linear learner, and what it tells about its inputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "agent/learn/learners/linear.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::linear_losses_test {
namespace {

using LinearSection = Section<Linear, LinearConfig>;

double Normal(RandomState& random) {
  double sum = -6.0;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

LinearConfig Config(uint32_t inputs, LinearLoss loss, uint32_t outputs = 1) {
  LinearConfig config;
  config.inputs = inputs;
  config.outputs = outputs;
  config.loss = loss;
  return config;
}

// y = 3 + 2 a - b + noise; returns the mean error of the last third against the truth without noise. Every
// twentieth label is 50 too high if `spoiled`.
double ErrorWithOutliers(LinearLoss loss, double delta, bool spoiled) {
  LinearConfig config = Config(2, loss);
  config.huber_delta = delta;
  LinearSection section(config);
  RandomState random = SeedRandom(31);
  double sum = 0;
  for (int i = 0; i < 9000; ++i) {
    const float x[2] = {static_cast<float>(Normal(random)), static_cast<float>(Normal(random))};
    const double truth = 3.0 + 2.0 * static_cast<double>(x[0]) - static_cast<double>(x[1]);
    double out[1];
    section.part().Predict(x, out);
    if (i >= 6000) sum += std::fabs(out[0] - truth) / 3000.0;
    const double outlier = spoiled && NextUniform(random) < 0.05 ? 50.0 : 0.0;
    section.part().Learn(x, out, truth + 0.1 * Normal(random) + outlier, 1.0);
  }
  return sum;
}

TEST(LinearLosses, HuberResistsWildLabels) {
  EXPECT_LT(ErrorWithOutliers(LinearLoss::kHuber, 1.0, false), 0.1);
  const double squared = ErrorWithOutliers(LinearLoss::kSquared, 1.0, true);
  EXPECT_LT(ErrorWithOutliers(LinearLoss::kHuber, 0.1, true), 0.4 * squared);
  // With a wide delta it is the squared loss.
  EXPECT_DOUBLE_EQ(ErrorWithOutliers(LinearLoss::kHuber, 5.0, false),
                   ErrorWithOutliers(LinearLoss::kSquared, 5.0, false));
}

// Share of labels below the learned quantile, on y = 5 a + noise.
double Coverage(LinearOptimizer optimizer, double quantile, double scale) {
  LinearConfig config = Config(1, LinearLoss::kQuantile);
  config.quantile = quantile;
  config.optimizer = optimizer;
  LinearSection section(config);
  RandomState random = SeedRandom(32);
  int below = 0;
  constexpr int kCount = 30000;
  for (int i = 0; i < kCount; ++i) {
    const float x[1] = {static_cast<float>(Normal(random))};
    const double y = scale * (5.0 * static_cast<double>(x[0]) + Normal(random));
    double out[1];
    section.part().Predict(x, out);
    if (i >= kCount / 2 && y < out[0]) ++below;
    section.part().Learn(x, out, y, 1.0);
  }
  return below / (0.5 * kCount);
}

TEST(LinearLosses, QuantilesCover) {
  for (const LinearOptimizer optimizer :
       {LinearOptimizer::kAutostep, LinearOptimizer::kAdagrad, LinearOptimizer::kFtrl}) {
    for (const double quantile : {0.1, 0.5, 0.9}) {
      for (const double scale : {1.0, 1e-6, 1e6}) {
        EXPECT_NEAR(Coverage(optimizer, quantile, scale), quantile, 0.03)
            << static_cast<int>(optimizer) << " " << quantile << " " << scale;
      }
    }
  }
}

TEST(LinearLosses, ContributionsSumToTheAnswer) {
  constexpr LinearLoss kLosses[] = {LinearLoss::kLogistic, LinearLoss::kSoftmax, LinearLoss::kSquared,
                                    LinearLoss::kHuber, LinearLoss::kQuantile};
  for (const LinearLoss loss : kLosses) {
    const uint32_t outputs = loss == LinearLoss::kSoftmax ? 3 : (loss == LinearLoss::kLogistic ? 2 : 1);
    LinearSection section(Config(3, loss, outputs));
    RandomState random = SeedRandom(33);
    std::array<double, 3> out{};
    const std::span<double> answer(out.data(), outputs);
    float x[3] = {};
    for (int i = 0; i < 500; ++i) {
      for (float& value : x) value = static_cast<float>(Normal(random));
      if (i % 3 == 0) x[1] = CanonicalNanFloat();
      section.part().Predict(x, answer);
      const double score = static_cast<double>(x[0]) + Normal(random);
      const double label = outputs == 1 ? 7.0 + 3.0 * score : (score > 0.0 ? 1.0 : 0.0);
      section.part().Learn(x, answer, label, 1.0);
    }
    x[1] = CanonicalNanFloat();
    section.part().Predict(x, answer);
    double sums[3] = {};
    for (uint32_t output = 0; output < outputs; ++output) {
      double terms[4];
      section.part().Contributions(x, output, terms);
      EXPECT_EQ(terms[1], 0.0);  // missing
      EXPECT_NE(terms[0], 0.0);
      for (const double term : terms) sums[output] += term;
    }
    if (outputs == 1) {
      EXPECT_NEAR(sums[0], out[0], 1e-12 * std::fabs(out[0]));
    } else if (outputs == 2) {
      EXPECT_NEAR(1.0 / (1.0 + std::exp(-sums[1])), out[1], 1e-12);
      EXPECT_EQ(sums[0], -sums[1]);
    } else {
      const double all = std::exp(sums[0]) + std::exp(sums[1]) + std::exp(sums[2]);
      for (int i = 0; i < 3; ++i) EXPECT_NEAR(std::exp(sums[i]) / all, out[static_cast<size_t>(i)], 1e-12);
    }
  }
}

TEST(LinearLosses, ImportanceIsTheMoveByOneInput) {
  for (const double scale : {1.0, 1e3}) {
    LinearSection section(Config(3, LinearLoss::kSquared));
    RandomState random = SeedRandom(34);
    for (int i = 0; i < 5000; ++i) {
      const float x[3] = {static_cast<float>(Normal(random)), static_cast<float>(Normal(random)),
                          static_cast<float>(Normal(random))};
      double out[1];
      section.part().Predict(x, out);
      section.part().Learn(x, out, scale * (2.0 * static_cast<double>(x[0]) - static_cast<double>(x[1])),
                           1.0);
    }
    double importance[3];
    section.part().Importance(importance);
    EXPECT_NEAR(importance[0], 2.0 * scale, 0.05 * scale);
    EXPECT_NEAR(importance[1], scale, 0.05 * scale);
    EXPECT_LT(importance[2], 0.05 * scale);
  }
  // Classes: what all scores have in common counts for nothing.
  LinearSection section(Config(2, LinearLoss::kSoftmax, 3));
  RandomState random = SeedRandom(35);
  for (int i = 0; i < 4000; ++i) {
    const double y = static_cast<double>(NextBelow(random, 3));
    const float x[2] = {static_cast<float>(Normal(random)), static_cast<float>(2.0 * y + Normal(random))};
    double out[3];
    section.part().Predict(x, out);
    section.part().Learn(x, out, y, 1.0);
  }
  double importance[2];
  section.part().Importance(importance);
  EXPECT_GT(importance[1], 5.0 * importance[0]);
}

TEST(LinearLosses, UnseenClassStaysPossibleAndUnlikely) {
  LinearSection section(Config(1, LinearLoss::kSoftmax, 4));
  RandomState random = SeedRandom(36);
  double out[4];
  for (int i = 0; i < 2000; ++i) {
    const double y = static_cast<double>(NextBelow(random, 3));
    const float x[1] = {static_cast<float>(3.0 * y + Normal(random))};
    section.part().Predict(x, out);
    EXPECT_NEAR(out[0] + out[1] + out[2] + out[3], 1.0, 1e-12);
    section.part().Learn(x, out, y, 1.0);
  }
  EXPECT_GT(out[3], 0.0);
  EXPECT_LT(out[3], 0.05);
}

}  // namespace
}  // namespace dipper::learn::linear_losses_test
