// Recursive least squares against batch and dense recursions in long double, and over long starved streams.
#include "agent/learn/learners/rls.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "agent/learn/math/nan.h"
#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {
namespace {

using Real = long double;
using Vector = std::vector<Real>;
using Matrix = std::vector<Vector>;

/// Solves a x = b by elimination with pivoting.
Vector Solve(Matrix a, Vector b) {
  const size_t n = b.size();
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t i = k; i < n; ++i) {
      if (std::fabs(a[i][k]) > std::fabs(a[pivot][k])) pivot = i;
    }
    std::swap(a[k], a[pivot]);
    std::swap(b[k], b[pivot]);
    for (size_t i = k + 1; i < n; ++i) {
      const long double factor = a[i][k] / a[k][k];
      for (size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  }
  for (size_t k = n; k-- > 0;) {
    for (size_t j = k + 1; j < n; ++j) b[k] -= a[k][j] * b[j];
    b[k] /= a[k][k];
  }
  return b;
}

class Owned {
 public:
  explicit Owned(const RlsConfig& config)
      : config_(config), memory_(Rls::StateBytes(config).value()), rls_(config, memory_.bytes()) {
    EXPECT_TRUE(base::Ok(Rls::Create(config, memory_.bytes())));
  }
  Rls* operator->() { return &rls_; }
  bool Good() { return base::Ok(Rls::Validate(config_, memory_.bytes())); }
  double Predict(std::span<const float> x) const {
    double out[1];
    rls_.Predict(x, out);
    return out[0];
  }
  void Learn(std::span<const float> x, double y, double weight = 1.0) {
    const double stored[1] = {0.0};
    rls_.Learn(x, stored, y, weight);
  }

 private:
  RlsConfig config_;
  AlignedBytes memory_;
  Rls rls_;
};

RlsConfig Config(uint32_t inputs, double forgetting, double regularization) {
  RlsConfig config;
  config.inputs = inputs;
  config.forgetting = forgetting;
  config.regularization = regularization;
  return config;
}

TEST(Rls, EqualsBatchWeightedRidge) {
  constexpr size_t kInputs = 4;
  Owned rls(Config(kInputs, 1.0, 0.5));
  Matrix a(kInputs + 1, Vector(kInputs + 1));
  Vector b(kInputs + 1);
  for (size_t i = 0; i <= kInputs; ++i) a[i][i] = 0.5L;
  Numbers numbers(11);
  for (int n = 0; n < 300; ++n) {
    float x[kInputs];
    for (float& value : x) value = static_cast<float>(numbers.Normal() * 2.0);
    x[3] = x[0] * 0.99F + 0.01F * x[3];  // nearly collinear
    const double weight = 0.5 + numbers.Uniform() * 3.0;
    const double y = numbers.Normal() + 2.0 * static_cast<double>(x[1]);
    rls.Learn(x, y, weight);
    const Vector wide = {static_cast<Real>(x[0]), static_cast<Real>(x[1]), static_cast<Real>(x[2]),
                         static_cast<Real>(x[3]), 1.0L};
    for (size_t i = 0; i <= kInputs; ++i) {
      for (size_t j = 0; j <= kInputs; ++j) a[i][j] += static_cast<Real>(weight) * wide[i] * wide[j];
      b[i] += static_cast<Real>(weight) * wide[i] * static_cast<Real>(y);
    }
    if (n % 50 != 0) continue;
    const Vector solution = Solve(a, b);
    for (int k = 0; k < 5; ++k) {
      float probe[kInputs];
      for (float& value : probe) value = static_cast<float>(numbers.Normal());
      long double expected = solution[kInputs];
      for (size_t i = 0; i < kInputs; ++i) expected += solution[i] * static_cast<long double>(probe[i]);
      EXPECT_NEAR(rls.Predict(probe), static_cast<double>(expected), 1e-8) << n;
    }
  }
}

TEST(Rls, EqualsDenseRecursionWithForgettingAndCyclicPrior) {
  constexpr size_t kSize = 4;  // three inputs and the bias
  constexpr long double kForgetting = 0.97L;
  Owned rls(Config(kSize - 1, 0.97, 0.3));
  Matrix information(kSize, Vector(kSize));
  for (size_t i = 0; i < kSize; ++i) information[i][i] = 0.3L;
  Vector weights(kSize);
  Numbers numbers(12);
  for (size_t n = 0; n < 400; ++n) {
    float x[kSize - 1];
    for (float& value : x) value = static_cast<float>(numbers.Normal());
    const double y = 1.0 + static_cast<double>(x[0]) * (n < 200 ? 2.0 : -2.0) + 0.1 * numbers.Normal();
    rls.Learn(x, y);
    const Vector wide = {static_cast<Real>(x[0]), static_cast<Real>(x[1]), static_cast<Real>(x[2]), 1.0L};
    for (auto& row : information) {
      for (auto& value : row) value *= kForgetting;
    }
    information[n % kSize][n % kSize] += 0.3L * (1.0L - kForgetting) * kSize;
    long double answer = 0;
    for (size_t i = 0; i < kSize; ++i) {
      answer += weights[i] * wide[i];
      for (size_t j = 0; j < kSize; ++j) information[i][j] += wide[i] * wide[j];
    }
    const Vector gain = Solve(information, wide);
    for (size_t i = 0; i < kSize; ++i) weights[i] += gain[i] * (static_cast<long double>(y) - answer);
    const float probe[3] = {0.3F, -1.0F, 2.0F};
    const long double expected =
        weights[0] * static_cast<long double>(probe[0]) - weights[1] + 2.0L * weights[2] + weights[3];
    EXPECT_NEAR(rls.Predict(probe), static_cast<double>(expected), 1e-8) << n;
  }
}

TEST(Rls, StarvedStreamDoesNotWindUp) {
  // A million steps in which only one direction is excited, then the world comes back.
  Owned rls(Config(3, 0.99, 1.0));
  const float still[3] = {1.0F, 0.0F, 0.0F};
  for (int i = 0; i < 1000000; ++i) rls.Learn(still, 2.0);
  EXPECT_TRUE(rls.Good());
  EXPECT_NEAR(rls.Predict(still), 2.0, 1e-6);
  Numbers numbers(13);
  double worst = 0;
  for (int i = 0; i < 300; ++i) {
    float x[3];
    for (float& value : x) value = static_cast<float>(numbers.Normal());
    const double y = 2.0 * static_cast<double>(x[0]) + static_cast<double>(x[1]) - static_cast<double>(x[2]);
    const double error = std::fabs(rls.Predict(x) - y);
    worst = error > worst ? error : worst;
    if (i >= 100) {
      EXPECT_LT(error, 0.2) << i;
    }
    rls.Learn(x, y);
  }
  EXPECT_LT(worst, 20.0);  // no burst from an inflated gain
}

TEST(Rls, WildInputsStayFinite) {
  Owned rls(Config(4, 0.95, 1e-9));
  Numbers numbers(14);
  const float wild[] = {1e30F, -1e30F, 1e-40F, 0.0F, 1.0F, CanonicalNanFloat()};
  for (int i = 0; i < 50000; ++i) {
    float x[4];
    for (float& value : x) value = wild[numbers.Below(6)];
    ASSERT_TRUE(IsFinite(rls.Predict(x)));
    rls.Learn(x, numbers.Below(2) == 0 ? 1e30 : -1e30, i % 3 == 0 ? 1e6 : 1.0);
  }
  EXPECT_TRUE(rls.Good());
}

TEST(Rls, ClassifiesWithProbabilities) {
  for (const uint32_t classes : {2U, 4U}) {
    RlsConfig config = Config(2, 0.999, 1.0);
    config.classification = true;
    config.outputs = classes;
    Owned rls(config);
    Numbers numbers(15);
    int right = 0;
    for (int i = 0; i < 2000; ++i) {
      const auto y = static_cast<uint32_t>(numbers.Below(classes));
      const float x[2] = {static_cast<float>(numbers.Normal() + (y % 2 == 1 ? 3.0 : -3.0)),
                          static_cast<float>(numbers.Normal() + (y / 2 == 1 ? 3.0 : -3.0))};
      double out[4] = {};
      rls->Predict(x, {out, classes});
      double sum = 0;
      uint32_t best = 0;
      for (uint32_t j = 0; j < classes; ++j) {
        EXPECT_GE(out[j], 0.0);
        sum += out[j];
        if (out[j] > out[best]) best = j;
      }
      EXPECT_NEAR(sum, 1.0, 1e-12);
      if (i >= 1000 && best == y) ++right;
      rls->Learn(x, {out, classes}, y, 1.0);
    }
    EXPECT_GT(right, classes == 2 ? 980 : 900);
  }
}

}  // namespace
}  // namespace dipper::learn::testing
