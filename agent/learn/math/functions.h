// Own elementary functions: only + - * / and integer bit operations, so that one source gives one result on
// every machine. At most 2 ulp from the true value over the whole range, denormals and overflow edges
// included (measured figures: docs/reference/numerics.md). A NaN argument gives the canonical NaN. Results
// are the same bits from the scalar and from the eight-lane forms. Thread-safe: pure functions, no heap, no
// errno, no locale.
#pragma once

#include <span>

namespace dipper::learn {

/// e^x. Overflows to infinity above 709.78, to denormals below -708.4 and to 0 below -745.13.
double Exp(double x);

/// Natural logarithm. 0 (either sign) gives -infinity, a negative argument the canonical NaN.
double Log(double x);

/// log(1 + x) without loss near 0. -1 gives -infinity, below that the canonical NaN.
double Log1p(double x);

/// Hyperbolic tangent.
double Tanh(double x);

/// Error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.
double Erf(double x);

/// x^y with the special cases of C's pow (C11 annex F.10.4.4), NaN results canonical.
double Pow(double x, double y);

/// Sine and cosine of x radians, accurate for every finite x (arguments beyond 2^20 are reduced with 1,200
/// bits of 2/pi, about ten times slower). Infinities give the canonical NaN.
double Sin(double x);
double Cos(double x);

/// Eight-lane forms: out[i] = F(in[i]), bit for bit. `in` and `out` may be the same eight numbers.
using LanesIn = std::span<const double, 8>;
using LanesOut = std::span<double, 8>;
void ExpLanes(LanesIn in, LanesOut out);
void LogLanes(LanesIn in, LanesOut out);
void Log1pLanes(LanesIn in, LanesOut out);
void TanhLanes(LanesIn in, LanesOut out);
void ErfLanes(LanesIn in, LanesOut out);
void PowLanes(LanesIn x, LanesIn y, LanesOut out);
void SinLanes(LanesIn in, LanesOut out);
void CosLanes(LanesIn in, LanesOut out);

}  // namespace dipper::learn
