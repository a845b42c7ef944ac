// Band energies against a discrete Fourier transform by its definition, sines of known power, units, turns,
// missing samples, damage.
#include "agent/learn/stages/band_energy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::band_energy_test {
namespace {

using BandSection = Section<BandEnergy, BandEnergyConfig>;
const std::array<uint16_t, 1> kFirst = {0};
constexpr double kPi = 3.14159265358979323846;
const float kMissing = CanonicalNanFloat();

std::vector<float> Pass(BandSection& section, std::vector<float> row, StageMode mode = StageMode::kLearn) {
  row.resize(BandEnergy::OutWidth(section.config()));
  section.part().Apply(mode, row.data());
  return row;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Mean squares of a window's bins 0 .. n / 2 by the definition; empty: too much is missing.
std::vector<double> Periodogram(const std::vector<float>& x) {
  const size_t n = x.size();
  double mean = 0;
  size_t present = 0;
  for (const float v : x) present += IsNan(v) ? 0U : 1U;
  if (2 * present < n) return {};
  for (const float v : x) mean += IsNan(v) ? 0 : static_cast<double>(v) / static_cast<double>(present);
  std::vector<double> power(n / 2 + 1);
  for (size_t k = 0; k <= n / 2; ++k) {
    double re = 0, im = 0;
    for (size_t i = 0; i < n; ++i) {
      if (IsNan(x[i])) continue;
      const double hann = 0.5 - 0.5 * std::cos(2 * kPi * static_cast<double>(i) / static_cast<double>(n));
      const double angle = 2 * kPi * static_cast<double>(i * k % n) / static_cast<double>(n);
      re += hann * (static_cast<double>(x[i]) - mean) * std::cos(angle);
      im -= hann * (static_cast<double>(x[i]) - mean) * std::sin(angle);
    }
    const double sides = k == 0 || k == n / 2 ? 1 : 2;
    power[k] = sides * (re * re + im * im) / (0.375 * static_cast<double>(n) * static_cast<double>(n));
  }
  return power;
}

float Stream(RandomState& random, int t) {
  if (NextUniform(random) < 0.05 || (t / 3000 % 4 == 2 && NextUniform(random) < 0.9)) return kMissing;
  const double tone = std::sin(2 * kPi * 0.11 * t) + 0.3 * std::sin(2 * kPi * 0.31 * t + 1);
  return static_cast<float>(50 + tone + 0.1 * NextUniform(random));
}

// Every transform of 100,000 samples for a short window; fewer for long ones.
void Compare(uint32_t window, uint32_t hop, int samples) {
  const uint32_t bands = window == 64 ? 32 : 5;
  std::vector<uint16_t> edges;
  for (uint32_t i = 0; i <= bands; ++i) edges.push_back(static_cast<uint16_t>(i * 32768 / bands));
  edges[0] = 65536 / 64;  // above the lowest bins
  if (bands == 32) {
    for (uint32_t i = 1; i <= bands; ++i) edges[i] = static_cast<uint16_t>(1024 * i + (i < bands ? 1 : 0));
  }
  BandSection section(BandEnergyConfig{1, kFirst, window, hop, bands, edges, BandScale::kEnergy});
  RandomState random = SeedRandom(window);
  std::vector<float> all;
  std::vector<float> expected_row(1 + bands, kMissing);
  int missing = 0;
  for (int t = 0; t < samples; ++t) {
    all.push_back(Stream(random, t));
    const std::vector<float> peek = Pass(section, {all.back()}, StageMode::kPeek);
    const std::vector<float> out =
        Pass(section, {all.back()}, t % 2 == 0 ? StageMode::kLearn : StageMode::kFrozen);
    ASSERT_TRUE(SameBits(peek, out));
    expected_row[0] = all.back();
    if (all.size() < window || all.size() % hop != 0) {
      ASSERT_TRUE(SameBits(out, expected_row)) << t;  // held
      continue;
    }
    const std::vector<double> power = Periodogram({all.end() - window, all.end()});
    expected_row = out;
    double total = 0;
    for (const double p : power) total += p;
    for (uint32_t b = 0; b < bands; ++b) {
      if (power.empty()) {
        ASSERT_EQ(std::bit_cast<uint32_t>(out[1 + b]), kCanonicalNanFloatBits);
        ++missing;
        continue;
      }
      double sum = 0;
      for (uint32_t k = 1; k <= window / 2; ++k) {
        const uint64_t at = uint64_t{k} * 65536;
        const bool above = at >= uint64_t{edges[b]} * window;
        const bool below = at < uint64_t{edges[b + 1]} * window || (b + 1 == bands && k == window / 2);
        if (above && below) sum += power[k];
      }
      ASSERT_NEAR(static_cast<double>(out[1 + b]), sum, 1e-6 * (sum + 0.01 * total)) << t << " band " << b;
    }
  }
  EXPECT_GT(missing, 0);
  EXPECT_EQ(section.Validate(), base::Status::kOk);
}

TEST(BandEnergy, MatchesTheDefinition) {
  Compare(64, 16, 100000);
  Compare(128, 128, 12000);
  Compare(256, 100, 12000);
  Compare(512, 511, 12000);
  Compare(1024, 1000, 12000);
}

TEST(BandEnergy, ASineGivesHalfItsSquareToItsBand) {
  for (const uint32_t window : {64U, 256U, 1024U}) {
    for (const double frequency : {0.1, 0.2501, 0.43}) {
      const std::array<uint16_t, 4> edges = {3277, 11000, 22000, 32768};
      BandSection energy(BandEnergyConfig{1, kFirst, window, 1, 3, edges, BandScale::kEnergy});
      BandSection rms(BandEnergyConfig{1, kFirst, window, 1, 3, edges, BandScale::kRms});
      BandSection log(BandEnergyConfig{1, kFirst, window, 1, 3, edges, BandScale::kLog});
      std::vector<float> e, r, l;
      for (uint32_t t = 0; t < 2 * window; ++t) {
        const float x = static_cast<float>(7 + 4 * std::sin(2 * kPi * frequency * t));
        e = Pass(energy, {x});
        r = Pass(rms, {x});
        l = Pass(log, {x});
      }
      const size_t band = frequency < 0.167 ? 0 : (frequency < 0.335 ? 1 : 2);
      EXPECT_NEAR(static_cast<double>(e[1 + band]), 8.0, 0.1);
      for (size_t i = 0; i < 3; ++i) {
        if (i != band) {
          EXPECT_LT(e[1 + i], 0.01F);
        }
        EXPECT_NEAR(static_cast<double>(r[1 + i]), std::sqrt(static_cast<double>(e[1 + i])), 1e-6);
        EXPECT_NEAR(static_cast<double>(l[1 + i]), std::log(static_cast<double>(e[1 + i])), 1e-5);
      }
    }
  }
}

// White noise: the bands together are its variance, whatever the edges.
TEST(BandEnergy, BandsTogetherAreTheVariance) {
  BandSection section(BandEnergyConfig{1, kFirst, 256, 256, 8, {}, BandScale::kEnergy});
  RandomState random = SeedRandom(4);
  double sum = 0;
  int transforms = 0;
  for (int t = 1; t <= 256 * 400; ++t) {
    const std::vector<float> out = Pass(section, {static_cast<float>(NextUniform(random) * 12)});
    if (t % 256 != 0) continue;
    for (size_t i = 1; i < out.size(); ++i) sum += static_cast<double>(out[i]);
    ++transforms;
  }
  EXPECT_NEAR(sum / transforms, 12.0, 0.3);
}

TEST(BandEnergy, EveryInputHasItsTurn) {
  std::vector<uint16_t> inputs;
  for (uint16_t i = 0; i < 10; ++i) inputs.push_back(i);
  for (const uint32_t hop : {1U, 3U, 4U, 16U}) {
    BandSection section(BandEnergyConfig{10, inputs, 64, hop, 1, {}});
    RandomState random = SeedRandom(5);
    std::vector<float> before;
    for (uint32_t samples = 1; samples <= 200; ++samples) {
      std::vector<float> row(10);
      for (float& x : row) x = static_cast<float>(NextUniform(random));
      const std::vector<float> out = Pass(section, row);
      uint32_t changed = 0;
      for (uint32_t i = 0; i < 10; ++i) {
        const bool turn = samples >= 64 && samples % hop == i % hop;
        const bool same = !before.empty() &&
                          std::bit_cast<uint32_t>(before[10 + i]) == std::bit_cast<uint32_t>(out[10 + i]);
        if (samples == 1) continue;
        EXPECT_EQ(!same, turn) << samples << " " << i;
        changed += turn ? 1U : 0U;
      }
      EXPECT_LE(changed, (10 + hop - 1) / hop);
      before = out;
    }
  }
}

TEST(BandEnergy, UnitsDoNotMatter) {
  for (const float scale : {0x1p-20F, 0x1p20F, 0x1p-60F, 1e-6F, 1e6F}) {
    BandSection plain(BandEnergyConfig{1, kFirst, 128, 7, 6, {}});
    BandSection scaled(BandEnergyConfig{1, kFirst, 128, 7, 6, {}});
    RandomState random = SeedRandom(6);
    for (int t = 0; t < 20000; ++t) {
      const float x = static_cast<float>(NextUniform(random) + 3);
      const std::vector<float> a = Pass(plain, {x});
      const std::vector<float> b = Pass(scaled, {x * scale});
      for (size_t i = 1; i < a.size(); ++i) {
        if (IsNan(a[i])) {
          ASSERT_TRUE(IsNan(b[i]));
        } else if (scale == 1e-6F || scale == 1e6F) {
          ASSERT_NEAR(a[i], b[i] / scale, 1e-6F);  // x * scale is rounded
        } else {
          ASSERT_EQ(a[i], b[i] / scale);  // a power of two changes no digit
        }
      }
    }
  }
}

TEST(BandEnergy, ConstantsHaveNoEnergy) {
  for (const BandScale scale : {BandScale::kRms, BandScale::kEnergy, BandScale::kLog}) {
    BandSection section(BandEnergyConfig{1, kFirst, 64, 1, 4, {}, scale});
    std::vector<float> out;
    for (int t = 0; t < 100; ++t) out = Pass(section, {t % 10 == 3 ? kMissing : 0.1F});
    for (size_t i = 1; i < out.size(); ++i) EXPECT_EQ(out[i], scale == BandScale::kLog ? -100.0F : 0.0F);
  }
}

TEST(BandEnergy, ExactBytes) {
  const std::array<uint16_t, 3> inputs = {0, 1, 2};
  // Header, 65 sines, 9 edges; per input 8 bands and 256 samples.
  EXPECT_EQ(*BandEnergy::StateBytes({3, inputs, 256, 64, 8, {}}), 16U + 528U + 32U + 3U * 1056U);
  EXPECT_EQ(*BandEnergy::StateBytes({3, inputs, 1024, 64, 32, {}}), 16U + 2064U + 80U + 3U * 4224U);
  EXPECT_EQ(BandEnergy::OutWidth({3, inputs, 256, 64, 8, {}}), 27U);
}

TEST(BandEnergy, HostileValuesCopiesResetAndDamage) {
  const std::array<uint16_t, 2> inputs = {0, 1};
  for (const BandScale scale : {BandScale::kRms, BandScale::kEnergy, BandScale::kLog}) {
    BandSection section(BandEnergyConfig{2, inputs, 64, 3, 4, {}, scale});
    BandSection copy = section;
    const std::array<float, 8> values = {1e30F, -1e30F, 1e-45F, -0.0F, 0.0F, kMissing, 3.0F, -1e-30F};
    RandomState random = SeedRandom(27);
    for (int t = 0; t < 5000; ++t) {
      const uint32_t among = t % 200 < 100 ? 8 : 3;  // also denormals next to nothing
      const std::vector<float> row = {values[NextBelow(random, among)], values[2 + NextBelow(random, 3)]};
      const std::vector<float> out = Pass(section, row);
      for (const float x : out) ASSERT_TRUE(IsFiniteOrMissing(x) && !(std::fabs(x) > kMaxMagnitude));
      ASSERT_EQ(section.Validate(), base::Status::kOk);
      if (t == 1000) copy = section;
      if (t > 1000) {
        ASSERT_TRUE(SameBits(out, Pass(copy, row)));
      }
    }
    EXPECT_TRUE(section == copy);
    const size_t refused = FlipEveryByte(section, [](BandSection& damaged) {
      for (int t = 0; t < 80; ++t) {
        for (const float x : Pass(damaged, {static_cast<float>(t % 7), 1})) ASSERT_TRUE(IsFiniteOrMissing(x));
      }
      ASSERT_EQ(damaged.Validate(), base::Status::kOk);
    });
    EXPECT_GT(refused, 3U * (8 + 17 * 8 + 5 * 2));
    BandSection again = section;
    section.part().Reset();
    BandSection fresh(section.config());
    for (int t = 0; t < 200; ++t) {
      const std::vector<float> row = {static_cast<float>(t % 9), static_cast<float>(t % 5)};
      ASSERT_TRUE(SameBits(Pass(section, row), Pass(fresh, row)));
    }
    EXPECT_TRUE(section == fresh);
    EXPECT_FALSE(section == again);
  }
}

TEST(BandEnergy, RefusesWhatDoesNotFit) {
  const std::array<uint16_t, 3> falling = {100, 90, 200};
  const std::array<uint16_t, 3> empty_band = {10000, 10001, 20000};
  const std::array<uint16_t, 3> beyond = {10000, 20000, 40000};
  const std::array<uint16_t, 3> fine = {10000, 20000, 32768};
  for (const BandEnergyConfig& bad :
       {BandEnergyConfig{1, {}}, BandEnergyConfig{1, kFirst, 32}, BandEnergyConfig{1, kFirst, 2048},
        BandEnergyConfig{1, kFirst, 100}, BandEnergyConfig{1, kFirst, 64, 0},
        BandEnergyConfig{1, kFirst, 64, 65}, BandEnergyConfig{1, kFirst, 64, 8, 0},
        BandEnergyConfig{1, kFirst, 64, 8, 33}, BandEnergyConfig{510, kFirst, 64, 8, 3},
        BandEnergyConfig{1, kFirst, 64, 8, 2, falling}, BandEnergyConfig{1, kFirst, 64, 8, 2, empty_band},
        BandEnergyConfig{1, kFirst, 64, 8, 2, beyond}, BandEnergyConfig{1, kFirst, 64, 8, 3, fine},
        BandEnergyConfig{1, kFirst, 64, 8, 2, fine, static_cast<BandScale>(3)}}) {
    EXPECT_EQ(BandEnergy::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
  EXPECT_TRUE(BandEnergy::StateBytes({1, kFirst, 64, 8, 2, fine}).ok());
  for (uint32_t window = 64; window <= 1024; window *= 2) {
    for (uint32_t bands = 1; bands <= 32; ++bands) {
      EXPECT_TRUE(BandEnergy::StateBytes({1, kFirst, window, 8, bands}).ok()) << window << " " << bands;
    }
  }
}

}  // namespace
}  // namespace dipper::learn::band_energy_test
