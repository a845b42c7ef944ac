// Sin and Cos. Reduction to [-pi/4, pi/4]: below 2^20 quarter turns by pi/2 in four parts (Cody and Waite,
// 1980), beyond by multiplying with 2/pi in integers (Payne and Hanek, "Radian reduction for trigonometric
// functions", SIGNUM 18, 1983). 32-bit limbs, since 128-bit integers are not everywhere. Thread-safe: pure
// functions.
#include <array>

#include "agent/learn/math/functions.h"
#include "agent/learn/math/functions_core.h"

namespace dipper::learn {
namespace {

using core::Pair;

/// x = quadrant * pi/2 + rest, the quadrant modulo 4.
struct Reduced {
  uint32_t quadrant;
  Pair rest;
};

Reduced ReduceMedium(double x) {
  // pi/2 in three parts of 33 bits and a rest: products with 20-bit integers are exact.
  constexpr double kPart1 = 0x1.921fb544p+0;
  constexpr double kPart2 = 0x1.0b4611a6p-34;
  constexpr double kPart3 = 0x1.3198a2ep-69;
  constexpr double kPart4 = 0x1.b839a252049c1p-104;
  const double shifted = x * 0x1.45f306dc9c883p-1 + core::kRoundShift;
  const double n = shifted - core::kRoundShift;
  const Pair first = core::TwoSum(x - n * kPart1, -(n * kPart2));
  const Pair second = core::TwoSum(first.high, -(n * kPart3));
  const double low = first.low + second.low - n * kPart4;
  return {static_cast<uint32_t>(std::bit_cast<uint64_t>(shifted) & 3), core::QuickTwoSum(second.high, low)};
}

// 2/pi = sum of limb[i] * 2^(-32 (i + 1)).
constexpr std::array<uint32_t, 40> kTwoOverPi = {
    0xa2f9836eU, 0x4e441529U, 0xfc2757d1U, 0xf534ddc0U, 0xdb629599U, 0x3c439041U, 0xfe5163abU, 0xdebbc561U,
    0xb7246e3aU, 0x424dd2e0U, 0x06492eeaU, 0x09d1921cU, 0xfe1deb1cU, 0xb129a73eU, 0xe88235f5U, 0x2ebb4484U,
    0xe99c7026U, 0xb45f7e41U, 0x3991d639U, 0x835339f4U, 0x9c845f8bU, 0xbdf9283bU, 0x1ff897ffU, 0xde05980fU,
    0xef2f118bU, 0x5a0a6d1fU, 0x6d367ecfU, 0x27cb09b7U, 0x4f463f66U, 0x9e5fea2dU, 0x7527bac7U, 0xebe5f17bU,
    0x3d0739f7U, 0x8a5292eaU, 0x6bfb5fb1U, 0x1f8d5d08U, 0x56033046U, 0xfc7b6babU, 0xf0cfbc20U, 0x9af4361dU};

constexpr uint32_t kWindow = 7;                          // limbs of 2/pi that can matter for one exponent
using ProductLimbs = std::array<uint32_t, kWindow + 4>;  // little-endian; two zero limbs above for reading

/// mantissa * (kWindow limbs of 2/pi from `first`), as an integer.
ProductLimbs MultiplyWindow(uint64_t mantissa, uint32_t first) {
  ProductLimbs product{};
  for (uint32_t half = 0; half < 2; ++half) {
    const uint64_t factor = half == 0 ? (mantissa & 0xffffffffU) : (mantissa >> 32);
    uint64_t carry = 0;
    for (uint32_t j = 0; j < kWindow; ++j) {
      const uint64_t sum = factor * kTwoOverPi[first + kWindow - 1 - j] + product[j + half] + carry;
      product[j + half] = static_cast<uint32_t>(sum);
      carry = sum >> 32;
    }
    product[kWindow + half] = static_cast<uint32_t>(carry);
  }
  return product;
}

/// 64 bits of the integer from bit `position` up.
uint64_t BitsAt(const ProductLimbs& limbs, uint32_t position) {
  const uint32_t limb = position / 32;
  const uint32_t shift = position % 32;
  const uint64_t low = limbs[limb] | (uint64_t{limbs[limb + 1]} << 32);
  return shift == 0 ? low : (low >> shift) | (uint64_t{limbs[limb + 2]} << (64 - shift));
}

/// For finite x >= 2^20.
Reduced ReduceLarge(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t mantissa = (bits & 0xfffffffffffffULL) | 0x10000000000000ULL;
  const int32_t exponent = static_cast<int32_t>(bits >> 52) - 1075;  // x = mantissa * 2^exponent, >= -32
  // Limbs whose product is a multiple of four quarter turns are left out.
  const uint32_t first = exponent >= 2 ? static_cast<uint32_t>(exponent - 2) / 32 : 0;
  const ProductLimbs product = MultiplyWindow(mantissa, first);
  const uint32_t point =
      static_cast<uint32_t>(32 * static_cast<int32_t>(first + kWindow) - exponent);  // 190 .. 256
  uint32_t quadrant = static_cast<uint32_t>(BitsAt(product, point) & 3);
  uint64_t high = BitsAt(product, point - 64);
  uint64_t low = BitsAt(product, point - 128);
  uint64_t sign = 0;
  if ((high >> 63) != 0) {  // more than half a quarter turn: go down from the next one
    ++quadrant;
    high = ~high;
    low = ~low;
    sign = 0x8000000000000000ULL;
  }
  // No double comes nearer to a multiple of pi/2 than about 2^-62, so high or the bits below it are never all
  // lost.
  const int zeros = high != 0 ? std::countl_zero(high) : 63;
  const uint64_t top = zeros == 0 ? high : (high << zeros) | (low >> (64 - zeros));
  const double scale = std::bit_cast<double>(static_cast<uint64_t>(1023 - zeros) << 52);
  Pair fraction;
  fraction.high = static_cast<double>(top >> 11) * 0x1p-53 * scale;
  fraction.low =
      (static_cast<double>(top & 0x7ff) * 0x1p-64 + static_cast<double>((low << zeros) >> 11) * 0x1p-117) *
      scale;
  constexpr Pair kHalfPi = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54};
  Pair rest = core::Multiply(fraction, kHalfPi);
  if (sign != 0) rest = {-rest.high, -rest.low};
  return {quadrant & 3, rest};
}

Reduced Reduce(double magnitude) {
  if (magnitude < 0.785) return {0, {magnitude, 0.0}};
  if (magnitude < 0x1p20) return ReduceMedium(magnitude);
  return ReduceLarge(magnitude);
}

double SinRest(Pair x) {
  // (sin(x) / x - 1) / x^2 in z = x^2.
  constexpr double kTail[] = {-0x1.5555555555555p-3, 0x1.1111111111110p-7,   -0x1.a01a01a019936p-13,
                              0x1.71de3a54605eep-19, -0x1.ae64541266378p-26, 0x1.61217ec01749cp-33,
                              -0x1.ab17a792379b8p-41};
  const double z = x.high * x.high;
  return x.high + (x.high * (z * core::Polynomial(kTail, z)) + x.low * (1.0 - 0.5 * z));
}

double CosRest(Pair x) {
  // (cos(x) - 1 + x^2/2) / x^4 in z = x^2.
  constexpr double kTail[] = {0x1.5555555555555p-5,   -0x1.6c16c16c16c16p-10, 0x1.a01a01a019d0ap-16,
                              -0x1.27e4fb7712bdfp-22, 0x1.1eed8deb6d561p-29,  -0x1.9394b9c9c20a3p-37,
                              0x1.ab78337696279p-45};
  const double z = x.high * x.high;
  const double half = 0.5 * z;
  const double near_one = 1.0 - half;
  return near_one + (((1.0 - near_one) - half) + (z * z * core::Polynomial(kTail, z) - x.high * x.low));
}

double Quadrant(uint32_t quadrant, Pair rest) {
  const double value = (quadrant & 1) != 0 ? CosRest(rest) : SinRest(rest);
  return (quadrant & 2) != 0 ? -value : value;
}

}  // namespace

double Sin(double x) {
  if (!IsFinite(x)) return CanonicalNan();
  const Reduced reduced = Reduce(core::Abs(x));
  const double value = Quadrant(reduced.quadrant, reduced.rest);
  return core::SignBit(x) != 0 ? -value : value;
}

double Cos(double x) {
  if (!IsFinite(x)) return CanonicalNan();
  const Reduced reduced = Reduce(core::Abs(x));
  return Quadrant(reduced.quadrant + 1, reduced.rest);
}

}  // namespace dipper::learn
