// Pow: the logarithm as a pair of doubles (about 2^-65 relative), times y, then the exponential of the pair.
// Special cases follow C11 annex F.10.4.4 with canonical NaN results. Thread-safe: pure functions.
#include "agent/learn/math/functions.h"
#include "agent/learn/math/functions_core.h"

namespace dipper::learn {
namespace {

using core::Pair;

/// log(x) for finite x > 0.
Pair LogPair(double x) {
  // (log((1 + s) / (1 - s)) - 2 s - 2/3 s^3) / s^5 in z = s^2.
  constexpr double kTail[] = {0x1.999999999999ap-2, 0x1.2492492492522p-2, 0x1.c71c71c6ea994p-3,
                              0x1.745d177a9cebcp-3, 0x1.3b1395cf37d9dp-3, 0x1.1118c8814be01p-3,
                              0x1.df7ca8231b9a0p-4, 0x1.e02fc68f28571p-4};
  constexpr Pair kTwoThirds = {0x1.5555555555555p-1, 0x1.5555555555555p-55};
  const core::Split split = core::SplitNumber(x);
  const double f = split.mantissa - 1.0;
  const Pair denominator = core::QuickTwoSum(2.0, f);
  const double quotient = f / denominator.high;
  const Pair back = core::TwoProduct(quotient, denominator.high);
  const double rest = ((f - back.high) - back.low) - quotient * denominator.low;
  const Pair s = core::QuickTwoSum(quotient, rest / denominator.high);
  const Pair z = core::Multiply(s, s);
  Pair factor = core::TwoSum(kTwoThirds.high, z.high * core::PolynomialByHalves(kTail, z.high));
  factor.low += kTwoThirds.low;
  const Pair cubic = core::Multiply(core::Multiply(s, z), factor);
  Pair sum = core::TwoSum(split.exponent * core::kLn2High, 2.0 * s.high);
  const Pair more = core::TwoSum(sum.high, cubic.high);
  const double low = sum.low + more.low + (split.exponent * core::kLn2Low + (2.0 * s.low + cubic.low));
  return core::QuickTwoSum(more.high, low);
}

enum class Parity { kNoInteger, kEven, kOdd };

Parity ParityOf(double magnitude) {
  if (magnitude >= 0x1p53) return Parity::kEven;
  const double floor = static_cast<double>(static_cast<uint64_t>(magnitude));
  if (floor != magnitude) return Parity::kNoInteger;
  return (static_cast<uint64_t>(magnitude) & 1) != 0 ? Parity::kOdd : Parity::kEven;
}

/// x^y for finite x > 0 and finite y.
double PowPositive(double x, double y) {
  const double magnitude = core::Abs(y);
  if (magnitude < 0x1p-70) return 1.0;  // |log x| < 746, so the result rounds to 1
  if (magnitude > 0x1p64) {             // |log x| > 2^-54 unless x is 1
    if (x == 1.0) return 1.0;
    return (x > 1.0) == (y > 0.0) ? core::kInfinity : 0.0;
  }
  const Pair log = LogPair(x);
  Pair product = core::TwoProduct(y, log.high);
  product.low += y * log.low;
  product = core::QuickTwoSum(product.high, product.low);
  if (product.high > 710.0) return core::kInfinity;
  if (product.high < -746.0) return 0.0;
  return core::ExpPair(product.high, product.low);
}

}  // namespace

double Pow(double x, double y) {
  if (y == 0.0 || x == 1.0) return 1.0;
  if (IsNan(x) || IsNan(y)) return CanonicalNan();
  const double base = core::Abs(x);
  if (!IsFinite(y)) {
    if (base == 1.0) return 1.0;
    return (base > 1.0) == (y > 0.0) ? core::kInfinity : 0.0;
  }
  const Parity parity = ParityOf(core::Abs(y));
  const uint64_t sign = parity == Parity::kOdd ? core::SignBit(x) : 0;
  if (base == 0.0) return core::WithSign(y < 0.0 ? core::kInfinity : 0.0, sign);
  if (!IsFinite(base)) return core::WithSign(y < 0.0 ? 0.0 : core::kInfinity, sign);
  if (x < 0.0 && parity == Parity::kNoInteger) return CanonicalNan();
  return core::WithSign(PowPositive(base, y), sign);
}

}  // namespace dipper::learn
