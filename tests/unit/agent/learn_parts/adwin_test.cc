// ADWIN against an exponential histogram that keeps every value, on 0-1 and real losses of any scale, with
// runs, outliers and damage.
#include "agent/learn/drift/adwin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::adwin_test {
namespace {

using AdwinSection = Section<Adwin, AdwinConfig>;

double Normal(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

/// The window with every value kept, oldest summary first; every figure is computed from the values. The
/// range of the values is taken as known: [0, 1].
class Naive {
 public:
  explicit Naive(const AdwinConfig& config) : config_(config), rows_(config.rows) {}

  DriftLevel Update(double x) {
    filled_.push_back(x);
    if (filled_.size() < config_.clock) return DriftLevel::kStable;
    std::vector<double> next;
    next.swap(filled_);
    for (size_t r = 0;; ++r) {
      rows_[r].push_back(next);
      if (rows_[r].size() <= config_.buckets) break;
      if (r + 1 == rows_.size()) {
        rows_[r].pop_front();
        break;
      }
      next = rows_[r][0];
      next.insert(next.end(), rows_[r][1].begin(), rows_[r][1].end());
      rows_[r].erase(rows_[r].begin(), rows_[r].begin() + 2);
    }
    return Test();
  }
  std::vector<double> Values() const {
    std::vector<double> all;
    for (size_t r = rows_.size(); r-- > 0;) {
      for (const auto& summary : rows_[r]) all.insert(all.end(), summary.begin(), summary.end());
    }
    return all;
  }
  size_t width() const { return Values().size() + filled_.size(); }
  static double Mean(const std::vector<double>& x, size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += x[i];
    return sum / static_cast<double>(to - from);
  }

 private:
  DriftLevel Test() {
    bool shrunk = false;
    std::vector<double> x = Values();
    if (x.size() < 32) return DriftLevel::kStable;
    const double before = Mean(x, 0, x.size());
    const double bound = std::log(2 * std::log(static_cast<double>(x.size())) / config_.delta);
    for (;;) {
      x = Values();
      if (x.size() < 32) break;
      const double n = static_cast<double>(x.size());
      const double mean = Mean(x, 0, x.size());
      double variance = 0;
      for (double v : x) variance += (v - mean) * (v - mean) / n;
      const double reach = std::max(mean, 1 - mean);
      double best = 0;
      size_t summaries = 0, best_summaries = 0, older = 0;
      for (size_t r = rows_.size(); r-- > 0;) {
        for (const auto& summary : rows_[r]) {
          older += summary.size();
          ++summaries;
          if (older == x.size()) continue;
          const double m = 1 / static_cast<double>(older) + 1 / static_cast<double>(x.size() - older);
          const double d = std::fabs(Mean(x, 0, older) - Mean(x, older, x.size()));
          const double excess = d * d / (2 * m * (variance + reach * d / 3));
          if (excess > best) {
            best = excess;
            best_summaries = summaries;
          }
        }
      }
      statistic = best / bound;
      if (best <= bound) break;
      shrunk = true;
      for (size_t r = rows_.size(); r-- > 0;) {
        while (best_summaries > 0 && !rows_[r].empty()) {
          rows_[r].pop_front();
          --best_summaries;
        }
      }
    }
    x = Values();
    return shrunk && Mean(x, 0, x.size()) > before ? DriftLevel::kAlarm : DriftLevel::kStable;
  }

  AdwinConfig config_;
  std::vector<std::deque<std::vector<double>>> rows_;
  std::vector<double> filled_;

 public:
  double statistic = 0;
};

TEST(Adwin, MatchesAWindowThatKeepsEveryValue) {
  for (const bool small : {false, true}) {
    AdwinConfig config;
    config.autocorrelation = false;
    if (small)
      config.buckets = 2, config.rows = 4, config.clock = 5, config.delta = 0.05, config.warning_delta = 0.1;
    AdwinSection section(config);
    Adwin adwin = section.part();
    Naive naive(config);
    RandomState random = SeedRandom(3);
    uint64_t alarms = 0;
    for (int i = 0; i < 6000; ++i) {
      const double rate = i / 1000 % 2 == 0 ? 0.2 : 0.5;
      const double x = NextUniform(random) < rate ? 1 : 0;
      const bool alarm = naive.Update(x) == DriftLevel::kAlarm;
      alarms += alarm ? 1 : 0;
      ASSERT_EQ(adwin.Update(x) == DriftLevel::kAlarm, alarm) << i;
      ASSERT_EQ(adwin.width(), naive.width()) << i;
      ASSERT_NEAR(adwin.statistic(), naive.statistic, 1e-9) << i;
      const std::vector<double> kept = naive.Values();
      if (!kept.empty()) {
        ASSERT_NEAR(adwin.mean(), Naive::Mean(kept, 0, kept.size()), 1e-12) << i;
      }
    }
    EXPECT_EQ(adwin.alarms(), alarms);
    EXPECT_GE(alarms, 2U);
    EXPECT_GE(adwin.warnings(), alarms);
    EXPECT_EQ(section.Validate(), base::Status::kOk);
  }
}

TEST(Adwin, FindsEveryRiseSoonAndAlarmsOnce) {
  AdwinSection section(AdwinConfig{});
  Adwin adwin = section.part();
  RandomState random = SeedRandom(7);
  int found = 0, delay = 0;
  for (int change = 0; change < 20; ++change) {
    for (int i = 0; i < 20000; ++i) {
      const DriftLevel level = adwin.Update(NextUniform(random) < (i < 10000 ? 0.2 : 0.4) ? 1 : 0);
      if (level != DriftLevel::kAlarm || i < 10000) continue;
      ++found;
      delay += i - 10000;
    }
  }
  EXPECT_EQ(found, 20);
  EXPECT_LE(adwin.alarms(), 21U);  // falls only cut
  EXPECT_LT(delay / found, 151);
}

TEST(Adwin, FallsAlarmWhenAskedTo) {
  for (const bool falls : {false, true}) {
    AdwinConfig config;
    config.falls = falls;
    AdwinSection section(config);
    RandomState random = SeedRandom(9);
    for (int i = 0; i < 4000; ++i)
      section.part().Update(NextUniform(random) < (i < 2000 ? 0.5 : 0.2) ? 1 : 0);
    EXPECT_EQ(section.part().alarms(), falls ? 1U : 0U);
    EXPECT_LT(section.part().width(), 2100U);  // cut in any case
    EXPECT_NEAR(section.part().mean(), 0.2, 0.03);
  }
}

TEST(Adwin, ScaleAndOffsetDoNotMatter) {
  for (const double scale : {1e-30, 1e-6, 1.0, 1e6, 1e30}) {
    for (const double offset : {0.0, 1000.0}) {
      AdwinSection section(AdwinConfig{});
      Adwin adwin = section.part();
      RandomState random = SeedRandom(6);
      int delay = -1;
      for (int i = 0; i < 6000 && delay < 0; ++i) {
        const double x = scale * (offset + Normal(random) + (i >= 5000 ? 1 : 0));
        if (adwin.Update(x) != DriftLevel::kAlarm) continue;
        ASSERT_GE(i, 5000);
        delay = i - 5000;
      }
      EXPECT_GT(delay, 0) << scale;
      EXPECT_LT(delay, 100) << scale;
    }
  }
}

TEST(Adwin, RunsAreNoChange) {
  uint64_t alarms[2] = {};
  for (const bool corrected : {false, true}) {
    AdwinConfig config;
    config.autocorrelation = corrected;
    AdwinSection section(config);
    Adwin adwin = section.part();
    RandomState random = SeedRandom(11);
    double x = 0;
    for (int i = 0; i < 100000; ++i) {
      x = 0.8 * x + Normal(random);
      adwin.Update(x);
    }
    alarms[corrected ? 1 : 0] = adwin.alarms();
  }
  EXPECT_GT(alarms[0], 50U);
  EXPECT_EQ(alarms[1], 0U);
}

TEST(Adwin, AnOutlierNeitherAlarmsNorBlinds) {
  AdwinSection section(AdwinConfig{});
  Adwin adwin = section.part();
  RandomState random = SeedRandom(12);
  int delay = -1;
  for (int i = 0; i < 4000 && delay < 0; ++i) {
    double x = Normal(random) + (i >= 3000 ? 1.5 : 0);
    if (i == 2000) x = 1e30;
    if (adwin.Update(x) != DriftLevel::kAlarm) continue;
    ASSERT_GE(i, 3000);
    delay = i - 3000;
  }
  EXPECT_GT(delay, 0);
  EXPECT_LT(delay, 100);
}

TEST(Adwin, HostileValuesStayInRange) {
  AdwinSection section(AdwinConfig{});
  Adwin adwin = section.part();
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(adwin.Update(0.1), DriftLevel::kStable);  // constant, inexact sums
  EXPECT_EQ(adwin.mean(), 0.1);
  EXPECT_EQ(adwin.width(), 5000U);
  const double hostile[] = {1.7e308, -1.7e308, 5e-324, 1e30, -1e30, 0.0};
  for (int i = 0; i < 5000; ++i) {
    adwin.Update(hostile[i % 6]);
    if (i % 61 == 0) {
      ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
    }
  }
  EXPECT_TRUE(IsFinite(adwin.statistic()));
  AdwinSection fresh(AdwinConfig{});
  EXPECT_EQ(std::bit_cast<uint64_t>(fresh.part().mean()), kCanonicalNanBits);
}

TEST(Adwin, ASmallWindowForgetsItsOldest) {
  AdwinConfig config;
  config.rows = 3;
  config.buckets = 2;
  config.clock = 8;
  AdwinSection section(config);
  for (int i = 0; i < 10000; ++i) section.part().Update(i % 2);
  EXPECT_LE(section.part().width(), 8U * 2 * 7 + 7);
  EXPECT_GE(section.part().width(), 8U * 2 * 3);
}

TEST(Adwin, CopiesContinueIdenticallyAndDamageIsRefused) {
  AdwinConfig config;
  config.rows = 5;
  AdwinSection section(config);
  RandomState random = SeedRandom(8);
  for (int i = 0; i < 500; ++i) section.part().Update(NextUniform(random));
  AdwinSection copy = section;
  for (int i = 0; i < 500; ++i) {
    const double x = NextUniform(random) + (i > 250 ? 1 : 0);
    EXPECT_EQ(section.part().Update(x), copy.part().Update(x));
  }
  EXPECT_TRUE(section == copy);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  const size_t refused = FlipEveryByte(section, [](AdwinSection& damaged) {
    for (int i = 0; i < 40; ++i) damaged.part().Update(0.5 * i);
    static_cast<void>(damaged.part().mean());
  });
  EXPECT_GT(refused, 300U);
  EXPECT_EQ(Adwin::StateBytes(AdwinConfig{}).value(), 128U + 12 * (24 + 6 * 16));
  AdwinConfig bad[12];
  bad[0].delta = 0;
  bad[1].delta = std::nan("");
  bad[2].delta = 0.6, bad[2].warning_delta = 0.6;
  bad[3].warning_delta = 1e-9;
  bad[4].warning_delta = std::nan("");
  bad[5].buckets = 1;
  bad[6].buckets = 9;
  bad[7].rows = 1;
  bad[8].rows = 25;
  bad[9].clock = 3;
  bad[10].clock = 65;
  bad[11].delta = -1;
  for (const AdwinConfig& one : bad) {
    EXPECT_EQ(Adwin::StateBytes(one).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::adwin_test
