// The own elementary functions against MPFR: random and edge arguments over the whole range, at most 2 ulp,
// scalar and eight-lane forms equal bit for bit. Environment DIPPER_ULP_SAMPLES raises the number of random
// arguments per range.
#include "agent/learn/math/functions.h"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <vector>

#include "agent/learn/math/nan.h"
#include "agent/learn/math/random.h"

namespace dipper::learn {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

class Mpfr {
 public:
  Mpfr() { mpfr_init2(value, 256); }
  ~Mpfr() { mpfr_clear(value); }
  Mpfr(const Mpfr&) = delete;
  Mpfr& operator=(const Mpfr&) = delete;
  mpfr_t value;
};

/// |got - exact| in units of the last place of the correctly rounded result.
double UlpError(double got, const mpfr_t exact) {
  const double rounded = mpfr_get_d(exact, MPFR_RNDN);
  if (std::isnan(got) || std::isnan(rounded)) return std::isnan(got) && std::isnan(rounded) ? 0 : kInf;
  if (std::isinf(got) || std::isinf(rounded)) {
    // At the overflow edge the largest number is one ulp away from infinity.
    const double largest = std::copysign(std::numeric_limits<double>::max(), rounded);
    return got == rounded ? 0 : (got == largest || rounded == std::copysign(largest, got) ? 1 : kInf);
  }
  int exponent = 0;
  std::frexp(rounded, &exponent);
  const double ulp = std::ldexp(1.0, std::max(exponent - 53, -1074));
  Mpfr difference;
  mpfr_sub_d(difference.value, exact, got, MPFR_RNDN);
  mpfr_div_d(difference.value, difference.value, ulp, MPFR_RNDN);
  return std::fabs(mpfr_get_d(difference.value, MPFR_RNDN));
}

using Reference = std::function<void(mpfr_t, double)>;

struct Worst {
  double ulp = 0;
  double at = 0;
};

uint64_t Samples() {
  const char* text = std::getenv("DIPPER_ULP_SAMPLES");
  return text == nullptr ? 4000 : std::strtoull(text, nullptr, 10);
}

using Range = std::pair<double, double>;

/// Every double of the range equally likely by its bits: all magnitudes, denormals included.
double DrawByBits(RandomState& random, Range range) {
  const auto order = [](double x) {
    const int64_t bits = std::bit_cast<int64_t>(x);
    return bits < 0 ? std::numeric_limits<int64_t>::min() - bits : bits;
  };
  const int64_t low = order(range.first);
  const uint64_t width = static_cast<uint64_t>(order(range.second)) - static_cast<uint64_t>(low);
  const int64_t pick = static_cast<int64_t>(static_cast<uint64_t>(low) + NextU64(random) % (width + 1));
  return std::bit_cast<double>(pick < 0 ? std::numeric_limits<int64_t>::min() - pick : pick);
}

Worst Sweep(double (*function)(double), void (*lanes)(LanesIn, LanesOut), const Reference& reference,
            const std::vector<Range>& ranges, std::vector<double> arguments) {
  RandomState random = SeedRandom(7);
  for (const Range& range : ranges) {
    for (uint64_t i = 0; i < Samples(); ++i) {
      arguments.push_back(i % 2 == 0 ? range.first + (range.second - range.first) * NextUniform(random)
                                     : DrawByBits(random, range));
    }
  }
  while (arguments.size() % 8 != 0) arguments.push_back(0.5);
  Worst worst;
  Mpfr exact;
  for (size_t i = 0; i < arguments.size(); i += 8) {
    std::array<double, 8> in, out;
    for (size_t j = 0; j < 8; ++j) in[j] = arguments[i + j];
    lanes(in, out);
    for (size_t j = 0; j < 8; ++j) {
      const double got = function(in[j]);
      EXPECT_EQ(std::bit_cast<uint64_t>(got), std::bit_cast<uint64_t>(out[j])) << in[j];
      if (std::isnan(got)) {
        EXPECT_EQ(std::bit_cast<uint64_t>(got), kCanonicalNanBits);
      }
      reference(exact.value, in[j]);
      const double ulp = UlpError(got, exact.value);
      if (!(ulp <= worst.ulp)) worst = {ulp, in[j]};
    }
  }
  printf("worst %.3f ulp at %a (%zu arguments)\n", worst.ulp, worst.at, arguments.size());
  return worst;
}

const std::vector<double> kEdges = {0.0,
                                    -0.0,
                                    kInf,
                                    -kInf,
                                    std::nan(""),
                                    -std::nan(""),
                                    5e-324,
                                    -5e-324,
                                    0x1p-1022,
                                    -0x1p-1022,
                                    0x1.fffffffffffffp-1023,
                                    1.0,
                                    -1.0,
                                    0x1p-1,
                                    std::sqrt(0.5),
                                    std::sqrt(2.0),
                                    0x1.fffffffffffffp-1,
                                    0x1.0000000000001p+0,
                                    std::numeric_limits<double>::max(),
                                    -std::numeric_limits<double>::max(),
                                    0x1p-54,
                                    -0x1p-54,
                                    0x1p-53,
                                    0.55,
                                    -0.55};

TEST(Functions, Exp) {
  std::vector<double> edges = kEdges;
  for (double x : {709.782712893384, 709.7827128933841, 710.0, -708.3964185322641, -745.1332191019411,
                   -745.1332191019412, -745.2, -746.0, -744.4400719213812, 0.34657359027997264,
                   -0.34657359027997264, 1e308, -1e308}) {
    edges.push_back(x);
  }
  const Worst worst = Sweep(
      Exp, ExpLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_exp(r, r, MPFR_RNDN);
      },
      {{-1, 1}, {-746, 711}, {-745.2, -708}, {700, 709.79}, {-5e-324, 5e-324}}, edges);
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-kInf), 0.0);
}

TEST(Functions, Log) {
  const Worst worst = Sweep(
      Log, LogLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_log(r, r, MPFR_RNDN);
      },
      {{0, 4}, {0.99, 1.01}, {0, 0x1p-1021}, {0, 1e300}, {-10, 0}}, kEdges);
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_EQ(Log(0.0), -kInf);
  EXPECT_EQ(Log(-0.0), -kInf);
}

TEST(Functions, Log1p) {
  const Worst worst = Sweep(
      Log1p, Log1pLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_log1p(r, r, MPFR_RNDN);
      },
      {{-1, 1}, {-0.5, 1e-300}, {-1, -0.999}, {0.4, 0.43}, {-0.3, -0.29}, {1, 1e300}, {1e15, 1e17}, {-3, -1}},
      kEdges);
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_TRUE(std::signbit(Log1p(-0.0)));
}

TEST(Functions, Tanh) {
  const Worst worst = Sweep(
      Tanh, TanhLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_tanh(r, r, MPFR_RNDN);
      },
      {{-1, 1}, {0.5, 0.7}, {-25, 25}, {0, 1e-300}, {18, 23}, {1, 1e308}}, kEdges);
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_TRUE(std::signbit(Tanh(-0.0)));
}

TEST(Functions, Erf) {
  const Worst worst = Sweep(
      Erf, ErfLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_erf(r, r, MPFR_RNDN);
      },
      {{-1, 1}, {0.9, 1.3}, {-6.5, 6.5}, {0, 1e-300}, {5.8, 6.1}}, kEdges);
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_TRUE(std::signbit(Erf(-0.0)));
}

std::vector<double> TrigonometryEdges() {
  std::vector<double> edges = kEdges;
  // Multiples of pi/2 and their neighbours, and the double nearest to a multiple of pi/2 of all.
  for (double k = 1; k < 1e300; k = k < 200 ? k + 1 : k * 1.37) {
    double x = k * 1.5707963267948966;
    if (k > 1e15) x = std::floor(k) * 1.5707963267948966;
    for (double y : {x, std::nextafter(x, kInf), std::nextafter(x, 0.0), -x}) edges.push_back(y);
  }
  for (double x : {0x1.6ac5b262ca1ffp+849, 0x1p20, 0x1p53, 0x1p1023, 1048575.9999, 0.785, 0.7853981633974483})
    edges.push_back(x);
  return edges;
}

const std::vector<Range> kTrigonometryRanges = {{-1, 1},      {-10, 10},   {-1048576, 1048576},
                                                {1e6, 1.1e6}, {1e6, 1e18}, {0, 1.7e308}};

TEST(Functions, Sin) {
  const Worst worst = Sweep(
      Sin, SinLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_sin(r, r, MPFR_RNDN);
      },
      kTrigonometryRanges, TrigonometryEdges());
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
  EXPECT_TRUE(std::signbit(Sin(-0.0)));
}

TEST(Functions, Cos) {
  const Worst worst = Sweep(
      Cos, CosLanes,
      [](mpfr_t r, double x) {
        mpfr_set_d(r, x, MPFR_RNDN);
        mpfr_cos(r, r, MPFR_RNDN);
      },
      kTrigonometryRanges, TrigonometryEdges());
  EXPECT_LE(worst.ulp, 2.0) << worst.at;
}

void ExpectPow(double x, double y, Worst& worst) {
  Mpfr base, exponent, exact;
  mpfr_set_d(base.value, x, MPFR_RNDN);
  mpfr_set_d(exponent.value, y, MPFR_RNDN);
  mpfr_pow(exact.value, base.value, exponent.value, MPFR_RNDN);
  const double got = Pow(x, y);
  const double ulp = UlpError(got, exact.value);
  if (!(ulp <= worst.ulp)) worst = {ulp, x};
  ASSERT_LE(ulp, 2.0) << x << " ^ " << y;
  ASSERT_EQ(std::signbit(got), std::isnan(got) ? false : mpfr_signbit(exact.value) != 0) << x << " ^ " << y;
  std::array<double, 8> xs, ys, out;
  xs.fill(x);
  ys.fill(y);
  PowLanes(xs, ys, out);
  ASSERT_EQ(std::bit_cast<uint64_t>(got), std::bit_cast<uint64_t>(out[5]));
}

TEST(Functions, Pow) {
  Worst worst;
  RandomState random = SeedRandom(9);
  std::vector<double> edges = kEdges;
  for (double x :
       {2.0, 3.0, -2.0, -3.0, 0.5, -0.5, 1e300, 0x1p53, 0x1p53 + 2, -0x1p63, 0x1p70, 1074.0, -1074.0, 1e-300})
    edges.push_back(x);
  for (double x : edges) {
    for (double y : edges) ExpectPow(x, y, worst);
  }
  for (uint64_t i = 0; i < 4 * Samples(); ++i) {
    double x = DrawByBits(random, {5e-324, 1e308});
    double y = 0;
    switch (i % 4) {
      case 0:
        y = (NextUniform(random) * 2 - 1) * 745 / std::fabs(std::log(x));
        break;
      case 1:
        x = 1 + (NextUniform(random) - 0.5) * 0.1;
        y = (NextUniform(random) * 2 - 1) * 2e4;
        break;
      case 2:
        x = 1 + (NextUniform(random) - 0.5) * std::ldexp(1.0, -static_cast<int>(NextBelow(random, 50)));
        y = (NextUniform(random) * 2 - 1) * 740 / std::max(std::fabs(std::log(x)), 1e-17);
        break;
      default:
        x = -NextUniform(random) * 40;
        y = static_cast<double>(NextBelow(random, 200)) - 100;
        break;
    }
    ExpectPow(x, y, worst);
    if (HasFatalFailure()) return;
  }
  printf("worst %.3f ulp at base %a\n", worst.ulp, worst.at);
}

}  // namespace
}  // namespace dipper::learn
