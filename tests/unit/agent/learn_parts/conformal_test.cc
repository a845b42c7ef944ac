// Conformal intervals and sets: coverage within one per cent under drift and late labels, against DtACI
// written out with plain vectors; widths, unbounded intervals, hostile scores, damage.
#include "agent/learn/metrics/conformal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <functional>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::conformal_test {
namespace {

using ConformalSection = Section<Conformal, ConformalConfig>;
using Summary = Conformal::Summary;

double Normal(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

/// 20,000 answers of 0 whose errors have the given deviation; labels come `late` answers later.
Summary Stream(const ConformalConfig& config, size_t late, const std::function<double(double)>& deviation) {
  constexpr size_t kSamples = 20000;
  ConformalSection section(config);
  RandomState random = SeedRandom(late + 1);
  std::vector<double> error, issued;
  for (size_t t = 0; t < kSamples + late; ++t) {
    if (t < kSamples) {
      error.push_back(deviation(static_cast<double>(t) / kSamples) * Normal(random));
      issued.push_back(section.part().Issue());
    }
    if (t < late) continue;
    const size_t at = t - late;
    section.part().UpdateValue(0, error[at], issued[at], std::min(late, at), 1);
  }
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  return section.part().Read();
}

double Steady(double) { return 1; }
double Abrupt(double t) { return static_cast<int>(t * 8) % 2 == 0 ? 1 : 5; }
double Gradual(double t) { return 1 + 9 * t; }
double Better(double t) { return 10 - 9 * t; }
double Waves(double t) { return 1 + 0.9 * std::sin(t * 40); }

TEST(Conformal, CoversWithinOnePerCentWhateverDrifts) {
  for (const double coverage : {0.8, 0.9, 0.95}) {
    for (const size_t late : {0U, 1U, 48U, 400U}) {
      ConformalConfig config;
      config.coverage = coverage;
      for (double (*deviation)(double) : {Steady, Abrupt, Gradual, Better, Waves}) {
        const Summary summary = Stream(config, late, deviation);
        EXPECT_EQ(summary.labels, 20000U);
        EXPECT_NEAR(summary.coverage, coverage, 0.01) << late << " " << deviation(0.2);
        EXPECT_LT(summary.unbounded, late < 400 ? 0.05 : 0.07) << late;
      }
    }
  }
}

TEST(Conformal, WidthIsThatOfTheErrors) {
  const Summary steady = Stream(ConformalConfig{}, 0, Steady);
  EXPECT_NEAR(steady.width, 2 * 1.645, 0.15);
  EXPECT_NEAR(steady.faded_coverage, 0.9, 0.02);
  EXPECT_LT(steady.unbounded, 0.01);
  const Summary better = Stream(ConformalConfig{}, 0, Better);
  EXPECT_LT(better.faded_width, better.width / 2);
  EXPECT_NEAR(better.radius, 1.645, 0.6);
}

/// The paper's algorithm with plain containers and std::exp; prompt labels.
class Textbook {
 public:
  Textbook(double target, size_t window) : a_(target), window_(window) {
    for (double gamma = 0.001; gamma < 0.2; gamma *= 2) experts_.push_back({gamma, target, 0.125});
    const double spread = (1 - a_) * (1 - a_) * a_ * a_ * a_ + a_ * a_ * (1 - a_) * (1 - a_) * (1 - a_);
    eta_ = std::sqrt(3.0 / 500 * (std::log(2 * 8 * 500) + 1) / spread);
  }
  double Level() const {
    double level = 0;
    for (const Expert& e : experts_) level += e.p * e.alpha;
    return level;
  }
  /// `part`: where in a step of the ranks the score counts, 0 .. 1.
  void Update(double score, double part) {
    const auto n = static_cast<double>(kept_.size());
    const auto above = static_cast<double>(
        std::count_if(kept_.begin(), kept_.end(), [score](double s) { return s > score; }));
    const double beta = (above + part) / (n + 1);
    double sum = 0;
    if (n > 0) {
      for (Expert& e : experts_) {
        const double loss = a_ * (beta - e.alpha) - std::min(0.0, beta - e.alpha);
        e.p *= std::exp(-eta_ * loss);
        sum += e.p;
      }
      for (Expert& e : experts_) {
        e.p = (1 - 1.0 / 1000) * e.p / sum + 1.0 / 1000 / 8;
        e.alpha += e.gamma * (a_ - (e.alpha >= beta ? 1 : 0));
      }
    }
    kept_.push_back(score);
    if (kept_.size() > window_) kept_.pop_front();
  }

 private:
  struct Expert {
    double gamma, alpha, p;
  };
  double a_, eta_;
  size_t window_;
  std::vector<Expert> experts_;
  std::deque<double> kept_;
};

TEST(Conformal, FollowsTheTextbook) {
  ConformalSection section(ConformalConfig{});
  Textbook textbook(0.1, 256);
  RandomState random = SeedRandom(4);
  uint64_t phase = 0;
  for (int i = 0; i < 5000; ++i) {
    const double error = static_cast<double>(static_cast<float>((i / 700 % 2 == 0 ? 1 : 3) * Normal(random)));
    section.part().UpdateValue(0, error, section.part().Issue(), 0, 1);
    if (i > 0) phase += 0x9e3779b97f4a7c15ULL;
    textbook.Update(std::fabs(error), static_cast<double>(phase >> 11) * 0x1p-53);
    // exp is cut short in the weights: the levels differ by a few thousandths of a deviation.
    ASSERT_NEAR(section.part().Read().level, textbook.Level(), 0.02) << i;
  }
}

TEST(Conformal, UnboundedIsSaidPlainly) {
  ConformalSection section(ConformalConfig{});
  Conformal conformal = section.part();
  EXPECT_EQ(conformal.Issue(), Conformal::kUnbounded);  // no score yet
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(Conformal::Unbounded(conformal.Issue())) << i;
    const auto outcome = conformal.UpdateValue(0, 1, conformal.Issue(), 0, 1);
    EXPECT_TRUE(outcome.unbounded && outcome.covered);
    EXPECT_EQ(outcome.width, 0);
  }
  EXPECT_FALSE(Conformal::Unbounded(conformal.Issue()));
  EXPECT_EQ(conformal.Read().unbounded, 1.0);
  EXPECT_EQ(std::bit_cast<uint64_t>(conformal.Read().width), kCanonicalNanBits);
  // Errors that grow without end: every score is beyond the window, the level falls to 0.
  bool unbounded = false;
  double error = 1;
  for (int i = 0; i < 200; ++i) {
    const double issued = conformal.Issue();
    unbounded = unbounded || Conformal::Unbounded(issued);
    error *= 1.5;
    conformal.UpdateValue(0, error, issued, 0, 1);
  }
  EXPECT_TRUE(unbounded);
  EXPECT_GT(conformal.Read().unbounded, 0.5);
  EXPECT_LT(conformal.Read().level, 0.05);
}

TEST(Conformal, SetsCoverAndShrinkWithTheConfidence) {
  for (const bool good : {false, true}) {
    ConformalSection section(ConformalConfig{});
    RandomState random = SeedRandom(3);
    for (int i = 0; i < 20000; ++i) {
      double p[4];
      double sum = 0;
      for (double& one : p) sum += one = 0.05 + std::pow(NextUniform(random), good ? 12 : 2);
      for (double& one : p) one /= sum;
      // Labels are drawn from the probabilities, a tenth of them from none.
      uint32_t actual = NextBelow(random, 4);
      double draw = NextUniform(random);
      if (NextBelow(random, 10) != 0) {
        for (actual = 0; actual < 3 && draw >= p[actual]; ++actual) draw -= p[actual];
      }
      const double issued = section.part().Issue();
      const uint64_t set = Conformal::Set(p, issued);
      const auto outcome = section.part().UpdateClass(p, actual, issued, 0, 1);
      ASSERT_EQ(outcome.covered, ((set >> actual) & 1) != 0);
      ASSERT_EQ(outcome.width, outcome.unbounded ? 0 : std::popcount(set));
      if (outcome.unbounded) {
        ASSERT_EQ(set, 15U);
      }
      for (uint32_t c = 0; c < 4 && !outcome.unbounded; ++c) {
        if (std::fabs(p[c] - (1 - issued)) < 1e-6) continue;
        ASSERT_EQ((set >> c) & 1, p[c] >= 1 - issued ? 1U : 0U);
      }
    }
    EXPECT_NEAR(section.part().Read().coverage, 0.9, 0.01);
    EXPECT_GT(section.part().Read().width, 1);
    EXPECT_LT(section.part().Read().width, 4);
  }
}

TEST(Conformal, TiesDoNotWindUpTheLevel) {
  // Nineteen of twenty scores are 0: the set cannot cover less than that, and must react when it gets worse.
  ConformalSection section(ConformalConfig{});
  RandomState random = SeedRandom(5);
  for (int i = 0; i < 20000; ++i) {
    const double error = NextUniform(random) < 0.95 ? 0 : 1 + NextUniform(random);
    section.part().UpdateValue(0, error, section.part().Issue(), 0, 1);
  }
  EXPECT_NEAR(section.part().Read().level, 0.1, 0.1);
  EXPECT_NEAR(section.part().Read().coverage, 0.95, 0.01);
  uint64_t missed = 0;
  for (int i = 0; i < 300; ++i) {
    missed += section.part().UpdateValue(0, 1 + NextUniform(random), section.part().Issue(), 0, 1).covered
                  ? 0U
                  : 1U;
  }
  EXPECT_LT(missed, 60U);
}

TEST(Conformal, WeightsCountAndZeroChangesNothing) {
  ConformalSection section(ConformalConfig{});
  Conformal conformal = section.part();
  for (int i = 0; i < 50; ++i) conformal.UpdateValue(0, i % 10, conformal.Issue(), 0, 1);
  const ConformalSection before = section;
  EXPECT_FALSE(conformal.UpdateValue(0, 100, 1, 0, 0).covered);
  EXPECT_TRUE(section == before);
  ConformalSection twice = section;
  conformal.UpdateValue(0, 100, 1, 0, 3);
  for (int i = 0; i < 3; ++i) twice.part().UpdateValue(0, 100, 1, 0, 1);
  EXPECT_DOUBLE_EQ(section.part().Read().coverage, twice.part().Read().coverage);
  EXPECT_DOUBLE_EQ(section.part().Read().width, twice.part().Read().width);
}

TEST(Conformal, HostileScoresStayFinite) {
  ConformalSection section(ConformalConfig{});
  RandomState random = SeedRandom(6);
  const double hostile[] = {1e30, 1.7e308, -1.7e308, 5e-324, 1e-40, 0.0, 0.0};
  for (int i = 0; i < 3000; ++i) {
    const double issued = section.part().Issue();
    ASSERT_TRUE(IsFinite(issued));
    section.part().UpdateValue(hostile[NextBelow(random, 7)], hostile[NextBelow(random, 7)], issued,
                               NextBelow(random, 3), 1e6 * NextUniform(random));
    if (i % 31 == 0) {
      ASSERT_EQ(section.Validate(), base::Status::kOk) << i;
    }
  }
  EXPECT_TRUE(IsFinite(section.part().Read().width));
}

TEST(Conformal, CopiesContinueIdenticallyAndDamageIsRefused) {
  ConformalConfig config;
  config.window = 32;
  ConformalSection section(config);
  RandomState random = SeedRandom(7);
  for (int i = 0; i < 100; ++i) section.part().UpdateValue(0, Normal(random), section.part().Issue(), 2, 1);
  ConformalSection copy = section;
  for (int i = 0; i < 100; ++i) {
    const double error = NextBelow(random, 3) == 0 ? 1 : Normal(random);
    for (ConformalSection* one : {&section, &copy})
      one->part().UpdateValue(0, error, one->part().Issue(), 0, 1);
  }
  EXPECT_TRUE(section == copy);
  const size_t refused = FlipEveryByte(section, [](ConformalSection& damaged) {
    for (int i = 0; i < 40; ++i) damaged.part().UpdateValue(0, i, damaged.part().Issue(), 1, 1);
    damaged.part().Read();
  });
  EXPECT_GT(refused, 32U * 8 * 3 - 10);  // of the scores, nearly every flip
  EXPECT_EQ(Conformal::StateBytes(ConformalConfig{}).value(), 240U + 2048);
  ConformalConfig bad[7];
  bad[0].coverage = 0.4;
  bad[1].coverage = 0.9999;
  bad[2].coverage = std::nan("");
  bad[3].window = 31;
  bad[4].window = 1025;
  bad[5].fading = 0;
  bad[6].coverage = 0.999, bad[6].window = 512;
  for (const ConformalConfig& one : bad) {
    EXPECT_EQ(Conformal::StateBytes(one).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::conformal_test
