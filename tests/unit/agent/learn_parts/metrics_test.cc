// Prequential metrics against textbook formulas over kept samples, and the AUC window against counting all
// pairs.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "agent/learn/metrics/auc.h"
#include "agent/learn/metrics/classification.h"
#include "agent/learn/metrics/regression.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn {
namespace {

using ClassSection = Section<ClassificationMetrics, ClassificationMetricsConfig>;
using ValueSection = Section<RegressionMetrics, RegressionMetricsConfig>;
using AucSection = Section<AucWindow, AucWindowConfig>;

struct Scored {
  uint32_t predicted, trivial, actual;
  double p, weight;
};

double Kappa(const std::vector<Scored>& all, uint32_t classes, uint32_t Scored::*answer) {
  double weight = 0, agree = 0, chance = 0;
  for (const Scored& s : all) {
    weight += s.weight;
    agree += s.*answer == s.actual ? s.weight : 0;
  }
  for (uint32_t c = 0; c < classes; ++c) {
    double a = 0, b = 0;
    for (const Scored& s : all) {
      a += s.*answer == c ? s.weight : 0;
      b += s.actual == c ? s.weight : 0;
    }
    chance += a / weight * (b / weight);
  }
  return (agree / weight - chance) / (1 - chance);
}

TEST(Classification, MatchesTextbookFormulas) {
  for (uint32_t classes : {2U, 5U, 64U}) {
    for (bool weighted : {false, true}) {
      ClassSection section({classes, 0.99});
      ClassificationMetrics metrics = section.part();
      RandomState random = SeedRandom(classes);
      std::vector<Scored> all;
      double log_loss = 0, faded = 0, faded_weight = 0, weight = 0, correct = 0, trivial_correct = 0;
      std::vector<double> confusion(classes * classes);
      uint32_t last = 0;
      for (int i = 0; i < 3000; ++i) {
        Scored s;
        s.actual = NextBelow(random, 3) == 0 ? last : NextBelow(random, classes);
        s.predicted = NextBelow(random, 2) == 0 ? s.actual : NextBelow(random, classes);
        s.p = i % 50 == 0 ? 0.0 : NextUniform(random);
        s.weight = weighted ? std::floor(NextUniform(random) * 4) : 1;
        s.trivial = metrics.Trivial();
        EXPECT_EQ(s.trivial, last);
        last = s.actual;
        const auto losses = metrics.Score(s.predicted, s.p, s.trivial, s.actual, s.weight);
        EXPECT_EQ(losses.loss, s.predicted == s.actual ? 0 : 1);
        EXPECT_EQ(losses.trivial_loss, s.trivial == s.actual ? 0 : 1);
        all.push_back(s);
        weight += s.weight;
        correct += s.predicted == s.actual ? s.weight : 0;
        trivial_correct += s.trivial == s.actual ? s.weight : 0;
        log_loss -= s.weight * std::log(std::max(s.p, 1e-15));
        confusion[s.actual * classes + s.predicted] += s.weight;
        if (s.weight > 0) {
          faded = faded * 0.99 + s.weight * losses.loss;
          faded_weight = faded_weight * 0.99 + s.weight;
        }
      }
      const auto summary = metrics.Read();
      EXPECT_EQ(summary.labels, 3000U);
      EXPECT_DOUBLE_EQ(summary.weight, weight);
      EXPECT_DOUBLE_EQ(summary.accuracy, correct / weight);
      EXPECT_DOUBLE_EQ(summary.trivial_accuracy, trivial_correct / weight);
      EXPECT_NEAR(summary.kappa, Kappa(all, classes, &Scored::predicted), 1e-12);
      EXPECT_NEAR(summary.trivial_kappa, Kappa(all, classes, &Scored::trivial), 1e-12);
      EXPECT_NEAR(summary.kappa_temporal, (correct - trivial_correct) / (weight - trivial_correct), 1e-12);
      EXPECT_NEAR(summary.log_loss, log_loss / weight, 1e-11);
      EXPECT_NEAR(summary.faded_loss, faded / faded_weight, 1e-12);
      for (uint32_t a = 0; a < classes; ++a) {
        for (uint32_t b = 0; b < classes; ++b) EXPECT_EQ(metrics.confusion(a, b), confusion[a * classes + b]);
      }
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(Classification, LateLabelsUseWhatTheRivalKnewThen) {
  ClassSection section({3, 1.0});
  ClassificationMetrics metrics = section.part();
  metrics.Score(0, 1, metrics.Trivial(), 2, 1);
  const uint32_t then = metrics.Trivial();
  metrics.Score(0, 1, 0, 1, 1);
  EXPECT_EQ(then, 2U);
  EXPECT_EQ(metrics.Score(0, 1, then, 2, 1).trivial_loss, 0.0);  // a rival asked now would have said 1
}

TEST(Classification, UndefinedRatiosAreTheCanonicalNan) {
  ClassSection section({2, 0.9});
  const auto empty = section.part().Read();
  for (double value : {empty.accuracy, empty.kappa, empty.kappa_temporal, empty.log_loss, empty.faded_loss}) {
    EXPECT_EQ(std::bit_cast<uint64_t>(value), kCanonicalNanBits);
  }
  ClassificationMetrics metrics = section.part();
  metrics.Score(0, 1, 0, 0, 1);
  EXPECT_EQ(metrics.Read().accuracy, 1.0);
  EXPECT_EQ(std::bit_cast<uint64_t>(metrics.Read().kappa), kCanonicalNanBits);  // one class only
}

TEST(Classification, RefusesConfigsAndDamage) {
  for (ClassificationMetricsConfig bad :
       {ClassificationMetricsConfig{1, 0.9}, {65, 0.9}, {2, 0.0}, {2, 1.1}, {2, std::nan("")}}) {
    EXPECT_EQ(ClassificationMetrics::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
  ClassSection section({3, 0.9});
  ClassificationMetrics metrics = section.part();
  for (uint32_t i = 0; i < 100; ++i) metrics.Score(i % 3, 0.5, metrics.Trivial(), i % 2, 1);
  const size_t refused = FlipEveryByte(section, [](ClassSection& damaged) {
    ClassificationMetrics part = damaged.part();
    for (uint32_t i = 0; i < 5; ++i) part.Score(i % 3, 0.5, part.Trivial(), i % 3, 1);
    part.Read();
  });
  EXPECT_GT(refused, 20U);
}

TEST(Regression, MatchesTextbookFormulas) {
  ValueSection section({0.98});
  RegressionMetrics metrics = section.part();
  RandomState random = SeedRandom(2);
  std::vector<double> y, p, t, w;
  double faded = 0, faded_weight = 0;
  for (int i = 0; i < 2000; ++i) {
    y.push_back(1e3 + 10 * NextUniform(random));
    p.push_back(y.back() + NextUniform(random) - 0.5);
    t.push_back(metrics.Trivial());
    w.push_back(i % 7 == 0 ? 0 : 0.5 + NextUniform(random));
    metrics.Score(p.back(), t.back(), y.back(), w.back());
    if (w.back() > 0) {
      faded = faded * 0.98 + w.back() * std::fabs(y.back() - p.back());
      faded_weight = faded_weight * 0.98 + w.back();
    }
  }
  double weight = 0, mean = 0, absolute = 0, squared = 0, spread = 0, trivial = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    weight += w[i];
    mean += w[i] * y[i];
    EXPECT_EQ(t[i], i == 0 ? 0 : y[i - 1]);
  }
  mean /= weight;
  for (size_t i = 0; i < y.size(); ++i) {
    absolute += w[i] * std::fabs(y[i] - p[i]);
    squared += w[i] * (y[i] - p[i]) * (y[i] - p[i]);
    spread += w[i] * (y[i] - mean) * (y[i] - mean);
    trivial += w[i] * std::fabs(y[i] - t[i]);
  }
  const auto summary = metrics.Read();
  EXPECT_EQ(summary.labels, 2000U);
  EXPECT_NEAR(summary.mae, absolute / weight, 1e-12);
  EXPECT_NEAR(summary.rmse, std::sqrt(squared / weight), 1e-12);
  EXPECT_NEAR(summary.r2, 1 - squared / spread, 1e-9);
  EXPECT_NEAR(summary.trivial_mae, trivial / weight, 1e-10);
  EXPECT_NEAR(summary.target_mean, mean, 1e-9);
  EXPECT_NEAR(summary.target_variance, spread / weight, 1e-9);
  EXPECT_NEAR(summary.faded_mae, faded / faded_weight, 1e-12);
}

TEST(Regression, HugeValuesStayFinite) {
  ValueSection section({0.99});
  RegressionMetrics metrics = section.part();
  for (int i = 0; i < 1000; ++i)
    metrics.Score(i % 2 == 0 ? 1.7e308 : -1.7e308, metrics.Trivial(), i % 3 == 0 ? 1.7e308 : -1e300, 1e3);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  EXPECT_TRUE(IsFinite(metrics.Read().rmse));
  const size_t refused =
      FlipEveryByte(section, [](ValueSection& damaged) { damaged.part().Score(1, 2, 3, 1); });
  EXPECT_GT(refused, 10U);
}

double PairCount(const std::deque<std::pair<double, bool>>& pairs) {
  double right = 0, all = 0;
  for (const auto& positive : pairs) {
    for (const auto& negative : pairs) {
      if (!positive.second || negative.second) continue;
      all += 1;
      right += positive.first > negative.first ? 1 : (positive.first == negative.first ? 0.5 : 0);
    }
  }
  return right / all;
}

TEST(Auc, MatchesCountingAllPairs) {
  for (uint32_t window : {1U, 2U, 17U, 100U}) {
    AucSection section({window});
    AucWindow auc = section.part();
    std::deque<std::pair<double, bool>> kept;
    std::vector<uint32_t> scratch(window);
    RandomState random = SeedRandom(window);
    for (int i = 0; i < 300; ++i) {
      const bool positive = NextBelow(random, 4) == 0;
      const double score = std::floor(NextUniform(random) * 20) / 20 + (positive ? 0.2 : 0);
      auc.Add(score, positive);
      kept.push_back({score, positive});
      if (kept.size() > window) kept.pop_front();
      ASSERT_EQ(auc.count(), kept.size());
      const double got = auc.Read(scratch);
      const double expected = PairCount(kept);
      if (std::isnan(expected)) {
        EXPECT_EQ(std::bit_cast<uint64_t>(got), kCanonicalNanBits);
      } else {
        EXPECT_DOUBLE_EQ(got, expected);
      }
    }
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(Auc, RefusesConfigsAndDamage) {
  EXPECT_EQ(AucWindow::StateBytes({0}).status(), base::Status::kInvalidArgument);
  EXPECT_EQ(AucWindow::StateBytes({65537}).status(), base::Status::kInvalidArgument);
  AucSection section({8});
  AucWindow auc = section.part();
  for (int i = 0; i < 5; ++i) auc.Add(i, i % 2 == 0);
  const size_t refused = FlipEveryByte(section, [](AucSection& damaged) {
    AucWindow part = damaged.part();
    std::vector<uint32_t> scratch(8);
    for (int i = 0; i < 12; ++i) part.Add(i, i % 3 == 0);
    part.Read(scratch);
  });
  EXPECT_GT(refused, 60U);
}

}  // namespace
}  // namespace dipper::learn
