// Imputer against textbook recursions, flags, categorical inputs, modes of a pass, damage.
#include "agent/learn/stages/imputer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::imputer_test {
namespace {

using ImputerSection = Section<Imputer, ImputerConfig>;

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> Constant(const ImputerConfig& config, std::vector<float> row) {
  row.resize(Imputer::OutWidth(config));
  Imputer(config, {}).Apply(StageMode::kLearn, row.data());
  return row;
}

std::vector<float> Passed(ImputerSection& section, std::vector<float> row,
                          StageMode mode = StageMode::kLearn) {
  row.resize(Imputer::OutWidth(section.config()));
  section.part().Apply(mode, row.data());
  return row;
}

float Draw(RandomState& random, double missing) {
  return NextUniform(random) < missing ? CanonicalNanFloat()
                                       : static_cast<float>(NextUniform(random) * 8 - 3);
}

const std::array<uint16_t, 3> kInputs = {0, 1, 3};
const float kMissing = CanonicalNanFloat();

TEST(Imputer, MatchesTheTextbook) {
  for (const ImputerMode mode : {ImputerMode::kLast, ImputerMode::kMean}) {
    for (const double decay : {0.0, 0.99}) {
      const ImputerConfig config{4, kInputs, {}, mode, -7, decay, true};
      ImputerSection section(config);
      RandomState random = SeedRandom(11);
      std::array<double, 3> last{-7, -7, -7};
      std::array<double, 3> mean{};
      std::array<double, 3> count{};
      for (int t = 0; t < 100000; ++t) {
        std::vector<float> row(4);
        for (float& x : row) x = Draw(random, 0.3);
        const std::vector<float> peek = Passed(section, row, StageMode::kPeek);
        const std::vector<float> out = Passed(section, row);
        ASSERT_TRUE(SameBits(peek, out));
        ASSERT_EQ(out.size(), 7U);
        ASSERT_EQ(std::bit_cast<uint32_t>(out[2]), std::bit_cast<uint32_t>(row[2]));  // not selected
        for (size_t i = 0; i < 3; ++i) {
          const float x = row[kInputs[i]];
          const float y = out[kInputs[i]];
          ASSERT_EQ(out[4 + i], IsNan(x) ? 1.0F : 0.0F);
          if (!IsNan(x)) {
            ASSERT_EQ(y, x);
            last[i] = static_cast<double>(x);
            count[i] += 1;
            const double rate = decay > 0 ? std::max(1 / count[i], 1 - decay) : 1 / count[i];
            mean[i] = mean[i] * (1 - rate) + rate * last[i];
          } else if (mode == ImputerMode::kLast) {
            ASSERT_EQ(static_cast<double>(y), last[i]);
          } else {
            ASSERT_NEAR(static_cast<double>(y), count[i] > 0 ? mean[i] : -7, 1e-6);
          }
        }
      }
      EXPECT_EQ(section.Validate(), base::Status::kOk);
    }
  }
}

TEST(Imputer, AConstantNeedsNoState) {
  const ImputerConfig config{4, kInputs, {}, ImputerMode::kConstant, -7, 0, true};
  EXPECT_EQ(Imputer::Create(config, {}), base::Status::kOk);
  EXPECT_EQ(Imputer::Validate(config, {}), base::Status::kOk);
  EXPECT_EQ(Constant(config, {kMissing, 2, 3, kMissing}), (std::vector<float>{-7, 2, 3, -7, 1, 0, 1}));
}

TEST(Imputer, ExactBytes) {
  EXPECT_EQ(*Imputer::StateBytes({4, kInputs, {}, ImputerMode::kLast}), 16U);
  EXPECT_EQ(*Imputer::StateBytes({4, kInputs, {}, ImputerMode::kMean}), 48U);
  EXPECT_EQ(*Imputer::StateBytes({4, kInputs, {}, ImputerMode::kConstant}), 0U);
  EXPECT_EQ(Imputer::OutWidth({4, kInputs, {}, ImputerMode::kConstant}), 4U);
}

TEST(Imputer, FrozenAdvancesTheLastValueButNotTheMean) {
  ImputerSection last(ImputerConfig{4, kInputs, {}, ImputerMode::kLast, 5});
  Passed(last, {1, 1, 1, 1});
  Passed(last, {2, 2, 2, 2}, StageMode::kFrozen);
  Passed(last, {3, 3, 3, 3}, StageMode::kPeek);
  EXPECT_EQ(Passed(last, {kMissing, 9, 9, 9})[0], 2.0F);
  last.part().Reset();
  EXPECT_EQ(Passed(last, {kMissing, 9, 9, 9})[0], 5.0F);

  ImputerSection mean(ImputerConfig{4, kInputs, {}, ImputerMode::kMean, 5});
  Passed(mean, {1, 1, 1, 1});
  const ImputerSection before = mean;
  Passed(mean, {2, 2, 2, 2}, StageMode::kFrozen);
  Passed(mean, {3, 3, 3, 3}, StageMode::kPeek);
  mean.part().Reset();
  EXPECT_TRUE(mean == before);
  EXPECT_EQ(Passed(mean, {kMissing, 9, 9, 9}, StageMode::kFrozen)[0], 1.0F);
}

TEST(Imputer, UnitsDoNotMatter) {
  for (const ImputerMode mode : {ImputerMode::kLast, ImputerMode::kMean}) {
    for (const float scale : {1e-6F, 1e6F, 0x1p-20F}) {
      ImputerSection plain(ImputerConfig{4, kInputs, {}, mode});
      ImputerSection scaled(ImputerConfig{4, kInputs, {}, mode});
      RandomState random = SeedRandom(12);
      for (int t = 0; t < 10000; ++t) {
        std::vector<float> row(4);
        for (float& x : row) x = Draw(random, 0.3);
        std::vector<float> other = row;
        for (float& x : other) x = IsNan(x) ? x : x * scale;
        const std::vector<float> a = Passed(plain, row);
        const std::vector<float> b = Passed(scaled, other);
        for (size_t i = 0; i < 2; ++i) ASSERT_NEAR(a[i], b[i] / scale, 1e-5F);
      }
    }
  }
}

TEST(Imputer, CategoricalInputs) {
  const std::array<uint16_t, 3> categories = {4, 0, 2};
  ImputerSection section(ImputerConfig{4, kInputs, categories, ImputerMode::kLast, 1});
  EXPECT_EQ(Passed(section, {kMissing, kMissing, 0, kMissing}), (std::vector<float>{1, 1, 0, 1}));
  EXPECT_EQ(Passed(section, {4, 2.5F, 0, 2}), (std::vector<float>{4, 2.5F, 0, 2}));
  EXPECT_EQ(Passed(section, {kMissing, kMissing, 0, kMissing}), (std::vector<float>{4, 2.5F, 0, 2}));
  EXPECT_EQ(section.Validate(), base::Status::kOk);
  for (const float wrong : {5.0F, -1.0F, 0.5F, 1e30F}) {
    ImputerSection damaged = section;
    std::memcpy(damaged.bytes_mutable().data(), &wrong, sizeof wrong);
    EXPECT_EQ(damaged.Validate(), base::Status::kDataLoss);
  }
  using M = ImputerMode;
  for (const ImputerConfig& bad : {ImputerConfig{4, kInputs, categories, M::kMean, 1},
                                   ImputerConfig{4, kInputs, categories, M::kConstant, 3},
                                   ImputerConfig{4, kInputs, categories, M::kConstant, 0.5}}) {
    EXPECT_EQ(Imputer::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

TEST(Imputer, HostileValuesAndCopies) {
  for (const ImputerMode mode : {ImputerMode::kLast, ImputerMode::kMean}) {
    ImputerSection section(ImputerConfig{4, kInputs, {}, mode, 0, 0.9, true});
    ImputerSection copy = section;
    RandomState random = SeedRandom(13);
    const std::array<float, 6> values = {1e30F, -1e30F, 1e-45F, -0.0F, kMissing, 3.0F};
    for (int t = 0; t < 20000; ++t) {
      std::vector<float> row(4);
      for (float& x : row) x = values[NextBelow(random, 6)];
      const std::vector<float> out = Passed(section, row);
      for (const size_t i : {0U, 1U, 3U, 4U, 5U, 6U}) ASSERT_LE(std::fabs(out[i]), 1e30F);
      if (t == 5000) copy = section;
      if (t > 5000) {
        ASSERT_TRUE(SameBits(out, Passed(copy, row)));
      }
      ASSERT_EQ(section.Validate(), base::Status::kOk);
    }
    EXPECT_TRUE(section == copy);
    const size_t refused = FlipEveryByte(section, [](ImputerSection& damaged) {
      const std::vector<float> out = Passed(damaged, {kMissing, 1, kMissing, kMissing});
      EXPECT_TRUE(IsFinite(out[0]));
    });
    EXPECT_GT(refused, mode == ImputerMode::kLast ? 6U : 30U);
  }
}

TEST(Imputer, RefusesWhatDoesNotFit) {
  using M = ImputerMode;
  const std::array<uint16_t, 2> two = {0, 0};
  const std::array<uint16_t, 2> beyond = {0, 9};
  for (const ImputerConfig& bad :
       {ImputerConfig{4, {}, {}, M::kLast}, ImputerConfig{4, two, {}, M::kLast},
        ImputerConfig{4, beyond, {}, M::kLast}, ImputerConfig{4, kInputs, two, M::kLast},
        ImputerConfig{4, kInputs, {}, M::kLast, 1e31}, ImputerConfig{4, kInputs, {}, M::kLast, std::nan("")},
        ImputerConfig{4, kInputs, {}, M::kMean, 0, 1.0},
        ImputerConfig{510, kInputs, {}, M::kMean, 0, 0, true},
        ImputerConfig{4, kInputs, {}, static_cast<M>(3)}}) {
    EXPECT_EQ(Imputer::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dipper::learn::imputer_test
