// Prequential metrics against textbook formulas over kept samples, the AUC window against counting all pairs,
// the loss window against kept losses.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "agent/learn/metrics/auc.h"
#include "agent/learn/metrics/classification.h"
#include "agent/learn/metrics/regression.h"
#include "agent/learn/metrics/window.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::metrics_test {
namespace {

using ClassSection = Section<ClassificationMetrics, ClassificationMetricsConfig>;
using ValueSection = Section<RegressionMetrics, RegressionMetricsConfig>;
using AucSection = Section<AucWindow, AucWindowConfig>;
using LossSection = Section<LossWindow, LossWindowConfig>;

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
      uint64_t scored = 0;
      for (int i = 0; i < 3000; ++i) {
        Scored s;
        s.actual = NextBelow(random, 3) == 0 ? last : NextBelow(random, classes);
        s.predicted = NextBelow(random, 2) == 0 ? s.actual : NextBelow(random, classes);
        s.p = i % 50 == 0 ? 0.0 : NextUniform(random);
        s.weight = weighted ? std::floor(NextUniform(random) * 4) : 1;
        s.trivial = metrics.Trivial();
        EXPECT_EQ(s.trivial, last);
        if (s.weight > 0) last = s.actual;  // a label of weight 0 teaches the rival nothing
        scored += s.weight > 0 ? 1U : 0U;
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
      EXPECT_EQ(summary.labels, scored);
      EXPECT_DOUBLE_EQ(summary.weight, weight);
      EXPECT_DOUBLE_EQ(summary.accuracy, correct / weight);
      EXPECT_DOUBLE_EQ(summary.trivial_accuracy, trivial_correct / weight);
      EXPECT_NEAR(summary.kappa, Kappa(all, classes, &Scored::predicted), 1e-12);
      EXPECT_NEAR(summary.trivial_kappa, Kappa(all, classes, &Scored::trivial), 1e-12);
      EXPECT_NEAR(summary.kappa_temporal, (correct - trivial_correct) / (weight - trivial_correct), 1e-12);
      EXPECT_NEAR(summary.log_loss, log_loss / weight, 1e-11);
      EXPECT_NEAR(summary.faded_loss, faded / faded_weight, 1e-12);
      for (uint32_t a = 0; a < classes; ++a) {
        double row = 0;
        for (uint32_t b = 0; b < classes; ++b) row += confusion[a * classes + b];
        EXPECT_EQ(metrics.ClassWeights()[a], row);
        for (uint32_t b = 0; b < classes; ++b) EXPECT_EQ(metrics.confusion(a, b), confusion[a * classes + b]);
      }
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

/// Random probabilities that are sometimes 0 and 1 exactly; answers their largest.
uint32_t DrawAnswer(RandomState& random, std::vector<double>* p) {
  double sum = 0;
  for (double& one : *p) sum += one = NextBelow(random, 4) == 0 ? 0 : NextUniform(random);
  if (sum == 0 || NextBelow(random, 20) == 0) {
    p->assign(p->size(), 0);
    sum = (*p)[NextBelow(random, static_cast<uint32_t>(p->size()))] = 1;
  }
  uint32_t best = 0;
  for (uint32_t c = 0; c < p->size(); ++c) {
    (*p)[c] /= sum;
    best = (*p)[c] > (*p)[best] ? c : best;
  }
  return best;
}

TEST(Classification, ProbabilitiesMatchTextbookFormulas) {
  for (uint32_t classes : {2U, 3U, 20U}) {
    ClassSection section({classes, 0.99});
    ClassificationMetrics metrics = section.part();
    RandomState random = SeedRandom(classes);
    std::vector<double> p(classes);
    double brier = 0, weight = 0;
    double bin_weight[10] = {}, confidence[10] = {}, correct[10] = {};
    std::vector<double> actual_weight(classes), answered(classes), right(classes);
    for (int i = 0; i < 4000; ++i) {
      const uint32_t predicted = DrawAnswer(random, &p);
      // One class never comes up.
      const uint32_t actual =
          NextBelow(random, 2) == 0 && predicted + 1 < classes ? predicted : NextBelow(random, classes - 1);
      const double w = std::floor(NextUniform(random) * 3);
      const auto losses = metrics.Score(predicted, p, metrics.Trivial(), actual, w);
      EXPECT_EQ(losses.loss, predicted == actual ? 0 : 1);
      for (uint32_t c = 0; c < classes; ++c) brier += w * std::pow(p[c] - (c == actual ? 1 : 0), 2);
      const int bin = std::min(9, static_cast<int>(p[predicted] * 10));
      bin_weight[bin] += w;
      confidence[bin] += w * p[predicted];
      correct[bin] += predicted == actual ? w : 0;
      actual_weight[actual] += w;
      answered[predicted] += w;
      right[actual] += predicted == actual ? w : 0;
      weight += w;
    }
    const auto summary = metrics.Read();
    EXPECT_NEAR(summary.brier, brier / weight, 1e-12);
    double ece = 0, recalls = 0, f1s = 0;
    for (int b = 0; b < 10; ++b) {
      ece += std::fabs(correct[b] - confidence[b]) / weight;
      const auto bin = metrics.ReadBin(static_cast<uint32_t>(b));
      EXPECT_EQ(bin.weight, bin_weight[b]);
      if (bin.weight > 0) {
        EXPECT_DOUBLE_EQ(bin.accuracy, correct[b] / bin_weight[b]);
      }
    }
    EXPECT_NEAR(summary.calibration_error, ece, 1e-12);
    if (classes == 2) {  // the answer has at least one half
      EXPECT_EQ(std::bit_cast<uint64_t>(metrics.ReadBin(0).accuracy), kCanonicalNanBits);
    }
    for (uint32_t c = 0; c < classes; ++c) {
      const auto one = metrics.ReadClass(c);
      EXPECT_EQ(one.weight, actual_weight[c]);
      if (answered[c] > 0) {
        EXPECT_DOUBLE_EQ(one.precision, right[c] / answered[c]);
      }
      if (c + 1 == classes) {
        EXPECT_EQ(std::bit_cast<uint64_t>(one.recall), kCanonicalNanBits);
        continue;
      }
      EXPECT_DOUBLE_EQ(one.recall, right[c] / actual_weight[c]);
      EXPECT_DOUBLE_EQ(one.f1, 2 * right[c] / (actual_weight[c] + answered[c]));
      recalls += one.recall;
      f1s += one.f1;
    }
    EXPECT_NEAR(summary.balanced_accuracy, recalls / (classes - 1), 1e-12);
    EXPECT_NEAR(summary.macro_f1, f1s / (classes - 1), 1e-12);
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(Classification, WildProbabilitiesStayInRange) {
  ClassSection section({3, 0.99});
  const double wild[][3] = {{1e300, -1e300, 0.5}, {1, 0, 0}, {1.0000000001, -1e-10, 5e-324}};
  for (const auto& p : wild) section.part().Score(0, p, 0, 0, 1);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  EXPECT_NEAR(section.part().Read().brier, 0.25 / 3, 1e-9);
  EXPECT_EQ(section.part().Read().calibration_error, 0.0);
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
  ValueSection section({0.98, 0.8});
  RegressionMetrics metrics = section.part();
  RandomState random = SeedRandom(2);
  std::vector<double> y, p, t, w;
  double faded = 0, faded_weight = 0, pinball = 0, trivial_pinball = 0;
  for (int i = 0; i < 2000; ++i) {
    y.push_back(1e3 + 10 * NextUniform(random));
    p.push_back(y.back() + NextUniform(random) - 0.5);
    t.push_back(metrics.Trivial());
    w.push_back(i % 7 == 0 ? 0 : 0.5 + NextUniform(random));
    metrics.Score(p.back(), t.back(), y.back(), w.back());
    const auto loss = [](double error) { return std::max(0.8 * error, -0.2 * error); };
    pinball += w.back() * loss(y.back() - p.back());
    trivial_pinball += w.back() * loss(y.back() - t.back());
    if (w.back() > 0) {
      faded = faded * 0.98 + w.back() * std::fabs(y.back() - p.back());
      faded_weight = faded_weight * 0.98 + w.back();
    }
  }
  double weight = 0, mean = 0, absolute = 0, squared = 0, spread = 0, trivial = 0;
  double last = 0;  // label of a weight above 0
  uint64_t scored = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    weight += w[i];
    mean += w[i] * y[i];
    EXPECT_EQ(t[i], last);
    last = w[i] > 0 ? y[i] : last;
    scored += w[i] > 0 ? 1U : 0U;
  }
  mean /= weight;
  for (size_t i = 0; i < y.size(); ++i) {
    absolute += w[i] * std::fabs(y[i] - p[i]);
    squared += w[i] * (y[i] - p[i]) * (y[i] - p[i]);
    spread += w[i] * (y[i] - mean) * (y[i] - mean);
    trivial += w[i] * std::fabs(y[i] - t[i]);
  }
  const auto summary = metrics.Read();
  EXPECT_EQ(summary.labels, scored);
  EXPECT_NEAR(summary.mae, absolute / weight, 1e-12);
  EXPECT_NEAR(summary.rmse, std::sqrt(squared / weight), 1e-12);
  EXPECT_NEAR(summary.r2, 1 - squared / spread, 1e-9);
  EXPECT_NEAR(summary.trivial_mae, trivial / weight, 1e-10);
  EXPECT_NEAR(summary.target_mean, mean, 1e-9);
  EXPECT_NEAR(summary.target_variance, spread / weight, 1e-9);
  EXPECT_NEAR(summary.faded_mae, faded / faded_weight, 1e-12);
  EXPECT_NEAR(summary.pinball, pinball / weight, 1e-12);
  EXPECT_NEAR(summary.trivial_pinball, trivial_pinball / weight, 1e-10);
  for (RegressionMetricsConfig bad :
       {RegressionMetricsConfig{0, 0.5}, {0.9, 0}, {0.9, 1}, {0.9, std::nan("")}}) {
    EXPECT_EQ(RegressionMetrics::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
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

struct Pair {
  double score;
  bool positive;
  double weight;
};

double PairCount(const std::deque<Pair>& pairs) {
  double right = 0, all = 0;
  for (const Pair& positive : pairs) {
    for (const Pair& negative : pairs) {
      if (!positive.positive || negative.positive) continue;
      const double weight = positive.weight * negative.weight;
      all += weight;
      right += positive.score > negative.score ? weight : (positive.score == negative.score ? weight / 2 : 0);
    }
  }
  return right / all;
}

/// Sum over the positives of the precision among all that score at least as high.
double AveragePrecision(const std::deque<Pair>& pairs) {
  double sum = 0, positives = 0;
  for (const Pair& positive : pairs) {
    if (!positive.positive) continue;
    double right = 0, all = 0;
    for (const Pair& other : pairs) {
      if (other.score < positive.score) continue;
      all += other.weight;
      right += other.positive ? other.weight : 0;
    }
    sum += positive.weight * right / all;
    positives += positive.weight;
  }
  return sum / positives;
}

TEST(Auc, MatchesCountingAllPairs) {
  for (const bool weighted : {false, true}) {
    for (uint32_t window : {1U, 2U, 17U, 100U}) {
      AucSection section({window, weighted});
      AucWindow auc = section.part();
      std::deque<Pair> kept;
      std::vector<uint32_t> scratch(window);
      RandomState random = SeedRandom(window);
      for (int i = 0; i < 300; ++i) {
        const bool positive = NextBelow(random, 4) == 0;
        const double score = std::floor(NextUniform(random) * 20) / 20 + (positive ? 0.2 : 0);
        const double weight = NextBelow(random, 4);
        auc.Add(score, positive, weight);
        if (weight > 0) kept.push_back({score, positive, weighted ? weight : 1});
        if (kept.size() > window) kept.pop_front();
        ASSERT_EQ(auc.count(), kept.size());
        const AucWindow::Areas got = auc.ReadAreas(scratch);
        const double expected = PairCount(kept);
        EXPECT_EQ(std::bit_cast<uint64_t>(auc.Read(scratch)), std::bit_cast<uint64_t>(got.roc));
        if (std::isnan(expected)) {
          EXPECT_EQ(std::bit_cast<uint64_t>(got.roc), kCanonicalNanBits);
          EXPECT_EQ(std::bit_cast<uint64_t>(got.precision_recall), kCanonicalNanBits);
        } else {
          EXPECT_DOUBLE_EQ(got.roc, expected);
          EXPECT_NEAR(got.precision_recall, AveragePrecision(kept), 1e-12);
        }
      }
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(Auc, WeightsOfAnySizeStayFinite) {
  AucSection section({64, true});
  std::vector<uint32_t> scratch(64);
  RandomState random = SeedRandom(1);
  for (int i = 0; i < 500; ++i) {
    const double weights[] = {1e300, 1e30, 1, 1e-40, 1e-300, 0};
    section.part().Add(NextUniform(random), NextBelow(random, 2) == 0, weights[NextBelow(random, 6)]);
    const AucWindow::Areas areas = section.part().ReadAreas(scratch);
    ASSERT_TRUE(IsFiniteOrMissing(areas.roc) && IsFiniteOrMissing(areas.precision_recall));
    ASSERT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(Auc, RefusesConfigsAndDamage) {
  EXPECT_EQ(AucWindow::StateBytes({1024}).value(), 16U + 1024 * 9);
  EXPECT_EQ(AucWindow::StateBytes({0}).status(), base::Status::kInvalidArgument);
  EXPECT_EQ(AucWindow::StateBytes({65537}).status(), base::Status::kInvalidArgument);
  for (const bool weighted : {false, true}) {
    AucSection section({8, weighted});
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
}

TEST(Window, MatchesKeptLosses) {
  for (const bool zero_one : {false, true}) {
    for (const bool weighted : {false, true}) {
      for (const uint32_t window : {1U, 63U, 64U, 100U, 1024U}) {
        LossSection section({window, zero_one, weighted});
        LossWindow part = section.part();
        EXPECT_EQ(std::bit_cast<uint64_t>(part.Read()), kCanonicalNanBits);
        std::deque<std::pair<double, double>> kept;
        RandomState random = SeedRandom(window);
        for (int i = 0; i < 2100; ++i) {
          const double loss = zero_one ? NextBelow(random, 2) : NextUniform(random) * 1e6;
          const double weight = NextBelow(random, 3);
          part.Add(loss, weight);
          if (weight > 0) kept.push_back({loss, weighted ? weight : 1});
          if (kept.size() > window) kept.pop_front();
          ASSERT_EQ(part.count(), kept.size());
          if (kept.empty() || i % 37 != 0) continue;
          double sum = 0, weights = 0;
          for (const auto& [kept_loss, kept_weight] : kept) {
            sum += kept_weight * kept_loss;
            weights += kept_weight;
          }
          ASSERT_NEAR(part.Read(), sum / weights, 1e-7 * (1 + sum / weights));
        }
        EXPECT_EQ(section.Validate(), base::Status::kOk);
      }
    }
  }
}

TEST(Window, RefusesConfigsAndDamageAndSurvivesHugeLosses) {
  EXPECT_EQ(LossWindow::StateBytes({0, true, false}).status(), base::Status::kInvalidArgument);
  EXPECT_EQ(LossWindow::StateBytes({65537, true, false}).status(), base::Status::kInvalidArgument);
  EXPECT_EQ(LossWindow::StateBytes({1024, true, false}).value(), 16U + 128);
  EXPECT_EQ(LossWindow::StateBytes({1024, false, true}).value(), 16U + 8192);
  for (const bool zero_one : {false, true}) {
    for (const bool weighted : {false, true}) {
      LossSection section({70, zero_one, weighted});
      for (int i = 0; i < 9; ++i)
        section.part().Add(i % 2 == 0 ? 1.7e308 : 5e-324, i % 2 == 0 ? 1e300 : 1e-3);
      EXPECT_EQ(section.Validate(), base::Status::kOk);
      EXPECT_TRUE(IsFinite(section.part().Read()));
      LossSection copy = section;
      section.part().Add(0.75);
      copy.part().Add(0.75);
      EXPECT_TRUE(section == copy);
      const size_t refused = FlipEveryByte(section, [](LossSection& damaged) {
        for (int i = 0; i < 80; ++i) damaged.part().Add(i % 2);
        damaged.part().Read();
      });
      EXPECT_GT(refused, 40U);
    }
  }
}

}  // namespace
}  // namespace dipper::learn::metrics_test
