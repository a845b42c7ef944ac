// See regression.h. The target's moments follow West, "Updating mean and variance estimates", CACM 22, 1979.
#include "agent/learn/metrics/regression.h"

#include <cmath>
#include <cstring>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

// Squares of errors up to this, summed 10^20 times, stay finite.
constexpr double kLargestError = 1e140;
constexpr double kLargestLabel = 1e40;  // as the trivial answer; a model's labels are cut before
constexpr double kLargestSum = 1e306;   // stored: of 10^20 of them, of the largest weight

double ErrorOf(double answer, double actual) {
  const double error = std::fabs(answer - actual);
  return error < kLargestError ? error : kLargestError;
}

/// Pinball loss of an error that ErrorOf gave.
double Pinball(double error, bool above, double quantile) {
  return error * (above ? quantile : 1.0 - quantile);
}

double Clamp(double x, double most) { return x > most ? most : (x < -most ? -most : x); }

}  // namespace

struct RegressionMetrics::State {
  uint64_t labels;
  double weight;
  double absolute;
  double squared;
  double trivial_absolute;
  double trivial_squared;
  double target_mean;
  double target_squares;  // weighted squared deviations from the mean
  double faded_weight;
  double faded_absolute;
  double faded_trivial;
  double last_label;
  double pinball;
  double trivial_pinball;
};

base::Result<uint64_t> RegressionMetrics::StateBytes(const RegressionMetricsConfig& config) {
  static_assert(sizeof(State) == 112);
  const bool valid =
      config.fading > 0.0 && config.fading <= 1.0 && config.quantile > 0.0 && config.quantile < 1.0;
  if (!valid) return base::Status::kInvalidArgument;
  return uint64_t{sizeof(State)};
}

base::Status RegressionMetrics::Create(const RegressionMetricsConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status RegressionMetrics::Validate(const RegressionMetricsConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  const double sums[] = {s.weight,          s.absolute,       s.squared,        s.trivial_absolute,
                         s.trivial_squared, s.target_squares, s.faded_weight,   s.faded_absolute,
                         s.faded_trivial,   s.pinball,        s.trivial_pinball};
  for (double sum : sums) {
    if (!(sum >= 0.0 && sum <= kLargestSum)) return base::Status::kDataLoss;
  }
  return ValidCounts(s.labels) && std::fabs(s.target_mean) <= kLargestError &&
                 std::fabs(s.last_label) <= kLargestLabel
             ? base::Status::kOk
             : base::Status::kDataLoss;
}

RegressionMetrics::RegressionMetrics(const RegressionMetricsConfig& config, base::MutableBytes memory)
    : fading_(config.fading), quantile_(config.quantile), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline RegressionMetrics::State& RegressionMetrics::state() const { return *PlaceOf<State>(memory_); }

double RegressionMetrics::Trivial() const { return state().last_label; }

RegressionMetrics::Losses RegressionMetrics::Score(double predicted, double trivial, double actual,
                                                   double weight) {
  State& s = state();
  const Losses losses = {ErrorOf(predicted, actual), ErrorOf(trivial, actual)};
  if (!(weight > 0.0)) return losses;
  s.labels += 1;
  s.last_label = Clamp(actual, kLargestLabel);
  s.weight += weight;
  s.absolute += weight * losses.loss;
  s.squared += weight * (losses.loss * losses.loss);
  s.trivial_absolute += weight * losses.trivial_loss;
  s.trivial_squared += weight * (losses.trivial_loss * losses.trivial_loss);
  s.pinball += weight * Pinball(losses.loss, actual > predicted, quantile_);
  s.trivial_pinball += weight * Pinball(losses.trivial_loss, actual > trivial, quantile_);
  const double target = Clamp(actual, kLargestError);
  const double before = target - s.target_mean;
  s.target_mean += before * (weight / s.weight);
  const double squares = s.target_squares + weight * (before * (target - s.target_mean));
  s.target_squares = squares > 0.0 ? squares : 0.0;  // rounding of the mean can make a zero term negative
  s.faded_weight = s.faded_weight * fading_ + weight;
  s.faded_absolute = s.faded_absolute * fading_ + weight * losses.loss;
  s.faded_trivial = s.faded_trivial * fading_ + weight * losses.trivial_loss;
  return losses;
}

RegressionMetrics::Summary RegressionMetrics::Read() const {
  const State& s = state();
  Summary out;
  out.labels = s.labels;
  out.weight = s.weight;
  out.mae = Ratio(s.absolute, s.weight);
  out.rmse = Canonical(std::sqrt(Ratio(s.squared, s.weight)));
  out.r2 = Canonical(1.0 - Ratio(s.squared, s.target_squares));
  out.trivial_mae = Ratio(s.trivial_absolute, s.weight);
  out.trivial_rmse = Canonical(std::sqrt(Ratio(s.trivial_squared, s.weight)));
  out.trivial_r2 = Canonical(1.0 - Ratio(s.trivial_squared, s.target_squares));
  out.faded_mae = Ratio(s.faded_absolute, s.faded_weight);
  out.faded_trivial_mae = Ratio(s.faded_trivial, s.faded_weight);
  out.target_mean = s.weight > 0.0 ? s.target_mean : CanonicalNan();
  out.target_variance = Ratio(s.target_squares, s.weight);
  out.pinball = Ratio(s.pinball, s.weight);
  out.trivial_pinball = Ratio(s.trivial_pinball, s.weight);
  return out;
}

}  // namespace dipper::learn
