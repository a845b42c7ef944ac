// What is told of alarms: edges, severity, storms, restarts and changes of the model.
#include "agent/runtime/alarm.h"

#include <gtest/gtest.h>

#include "agent/base/time.h"

namespace dipper::runtime {
namespace {

using Kind = AlarmNews::Kind;
using schema::Severity;

constexpr AlarmRule kRule{.raise = 0.9999, .min_clear_samples = 10, .max_per_hour = 60};

struct Alarms : testing::Test {
  Alarms() { EXPECT_EQ(filter.SetModel(kRule, std::nullopt, now).kind, Kind::kNothing); }
  AlarmNews Take(double score, bool active) {
    now += base::kSecondNs;
    return filter.Take(score, active, ++id, now);
  }
  /// So many alarms of one sample each; how many were told.
  int Storm(int alarms) {
    int told = 0;
    for (int i = 0; i < alarms; ++i) {
      told += Take(0.99995, true).kind == Kind::kRaised ? 1 : 0;
      last = Take(0, false);
    }
    return told;
  }
  AlarmFilter filter;
  AlarmNews last;
  int64_t now = 1000 * base::kSecondNs;
  uint64_t id = 0;
};

TEST_F(Alarms, OneIsToldWhenItIsRaisedAndWhenItIsCleared) {
  EXPECT_EQ(Take(0.5, false).kind, Kind::kNothing);
  const AlarmNews raised = Take(0.99995, true);
  EXPECT_EQ(raised.kind, Kind::kRaised);
  EXPECT_EQ(raised.severity, Severity::Minor);
  EXPECT_EQ(raised.alarm, id);
  const uint64_t alarm = id;
  EXPECT_EQ(Take(0.99992, true).kind, Kind::kNothing);
  EXPECT_EQ(filter.severity(), Severity::Minor);
  const AlarmNews cleared = Take(0.1, false);
  EXPECT_EQ(cleared.kind, Kind::kCleared);
  EXPECT_EQ(cleared.alarm, alarm);
  EXPECT_EQ(cleared.peak, 0.99995);
  EXPECT_EQ(cleared.lasted_ns, 2 * base::kSecondNs);
  EXPECT_EQ(filter.severity(), Severity::None);
  EXPECT_EQ(Take(0.1, false).kind, Kind::kNothing);
}

TEST_F(Alarms, SeverityCountsDecadesBeyondTheThreshold) {
  EXPECT_EQ(Take(0.9999, true).severity, Severity::Minor);
  EXPECT_EQ(Take(0.99998, true).kind, Kind::kNothing);
  const AlarmNews major = Take(0.9999901, true);
  EXPECT_EQ(major.kind, Kind::kRaised);
  EXPECT_EQ(major.severity, Severity::Major);
  EXPECT_EQ(Take(0.9999, true).kind, Kind::kNothing) << "it does not come down while it is on";
  const AlarmNews critical = Take(0.99999901, true);
  EXPECT_EQ(critical.kind, Kind::kRaised);
  EXPECT_EQ(critical.severity, Severity::Critical);
  EXPECT_EQ(critical.alarm, 1u) << "the same alarm";
  EXPECT_EQ(Take(0, false).severity, Severity::Critical);
}

TEST_F(Alarms, ALastingOneIsOneStepMoreSevere) {
  ASSERT_EQ(Take(0.99995, true).severity, Severity::Minor);
  const uint64_t lasting = AlarmFilter::kLastingFactor * kRule.min_clear_samples;
  for (uint64_t i = 1; i < lasting; ++i) ASSERT_EQ(Take(0.995, true).kind, Kind::kNothing) << i;
  const AlarmNews news = Take(0.995, true);
  EXPECT_EQ(news.kind, Kind::kRaised);
  EXPECT_EQ(news.severity, Severity::Major);
}

TEST_F(Alarms, AStormIsCutAndWhatIsLeftOutIsCounted) {
  EXPECT_EQ(Storm(20), 8);  // two seconds each: less than a minute, so only the burst
  EXPECT_EQ(last.kind, Kind::kNothing) << "what was not raised is not cleared";
  EXPECT_EQ(filter.left_out_total(), 12u);
  now += 60 * base::kSecondNs;
  const AlarmNews next = Take(0.99995, true);
  EXPECT_EQ(next.kind, Kind::kRaised);
  EXPECT_EQ(next.left_out, 12u);
  EXPECT_EQ(Take(0, false).left_out, 0u) << "told once";
}

TEST_F(Alarms, OneThatWasHeldBackIsToldWhenTheLimitAllowsIt) {
  Storm(8);
  EXPECT_EQ(Take(0.99995, true).kind, Kind::kNothing);
  const uint64_t alarm = id;
  AlarmNews news;
  int waited = 0;
  while (news.kind == Kind::kNothing && waited < 100) {
    news = Take(0.9995, true);
    ++waited;
  }
  EXPECT_EQ(news.kind, Kind::kRaised);
  EXPECT_EQ(news.alarm, alarm);
  EXPECT_EQ(news.left_out, 0u) << "it is not left out after all";
  EXPECT_LE(waited, 60);
}

TEST_F(Alarms, TheSpecsLimitHolds) {
  filter.SetModel({.raise = 0.9999, .min_clear_samples = 10, .max_per_hour = 0}, std::nullopt, now);
  EXPECT_EQ(Storm(5), 0);
  filter.SetModel({.raise = 0.9999, .min_clear_samples = 10, .max_per_hour = 2}, std::nullopt, now);
  EXPECT_EQ(Storm(5), 2);
  now += 1800 * base::kSecondNs;
  EXPECT_EQ(Storm(5), 1);
}

TEST_F(Alarms, ARestartInTheMiddleTellsNothingTwice) {
  AlarmFilter again;
  // The alarm was critical by its peak; the newest samples before the restart were less unusual.
  EXPECT_EQ(again.SetModel(kRule, AlarmFilter::Restored{.peak = 0.9999995, .samples = 3}, now).kind,
            Kind::kNothing);
  EXPECT_EQ(again.severity(), Severity::Critical);
  EXPECT_EQ(again.Take(0.9999905, true, 7, now + base::kSecondNs).kind, Kind::kNothing)
      << "major was told before";
  const AlarmNews cleared = again.Take(0, false, 8, now + 2 * base::kSecondNs);
  EXPECT_EQ(cleared.kind, Kind::kCleared);
  EXPECT_EQ(cleared.alarm, 0u);
  EXPECT_EQ(cleared.peak, 0.9999995);
  EXPECT_EQ(cleared.severity, Severity::Critical);
  EXPECT_EQ(cleared.lasted_ns, 2 * base::kSecondNs);
}

TEST_F(Alarms, WhatGrowsWorseAfterARestartIsToldOnce) {
  AlarmFilter again;
  const uint64_t lasting = AlarmFilter::kLastingFactor * kRule.min_clear_samples;
  again.SetModel(kRule, AlarmFilter::Restored{.peak = 0.99995, .samples = lasting - 2}, now);
  EXPECT_EQ(again.severity(), Severity::Minor);
  EXPECT_EQ(again.Take(0.9995, true, 7, now - 1).kind, Kind::kNothing);
  const AlarmNews major = again.Take(0.9995, true, 8, now - 1);
  EXPECT_EQ(major.kind, Kind::kRaised) << "it has lasted, the samples before the restart among them";
  EXPECT_EQ(major.severity, Severity::Major);
  EXPECT_EQ(major.lasted_ns, 0) << "the sample is older than the start";
  const AlarmNews critical = again.Take(0.99999901, true, 9, now + 1);
  EXPECT_EQ(critical.kind, Kind::kRaised);
  EXPECT_EQ(critical.severity, Severity::Critical);
  EXPECT_EQ(again.Take(0.99999905, true, 10, now + 2).kind, Kind::kNothing);
}

TEST_F(Alarms, WhereNothingIsToldARestartTellsNothingEither) {
  const AlarmRule silent{.raise = 0.9999, .min_clear_samples = 10, .max_per_hour = 0};
  AlarmFilter again;
  again.SetModel(silent, AlarmFilter::Restored{.peak = 0.99995, .samples = 3}, now);
  EXPECT_EQ(again.severity(), Severity::Minor) << "the metric still says it";
  EXPECT_EQ(again.Take(0.99999901, true, 7, now + 1).kind, Kind::kNothing) << "it became critical";
  EXPECT_EQ(again.severity(), Severity::Critical);
  EXPECT_EQ(again.Take(0, false, 8, now + 2).kind, Kind::kNothing);
  EXPECT_EQ(again.severity(), Severity::None);
  // Nor does the end of its model.
  again.SetModel(silent, AlarmFilter::Restored{.peak = 0.99995, .samples = 3}, now);
  EXPECT_EQ(again.SetModel(kRule, std::nullopt, now + 3).kind, Kind::kNothing);
}

TEST_F(Alarms, AnotherModelEndsTheAlarmAndBringsItsOwn) {
  EXPECT_EQ(filter.SetModel(kRule, std::nullopt, now).kind, Kind::kNothing) << "none was on";
  EXPECT_EQ(Take(0.99995, true).kind, Kind::kRaised) << "nobody has told its alarm";
  EXPECT_EQ(filter.SetModel(kRule, std::nullopt, now).kind, Kind::kCleared);
  EXPECT_EQ(filter.SetModel(kRule, std::nullopt, now).kind, Kind::kNothing);
}

}  // namespace
}  // namespace dipper::runtime
