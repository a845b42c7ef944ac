// Fixed-order sums, the generator, saturating conversion, NaN helpers and the floating-point environment
// check.
#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <limits>
#include <vector>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include "agent/learn/math/fp_env.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {
namespace {

TEST(Lanes, OrderIsTheDocumentedOne) {
  RandomState random = SeedRandom(1);
  for (size_t n = 0; n < 40; ++n) {
    std::vector<float> a(n);
    std::vector<double> b(n);
    double lane[8] = {};
    double sums[8] = {};
    for (size_t i = 0; i < n; ++i) {
      a[i] = static_cast<float>(NextUniform(random) * 2 - 1);
      b[i] = std::ldexp(NextUniform(random) - 0.5, static_cast<int>(NextBelow(random, 60)));
      lane[i % 8] += static_cast<double>(a[i]) * b[i];
      sums[i % 8] += static_cast<double>(a[i]);
    }
    const auto combine = [](const double* l) {
      return ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]));
    };
    EXPECT_EQ((Dot<float, double>(a, b)), combine(lane)) << n;
    EXPECT_EQ(Sum<float>(a), combine(sums)) << n;
  }
}

TEST(Random, MatchesThePublishedVector) {
  // First outputs of xoshiro256++ from the state {1, 2, 3, 4}, as published with other implementations.
  RandomState state = {{1, 2, 3, 4}};
  for (uint64_t expected :
       {41943041ULL, 58720359ULL, 3588806011781223ULL, 3591011842654386ULL, 9228616714210784205ULL,
        9973669472204895162ULL, 14011001112246962877ULL, 12406186145184390807ULL}) {
    EXPECT_EQ(NextU64(state), expected);
  }
  EXPECT_EQ(ValidateRandom(state), base::Status::kOk);
  EXPECT_EQ(ValidateRandom(RandomState{}), base::Status::kDataLoss);
}

TEST(Random, BoundedIsUniform) {
  RandomState random = SeedRandom(3);
  for (uint32_t bound : {1U, 2U, 7U, 100U}) {
    std::vector<double> count(bound);
    const int draws = 100000;
    for (int i = 0; i < draws; ++i) {
      const uint32_t value = NextBelow(random, bound);
      ASSERT_LT(value, bound);
      count[value] += 1;
    }
    double chi_square = 0;
    const double expected = draws / static_cast<double>(bound);
    for (double c : count) chi_square += (c - expected) * (c - expected) / expected;
    EXPECT_LT(chi_square, bound + 6 * std::sqrt(2.0 * bound)) << bound;
  }
  for (int i = 0; i < 1000; ++i) EXPECT_LE(NextBelow(random, 0xffffffffU), 0xfffffffeU);
}

TEST(Random, StreamsDiffer) {
  RandomState a = SeedRandom(1, 0), b = SeedRandom(1, 1), c = SeedRandom(1, 0);
  EXPECT_EQ(NextU64(a), NextU64(c));
  EXPECT_NE(NextU64(a), NextU64(b));
}

TEST(Random, PoissonMatchesItsProbabilities) {
  for (double mean : {0.1, 1.0, 6.0, 16.0}) {
    const auto table = MakePoissonTable(mean);
    ASSERT_TRUE(table.ok());
    double probability = std::exp(-mean), cumulative = 0;
    for (uint32_t k = 0; k < 47; ++k) {
      cumulative += probability;
      probability *= mean / (k + 1);
      EXPECT_NEAR(static_cast<double>(table->threshold[k]) * 0x1p-53, std::min(cumulative, 1.0), 1e-14);
    }
    RandomState random = SeedRandom(4);
    double sum = 0, squares = 0;
    const int n = 200000;
    for (int i = 0; i < n; ++i) {
      const double k = NextPoisson(random, *table);
      sum += k;
      squares += k * k;
    }
    EXPECT_NEAR(sum / n, mean, 5 * std::sqrt(mean / n));
    EXPECT_NEAR(squares / n - sum / n * (sum / n), mean, 0.03 * mean + 0.003);
  }
  for (double bad : {0.0, -1.0, 16.1, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(MakePoissonTable(bad).status(), base::Status::kInvalidArgument);
  }
}

TEST(Saturate, EndsOfTheRange) {
  const double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(SaturatingToInt<int32_t>(1e20), std::numeric_limits<int32_t>::max());
  EXPECT_EQ(SaturatingToInt<int32_t>(-1e20), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(SaturatingToInt<int32_t>(2147483647.0), 2147483647);
  EXPECT_EQ(SaturatingToInt<int32_t>(2147483647.9), 2147483647);
  EXPECT_EQ(SaturatingToInt<int32_t>(-2147483648.9), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(SaturatingToInt<int64_t>(inf), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(SaturatingToInt<int64_t>(0x1p63), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(SaturatingToInt<uint64_t>(0x1p64), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(SaturatingToInt<uint64_t>(0x1.fffffffffffffp63), 0xfffffffffffff800ULL);
  EXPECT_EQ(SaturatingToInt<uint32_t>(-5.0), 0U);
  EXPECT_EQ(SaturatingToInt<uint8_t>(255.5), 255);
  EXPECT_EQ(SaturatingToInt<int8_t>(-128.5), -128);
  EXPECT_EQ(SaturatingToInt<int32_t>(std::nan("")), 0);
  EXPECT_EQ(SaturatingToInt<int32_t>(-2.9), -2);
}

TEST(Nan, OneNanOnly) {
  const double odd = std::bit_cast<double>(uint64_t{0xfff8000000000123});
  EXPECT_EQ(std::bit_cast<uint64_t>(Canonical(odd)), kCanonicalNanBits);
  EXPECT_TRUE(IsFiniteOrMissing(Canonical(odd)));
  EXPECT_FALSE(IsFiniteOrMissing(odd));
  EXPECT_FALSE(IsFiniteOrMissing(std::numeric_limits<float>::infinity()));
  EXPECT_EQ(std::bit_cast<uint32_t>(Canonical(-CanonicalNanFloat())), kCanonicalNanFloatBits);
  EXPECT_EQ(Canonical(-0.5F), -0.5F);
  EXPECT_TRUE(IsFinite(std::numeric_limits<double>::denorm_min()));
}

TEST(FloatEnvironment, NoticesRoundingModesAndFlushing) {
  EXPECT_EQ(CheckFloatEnvironment(), base::Status::kOk);
  for (int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    ASSERT_EQ(std::fesetround(mode), 0);
    const base::Status status = CheckFloatEnvironment();
    std::fesetround(FE_TONEAREST);
    EXPECT_EQ(status, base::Status::kFailedPrecondition) << mode;
  }
#if defined(__SSE2__)
  for (unsigned flush : {0x8000U, 0x0040U}) {  // flush to zero, denormals are zero
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | flush);
    const base::Status status = CheckFloatEnvironment();
    _mm_setcsr(saved);
    EXPECT_EQ(status, base::Status::kFailedPrecondition) << flush;
  }
#endif
}

}  // namespace
}  // namespace dipper::learn
