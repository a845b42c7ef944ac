// Robust clip against a textbook Hampel identifier over the same sample, outliers, level shifts, sparse and
// constant inputs, units, damage.
#include "agent/learn/stages/robust_clip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::robust_clip_test {
namespace {

using ClipSection = Section<RobustClip, RobustClipConfig>;
const std::array<uint16_t, 1> kFirst = {0};

float Pass(ClipSection& section, float x, StageMode mode = StageMode::kLearn) {
  section.part().Apply(mode, &x);
  return x;
}

double Gaussian(RandomState& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += NextUniform(random);
  return sum;
}

struct Range {
  double lower = -1e30, upper = 1e30;
};

/// Median +- limit * upper quartile of the distances that are not 0 / 1.15, by sorting.
Range Textbook(std::vector<double> sample, double limit) {
  if (sample.size() < 16) return {};
  const auto median = [](std::vector<double> v) {
    std::sort(v.begin(), v.end());
    const size_t n = v.size();
    return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
  };
  const double centre = median(sample);
  std::vector<double> distances;
  for (const double x : sample) {
    if (x != centre) distances.push_back(std::fabs(x - centre));
  }
  if (distances.size() < 8) return {};
  std::sort(distances.begin(), distances.end());
  const double reach = limit / 1.15034938037600817 * distances[(distances.size() - 1) * 3 / 4];
  return {centre - reach, centre + reach};
}

// The smallest window has blocks of one value: the sample is then exactly the last 64 present values.
TEST(RobustClip, MatchesTheTextbook) {
  ClipSection section(RobustClipConfig{1, kFirst, 2.5, 64});
  RandomState random = SeedRandom(21);
  std::vector<double> last;
  int cut = 0;
  for (int t = 0; t < 100000; ++t) {
    const double u = NextUniform(random);
    double value = Gaussian(random) + 5 * std::sin(t / 3000.0);
    if (t / 1000 % 5 == 3) value = std::floor(value);  // ties
    if (t / 1000 % 7 == 5) value = u < 0.4 ? value : 0;
    if (u < 0.02) value *= 1e6;
    const float x = u > 0.9 ? CanonicalNanFloat() : static_cast<float>(value);
    const float peek = Pass(section, x, StageMode::kPeek);
    const float y = Pass(section, x);
    ASSERT_EQ(std::bit_cast<uint32_t>(peek), std::bit_cast<uint32_t>(y));
    if (IsNan(x)) {
      ASSERT_TRUE(IsNan(y));
      continue;
    }
    const Range range = Textbook(last, 2.5);
    const double expected = std::clamp(static_cast<double>(x), range.lower, range.upper);
    ASSERT_NEAR(static_cast<double>(y), expected, 1e-6 * (1 + std::fabs(expected))) << t;
    cut += x != y ? 1 : 0;
    last.push_back(static_cast<double>(x));
    if (last.size() > 64) last.erase(last.begin());
  }
  EXPECT_GT(cut, 2000);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(RobustClip, GaussianPassesAndOutliersAreCut) {
  ClipSection section(RobustClipConfig{1, kFirst});
  RandomState random = SeedRandom(22);
  int touched = 0;
  for (int t = 0; t < 100000; ++t) {
    const bool wild = t > 100 && NextUniform(random) < 0.08;
    const float x = static_cast<float>(wild ? 1e9 : 100 + Gaussian(random));
    const float y = Pass(section, x);
    if (wild) {
      ASSERT_LT(y, 125.0F);
      ASSERT_GT(y, 102.0F);
    } else {
      touched += x != y ? 1 : 0;
    }
  }
  EXPECT_LT(touched, 20);
}

TEST(RobustClip, FollowsALevelShiftWithinTheWindow) {
  for (const uint32_t window : {64U, 256U, 4096U}) {
    ClipSection section(RobustClipConfig{1, kFirst, 6, window});
    RandomState random = SeedRandom(23);
    for (int t = 0; t < 20000; ++t) Pass(section, static_cast<float>(Gaussian(random)));
    uint32_t delay = 0;
    while (delay < 2 * window && Pass(section, 100.0F + static_cast<float>(Gaussian(random))) < 95.0F)
      ++delay;
    EXPECT_GT(delay, window / 8);
    EXPECT_LT(delay, window / 2);
  }
}

TEST(RobustClip, ConstantsFlagsAndSparseInputsKeepTheirValues) {
  ClipSection constant(RobustClipConfig{1, kFirst});
  ClipSection flag(RobustClipConfig{1, kFirst});
  ClipSection rain(RobustClipConfig{1, kFirst});
  RandomState random = SeedRandom(24);
  for (int t = 0; t < 50000; ++t) {
    ASSERT_EQ(Pass(constant, 3.25F), 3.25F);
    const float on = NextUniform(random) < 0.03 ? 1.0F : 0.0F;
    ASSERT_EQ(Pass(flag, on), on);
    // Nine of ten values are 0; the others differ: neither they nor the zeros are cut.
    const float fall = NextUniform(random) < 0.9 ? 0.0F : static_cast<float>(1 + NextUniform(random));
    ASSERT_EQ(Pass(rain, fall), fall);
  }
  EXPECT_EQ(Pass(constant, 4.0F), 4.0F);
}

// A steady frequency whose period divides the block length would always show a fixed grid the same phase.
TEST(RobustClip, PeriodsDoNotResonateWithTheSample) {
  ClipSection section(RobustClipConfig{1, kFirst, 3, 4096});
  int cut = 0;
  for (int t = 0; t < 100000; ++t) {
    const float x = static_cast<float>(std::sin(2 * 3.14159265358979 * (t % 64) / 64.0));
    const bool touched = Pass(section, x) != x;
    cut += touched && t >= 100 ? 1 : 0;  // the first values are less than two periods
  }
  EXPECT_EQ(cut, 0);
}

TEST(RobustClip, UnitsDoNotMatter) {
  for (const float scale : {1e-6F, 1e6F, 0x1p-20F}) {
    ClipSection plain(RobustClipConfig{1, kFirst, 2});
    ClipSection scaled(RobustClipConfig{1, kFirst, 2});
    RandomState random = SeedRandom(25);
    for (int t = 0; t < 100000; ++t) {
      const float x = static_cast<float>(Gaussian(random));
      const float a = Pass(plain, x);
      const float b = Pass(scaled, x * scale) / scale;
      ASSERT_NEAR(a, b, 2e-6F * (1 + std::fabs(a)));
    }
  }
}

TEST(RobustClip, OnlyLearningMovesTheSample) {
  ClipSection section(RobustClipConfig{1, kFirst, 3, 64});
  RandomState random = SeedRandom(26);
  for (int t = 0; t < 1000; ++t) Pass(section, static_cast<float>(Gaussian(random)));
  const ClipSection before = section;
  for (int t = 0; t < 1000; ++t) {
    const float x = static_cast<float>(10 * Gaussian(random));
    const float frozen = Pass(section, x, StageMode::kFrozen);
    EXPECT_EQ(frozen, Pass(section, x, StageMode::kPeek));
    EXPECT_LT(std::fabs(frozen), 7.0F);
  }
  Pass(section, CanonicalNanFloat());
  EXPECT_TRUE(section == before);
}

TEST(RobustClip, HostileValuesCopiesAndDamage) {
  const std::array<uint16_t, 2> inputs = {0, 2};
  ClipSection section(RobustClipConfig{3, inputs, 6, 128});
  ASSERT_EQ(section.bytes().size(), 2U * 368U);
  ClipSection copy = section;
  const std::array<float, 8> values = {1e30F, -1e30F, 1e-45F, -0.0F, 0.0F, CanonicalNanFloat(),
                                       3.0F,  -1e-30F};
  RandomState random = SeedRandom(27);
  for (int t = 0; t < 5000; ++t) {
    std::array<float, 3> row{};
    for (float& x : row) x = values[NextBelow(random, 8)];
    std::array<float, 3> other = row;
    section.part().Apply(StageMode::kLearn, row.data());
    ASSERT_EQ(std::bit_cast<uint32_t>(row[1]), std::bit_cast<uint32_t>(other[1]));
    for (const float x : row) ASSERT_TRUE(IsFiniteOrMissing(x) && !(std::fabs(x) > kMaxMagnitude));
    ASSERT_EQ(section.Validate(), base::Status::kOk);
    if (t == 1000) copy = section;
    if (t > 1000) {
      copy.part().Apply(StageMode::kLearn, other.data());
      ASSERT_EQ(std::bit_cast<uint32_t>(row[0]), std::bit_cast<uint32_t>(other[0]));
    }
  }
  EXPECT_TRUE(section == copy);
  const size_t refused = FlipEveryByte(section, [](ClipSection& damaged) {
    for (int t = 0; t < 300; ++t) {
      std::array<float, 3> row = {static_cast<float>(t), 0, 1};
      damaged.part().Apply(StageMode::kLearn, row.data());
      ASSERT_TRUE(IsFinite(row[0]));
    }
    ASSERT_EQ(damaged.Validate(), base::Status::kOk);
  });
  EXPECT_GT(refused, 2U * 300U);
  ClipSection young(RobustClipConfig{3, inputs, 6, 128});
  FlipEveryByte(young, [](ClipSection& damaged) {
    std::array<float, 3> row = {1, 0, 1};
    for (int t = 0; t < 300; ++t) damaged.part().Apply(StageMode::kLearn, row.data());
  });
}

TEST(RobustClip, RefusesWhatDoesNotFit) {
  const std::array<uint16_t, 2> twice = {0, 0};
  for (const RobustClipConfig& bad :
       {RobustClipConfig{1, {}}, RobustClipConfig{1, twice}, RobustClipConfig{0, kFirst},
        RobustClipConfig{1, kFirst, 0.5}, RobustClipConfig{1, kFirst, std::nan("")},
        RobustClipConfig{1, kFirst, 2e6}, RobustClipConfig{1, kFirst, 6, 63},
        RobustClipConfig{1, kFirst, 6, (1U << 24) + 1}}) {
    EXPECT_EQ(RobustClip::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
  EXPECT_EQ(RobustClip::OutWidth({7, kFirst}), 7U);
}

}  // namespace
}  // namespace dipper::learn::robust_clip_test
