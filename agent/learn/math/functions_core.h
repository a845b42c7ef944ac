// Shared pieces of the own elementary functions: polynomial evaluation, exact sums and products, the
// exponential and logarithm cores. Internal to agent/learn/math. Coefficients: Chebyshev interpolation at 300
// bits, then rounded. Exact products: Dekker, "A floating-point technique for extending the available
// precision", Numer. Math. 18, 1971; exact sums: Knuth, TAOCP 2, section 4.2.2 (no fused multiply-add: it is
// not everywhere). Thread-safe: pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "agent/learn/math/nan.h"

namespace dipper::learn::core {

inline constexpr double kInfinity = std::bit_cast<double>(uint64_t{0x7ff0000000000000});
// ln 2 in two parts: the first has 32 bits, so that its product with an exponent is exact.
inline constexpr double kLn2High = 0x1.62e42feep-1;
inline constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
// Adding and subtracting this rounds to an integer; the integer stands in the low bits meanwhile.
inline constexpr double kRoundShift = 0x1.8p52;

inline double Abs(double x) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(x) & 0x7fffffffffffffffULL);
}
inline uint64_t SignBit(double x) { return std::bit_cast<uint64_t>(x) & 0x8000000000000000ULL; }
inline double WithSign(double magnitude, uint64_t sign_bit) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(magnitude) | sign_bit);
}

/// c[0] + c[1] x + ... by Horner's rule; unrolled by the compiler.
template <size_t N>
inline double Polynomial(const double (&c)[N], double x) {
  double sum = c[N - 1];
  for (size_t i = N - 1; i-- > 0;) sum = sum * x + c[i];
  return sum;
}

/// The same polynomial as two interleaved chains in x^2: half the latency.
template <size_t N>
inline double PolynomialByHalves(const double (&c)[N], double x) {
  static_assert(N >= 4 && N % 2 == 0);
  const double square = x * x;
  double even = c[N - 2];
  double odd = c[N - 1];
  for (size_t i = N - 2; i >= 2; i -= 2) {
    even = even * square + c[i - 2];
    odd = odd * square + c[i - 1];
  }
  return even + odd * x;
}

/// A number as an unevaluated sum, |low| <= half an ulp of high.
struct Pair {
  double high;
  double low;
};

inline Pair TwoSum(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

/// As TwoSum, for |a| >= |b| or a == 0.
inline Pair QuickTwoSum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

/// Exact product for factors below 2^996 whose product's low part is no denormal.
inline Pair TwoProduct(double a, double b) {
  constexpr double kSplit = 0x1p27 + 1;
  const double ta = kSplit * a;
  const double tb = kSplit * b;
  const double ah = ta - (ta - a);
  const double bh = tb - (tb - b);
  const double al = a - ah;
  const double bl = b - bh;
  const double product = a * b;
  return {product, ((ah * bh - product) + ah * bl + al * bh) + al * bl};
}

inline Pair Multiply(Pair a, Pair b) {
  const Pair p = TwoProduct(a.high, b.high);
  return QuickTwoSum(p.high, p.low + (a.high * b.low + a.low * b.high));
}

/// e^(high + low) for high in [-746, 710]; results round once, also into the denormals.
inline double ExpPair(double high, double low) {
  // (e^r - 1 - r - r^2/2) / r^3 on |r| <= ln(2)/2.
  constexpr double kTail[] = {0x1.5555555555556p-3,  0x1.5555555555555p-5,  0x1.11111111109b3p-7,
                              0x1.6c16c16c167e1p-10, 0x1.a01a01a7c41d5p-13, 0x1.a01a01a47b054p-16,
                              0x1.71de0dae63bb3p-19, 0x1.27e4e1f48534fp-22, 0x1.af38a9b0ec855p-26,
                              0x1.1f66df7fca49fp-29};
  const double shifted = high * 0x1.71547652b82fep+0 + kRoundShift;
  const double n = shifted - kRoundShift;
  const double a = high - n * kLn2High;
  const double b = n * kLn2Low - low;
  const double r = a - b;
  const double lost = (a - r) - b;
  const double square = r * r;
  const double y = 1.0 + (r + (lost + square * (0.5 + r * PolynomialByHalves(kTail, r))));
  // n as an integer, then 2^n in two factors: each is a normal number, and only the second product can round.
  const uint64_t integer = std::bit_cast<uint64_t>(shifted) - std::bit_cast<uint64_t>(kRoundShift);
  const uint64_t half = ((integer + 0x1000) >> 1) - 0x800;
  const double first = std::bit_cast<double>((half + 1023) << 52);
  const double second = std::bit_cast<double>((integer - half + 1023) << 52);
  return y * first * second;
}

/// x = 2^exponent * mantissa, mantissa in [sqrt(1/2), sqrt(2)), for x > 0, denormals included.
struct Split {
  double exponent;
  double mantissa;
};

inline Split SplitNumber(double x) {
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcdULL;
  const bool tiny = x < 0x1p-1022;
  const uint64_t bits = std::bit_cast<uint64_t>(tiny ? x * 0x1p54 : x);
  const int64_t offset = static_cast<int64_t>(bits - kSqrtHalf);
  const int64_t exponent = offset >> 52;  // arithmetic shift: floor
  const uint64_t mantissa = bits - (static_cast<uint64_t>(exponent) << 52);
  return {static_cast<double>(static_cast<int32_t>(exponent) - (tiny ? 54 : 0)),
          std::bit_cast<double>(mantissa)};
}

/// exponent * ln 2 + log(1 + f) + correction, for f in [sqrt(1/2) - 1, sqrt(2) - 1].
inline double LogSum(double exponent, double f, double correction) {
  // (log((1 + s) / (1 - s)) - 2 s) / s^3 in z = s^2.
  constexpr double kTail[] = {0x1.5555555555555p-1, 0x1.9999999999a38p-2, 0x1.2492492476c42p-2,
                              0x1.c71c720168526p-3, 0x1.745cf8fe328f7p-3, 0x1.3b1c36b445d3ep-3,
                              0x1.0fbe71ad84e74p-3, 0x1.0c05166ec83b9p-3};
  const double s = f / (2.0 + f);
  const double z = s * s;
  const double half_square = 0.5 * f * f;
  // 2 s = f - s f = f - f^2/2 + s f^2/2 keeps the leading term exact.
  const double small =
      s * (half_square + z * PolynomialByHalves(kTail, z)) + (exponent * kLn2Low + correction);
  return exponent * kLn2High + (f - (half_square - small));
}

}  // namespace dipper::learn::core
