// Four floats at a time, for the hot loops of trees: elementwise + - * /, comparisons and bit operations
// only, so that the bits do not depend on the machine. Logarithm, exponential and normal distribution here
// are good to about 1e-6, which is what leaf statistics in float32 deserve, at a tenth of the cost of
// math/functions.h. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <cstring>

namespace dipper::learn::tree {

using Quad = float __attribute__((vector_size(16)));
using QuadInt = int32_t __attribute__((vector_size(16)));
using QuadUnsigned = uint32_t __attribute__((vector_size(16)));

inline Quad LoadQuad(const float* from) {
  Quad quad;
  std::memcpy(&quad, from, sizeof quad);
  return quad;
}
inline void StoreQuad(float* to, Quad quad) { std::memcpy(to, &quad, sizeof quad); }
inline Quad All(float x) { return Quad{x, x, x, x}; }
inline QuadInt AllInt(int32_t x) { return QuadInt{x, x, x, x}; }
inline Quad Larger(Quad a, Quad b) { return a > b ? a : b; }
inline Quad Smaller(Quad a, Quad b) { return a < b ? a : b; }
inline QuadInt BitsOf(Quad x) {
  QuadInt bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline Quad FromBits(QuadInt bits) {
  Quad x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Sum of all lanes of term(0), term(4), .. term(width - 4): the eight lanes and the order of math/lanes.h,
/// in float. `width` is a multiple of 4.
template <typename Term>
inline float QuadSum(uint32_t width, Term term) {
  Quad even = All(0.0F);
  Quad odd = All(0.0F);
  uint32_t i = 0;
  for (; i + 8 <= width; i += 8) {
    even += term(i);
    odd += term(i + 4);
  }
  if (i < width) even += term(i);
  const Quad both = even + odd;
  return (both[0] + both[2]) + (both[1] + both[3]);
}

/// c[0] + c[1] x + ... by Horner's rule.
template <uint32_t N>
inline Quad QuadPolynomial(const float (&c)[N], Quad x) {
  Quad sum = All(c[N - 1]);
  for (uint32_t i = N - 1; i-- > 0;) sum = sum * x + All(c[i]);
  return sum;
}

/// Base-2 logarithm of normal positive floats; of anything less that of the least normal one.
inline Quad QuadLog2(Quad x) {
  // 2 atanh(s) / ln 2 with s = (m - 1) / (m + 1), m in [sqrt(1/2), sqrt(2)): s^9 is below 2e-7.
  constexpr float kOdd[] = {2.88539008F, 0.961796694F, 0.577078016F, 0.412198583F};
  const QuadInt bits = BitsOf(Larger(x, All(0x1p-126F)));
  const QuadInt shifted = bits - AllInt(0x3f3504f3);  // so that the exponent steps at sqrt(1/2)
  const QuadInt exponent = shifted >> 23;
  const Quad m = FromBits(bits - (shifted & AllInt(~0x7fffff)));
  const Quad s = (m - All(1.0F)) / (m + All(1.0F));
  return __builtin_convertvector(exponent, Quad) + s * QuadPolynomial(kOdd, s * s);
}

/// 2^x for x cut to -126 .. 126.
inline Quad QuadExp2(Quad x) {
  // Taylor's polynomial of 2^f on |f| <= 1/2; the next term is below 2e-6 of it.
  constexpr float kPowers[] = {1.0F,           0.693147181F,   0.240226507F,   0.0555041087F,
                               0.00961812911F, 0.00133335581F, 0.000154035304F};
  const Quad cut = Larger(Smaller(x, All(126.0F)), All(-126.0F));
  const Quad whole = (cut + All(0x1.8p23F)) - All(0x1.8p23F);
  const QuadInt exponent = __builtin_convertvector(whole, QuadInt);
  const QuadUnsigned lifted = __builtin_convertvector(exponent, QuadUnsigned) << 23;
  return FromBits(BitsOf(QuadPolynomial(kPowers, cut - whole)) + __builtin_convertvector(lifted, QuadInt));
}

/// Share of a standard normal variable below x (Abramowitz and Stegun 1964, 7.1.28: off by 2e-7 at most).
inline Quad QuadNormalShare(Quad x) {
  constexpr float kErf[] = {1.0F,          0.0705230784F, 0.0422820123F, 0.0092705272F,
                            0.0001520143F, 0.0002765672F, 0.0000430638F};
  const Quad size = Smaller(x < All(0.0F) ? -x : x, All(6.0F)) * All(0.707106781F);
  const Quad p = QuadPolynomial(kErf, size);
  const Quad p2 = p * p;
  const Quad p4 = p2 * p2;
  const Quad p8 = p4 * p4;
  const Quad tail = All(0.5F) / (p8 * p8);
  return x < All(0.0F) ? tail : All(1.0F) - tail;
}

/// The logarithm of one number (QuadLog2's lane).
inline float FastLog2(float x) { return QuadLog2(All(x))[0]; }

}  // namespace dipper::learn::tree
