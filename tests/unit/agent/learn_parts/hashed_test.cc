// Hashed categories against the definition, pinned places, evenness, collisions that cancel.
#include "agent/learn/stages/hashed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "tests/unit/agent/learn_parts/section.h"

namespace dipper::learn::hashed_test {
namespace {

std::vector<float> Passed(const HashedConfig& config, std::vector<float> row) {
  row.resize(std::max<size_t>(config.width, Hashed::OutWidth(config)));
  Hashed(config, {}).Apply(StageMode::kLearn, row.data());
  row.resize(Hashed::OutWidth(config));
  return row;
}

TEST(Hashed, OthersKeepTheirOrderAndBucketsFollow) {
  const std::array<uint16_t, 2> inputs = {0, 2};
  for (const uint32_t buckets : {1U, 2U, 5U, 256U}) {
    const HashedConfig config{5, inputs, buckets};
    ASSERT_EQ(*Hashed::StateBytes(config), 0U);
    ASSERT_EQ(Hashed::OutWidth(config), 3 + buckets);
    const std::vector<float> out = Passed(config, {7, 1.5F, 300, CanonicalNanFloat(), -2});
    std::vector<float> expected = {1.5F, CanonicalNanFloat(), -2};
    expected.resize(3 + buckets);
    for (const auto& [input, value] : {std::pair{0U, 7U}, std::pair{2U, 300U}}) {
      const Hashed::Place place = Hashed::PlaceFor(input, value, buckets);
      ASSERT_LT(place.bucket, buckets);
      expected[3 + place.bucket] += place.negative ? -1.0F : 1.0F;
    }
    for (size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(expected[i])) << i;
    }
  }
}

TEST(Hashed, MissingAddsNothing) {
  const std::array<uint16_t, 2> inputs = {0, 1};
  const std::vector<float> out = Passed({2, inputs, 16}, {CanonicalNanFloat(), CanonicalNanFloat()});
  for (const float x : out) EXPECT_EQ(std::bit_cast<uint32_t>(x), 0U);
}

// The places are part of every learned model: they never change.
TEST(Hashed, PlacesArePinned) {
  uint64_t sum = 0;
  for (uint32_t value = 0; value < 1000; ++value) {
    const Hashed::Place place = Hashed::PlaceFor(3, value, 64);
    sum = sum * 31 + place.bucket * 2 + (place.negative ? 1 : 0);
  }
  EXPECT_EQ(sum, 0x998f5577021503d8ULL);
}

TEST(Hashed, EvenAndUnbiased) {
  constexpr uint32_t kBuckets = 64;
  for (uint32_t input = 0; input < 8; ++input) {
    std::array<int, kBuckets> count{};
    int sign = 0;
    for (uint32_t value = 0; value < 6400; ++value) {
      const Hashed::Place place = Hashed::PlaceFor(input, value, kBuckets);
      ++count[place.bucket];
      sign += place.negative ? -1 : 1;
    }
    double chi = 0;
    for (const int n : count) chi += (n - 100.0) * (n - 100.0) / 100.0;
    EXPECT_LT(chi, 113.0) << input;           // 99.99 % of chi squared with 63 degrees
    EXPECT_LT(std::abs(sign), 320) << input;  // four deviations
  }
}

// Weinberger et al., lemma 2: hashed inner products are unbiased: over many pairs of unequal categories the
// mean product is 0, of equal ones 1.
TEST(Hashed, CollisionsCancel) {
  const std::array<uint16_t, 1> inputs = {0};
  const HashedConfig config{1, inputs, 8};
  RandomState random = SeedRandom(3);
  double unequal = 0;
  for (int t = 0; t < 100000; ++t) {
    const uint32_t a = NextBelow(random, 1024);
    const uint32_t b = (a + 1 + NextBelow(random, 1023)) % 1024;
    const std::vector<float> u = Passed(config, {static_cast<float>(a)});
    const std::vector<float> v = Passed(config, {static_cast<float>(b)});
    double product = 0;
    double own = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      product += static_cast<double>(u[i] * v[i]);
      own += static_cast<double>(u[i] * u[i]);
    }
    unequal += product;
    ASSERT_EQ(own, 1.0);
  }
  EXPECT_LT(std::fabs(unequal / 100000), 0.01);
}

TEST(Hashed, HostileValuesStayInside) {
  const std::array<uint16_t, 2> inputs = {0, 1};
  for (const float x : {1e30F, -1e30F, 1e-40F, -0.0F, 0.5F, 4294967295.0F}) {
    const std::vector<float> out = Passed({2, inputs, 3}, {x, x});
    for (const float y : out) EXPECT_LE(std::fabs(y), 2.0F);
  }
}

TEST(Hashed, RefusesWhatDoesNotFit) {
  const std::array<uint16_t, 1> inputs = {0};
  const std::array<uint16_t, 2> descending = {1, 0};
  for (const HashedConfig& bad :
       {HashedConfig{1, {}, 8}, HashedConfig{1, inputs, 0}, HashedConfig{1, inputs, 257},
        HashedConfig{2, descending, 8}, HashedConfig{500, inputs, 14}}) {
    EXPECT_EQ(Hashed::StateBytes(bad).status(), base::Status::kInvalidArgument);
  }
  EXPECT_TRUE(Hashed::StateBytes({500, inputs, 13}).ok());
  EXPECT_EQ(Hashed::Create({1, inputs, 8}, {}), base::Status::kOk);
  EXPECT_EQ(Hashed::Validate({1, inputs, 8}, {}), base::Status::kOk);
}

}  // namespace
}  // namespace dipper::learn::hashed_test
