// Rolling statistics against sums over the stored window in long double, over every statistic and many window
// lengths, with missing values, wild values that must leave no trace, units, damage.
#include "agent/learn/stages/rolling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <vector>

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::rolling_test {
namespace {

using RollingSection = Section<Rolling, RollingConfig>;
const std::array<uint16_t, 1> kFirst = {0};
const std::array<uint16_t, 12> kAll = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

std::vector<float> Pass(RollingSection& section, std::vector<float> row, StageMode mode = StageMode::kLearn) {
  row.resize(Rolling::OutWidth(section.config()));
  section.part().Apply(mode, row.data());
  return row;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Every statistic as its definition says; NaN: missing.
std::array<double, kRollingStatistics> Textbook(const std::deque<float>& window) {
  std::array<double, kRollingStatistics> s;
  s.fill(std::nan(""));
  std::vector<long double> v;
  for (const float x : window) {
    if (!IsNan(x)) v.push_back(x);
  }
  if (v.empty()) return s;
  const long double n = static_cast<long double>(v.size());
  long double mean = 0, square = 0, m2 = 0, m3 = 0, m4 = 0, peak = 0;
  for (const long double x : v) mean += x / n;
  for (const long double x : v) {
    const long double d = x - mean;
    square += x * x / n;
    m2 += d * d / n;
    m3 += d * d * d / n;
    m4 += d * d * d * d / n;
    peak = std::max(peak, std::fabs(x));
  }
  size_t crossings = 0;
  for (size_t i = 1; i < v.size(); ++i) crossings += (v[i] < 0) != (v[i - 1] < 0) ? 1U : 0U;
  s[0] = static_cast<double>(mean);
  s[4] = static_cast<double>(std::sqrt(square));
  if (square > 0) s[6] = static_cast<double>(peak / std::sqrt(square));
  if (v.size() > 1) s[1] = static_cast<double>(std::sqrt(m2));
  if (v.size() > 1) s[9] = static_cast<double>(crossings) / static_cast<double>(n - 1);
  if (!IsNan(window.back())) s[10] = static_cast<double>(static_cast<long double>(window.back()) - mean);
  std::sort(v.begin(), v.end());
  s[2] = static_cast<double>(v.front());
  s[3] = static_cast<double>(v.back());
  s[5] = static_cast<double>(v.back() - v.front());
  if (v.front() < v.back()) {
    s[7] = static_cast<double>(m4 / (m2 * m2));
    s[8] = static_cast<double>(m3 / (m2 * std::sqrt(m2)));
  }
  const size_t half = v.size() / 2;
  s[11] = static_cast<double>(v.size() % 2 == 1 ? v[half] : (v[half - 1] + v[half]) / 2);
  return s;
}

void ExpectNear(float value, double expected, double unit, size_t which, int t) {
  if (std::isnan(expected)) {
    ASSERT_EQ(std::bit_cast<uint32_t>(value), kCanonicalNanFloatBits) << which << " " << t;
    return;
  }
  const double cut = std::clamp(expected, -1e30, 1e30);
  ASSERT_NEAR(static_cast<double>(value), cut, 2e-7 * std::fabs(cut) + 1e-12 * unit) << which << " " << t;
}

// Noise, a steep trend, an offset a thousand times the variation, constants, and one wild value per phase.
float Stream(RandomState& random, int t) {
  const double noise = NextUniform(random) + NextUniform(random) - 1;
  if (NextUniform(random) < 0.1) return CanonicalNanFloat();
  if (t % 5000 == 2500) return 1e12F;
  switch (t / 1000 % 5) {
    case 0:
      return static_cast<float>(noise);
    case 1:
      return static_cast<float>(noise + 0.01 * (t % 1000));
    case 2:
      return static_cast<float>(noise + 1000);
    case 3:
      return t % 1000 < 500 ? 0.1F : CanonicalNanFloat();
    default:
      return static_cast<float>(noise * noise * noise * 1e-3);
  }
}

void Compare(uint32_t window, int samples, int every) {
  RollingSection section(RollingConfig{1, kFirst, kAll, window});
  RandomState random = SeedRandom(window);
  std::deque<float> last;
  for (int t = 0; t < samples; ++t) {
    const float x = Stream(random, t);
    last.push_back(x);
    if (last.size() > window) last.pop_front();
    const bool check = t % every == 0 || t < 200;
    const std::vector<float> peek = check ? Pass(section, {x}, StageMode::kPeek) : std::vector<float>();
    const std::vector<float> out = Pass(section, {x}, t % 3 == 0 ? StageMode::kFrozen : StageMode::kLearn);
    if (!check) continue;
    ASSERT_TRUE(SameBits(peek, out)) << t;
    const std::array<double, kRollingStatistics> expected = Textbook(last);
    double unit = 0;
    for (const float v : last) unit = IsNan(v) ? unit : std::max(unit, std::fabs(static_cast<double>(v)));
    for (size_t i = 0; i < kAll.size(); ++i) {
      // Third and fourth moments: float32 inputs far from 0 leave few digits to a nearly constant window.
      const double tolerance = i == 7 || i == 8 ? 1e6 : unit;
      ASSERT_NO_FATAL_FAILURE(ExpectNear(out[1 + i], expected[i], tolerance, i, t));
    }
  }
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(Rolling, MatchesTheTextbookOverAHundredThousandSamples) { Compare(48, 100000, 1); }

TEST(Rolling, MatchesTheTextbookForManyWindows) {
  for (const uint32_t window : {2U, 3U, 4U, 5U, 7U, 8U, 9U, 16U, 17U, 63U, 64U, 65U})
    Compare(window, 12000, 1);
  for (const uint32_t window : {255U, 1000U, 1440U, 4095U, 4096U}) Compare(window, 30000, 37);
}

// The windows after a wild value are those of a stream without it, bit for bit, as soon as it has left.
TEST(Rolling, AWildValueLeavesNoTrace) {
  for (const uint32_t window : {10U, 48U, 100U}) {
    RollingSection clean(RollingConfig{1, kFirst, kAll, window});
    RollingSection wild(RollingConfig{1, kFirst, kAll, window});
    RandomState random = SeedRandom(5);
    for (uint32_t t = 0; t < 20 * window; ++t) {
      const float x = static_cast<float>(NextUniform(random));
      const std::vector<float> a = Pass(clean, {x});
      const std::vector<float> b = Pass(wild, {t == 5 * window + 3 ? 1e30F : x});
      if (t >= 5 * window + 3 && t < 6 * window + 3) continue;
      ASSERT_TRUE(SameBits(a, b)) << t;
    }
    EXPECT_TRUE(clean == wild);
  }
}

TEST(Rolling, DeviationFromTheSeason) {
  const std::array<uint16_t, 1> deviation = {10};
  RollingSection section(RollingConfig{1, kFirst, deviation, 48});
  for (int t = 0; t < 1000; ++t) {
    const double season = std::sin(2 * 3.14159265358979 * t / 48);
    const float y = Pass(section, {static_cast<float>(500 + season)})[1];
    if (t >= 47) {
      ASSERT_NEAR(static_cast<double>(y), season, 1e-4);
    }
  }
}

TEST(Rolling, OrderOfInputsAndStatistics) {
  const std::array<uint16_t, 2> inputs = {0, 2};
  const std::array<uint16_t, 3> statistics = {3, 0, 2};  // max, mean, min
  RollingSection section(RollingConfig{3, inputs, statistics, 3});
  Pass(section, {1, 7, 10});
  Pass(section, {4, 7, 20});
  EXPECT_EQ(Pass(section, {1, 7, 60}), (std::vector<float>{1, 7, 60, 4, 2, 1, 60, 30, 10}));
  EXPECT_EQ(Pass(section, {1, 7, 10}), (std::vector<float>{1, 7, 10, 4, 2, 1, 60, 30, 10}));
  EXPECT_EQ(Pass(section, {1, 7, 11}), (std::vector<float>{1, 7, 11, 1, 1, 1, 60, 27, 10}));
}

TEST(Rolling, MissingUntilThereIsEnough) {
  RollingSection section(RollingConfig{1, kFirst, kAll, 4});
  for (const float x : Pass(section, {CanonicalNanFloat()})) EXPECT_TRUE(IsNan(x));
  const std::vector<float> one = Pass(section, {2});
  for (const size_t i : {1U, 7U, 8U, 9U}) EXPECT_TRUE(IsNan(one[1 + i]));
  for (const size_t i : {0U, 2U, 3U, 4U, 11U}) EXPECT_EQ(one[1 + i], 2.0F);
  EXPECT_EQ(one[1 + 6], 1.0F);
  for (int t = 0; t < 3; ++t) Pass(section, {CanonicalNanFloat()});
  for (const float x : Pass(section, {CanonicalNanFloat()})) EXPECT_TRUE(IsNan(x));
}

TEST(Rolling, UnitsDoNotMatter) {
  for (const double scale : {1e-6, 1e6, 0x1p40}) {
    RollingSection plain(RollingConfig{1, kFirst, kAll, 100});
    RollingSection scaled(RollingConfig{1, kFirst, kAll, 100});
    RandomState random = SeedRandom(6);
    for (int t = 0; t < 20000; ++t) {
      const float x = static_cast<float>(NextUniform(random) - 0.4);
      const std::vector<float> a = Pass(plain, {x});
      const std::vector<float> b = Pass(scaled, {static_cast<float>(static_cast<double>(x) * scale)});
      for (const uint16_t i : kAll) {
        if (IsNan(a[1 + i])) continue;
        const double factor = i >= 6 && i <= 9 ? 1.0 : scale;  // those without a unit
        const double back = static_cast<double>(b[1 + i]) / factor;
        ASSERT_NEAR(back, static_cast<double>(a[1 + i]), 2e-6 * (0.1 + std::fabs(back))) << t << " " << i;
      }
    }
  }
}

TEST(Rolling, ExactBytes) {
  const std::array<uint16_t, 3> inputs = {0, 1, 2};
  const std::array<uint16_t, 1> mean = {0};
  const std::array<uint16_t, 2> deviation = {1, 0};
  const std::array<uint16_t, 2> kurtosis = {7, 0};
  // Window 48: chunks of 8 samples, 6 of them: 2 + 6 + 8 nodes.
  EXPECT_EQ(*Rolling::StateBytes({3, inputs, mean, 48}), 16U + 3 * (16 * 24 + 48 * 4));
  EXPECT_EQ(*Rolling::StateBytes({3, inputs, deviation, 48}), 16U + 3 * (16 * 32 + 48 * 4));
  EXPECT_EQ(*Rolling::StateBytes({3, inputs, kurtosis, 48}), 16U + 3 * (16 * 48 + 48 * 4));
  EXPECT_EQ(*Rolling::StateBytes({3, inputs, kAll, 48}), 16U + 3 * (16 * 48 + 2 * 48 * 4 + 16));
  EXPECT_EQ(*Rolling::StateBytes({1, kFirst, mean, 4096}), 16U + (130 * 24 + 4096 * 4));
  EXPECT_EQ(Rolling::OutWidth({3, inputs, kAll, 48}), 39U);
}

TEST(Rolling, HostileValuesCopiesResetAndDamage) {
  const std::array<uint16_t, 2> inputs = {0, 1};
  for (const uint32_t window : {5U, 16U, 40U}) {
    RollingSection section(RollingConfig{2, inputs, kAll, window});
    RollingSection copy = section;
    const RollingSection fresh = section;
    const std::array<float, 8> values = {1e30F, -1e30F, 1e-45F, -0.0F, 0.0F, CanonicalNanFloat(),
                                         3.0F,  -1e-30F};
    RandomState random = SeedRandom(27);
    for (int t = 0; t < 5003; ++t) {
      const std::vector<float> row = {values[NextBelow(random, 8)], values[NextBelow(random, 8)]};
      const std::vector<float> out = Pass(section, row);
      for (const float x : out) ASSERT_TRUE(IsFiniteOrMissing(x) && !(std::fabs(x) > kMaxMagnitude));
      if (t % 7 == 0) {
        ASSERT_EQ(section.Validate(), base::Status::kOk);
      }
      if (t == 1000) copy = section;
      if (t > 1000) {
        ASSERT_TRUE(SameBits(out, Pass(copy, row)));
      }
    }
    EXPECT_TRUE(section == copy);
    const size_t refused = FlipEveryByte(section, [](RollingSection& damaged) {
      for (int t = 0; t < 100; ++t) {
        for (const float x : Pass(damaged, {static_cast<float>(t % 7), CanonicalNanFloat()})) {
          ASSERT_TRUE(IsFiniteOrMissing(x));
        }
        ASSERT_EQ(damaged.Validate(), base::Status::kOk);
      }
    });
    // Every number follows from the ring; only a denormal beside 1e30 may change unnoticed.
    EXPECT_GT(100 * refused, 99 * 3 * section.bytes().size());
    section.part().Reset();
    EXPECT_TRUE(section == fresh);
    Pass(section, {1, 2});
    FlipEveryByte(section, [](RollingSection& damaged) {
      for (int t = 0; t < 100; ++t) Pass(damaged, {static_cast<float>(t % 7), 1});
    });
  }
}

TEST(Rolling, RefusesWhatDoesNotFit) {
  const std::array<uint16_t, 2> twice = {1, 1};
  const std::array<uint16_t, 1> unknown = {kRollingStatistics};
  const std::array<uint16_t, 2> two = {0, 1};
  for (const RollingConfig& bad : {RollingConfig{1, {}, kAll, 10}, RollingConfig{1, kFirst, {}, 10},
                                   RollingConfig{1, kFirst, twice, 10}, RollingConfig{1, kFirst, unknown, 10},
                                   RollingConfig{1, kFirst, kAll, 1}, RollingConfig{1, kFirst, kAll, 4097},
                                   RollingConfig{1, two, kAll, 10}, RollingConfig{501, kFirst, kAll, 10}}) {
    EXPECT_EQ(Rolling::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::rolling_test
