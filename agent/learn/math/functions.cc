// Exp, Log, Log1p, Tanh, Erf and the eight-lane forms. Each function has one inline core that both forms
// call, which is what makes them equal bit for bit; compilers may vectorize the lane loops, since every
// operation is exact-by-rule. Thread-safe: pure functions. Range reductions are the classical ones (Cody and
// Waite, "Software Manual for the Elementary Functions", 1980); coefficients as in functions_core.h.
#include "agent/learn/math/functions.h"

#include "agent/learn/math/functions_core.h"

namespace dipper::learn {
namespace {

using core::Abs;
using core::kInfinity;

inline double ExpOne(double x) {
  // Clamping comes first so that n stays a small integer; NaN passes through both comparisons and is replaced
  // last.
  double clamped = x < -746.0 ? -746.0 : x;
  clamped = clamped > 710.0 ? 710.0 : clamped;
  const double y = core::ExpPair(clamped, 0.0);
  return IsNan(x) ? CanonicalNan() : y;
}

inline double LogOne(double x) {
  const core::Split split = core::SplitNumber(x);
  double y = core::LogSum(split.exponent, split.mantissa - 1.0, 0.0);
  y = x == kInfinity ? kInfinity : y;
  y = x == 0.0 ? -kInfinity : y;
  return x >= 0.0 ? y : CanonicalNan();
}

inline double Log1pOne(double x) {
  const double u = 1.0 + x;
  const core::Split split = core::SplitNumber(u);
  // What 1 + x lost to rounding, relative to u; near 0 nothing is added at all and x itself is used.
  const double lost = Abs(x) >= 1.0 ? 1.0 - (u - x) : x - (u - 1.0);
  const bool near = split.exponent == 0.0;
  const double f = near ? x : split.mantissa - 1.0;
  double y = core::LogSum(split.exponent, f, near ? 0.0 : lost / u);
  y = x == kInfinity ? kInfinity : y;
  y = x == -1.0 ? -kInfinity : y;
  // Below 2^-54 log1p(x) rounds to x; this also keeps -0 and the denormals.
  y = Abs(x) < 0x1p-54 ? x : y;
  return x >= -1.0 ? y : CanonicalNan();
}

inline double TanhOne(double x) {
  // (tanh(x) / x - 1) / x^2 in z = x^2, for |x| < 0.55.
  constexpr double kTail[] = {-0x1.5555555555555p-2,  0x1.1111111111109p-3,   -0x1.ba1ba1ba1a723p-5,
                              0x1.664f48822e32fp-6,   -0x1.226e3539a2567p-7,  0x1.d6d3c5fa306d8p-9,
                              -0x1.7da25d2dc94dap-10, 0x1.3547b99663edbp-11,  -0x1.f41cac23a52cap-13,
                              0x1.8c91aa027d8fdp-14,  -0x1.1ad8e00def6d1p-15, 0x1.08286da59a969p-17};
  const double magnitude = Abs(x);
  if (magnitude < 0.55) {
    const double z = x * x;
    return core::WithSign(magnitude + magnitude * (z * core::PolynomialByHalves(kTail, z)), core::SignBit(x));
  }
  if (IsNan(x)) return CanonicalNan();
  const double capped = magnitude > 20.0 ? 20.0 : magnitude;  // tanh(20) rounds to 1
  return core::WithSign(1.0 - 2.0 / (core::ExpPair(capped + capped, 0.0) + 1.0), core::SignBit(x));
}

inline double ErfOne(double x) {
  // erf(x) / x - 1 in z = x^2, for |x| < 1.
  constexpr double kSmall[] = {0x1.06eba8214db69p-3,   -0x1.812746b0379e7p-2,  0x1.ce2f21a042bdep-4,
                               -0x1.b82ce312889bap-6,  0x1.565bcd0e6502dp-8,   -0x1.c02db3feeb579p-11,
                               0x1.f9a326c233146p-14,  -0x1.f4d2561aeafd4p-17, 0x1.b9e6509b9867dp-20,
                               -0x1.5f6d925a0bc7ap-23, 0x1.fc4356498c2d8p-27,  -0x1.4e607b41a6414p-30,
                               0x1.7f072188e1943p-34,  -0x1.29b9f1b3df53dp-38};
  // erfc(x) e^(x^2) in t = (x - 2) / (x + 2), for 1 <= x <= 6.
  constexpr double kLarge[] = {
      0x1.058671b52c776p-2,   -0x1.b57034efd3f72p-2,  0x1.eeea7dc8a78b2p-3,   -0x1.437f0b68c0bf9p-4,
      0x1.e9471597a34fap-9,   0x1.ca95ed53330abp-8,   -0x1.bc25a48226114p-11, -0x1.016b5cdd369e9p-10,
      0x1.6d5f08aa8da72p-15,  0x1.6da96d093525bp-13,  0x1.cdc9f9c4835afp-16,  -0x1.ceb2f59b612b6p-16,
      -0x1.d478495725ffcp-17, 0x1.729906ef9c143p-20,  0x1.f8ae6103ef0fcp-19,  0x1.5126f5fcd1198p-20,
      -0x1.0fb4b130c533cp-21, -0x1.49e10d18d5753p-21, 0x1.1ff3ece6f55cfp-23};
  const double magnitude = Abs(x);
  if (magnitude < 1.0) return x + x * core::PolynomialByHalves(kSmall, x * x);
  if (IsNan(x)) return CanonicalNan();
  if (magnitude >= 6.0) return core::WithSign(1.0, core::SignBit(x));
  const double t = (magnitude - 2.0) / (magnitude + 2.0);
  const double complement = core::ExpPair(-(magnitude * magnitude), 0.0) * core::Polynomial(kLarge, t);
  return core::WithSign(1.0 - complement, core::SignBit(x));
}

}  // namespace

double Exp(double x) { return ExpOne(x); }
double Log(double x) { return LogOne(x); }
double Log1p(double x) { return Log1pOne(x); }
double Tanh(double x) { return TanhOne(x); }
double Erf(double x) { return ErfOne(x); }

void ExpLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = ExpOne(in[i]);
}
void LogLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = LogOne(in[i]);
}
void Log1pLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = Log1pOne(in[i]);
}
void TanhLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = TanhOne(in[i]);
}
void ErfLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = ErfOne(in[i]);
}
void PowLanes(LanesIn x, LanesIn y, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = Pow(x[i], y[i]);
}
void SinLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = Sin(in[i]);
}
void CosLanes(LanesIn in, LanesOut out) {
  for (size_t i = 0; i < 8; ++i) out[i] = Cos(in[i]);
}

}  // namespace dipper::learn
