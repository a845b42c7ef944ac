// agent/runtime: health periods, latency quantiles and the anomaly scorer against plain references; what the
// agent counts as a finite answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "agent/learn/image/answers.h"
#include "agent/runtime/anomaly_scorer.h"
#include "agent/runtime/health.h"
#include "agent/runtime/latency.h"
#include "agent/runtime/storage_watch.h"

namespace dipper::runtime {
namespace {

TEST(Health, APeriodPassesOnlyWhenAllAnswered) {
  Health health(100, 30, 0);
  for (int64_t now = 0; now <= 200; now += 10) {
    for (Component c : {Component::kSource, Component::kModel, Component::kStorage, Component::kUpdate}) {
      health.Answered(c, now);
    }
    EXPECT_EQ(health.PeriodPassed(now), now == 100 || now == 200) << now;
  }
}

TEST(Health, ASilentComponentStartsThePeriodAnew) {
  Health health(100, 30, 0);
  int64_t passed_at = -1;
  for (int64_t now = 0; now <= 400 && passed_at < 0; now += 10) {
    for (Component c : {Component::kSource, Component::kModel, Component::kUpdate}) health.Answered(c, now);
    if (now < 50 || now >= 120) health.Answered(Component::kStorage, now);  // silent from 40 to 120
    if (health.PeriodPassed(now)) passed_at = now;
  }
  EXPECT_GE(passed_at, 210);  // the last break ends before 120, a whole period after it
  EXPECT_LE(passed_at, 230);
}

TEST(Health, WhatAnswersAndDoesNotWorkIsAliveAndNotHealthy) {
  Health health(100, 30, 0);
  bool passed = false;
  for (int64_t now = 0; now <= 400; now += 10) {
    for (Component c : {Component::kSource, Component::kModel, Component::kUpdate}) health.Answered(c, now);
    health.Answered(Component::kStorage, now, false);  // a full disk
    passed = passed || health.PeriodPassed(now);
    EXPECT_EQ(health.answers().Silent(now), "") << "the watchdog is patted";
  }
  EXPECT_FALSE(passed);
}

TEST(Health, NamesWhoIsSilent) {
  Health health(100, 30, 0);
  const uint32_t link = health.answers().Add("link", 50, 0);
  const auto all_but_link = [&](int64_t now) {
    for (Component c : {Component::kSource, Component::kModel, Component::kStorage, Component::kUpdate}) {
      health.Answered(c, now);
    }
  };
  all_but_link(50);
  EXPECT_EQ(health.answers().Silent(50), "");
  all_but_link(60);
  EXPECT_EQ(health.answers().Silent(60), "link");
  health.PeriodPassed(60);
  all_but_link(150);
  EXPECT_TRUE(health.PeriodPassed(150)) << "the healthy time asks for the components of the loop only";
  health.answers().Answered(link, 150);
  EXPECT_EQ(health.answers().Silent(150), "");
  EXPECT_EQ(health.answers().Silent(300), "source");
}

TEST(StorageWatch, TellsTheBeginningAndTheEndOnce) {
  using News = StorageWatch::News;
  StorageWatch watch;
  EXPECT_EQ(watch.Look(0, 5), News::kNothing);
  EXPECT_EQ(watch.Look(2, 5), News::kTrouble);
  EXPECT_EQ(watch.Look(2, 5), News::kNothing);
  EXPECT_EQ(watch.Look(3, 6), News::kNothing) << "some reach the medium and some do not";
  EXPECT_TRUE(watch.trouble());
  EXPECT_EQ(watch.Look(3, 7), News::kRecovered);
  EXPECT_EQ(watch.failed(), 3u);
  EXPECT_EQ(watch.Look(3, 8), News::kNothing);
  EXPECT_EQ(watch.Look(4, 8), News::kTrouble);
  EXPECT_EQ(watch.failed(), 1u);
}

TEST(LatencyHistogram, QuantilesAreWithinAnEighth) {
  LatencyHistogram histogram;
  std::vector<int64_t> all;
  uint64_t state = 1;
  for (int i = 0; i < 20000; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto ns = static_cast<int64_t>(100 + (state >> 40) % 1000000);
    histogram.Add(ns);
    all.push_back(ns);
  }
  const int64_t longest = *std::max_element(all.begin(), all.end());
  ASSERT_GE(histogram.total(), LatencyHistogram::kWindow);
  ASSERT_LT(histogram.total(), 2 * LatencyHistogram::kWindow);
  all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(histogram.total()));
  std::sort(all.begin(), all.end());
  for (double q : {0.0, 0.1, 0.5, 0.9, 0.99, 1.0}) {
    const auto exact = static_cast<double>(all[static_cast<size_t>(q * static_cast<double>(all.size() - 1))]);
    const auto got = static_cast<double>(histogram.QuantileNs(q));
    EXPECT_GE(got, exact * 0.999) << q;
    EXPECT_LE(got, exact * 1.126) << q;
  }
  EXPECT_EQ(histogram.MaxNs(), longest);
}

TEST(LatencyHistogram, ASlowdownShowsHoweverLongItWasFastBefore) {
  LatencyHistogram histogram;
  for (int i = 0; i < 1'000'000; ++i) histogram.Add(1'000);
  EXPECT_LE(histogram.QuantileNs(0.99), 1'125);
  // A fiftieth of them is slow: after two windows the 99th percentile is, and the median is not.
  for (uint32_t i = 0; i < 2 * LatencyHistogram::kWindow; ++i) histogram.Add(i % 50 == 0 ? 900'000 : 1'000);
  EXPECT_GE(histogram.QuantileNs(0.99), 900'000);
  EXPECT_LE(histogram.QuantileNs(0.5), 1'125);
  for (uint32_t i = 0; i < 2 * LatencyHistogram::kWindow; ++i) histogram.Add(900'000);
  EXPECT_GE(histogram.QuantileNs(0), 900'000);
  // And it is gone again when it is over, but from the maximum.
  for (uint32_t i = 0; i < 2 * LatencyHistogram::kWindow; ++i) histogram.Add(1'000);
  EXPECT_LE(histogram.QuantileNs(1), 1'125);
  EXPECT_EQ(histogram.MaxNs(), 900'000);
}

TEST(LatencyHistogram, TakesAnyValue) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.QuantileNs(0.5), 0);
  for (int64_t ns : {int64_t{-5}, int64_t{0}, int64_t{1}, INT64_MAX}) histogram.Add(ns);
  EXPECT_EQ(histogram.total(), 4U);
  EXPECT_EQ(histogram.MaxNs(), INT64_MAX);
  EXPECT_LE(histogram.QuantileNs(0.0), 72);
}

TEST(AnomalyScorer, MatchesPairCounting) {
  auto scorer = std::make_unique<AnomalyScorer>();
  EXPECT_TRUE(std::isnan(scorer->Auc()));
  std::vector<double> normal = {0.1, 0.2, 0.2, 0.5, 0.9};
  std::vector<double> anomalous = {0.2, 0.8, 0.95};
  for (double s : normal) scorer->Add(s, false);
  for (double s : anomalous) scorer->Add(s, true);
  double wins = 0;
  for (double a : anomalous) {
    for (double n : normal) wins += a > n ? 1.0 : (a == n ? 0.5 : 0.0);
  }
  EXPECT_DOUBLE_EQ(scorer->Auc(), wins / static_cast<double>(normal.size() * anomalous.size()));
}

TEST(Answers, OneNumberThatIsNotFiniteSpoilsThem) {
  std::vector<double> probabilities = {0.25, 0.75};
  learn::Output output;
  output.probabilities = probabilities;
  EXPECT_TRUE(learn::IsFinite(output));
  for (double* number : {&output.value, &output.low, &output.high, &output.anomaly_score, &output.anomaly_raw,
                         &output.anomaly_residual, &probabilities[1]}) {
    for (const double bad : {std::nan(""), static_cast<double>(INFINITY), -static_cast<double>(INFINITY)}) {
      const double good = *number;
      *number = bad;
      EXPECT_FALSE(learn::IsFinite(output)) << bad;
      *number = good;
    }
  }
  EXPECT_TRUE(learn::IsFinite(output));
}

}  // namespace
}  // namespace dipper::runtime
