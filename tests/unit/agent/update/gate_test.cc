// The health gate: errors within alpha at any time, decisions within useful numbers of samples, state that
// survives.
#include "agent/update/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "agent/base/sha256.h"
#include "tests/unit/agent/update/noise.h"

namespace dipper::update::gate_test {
namespace {

const base::Digest kPackage = base::Sha256Of(base::AsBytes("package"));

GateConfig Config(uint32_t horizon) {
  GateConfig config;
  config.loss_bound = 1;
  config.margin = 0.05;
  config.alpha = 0.05;
  config.deadline_samples = 2000;
  config.horizon = horizon;
  return config;
}

struct Outcome {
  GateVerdict verdict = GateVerdict::kContinue;
  uint64_t samples = 0;
};

// Absolute-error-like losses that share most of their noise, with label noise correlated over `horizon`
// samples.
Outcome RunTrial(const GateConfig& config, double rival_mean, double challenger_mean, uint64_t seed) {
  Gate gate(config, kPackage);
  Noise noise(seed);
  Outcome outcome;
  double shared = 0;
  while (outcome.verdict == GateVerdict::kContinue) {
    if (outcome.samples % config.horizon == 0) shared = noise.Exponential(1);
    const double rival = rival_mean * (0.7 * shared + 0.3 * noise.Exponential(1));
    const double challenger = challenger_mean * (0.7 * shared + 0.3 * noise.Exponential(1));
    gate.Add(challenger, rival);
    ++outcome.samples;
    outcome.verdict = gate.Verdict();
  }
  return outcome;
}

class Horizons : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Labels, Horizons, testing::Values(1U, 5U, 12U));

TEST_P(Horizons, AChallengerAtTheMarginIsSeldomConfirmed) {
  // Worse by exactly the margin: the null hypothesis of "not worse". 400 trials, alpha 5 %: 20 expected at
  // most, 33 is three standard deviations above that.
  int confirms = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    confirms += RunTrial(Config(GetParam()), 0.20, 0.25, seed).verdict == GateVerdict::kConfirm ? 1 : 0;
  }
  EXPECT_LE(confirms, 33);
}

TEST_P(Horizons, AChallengerWithinTheMarginIsSeldomDropped) {
  int drops = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    drops += RunTrial(Config(GetParam()), 0.20, 0.25, seed + 1000).verdict == GateVerdict::kFallBack ? 1 : 0;
  }
  EXPECT_LE(drops, 33);
}

TEST_P(Horizons, AGoodOneIsConfirmedAndABadOneDropped) {
  uint64_t good_samples = 0;
  uint64_t bad_samples = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const Outcome good = RunTrial(Config(GetParam()), 0.20, 0.18, seed);
    EXPECT_EQ(good.verdict, GateVerdict::kConfirm) << seed;
    good_samples += good.samples;
    const Outcome bad = RunTrial(Config(GetParam()), 0.20, 0.45, seed);
    EXPECT_EQ(bad.verdict, GateVerdict::kFallBack) << seed;
    bad_samples += bad.samples;
  }
  std::printf("horizon %u: mean labels to confirm %.0f, to fall back %.0f\n", GetParam(),
              static_cast<double>(good_samples) / 50, static_cast<double>(bad_samples) / 50);
}

TEST(Gate, AgreesWithItsReport) {
  Gate gate(Config(1), kPackage);
  for (int i = 0; i < 300; ++i) gate.Add(0.1, 0.3);
  const GateReport report = gate.Report();
  EXPECT_EQ(report.counted, 300U);
  EXPECT_NEAR(report.challenger_loss, 0.1, 1e-12);
  EXPECT_NEAR(report.rival_loss, 0.3, 1e-12);
  EXPECT_NEAR(report.excess, 0.1 - 0.3 - 0.05, 1e-12);
  EXPECT_LT(report.lower, report.excess);
  EXPECT_GT(report.upper, report.excess);
  EXPECT_LT(report.upper, 0);  // the whole interval is on the good side
  EXPECT_EQ(gate.Verdict(), GateVerdict::kConfirm);
}

TEST(Gate, WarmUpAndDeadline) {
  GateConfig config = Config(1);
  config.warmup_samples = 100;
  config.deadline_samples = 150;
  config.margin = 0;
  Gate gate(config, kPackage);
  for (int i = 0; i < 100; ++i) gate.Add(1, 0);
  EXPECT_EQ(gate.Verdict(), GateVerdict::kContinue);  // learned, not counted
  EXPECT_EQ(gate.Report().counted, 0U);
  Noise noise(3);
  for (int i = 0; i < 50; ++i) {
    const double loss = noise.Uniform();
    gate.Add(loss, loss);
  }
  EXPECT_EQ(gate.Verdict(), GateVerdict::kDeadlineFallBack);
  config.confirm_at_deadline = true;
  config.deadline_samples = 0;
  config.deadline_seconds = 10;
  Gate patient(config, kPackage);
  EXPECT_EQ(patient.Verdict(), GateVerdict::kContinue);
  patient.AddPoweredTime(10'000'000'000);
  EXPECT_EQ(patient.Verdict(), GateVerdict::kDeadlineConfirm);
}

TEST(Gate, AnUnusablePredictionIsAsBadAsCanBe) {
  Gate gate(Config(1), kPackage);
  for (int i = 0; i < 400 && gate.Verdict() == GateVerdict::kContinue; ++i) {
    gate.Add(std::numeric_limits<double>::quiet_NaN(), 0.2);
  }
  EXPECT_EQ(gate.Verdict(), GateVerdict::kFallBack);
}

TEST(Gate, SavedAndRestoredGoesOnTheSame) {
  Gate a(Config(5), kPackage);
  Noise noise(9);
  for (int i = 0; i < 77; ++i) a.Add(noise.Uniform(), noise.Uniform());
  std::array<uint8_t, kGateStateBytes> bytes{};
  ASSERT_EQ(*a.Save(bytes), kGateStateBytes);
  Gate b(Config(5), kPackage);
  ASSERT_EQ(b.Restore(bytes), base::Status::kOk);
  for (int i = 0; i < 50; ++i) {
    const double x = noise.Uniform();
    const double y = noise.Uniform();
    a.Add(x, y);
    b.Add(x, y);
  }
  EXPECT_EQ(a.Report().lower, b.Report().lower);
  EXPECT_EQ(a.Report().upper, b.Report().upper);
  std::array<uint8_t, 10> small{};
  EXPECT_EQ(a.Save(small).status(), base::Status::kResourceExhausted);
}

TEST(Gate, KeepsWhatItsTrialKnowsOfTheLink) {
  const Gate a(Config(1), kPackage);
  std::array<uint8_t, kGateStateBytes> bytes{}, plain{};
  Gate b(Config(1), kPackage);
  uint32_t link = 99;
  ASSERT_TRUE(a.Save(plain).ok());
  ASSERT_EQ(b.Restore(plain, &link), base::Status::kOk);
  EXPECT_EQ(link, 0U) << "as agents before it wrote it";
  ASSERT_TRUE(a.Save(bytes, kLinkAsked | kLinkReached).ok());
  ASSERT_EQ(b.Restore(bytes, &link), base::Status::kOk);
  EXPECT_EQ(link, kLinkAsked | kLinkReached);
  // It is no part of the test: a recording's digests do not know it.
  ASSERT_TRUE(b.Save(bytes).ok());
  EXPECT_EQ(bytes, plain);
}

TEST(Gate, RefusesStatesThatAreNotItsOwn) {
  Gate a(Config(1), kPackage);
  a.Add(0.5, 0.5);
  std::array<uint8_t, kGateStateBytes> bytes{};
  ASSERT_TRUE(a.Save(bytes).ok());
  for (size_t i = 0; i < bytes.size(); i += 7) {
    auto flipped = bytes;
    flipped[i] ^= 0x10;
    Gate b(Config(1), kPackage);
    EXPECT_EQ(b.Restore(flipped), base::Status::kDataLoss) << i;
    EXPECT_EQ(b.Report().seen, 0U);
  }
  Gate other(Config(1), base::Sha256Of(base::AsBytes("another")));
  EXPECT_EQ(other.Restore(bytes), base::Status::kDataLoss);
}

TEST(Gate, RefusesSettingsOutOfRange) {
  for (auto spoil : {+[](GateConfig& c) { c.margin = -1; }, +[](GateConfig& c) { c.alpha = 0; },
                     +[](GateConfig& c) { c.loss_bound = std::nan(""); },
                     +[](GateConfig& c) { c.horizon = 0; }, +[](GateConfig& c) { c.recent = kMaxRecent + 1; },
                     +[](GateConfig& c) { c.margin = 2; }, +[](GateConfig& c) { c.deadline_samples = 0; }}) {
    GateConfig config = Config(1);
    spoil(config);
    EXPECT_EQ(CheckGateConfig(config), base::Status::kInvalidArgument);
  }
  EXPECT_EQ(CheckGateConfig(Config(1)), base::Status::kOk);
}

}  // namespace
}  // namespace dipper::update::gate_test
