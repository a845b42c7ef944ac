// Interactions against nested loops, order, missing sides, cutting, refused configurations.
#include "agent/learn/stages/interactions.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "agent/learn/image/limits.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::interactions_test {
namespace {

std::vector<float> Passed(const InteractionsConfig& config, std::vector<float> row, StageMode mode) {
  row.resize(Interactions::OutWidth(config));
  Interactions(config, {}).Apply(mode, row.data());
  return row;
}

TEST(Interactions, OrderAndWidth) {
  const std::array<uint16_t, 3> inputs = {0, 2, 3};
  const InteractionsConfig pairs{4, inputs, false};
  EXPECT_EQ(Passed(pairs, {2, 100, 3, 5}, StageMode::kLearn), (std::vector<float>{2, 100, 3, 5, 6, 10, 15}));
  const InteractionsConfig squares{4, inputs, true};
  EXPECT_EQ(Passed(squares, {2, 100, 3, 5}, StageMode::kPeek),
            (std::vector<float>{2, 100, 3, 5, 4, 6, 10, 9, 15, 25}));
  EXPECT_EQ(*Interactions::StateBytes(squares), 0U);
  EXPECT_EQ(Interactions::Create(squares, {}), base::Status::kOk);
  EXPECT_EQ(Interactions::Validate(squares, {}), base::Status::kOk);
  const std::array<uint8_t, 16> some{};
  EXPECT_EQ(Interactions::Validate(squares, some), base::Status::kDataLoss);
}

TEST(Interactions, MatchesNestedLoopsWithMissingAndWildValues) {
  const std::array<uint16_t, 6> inputs = {1, 2, 3, 5, 7, 8};
  const InteractionsConfig config{9, inputs, true};
  RandomState random = SeedRandom(1);
  for (int t = 0; t < 100000; ++t) {
    std::vector<float> row(9);
    for (float& x : row) {
      const double u = NextUniform(random);
      x = u < 0.1   ? CanonicalNanFloat()
          : u < 0.2 ? 1e30F
          : u < 0.3 ? -1e-40F
                    : static_cast<float>((u - 0.6) * 1e20);
    }
    const std::vector<float> out = Passed(config, row, StageMode::kLearn);
    size_t next = 9;
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (size_t j = i; j < inputs.size(); ++j) {
        const float a = row[inputs[i]];
        const float b = row[inputs[j]];
        if (IsNan(a) || IsNan(b)) {
          ASSERT_EQ(std::bit_cast<uint32_t>(out[next]), kCanonicalNanFloatBits);
        } else {
          double product = static_cast<double>(a) * static_cast<double>(b);
          product = std::fmin(std::fmax(product, -1e30), 1e30);
          ASSERT_EQ(out[next], static_cast<float>(product));
          ASSERT_LE(std::fabs(out[next]), kMaxMagnitude);
        }
        ++next;
      }
    }
    ASSERT_EQ(next, out.size());
    ASSERT_EQ(std::memcmp(out.data(), row.data(), 9 * sizeof(float)), 0);
  }
}

TEST(Interactions, RefusesWhatDoesNotFit) {
  const std::array<uint16_t, 1> one = {0};
  const std::array<uint16_t, 2> twice = {1, 1};
  const std::array<uint16_t, 2> beyond = {0, 4};
  std::array<uint16_t, 32> many{};
  for (uint16_t i = 0; i < 32; ++i) many[i] = i;
  for (const InteractionsConfig& bad :
       {InteractionsConfig{4, {}, true}, InteractionsConfig{4, one, false},
        InteractionsConfig{4, twice, false}, InteractionsConfig{4, beyond, false},
        InteractionsConfig{32, many, false}}) {
    EXPECT_EQ(Interactions::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
  EXPECT_TRUE(Interactions::StateBytes({4, one, true}).ok());
  EXPECT_TRUE(Interactions::StateBytes({31, std::span(many).first(31), false}).ok());  // 31 + 465
}

}  // namespace
}  // namespace dipper::learn::interactions_test
