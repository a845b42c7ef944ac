// The vetoes that need no label: errors within alpha at any time, storms and strangers found within useful
// numbers of samples, state that survives.
#include "agent/update/veto.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "agent/base/sha256.h"
#include "agent/update/gate.h"
#include "tests/unit/agent/update/noise.h"

namespace dipper::update::veto_test {
namespace {

Sight Scored(double score, bool alarm = false) { return {true, score, alarm}; }

using Answers = std::function<std::pair<Sight, Sight>(Noise&)>;  // champion's, challenger's

struct Outcome {
  VetoVerdict verdict = VetoVerdict::kNone;
  uint64_t samples = 0;
};

Outcome RunTrial(const VetoConfig& config, uint64_t seed, uint64_t most, const Answers& answers) {
  Veto veto(config);
  Noise noise(seed);
  Outcome outcome;
  while (outcome.verdict == VetoVerdict::kNone && outcome.samples < most) {
    const auto [champion, challenger] = answers(noise);
    veto.Add(champion, challenger);
    ++outcome.samples;
    outcome.verdict = veto.Verdict();
  }
  return outcome;
}

int Vetoes(const VetoConfig& config, const Answers& answers) {
  int vetoes = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed)
    vetoes += RunTrial(config, seed, 2000, answers).verdict != VetoVerdict::kNone ? 1 : 0;
  return vetoes;
}

constexpr VetoConfig kAlarms{.max_alarm_excess = 0.05};
constexpr VetoConfig kShift{.max_score_shift = 0.2};
// 400 trials, half of alpha 5 % for one question: 10 expected at most, 19 is three standard deviations above.
constexpr int kAlarmErrors = 19;

TEST(Veto, AlarmsExactlyAtTheLimitAreSeldomVetoed) {
  EXPECT_LE(Vetoes(kAlarms,
                   [](Noise& noise) {
                     const double u = noise.Uniform();
                     return std::pair(Scored(u, u < 0.10), Scored(u, u < 0.15));
                   }),
            kAlarmErrors);
  // The same difference between alarms that have nothing to do with each other.
  EXPECT_LE(Vetoes(kAlarms,
                   [](Noise& noise) {
                     const double u = noise.Uniform(), v = noise.Uniform();
                     return std::pair(Scored(u, u < 0.40), Scored(v, v < 0.45));
                   }),
            kAlarmErrors);
}

TEST(Veto, FewerAlarmsAreNoReason) {
  EXPECT_EQ(Vetoes(kAlarms,
                   [](Noise& noise) {
                     const double u = noise.Uniform();
                     return std::pair(Scored(u, u < 0.5), Scored(u));
                   }),
            0);
}

TEST(Veto, AStormOfAlarmsIsFoundSoon) {
  uint64_t most = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const Outcome outcome = RunTrial(kAlarms, seed, 2000, [](Noise& noise) {
      const double u = noise.Uniform();
      return std::pair(Scored(u, u < 0.01), Scored(u, u < 0.31));
    });
    ASSERT_EQ(outcome.verdict, VetoVerdict::kAlarmRate);
    most = std::max(most, outcome.samples);
  }
  EXPECT_LE(most, 200U);
  // An alarm that is always on needs the warm-up and a dozen.
  const Outcome always = RunTrial(
      kAlarms, 1, 2000, [](Noise& noise) { return std::pair(Scored(noise.Uniform()), Scored(1, true)); });
  EXPECT_EQ(always.verdict, VetoVerdict::kAlarmRate);
  EXPECT_LE(always.samples, kVetoWarmup + 16U);
}

TEST(Veto, AnswersOfTheSameDistributionAreSeldomVetoed) {
  // Not one of them alike.
  EXPECT_EQ(Vetoes(kShift,
                   [](Noise& noise) { return std::pair(Scored(noise.Uniform()), Scored(noise.Uniform())); }),
            0);
  // Shifted by exactly the limit: all of the error that is allowed, over 18 tests.
  EXPECT_LE(Vetoes(kShift,
                   [](Noise& noise) {
                     const double u = noise.Uniform();
                     return std::pair(Scored(u), Scored(noise.Uniform() < 0.2 ? 2 : noise.Uniform()));
                   }),
            kAlarmErrors);
}

TEST(Veto, AStrangersAnswersAreFoundSoon) {
  struct Case {
    const char* what;
    Answers answers;
  };
  const Case cases[] = {
      {"stuck at the top", [](Noise& n) { return std::pair(Scored(n.Uniform()), Scored(1)); }},
      {"stuck at the bottom", [](Noise& n) { return std::pair(Scored(n.Uniform()), Scored(0)); }},
      {"stuck in the middle", [](Noise& n) { return std::pair(Scored(n.Uniform()), Scored(0.5)); }},
      {"another unit",
       [](Noise& n) { return std::pair(Scored(20 + n.Uniform()), Scored(68 + n.Uniform())); }},
      {"one class for ever",
       [](Noise& n) { return std::pair(Scored(std::floor(4 * n.Uniform())), Scored(2)); }},
      {"never the rare class",
       [](Noise& n) { return std::pair(Scored(n.Uniform() < 0.6 ? 1 : 0), Scored(0)); }},
      {"turned around",
       [](Noise& n) {
         const double u = n.Uniform() * n.Uniform();
         return std::pair(Scored(u), Scored(1 - u));
       }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const Outcome outcome = RunTrial(kShift, seed, 2000, one.answers);
      EXPECT_EQ(outcome.verdict, VetoVerdict::kScoreShift);
      EXPECT_LE(outcome.samples, 500U);
    }
  }
}

TEST(Veto, WhatIsNotAskedForIsNotFound) {
  const auto storm = [](Noise& noise) { return std::pair(Scored(noise.Uniform()), Scored(7, true)); };
  EXPECT_EQ(RunTrial({}, 1, 1000, storm).verdict, VetoVerdict::kNone);
  EXPECT_EQ(RunTrial(kShift, 1, 1000, storm).verdict, VetoVerdict::kScoreShift);
  EXPECT_EQ(RunTrial(kAlarms, 1, 1000, storm).verdict, VetoVerdict::kAlarmRate);
}

TEST(Veto, NothingCountsBeforeTheWarmUpIsOver) {
  VetoConfig config = kAlarms;
  config.warmup_samples = 500;
  const Outcome outcome = RunTrial(
      config, 1, 2000, [](Noise& noise) { return std::pair(Scored(noise.Uniform()), Scored(1, true)); });
  EXPECT_EQ(outcome.verdict, VetoVerdict::kAlarmRate);
  EXPECT_GT(outcome.samples, 500U);
}

TEST(Veto, SamplesThatOneDoesNotAnswerAreNotCompared) {
  Veto veto(kAlarms);
  for (int i = 0; i < 200; ++i) {
    veto.Add({}, Scored(1, true));
    veto.Add(Scored(1), {});
    veto.Add(Scored(1), Scored(std::numeric_limits<double>::quiet_NaN(), true));
    veto.Add(Scored(std::numeric_limits<double>::infinity()), Scored(1, true));
  }
  EXPECT_EQ(veto.Verdict(), VetoVerdict::kNone);
  EXPECT_EQ(veto.Report().samples, 800U);
  EXPECT_EQ(veto.Report().counted, 0U);
}

TEST(Veto, AConfirmWaitsUntilWhatWasSeenLiesWithinTheLimits) {
  EXPECT_TRUE(Veto(VetoConfig{}).Permits());
  Veto veto(kAlarms);
  EXPECT_TRUE(veto.Permits()) << "nothing is known yet";
  for (uint32_t i = 0; i < kVetoWarmup; ++i) veto.Add(Scored(i), Scored(i));
  for (uint32_t i = 0; i < kVetoLeast; ++i) veto.Add(Scored(i), Scored(i, i % 10 == 0));
  EXPECT_EQ(veto.Verdict(), VetoVerdict::kNone) << "one in ten may still be chance";
  EXPECT_FALSE(veto.Permits());
  for (int i = 0; i < 100; ++i) veto.Add(Scored(i), Scored(i));
  EXPECT_TRUE(veto.Permits());
  // A challenger that is asked for scores and never has one.
  Veto silent(kAlarms);
  for (uint32_t i = 0; i < kVetoWarmup + kVetoPatience - 1; ++i) silent.Add(Scored(i), {});
  EXPECT_TRUE(silent.Permits());
  silent.Add(Scored(1), {});
  EXPECT_FALSE(silent.Permits());
}

TEST(Veto, TheReportTellsRatesAndShift) {
  Veto veto({.max_alarm_excess = 0.5, .max_score_shift = 0.9});
  for (uint32_t i = 0; i < kVetoWarmup; ++i) veto.Add(Scored(i % 10), Scored(0));
  // Half of the champion's answers lie above all of the challenger's.
  for (uint32_t i = 0; i < 100; ++i) veto.Add(Scored(i % 10, i % 4 == 0), Scored(i % 5, i % 2 == 0));
  const VetoReport report = veto.Report();
  EXPECT_EQ(report.samples, kVetoWarmup + 100U);
  EXPECT_EQ(report.counted, 100U);
  EXPECT_DOUBLE_EQ(report.champion_alarm_rate, 0.25);
  EXPECT_DOUBLE_EQ(report.challenger_alarm_rate, 0.5);
  EXPECT_NEAR(report.score_shift, -0.5, 0.1);
}

TEST(Veto, LimitsThatAreNoSharesAreRefused) {
  for (const double bad : {-0.1, 1.0, 2.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_FALSE(Veto::IsGood({.max_alarm_excess = bad}));
    EXPECT_FALSE(Veto::IsGood({.max_score_shift = bad}));
  }
  EXPECT_FALSE(Veto::IsGood({.alpha = 0}));
  EXPECT_TRUE(Veto::IsGood({}));
}

TEST(Veto, StatesThatCannotBeAreRefused) {
  Veto veto({.max_alarm_excess = 0.05, .max_score_shift = 0.2});
  Noise noise(7);
  for (int i = 0; i < 300; ++i) {
    const double u = noise.Uniform(), v = noise.Uniform();
    veto.Add(Scored(u, u < 0.2), Scored(v, v < 0.2));
  }
  const VetoState good = veto.state();
  ASSERT_TRUE(Veto(kAlarms).Restore(good));
  const std::function<void(VetoState&)> harms[] = {
      [](VetoState& s) { s.counted = s.samples + 1; },
      [](VetoState& s) { s.warm = ~uint64_t{0}; },
      [](VetoState& s) { s.warm = 3; },
      [](VetoState& s) { s.only_challenger = s.counted + 1; },
      [](VetoState& s) { s.both_alarm = s.counted; },
      [](VetoState& s) { s.above[3] = ~uint64_t{0}; },
      [](VetoState& s) { s.below[8] = s.counted + 1; },
      [](VetoState& s) { s.places[0] = std::numeric_limits<double>::infinity(); },
      [](VetoState& s) { s.first[63] = std::numeric_limits<double>::quiet_NaN(); },
  };
  for (const auto& harm : harms) {
    VetoState state = good;
    harm(state);
    Veto other(kAlarms);
    EXPECT_FALSE(other.Restore(state));
    EXPECT_EQ(other.Report().samples, 0U) << "unchanged";
  }
}

// ---- within the health gate

const base::Digest kPackage = base::Sha256Of(base::AsBytes("package"));

GateConfig WithVetoes() {
  GateConfig config;
  config.loss_bound = 1;
  config.margin = 0.05;
  config.deadline_samples = 100'000;
  config.max_alarm_excess = 0.05;
  config.max_score_shift = 0.2;
  return config;
}

TEST(GateVetoes, AreSavedAndGoOn) {
  Gate gate(WithVetoes(), kPackage);
  for (uint32_t i = 0; i < kVetoWarmup + 6; ++i) gate.AddSample(Scored(i), Scored(i, true));
  ASSERT_EQ(gate.Verdict(), GateVerdict::kContinue);
  std::array<uint8_t, kGateStateBytes> bytes{};
  ASSERT_TRUE(gate.Save(bytes).ok());
  Gate next(WithVetoes(), kPackage);
  ASSERT_EQ(next.Restore(bytes), base::Status::kOk);
  EXPECT_EQ(next.Report().veto.counted, 6U);
  uint32_t more = 0;
  for (; next.Verdict() == GateVerdict::kContinue && more < 100; ++more)
    next.AddSample(Scored(1), Scored(1, true));
  EXPECT_EQ(next.Verdict(), GateVerdict::kAlarmRate);
  uint32_t anew = 0;
  Gate fresh(WithVetoes(), kPackage);
  for (; fresh.Verdict() == GateVerdict::kContinue && anew < 200; ++anew)
    fresh.AddSample(Scored(anew), Scored(anew, true));
  EXPECT_EQ(anew, kVetoWarmup + 6 + more);
}

TEST(GateVetoes, AGoodLossDoesNotOutweighAStorm) {
  Gate gate(WithVetoes(), kPackage);
  for (int i = 0; i < 120; ++i) {
    gate.AddSample(Scored(i), Scored(i, true));
    gate.Add(0.1, 0.9);
  }
  EXPECT_EQ(gate.Verdict(), GateVerdict::kAlarmRate);
  EXPECT_FALSE(gate.Permits());
}

TEST(GateVetoes, TheReportTellsHowManySamplesHadLabels) {
  Gate gate(WithVetoes(), kPackage);
  for (int i = 0; i < 100; ++i) {
    gate.AddSample(Scored(i), Scored(i));
    if (i % 4 == 0) gate.Add(0.1, 0.1);
  }
  EXPECT_EQ(gate.Report().veto.samples, 100U);
  EXPECT_EQ(gate.Report().seen, 25U);
}

}  // namespace
}  // namespace dipper::update::veto_test
