// The anomaly score's promises: calibration on several residual distributions, a burst scores throughout and
// does not blind the score for the next one, events follow the hysteresis rules, damage is refused, copies
// continue identically.
#include "agent/learn/learners/anomaly_score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::anomaly_score_test {
namespace {

using ScoreSection = Section<AnomalyScore, AnomalyScoreConfig>;

double Gauss(RandomState& random) {
  return std::sqrt(-2 * std::log(NextUniform(random) + 1e-300)) *
         std::cos(6.283185307179586 * NextUniform(random));
}
double Laplace(RandomState& random) {
  const double size = -std::log(NextUniform(random) + 1e-300);
  return NextBelow(random, 2) == 0 ? size : -size;
}
double Student(RandomState& random) {
  return Gauss(random) / std::sqrt(-std::log(NextUniform(random) + 1e-300));
}

void ExpectCalibrated(double (*draw)(RandomState&), double hold, double slack) {
  AnomalyScoreConfig config;
  config.hold = hold;
  ScoreSection section(config);
  AnomalyScore score = section.part();
  RandomState random = SeedRandom(11);
  const int samples = 400000;
  double above_99 = 0, above_999 = 0, above_9999 = 0;
  for (int i = 0; i < samples; ++i) {
    const double s = score.Update(draw(random)).score;
    ASSERT_GE(s, 0.0);
    ASSERT_LE(s, 1.0);
    above_99 += s >= 0.99;
    above_999 += s >= 0.999;
    above_9999 += s >= 0.9999;
  }
  EXPECT_NEAR(above_99 / samples, 1e-2, 1.5e-3);
  EXPECT_LT(above_999 / samples, 1e-3 * slack);
  EXPECT_GT(above_999 / samples, 1e-3 / slack);
  EXPECT_LT(above_9999 / samples, 1e-4 * 2 * slack);
  EXPECT_GT(above_9999 / samples, 1e-4 / (3 * slack));
}

TEST(AnomalyScore, CalibratedWithoutHold) {
  ExpectCalibrated(Gauss, 0, 1.3);
  ExpectCalibrated(Laplace, 0, 1.3);
  ExpectCalibrated(Student, 0, 1.3);
}

TEST(AnomalyScore, CalibratedWithHold) {
  ExpectCalibrated(Gauss, 0.97, 2);
  ExpectCalibrated(Laplace, 0.97, 2);
}

TEST(AnomalyScore, ABurstScoresThroughoutAndTheNextOneIsRaisedAgain) {
  ScoreSection section(AnomalyScoreConfig{});
  AnomalyScore score = section.part();
  RandomState random = SeedRandom(12);
  for (int i = 0; i < 3000; ++i) score.Update(Gauss(random));
  for (int burst = 0; burst < 3; ++burst) {
    const uint64_t before = score.events();
    int active = 0;
    for (int i = 0; i < 120; ++i) {
      active += score.Update((i < 10 ? 40 : 12) * (1 + Gauss(random) * 0.2)).active ? 1 : 0;
    }
    EXPECT_EQ(score.events(), before + 1) << burst;
    // What keeps coming back becomes known in the end, but never so fast that its onset passes.
    EXPECT_GE(active, burst == 0 ? 115 : 40) << burst;
    for (int i = 0; i < 2000; ++i) score.Update(Gauss(random));
    EXPECT_FALSE(score.active());
    EXPECT_LT(score.score(), 0.999);
  }
}

TEST(AnomalyScore, AdaptsToALastingChangeOfScale) {
  ScoreSection section(AnomalyScoreConfig{});
  AnomalyScore score = section.part();
  RandomState random = SeedRandom(13);
  for (int i = 0; i < 3000; ++i) score.Update(Gauss(random));
  for (int i = 0; i < 8000; ++i) score.Update(10 * Gauss(random));
  EXPECT_FALSE(score.active());
}

TEST(AnomalyScore, EventsFollowTheHysteresisRules) {
  AnomalyScoreConfig config;
  config.hold = 0;
  config.raise = 0.98;
  config.clear = 0.7;
  config.min_raise_samples = 3;
  config.min_clear_samples = 5;
  ScoreSection section(config);
  AnomalyScore score = section.part();
  RandomState random = SeedRandom(14);
  bool active = false;
  uint32_t high = 0, low = 0;
  uint64_t events = 0;
  double peak = 0;
  uint32_t samples = 0;
  for (int i = 0; i < 50000; ++i) {
    const auto result = score.Update(Gauss(random) * (i / 50 % 20 == 0 ? 4 : 1));
    high = result.score >= config.raise ? high + 1 : 0;
    low = result.score < config.clear ? low + 1 : 0;
    const bool raised = !active && high >= config.min_raise_samples;
    const bool cleared = active && low >= config.min_clear_samples;
    if (raised || cleared) {
      active = raised;
      high = low = 0;
    }
    samples = active && !raised ? samples + 1 : 0;
    peak = active ? std::max(raised ? 0 : peak, result.score) : 0;
    events += raised;
    ASSERT_EQ(result.raised, raised) << i;
    ASSERT_EQ(result.cleared, cleared) << i;
    ASSERT_EQ(result.active, active) << i;
    ASSERT_EQ(score.peak(), peak) << i;
    ASSERT_EQ(score.samples(), samples) << i;
  }
  EXPECT_GT(events, 10U);
  EXPECT_EQ(score.events(), events);
}

TEST(AnomalyScore, MissingConstantAndHugeResiduals) {
  AnomalyScoreConfig config;
  config.channels = 2;
  ScoreSection section(config);
  AnomalyScore score = section.part();
  const double missing[] = {CanonicalNan(), CanonicalNan()};
  EXPECT_EQ(score.Update(missing).score, 0.0);
  RandomState random = SeedRandom(15);
  for (int i = 0; i < 500; ++i) {
    const double residuals[] = {0.0, i % 3 == 0 ? CanonicalNan() : Gauss(random)};
    EXPECT_LE(score.Update(residuals).score, 1.0);
  }
  const double moved[] = {0.001, 0.0};  // the constant channel moves for the first time
  EXPECT_GT(score.Update(moved).score, 0.999);
  for (double huge : {1.7e308, -1.7e308, 5e-324, 1e300}) {
    const double residuals[] = {huge, -huge};
    score.Update(residuals);
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(AnomalyScore, CopiesContinueIdenticallyAndDamageIsRefused) {
  ScoreSection section(AnomalyScoreConfig{});
  RandomState random = SeedRandom(16);
  for (int i = 0; i < 500; ++i) section.part().Update(Gauss(random));
  ScoreSection copy = section;
  for (int i = 0; i < 200; ++i) {
    const double residual = Gauss(random) * (i < 100 ? 1 : 20);
    EXPECT_EQ(section.part().Update(residual).score, copy.part().Update(residual).score);
  }
  EXPECT_TRUE(section == copy);
  const size_t refused = FlipEveryByte(section, [](ScoreSection& damaged) {
    for (double residual : {0.1, 50.0, 0.0}) damaged.part().Update(residual);
  });
  EXPECT_GT(refused, 150U);
}

// A bin that a damaged image has larger than the sum of all.
TEST(AnomalyScore, AScoreIsNeverBelowZero) {
  constexpr size_t kScaleAt = 56, kBinsAt = 184, kBin = 60;  // docs/reference/model-image.md
  ScoreSection section(AnomalyScoreConfig{});
  AnomalyScore score = section.part();
  RandomState random = SeedRandom(3);
  for (int i = 0; i < 500; ++i) score.Update(Gauss(random));
  base::Store(section.bytes_mutable().data() + kBinsAt + kBin * 8, 1e30);
  ASSERT_EQ(section.Validate(), base::Status::kOk);
  // A bin further than that one: eighths of octaves from a quarter of the scale.
  const auto scale = base::Load<double>(section.bytes().data() + kScaleAt);
  const double s = score.Update(scale * std::exp2((kBin + 1) / 8.0 - 2)).score;
  EXPECT_GE(s, 0.0);
  EXPECT_LE(s, 1.0);
}

TEST(AnomalyScore, RefusesConfigs) {
  const auto refused = [](auto change) {
    AnomalyScoreConfig config;
    change(config);
    return AnomalyScore::StateBytes(config).status() == base::Status::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& c) { c.channels = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.channels = 9; }));
  EXPECT_TRUE(refused([](auto& c) { c.raise = 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.clear = 0.99999; }));
  EXPECT_TRUE(refused([](auto& c) { c.min_raise_samples = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.min_clear_samples = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.decay = 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.hold = 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.hold = std::nan(""); }));
}

}  // namespace
}  // namespace dipper::learn::anomaly_score_test
