// See fp_env.h. Operands are volatile, so that the machine computes and not the compiler.
#include "agent/learn/math/fp_env.h"

namespace dipper::learn {
namespace {

bool RoundsToNearestEven() {
  volatile double one = 1.0, half_ulp = 0x1p-53, more = 0x1.8p-53, odd = 1.0 + 0x1p-52;
  volatile float one_f = 1.0F, half_ulp_f = 0x1p-24F, more_f = 0x1.8p-24F;
  const volatile double down = one + half_ulp, up = one + more, negative = -one - more,
                        tie_up = odd + half_ulp;
  const volatile float down_f = one_f + half_ulp_f, up_f = one_f + more_f;
  return down == 1.0 && up == 1.0 + 0x1p-52 && negative == -1.0 - 0x1p-52 && tie_up == 1.0 + 0x1p-51 &&
         down_f == 1.0F && up_f == 1.0F + 0x1p-23F;
}

bool KeepsDenormals() {
  volatile double smallest = 0x1p-1022, half = 0.5, two = 2.0;
  volatile float smallest_f = 0x1p-126F, half_f = 0.5F, two_f = 2.0F;
  const volatile double denormal = smallest * half;
  const volatile double back = denormal * two;
  const volatile float denormal_f = smallest_f * half_f;
  const volatile float back_f = denormal_f * two_f;
  return denormal > 0.0 && back == 0x1p-1022 && denormal_f > 0.0F && back_f == 0x1p-126F;
}

bool NoExcessPrecisionOrContraction() {
  volatile double big = 0x1p60, one = 1.0;
  const double sum = (big + one) - big;  // 1 with a wider accumulator
  volatile double factor = 1.0 + 0x1p-30, minus = -(1.0 + 0x1p-29);
  const double a = factor;
  const double b = minus;
  const double fused = a * a + b;  // 2^-60 if the product is not rounded
  return sum == 0.0 && fused == 0.0;
}

}  // namespace

base::Status CheckFloatEnvironment() {
  return RoundsToNearestEven() && KeepsDenormals() && NoExcessPrecisionOrContraction()
             ? base::Status::kOk
             : base::Status::kFailedPrecondition;
}

}  // namespace dipper::learn
