// The optimizers of the linear learner against plain implementations of their papers, on hostile input, with
// late labels, and as images.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "agent/learn/learners/linear.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::linear_optimizers_test {
namespace {

using LinearSection = Section<Linear, LinearConfig>;

constexpr LinearOptimizer kOptimizers[] = {LinearOptimizer::kAutostep, LinearOptimizer::kSgd,
                                           LinearOptimizer::kAdagrad, LinearOptimizer::kFtrl};
constexpr LinearLoss kLosses[] = {LinearLoss::kLogistic, LinearLoss::kSoftmax, LinearLoss::kSquared,
                                  LinearLoss::kHuber, LinearLoss::kQuantile};

LinearConfig Config(uint32_t inputs, LinearLoss loss, LinearOptimizer optimizer) {
  LinearConfig config;
  config.inputs = inputs;
  config.outputs = loss == LinearLoss::kLogistic ? 2 : (loss == LinearLoss::kSoftmax ? 3 : 1);
  config.loss = loss;
  config.optimizer = optimizer;
  return config;
}

double Normal(RandomState& random) {
  double sum = -6.0;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

/// Five inputs, of which 0 and 1 decide: weights that flip when `flipped`.
struct Sample {
  std::vector<float> x;
  double y;
};
Sample Draw(RandomState& random, bool flipped = false) {
  Sample sample;
  for (int i = 0; i < 5; ++i) sample.x.push_back(static_cast<float>(Normal(random)));
  const double score = 2.0 * static_cast<double>(sample.x[0]) - static_cast<double>(sample.x[1]) + 0.3;
  sample.y = (flipped ? -score : score) + 0.3 * Normal(random) > 0.0 ? 1.0 : 0.0;
  return sample;
}

/// One step of a plain implementation: returns the probability before it.
class Plain {
 public:
  explicit Plain(const LinearConfig& config) : config_(config), state_(config.inputs + 1) {
    for (Coordinate& c : state_) c.rate = config.rate;
  }
  double Step(const std::vector<float>& inputs, double y) {
    if (config_.delay > 0 && labels_++ % config_.delay == 0) {
      for (Coordinate& c : state_) {
        c.held = c.next;
        c.next = c.trace;
      }
    }
    std::vector<double> x(inputs.begin(), inputs.end());
    x.push_back(1.0);
    double margin = 0;
    for (size_t i = 0; i < x.size(); ++i) margin += state_[i].w * x[i];
    const double p = 1.0 / (1.0 + std::exp(-margin));
    const double curvature = p * (1.0 - p) + 1e-3;
    double reach = 0;
    for (size_t i = 0; i < x.size(); ++i) reach += curvature * Rate(state_[i], (p - y) * x[i]) * x[i] * x[i];
    const double fit = reach > 1.0 ? 1.0 / reach : 1.0;
    overshoots += reach > 1.0 ? 1 : 0;
    for (size_t i = 0; i < x.size(); ++i) Move(state_[i], x[i], p - y, fit, curvature, i + 1 == x.size());
    return p;
  }
  int overshoots = 0;

 private:
  struct Coordinate {
    double w = 0, rate = 0, trace = 0, peak = 0, squares = 0, z = 0, held = 0, next = 0;
  };
  double Rate(const Coordinate& c, double gradient) const {
    switch (config_.optimizer) {
      case LinearOptimizer::kAutostep:
        return c.rate;
      case LinearOptimizer::kSgd:
        return config_.rate;
      case LinearOptimizer::kAdagrad:
        return config_.rate / std::sqrt(c.squares + gradient * gradient);
      case LinearOptimizer::kFtrl:
        break;
    }
    return 1.0 / ((1.0 + std::sqrt(c.squares)) / config_.rate + config_.l2);
  }
  void Move(Coordinate& c, double x, double slope, double fit, double curvature, bool bias) const {
    const double gradient = slope * x;
    switch (config_.optimizer) {
      case LinearOptimizer::kAutostep: {  // Mahmood et al., table 1
        const double way = fit * curvature * c.rate * x * x;
        const double meta = -gradient * (config_.delay > 0 ? c.held : c.trace);
        c.peak = std::max({std::fabs(meta), c.peak + 1e-4 * way * (std::fabs(meta) - c.peak), 1e-100});
        c.rate *= std::exp(0.05 * meta / c.peak);
        const double change = -fit * c.rate * gradient;
        c.rate *= std::max(fit, 1.0 / 1.1);
        c.w += change;
        c.trace = c.trace * (1.0 - way) + change;
        return;
      }
      case LinearOptimizer::kSgd:
        c.w -= config_.rate * fit * gradient;
        return;
      case LinearOptimizer::kAdagrad:  // Duchi et al., figure 1
        c.squares += gradient * gradient;
        c.w -= fit * config_.rate / std::sqrt(c.squares) * gradient;
        return;
      case LinearOptimizer::kFtrl:
        break;
    }
    // McMahan et al., algorithm 1.
    const double g = fit * gradient;
    const double sigma = (std::sqrt(c.squares + g * g) - std::sqrt(c.squares)) / config_.rate;
    c.z += g - sigma * c.w;
    c.squares += g * g;
    const double l1 = bias ? 0.0 : config_.l1;
    const double l2 = bias ? 0.0 : config_.l2;
    const double sign = c.z > 0.0 ? 1.0 : -1.0;
    c.w =
        std::fabs(c.z) <= l1 ? 0.0 : -(c.z - sign * l1) / ((1.0 + std::sqrt(c.squares)) / config_.rate + l2);
  }

  LinearConfig config_;
  std::vector<Coordinate> state_;
  uint32_t labels_ = 0;
};

void ExpectPlain(const LinearConfig& config) {
  LinearSection section(config);
  Plain plain(config);
  RandomState random = SeedRandom(21);
  // Autostep multiplies by 1 + m + m^2 / 2 for e^m and amplifies what that differs by.
  const bool exact = config.optimizer != LinearOptimizer::kAutostep;
  for (int i = 0; i < (exact ? 3000 : 500); ++i) {
    const Sample sample = Draw(random);
    double out[2];
    section.part().Predict(sample.x, out);
    ASSERT_NEAR(out[1], plain.Step(sample.x, sample.y), exact ? 1e-8 : 1e-3)
        << i << " " << static_cast<int>(config.optimizer) << " " << config.rate << " " << config.delay;
    section.part().Learn(sample.x, out, sample.y, 1.0);
  }
  if (config.rate > 0.5 && config.optimizer == LinearOptimizer::kSgd) {
    EXPECT_GT(plain.overshoots, 0);  // so that shortened steps were compared too
  }
}

TEST(LinearOptimizers, MatchPlainImplementations) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const double rate : {0.05, 0.9}) {
      for (const uint32_t delay : {0U, 7U}) {
        LinearConfig config = Config(5, LinearLoss::kLogistic, optimizer);
        config.rate = rate;
        config.delay = delay;
        if (optimizer == LinearOptimizer::kFtrl) {
          config.l1 = 2.0;
          config.l2 = 0.1;
        }
        ExpectPlain(config);
      }
    }
  }
}

TEST(LinearOptimizers, FtrlMakesUselessWeightsExactlyZero) {
  LinearConfig config = Config(5, LinearLoss::kLogistic, LinearOptimizer::kFtrl);
  config.l1 = 60.0;
  LinearSection section(config);
  RandomState random = SeedRandom(22);
  for (int i = 0; i < 5000; ++i) {
    const Sample sample = Draw(random);
    double out[2];
    section.part().Predict(sample.x, out);
    section.part().Learn(sample.x, out, sample.y, 1.0);
  }
  double importance[5];
  section.part().Importance(importance);
  EXPECT_GT(importance[0], importance[1]);
  EXPECT_GT(importance[1], 0.1);
  for (int i = 2; i < 5; ++i) EXPECT_EQ(importance[i], 0.0) << i;
}

TEST(LinearOptimizers, PullsToZeroShrinkWeights) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    double size[3];
    for (int pull = 0; pull < 3; ++pull) {
      LinearConfig config = Config(5, LinearLoss::kLogistic, optimizer);
      if (pull == 1) config.l1 = optimizer == LinearOptimizer::kFtrl ? 100.0 : 0.05;
      if (pull == 2) config.l2 = optimizer == LinearOptimizer::kFtrl ? 1.0 : 0.2;
      LinearSection section(config);
      RandomState random = SeedRandom(23);
      for (int i = 0; i < 3000; ++i) {
        const Sample sample = Draw(random);
        double out[2];
        section.part().Predict(sample.x, out);
        section.part().Learn(sample.x, out, sample.y, 1.0);
      }
      double importance[5];
      section.part().Importance(importance);
      size[pull] = importance[0];
      EXPECT_GT(importance[0], 0.05);
    }
    EXPECT_LT(size[1], 0.9 * size[0]) << static_cast<int>(optimizer);
    EXPECT_LT(size[2], size[0]) << static_cast<int>(optimizer);
  }
}

TEST(LinearOptimizers, FollowADrift) {
  for (const LinearOptimizer optimizer : {LinearOptimizer::kAutostep, LinearOptimizer::kSgd}) {
    LinearSection section(Config(5, LinearLoss::kLogistic, optimizer));
    RandomState random = SeedRandom(24);
    int right = 0;
    for (int i = 0; i < 12000; ++i) {
      const Sample sample = Draw(random, i >= 6000);
      double out[2];
      section.part().Predict(sample.x, out);
      if (i >= 9000 && (out[1] > 0.5 ? 1.0 : 0.0) == sample.y) ++right;
      section.part().Learn(sample.x, out, sample.y, 1.0);
    }
    EXPECT_GT(right, 2700) << static_cast<int>(optimizer);
  }
}

TEST(LinearOptimizers, HostileInputStaysFinite) {
  constexpr float kWild[] = {1e30F, -1e30F, 1e-40F, 0.0F, 1.0F, 3e5F, 1e-20F, -1e12F};
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const LinearLoss loss : kLosses) {
      for (const double rate : {0.05, 1.0}) {
        LinearConfig config = Config(4, loss, optimizer);
        config.rate = rate;
        config.l1 = 0.01;
        config.l2 = 0.01;
        LinearSection section(config);
        RandomState random = SeedRandom(25);
        for (int i = 0; i < 4000; ++i) {
          std::array<float, 4> x;
          for (float& value : x) {
            const uint32_t pick = NextBelow(random, 9);
            value = pick < 8 ? kWild[pick] : CanonicalNanFloat();
          }
          std::array<double, 3> out;
          const std::span<double> answer(out.data(), config.outputs);
          section.part().Predict(x, answer);
          for (const double value : answer) ASSERT_TRUE(IsFinite(value));
          const double y = config.outputs > 1 ? static_cast<double>(NextBelow(random, config.outputs))
                                              : static_cast<double>(kWild[NextBelow(random, 8)]);
          section.part().Learn(x, answer, y, i % 5 == 0 ? 1e6 : (i % 7 == 0 ? 1e-6 : 1.0));
        }
        ASSERT_EQ(section.Validate(), base::Status::kOk)
            << static_cast<int>(optimizer) << " " << static_cast<int>(loss);
      }
    }
  }
}

TEST(LinearOptimizers, ConstantInputsAndOneClass) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const LinearLoss loss : kLosses) {
      LinearConfig config = Config(3, loss, optimizer);
      LinearSection section(config);
      const float x[3] = {2.0F, 2.0F, 2.0F};
      std::array<double, 3> out{};
      const std::span<double> answer(out.data(), config.outputs);
      section.part().Predict(x, answer);
      EXPECT_DOUBLE_EQ(out[config.outputs - 1], config.outputs > 1 ? 1.0 / config.outputs : 0.0);
      for (int i = 0; i < 3000; ++i) {
        section.part().Predict(x, answer);
        section.part().Learn(x, answer, 1.0, 1.0);
      }
      EXPECT_GT(config.outputs > 1 ? out[1] : out[0], 0.9);
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(LinearOptimizers, WeightZeroLearnsNothingAndTwoIsTwice) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const LinearLoss loss : kLosses) {
      LinearSection section(Config(2, loss, optimizer));
      const LinearSection before = section;
      const float x[2] = {0.5F, -0.25F};
      std::array<double, 3> out{};
      const std::span<double> answer(out.data(), section.config().outputs);
      section.part().Predict(x, answer);
      section.part().Learn(x, answer, 1.0, 0.0);
      EXPECT_TRUE(section == before);
    }
  }
  double terms[2][3];
  for (const double weight : {1.0, 2.0}) {
    LinearSection section(Config(2, LinearLoss::kLogistic, LinearOptimizer::kSgd));
    const float x[2] = {0.5F, -0.25F};
    double out[2];
    section.part().Predict(x, out);
    section.part().Learn(x, out, 1.0, weight);
    section.part().Contributions(x, 1, terms[weight > 1.0 ? 1 : 0]);
  }
  for (int i = 0; i < 3; ++i) EXPECT_DOUBLE_EQ(terms[1][i], 2.0 * terms[0][i]);
}

// Labels in runs, features that say less than the last label would: what a learner with prompt labels would
// echo is worthless when labels are late.
double LateLogLoss(uint32_t delay, uint32_t declared) {
  LinearConfig config = Config(3, LinearLoss::kLogistic, LinearOptimizer::kAutostep);
  config.delay = declared;
  LinearSection section(config);
  RandomState random = SeedRandom(26);
  std::vector<std::array<float, 3>> inputs;
  std::vector<double> labels;
  double loss = 0;
  double y = 0;
  const size_t count = 20000;
  for (size_t i = 0; i < count; ++i) {
    if (NextUniform(random) < 1.0 / 60.0) y = 1.0 - y;
    labels.push_back(y);
    inputs.push_back({static_cast<float>(Normal(random) + 0.7 * y), static_cast<float>(Normal(random)),
                      static_cast<float>(Normal(random))});
    double out[2];
    section.part().Predict(inputs.back(), out);
    loss -= std::log(std::max(y > 0.5 ? out[1] : out[0], 1e-15));
    if (i < delay) continue;
    section.part().Predict(inputs[i - delay], out);  // as the model does for late labels
    section.part().Learn(inputs[i - delay], out, labels[i - delay], 1.0);
  }
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  return loss / static_cast<double>(count);
}

TEST(LinearOptimizers, DeclaredDelayKeepsProbabilitiesHonest) {
  const double prompt = LateLogLoss(0, 0);
  const double undeclared = LateLogLoss(48, 0);
  const double declared = LateLogLoss(48, 48);
  EXPECT_LT(prompt, 0.5);
  EXPECT_LT(declared, 0.8);
  EXPECT_LT(declared, 0.8 * undeclared);
}

TEST(LinearOptimizers, ImagesAreExactAndCopiesContinueIdentically) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const LinearLoss loss : kLosses) {
      for (const uint32_t inputs : {1U, 2U, 7U, 8U, 15U, 16U}) {
        LinearConfig config = Config(inputs, loss, optimizer);
        config.delay = inputs == 7 ? 5 : 0;
        const bool holds = config.delay > 0 && config.outputs > 1;
        const uint64_t arrays = optimizer == LinearOptimizer::kAutostep  ? (holds ? 6 : 4)
                                : optimizer == LinearOptimizer::kSgd     ? 1
                                : optimizer == LinearOptimizer::kAdagrad ? 2
                                                                         : 3;
        const uint64_t rows = loss == LinearLoss::kSoftmax ? 3 : 1;
        LinearSection section(config);
        ASSERT_EQ(section.bytes().size(), 32 + 8 * rows * arrays * ((inputs + 2) / 2 * 2));
        RandomState random = SeedRandom(27);
        const auto learn = [&](LinearSection& to, RandomState& numbers) {
          std::vector<float> x(inputs);
          for (float& value : x) value = static_cast<float>(Normal(numbers));
          std::vector<double> out(config.outputs);
          to.part().Predict(x, out);
          to.part().Learn(x, out, static_cast<double>(NextBelow(numbers, config.outputs > 1 ? 2 : 9)), 1.0);
        };
        for (int i = 0; i < 50; ++i) learn(section, random);
        LinearSection copy = section;
        RandomState same = random;
        for (int i = 0; i < 50; ++i) {
          learn(section, random);
          learn(copy, same);
        }
        ASSERT_TRUE(section == copy);
      }
    }
  }
}

TEST(LinearOptimizers, DamageIsRefusedOrHarmless) {
  for (const LinearOptimizer optimizer : kOptimizers) {
    for (const LinearLoss loss : {LinearLoss::kLogistic, LinearLoss::kHuber}) {
      LinearConfig config = Config(2, loss, optimizer);
      config.delay = 3;
      LinearSection section(config);
      const float x[2] = {0.5F, -2.0F};
      double out[2];
      const std::span<double> answer(out, config.outputs);
      for (int i = 0; i < 20; ++i) {
        section.part().Predict(x, answer);
        section.part().Learn(x, answer, i % 2, 1.0);
      }
      const size_t refused = FlipEveryByte(section, [&](LinearSection& damaged) {
        for (int i = 0; i < 5; ++i) {
          damaged.part().Predict(x, answer);
          for (const double value : answer) ASSERT_TRUE(IsFinite(value));
          damaged.part().Learn(x, answer, i % 2, 1.0);
        }
      });
      EXPECT_GT(refused, 10U);
    }
  }
}

TEST(LinearOptimizers, RefuseParametersOutOfRange) {
  const auto refused = [](auto change) {
    LinearConfig config = Config(2, LinearLoss::kHuber, LinearOptimizer::kFtrl);
    EXPECT_TRUE(Linear::StateBytes(config).ok());
    change(config);
    return Linear::StateBytes(config).status() == base::Status::kInvalidArgument;
  };
  const double nan = CanonicalNan();
  EXPECT_TRUE(refused([](LinearConfig& c) { c.inputs = 513; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.outputs = 2; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.rate = 0.0; }));
  EXPECT_TRUE(refused([&](LinearConfig& c) { c.rate = nan; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.l1 = -1.0; }));
  EXPECT_TRUE(refused([&](LinearConfig& c) { c.l1 = nan; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.l2 = 1.5; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.huber_delta = 0.0; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.quantile = 1.0; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.delay = 1000001; }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.optimizer = static_cast<LinearOptimizer>(4); }));
  EXPECT_TRUE(refused([](LinearConfig& c) { c.loss = static_cast<LinearLoss>(5); }));
}

}  // namespace
}  // namespace dipper::learn::linear_optimizers_test
