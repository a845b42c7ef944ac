// Lag-1 autocorrelation of a stream in 40 bytes of the image. Errors of a model in one place of its input
// space come in runs; a bound for independent values takes each run for a change. With a correlation of r
// from one value to the next, a mean over n values is as uncertain as one over n (1 - r) / (1 + r)
// independent ones (first-order autoregression; Bayley and Hammersley, "The effective number of independent
// observations in an autocorrelated time series", JRSS supplement 8, 1946). Deviations are taken from a mean
// of the last few dozen values, so that a change of level is not mistaken for correlation. Not thread-safe.
#pragma once

#include <cmath>
#include <cstdint>

#include "agent/base/status.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn {

struct Autocorrelation {
  double mean;
  double last;  // the deviation before
  double variance;
  double covariance;
  uint64_t count;  // values so far, up to kMemory

  static constexpr uint64_t kMemory = 4096;  // values that variance and covariance remember
  static constexpr double kMeanRate = 1.0 / 64.0;
  static constexpr uint64_t kLeast = 64;        // values before a correlation is believed
  static constexpr double kLargest = 0.95;      // of the correlation: 39 values count as one
  static constexpr double kLargestSquare = 16;  // of a deviation, in variances: a jump is no correlation

  /// Takes one value, magnitude up to 1e100. Cost: a few ns.
  void Update(double x) {
    if (count == 0) mean = x;
    double deviation = x - mean;
    mean += deviation * kMeanRate;
    double square = deviation * deviation;
    if (count >= kLeast && square > kLargestSquare * variance) {
      square = kLargestSquare * variance;
      deviation = deviation > 0.0 ? std::sqrt(square) : -std::sqrt(square);
    }
    count += count < kMemory ? 1 : 0;
    const double rate = count < kMemory ? 1.0 / static_cast<double>(count) : 1.0 / kMemory;
    variance += (square - variance) * rate;
    covariance += (deviation * last - covariance) * rate;
    last = deviation;
  }

  /// How many values count as one independent value, >= 1. Negative correlation is left alone.
  double Inflation() const {
    if (count < kLeast || !(covariance > 0.0 && variance > 0.0)) return 1.0;
    double correlation = covariance / variance;
    correlation = correlation < kLargest ? correlation : kLargest;
    return (1.0 + correlation) / (1.0 - correlation);
  }

  base::Status Validate() const {
    const bool finite = IsFinite(mean) && IsFinite(last) && IsFinite(variance) && IsFinite(covariance);
    return finite && variance >= 0.0 && count <= kMemory ? base::Status::kOk : base::Status::kDataLoss;
  }
};
static_assert(sizeof(Autocorrelation) == 40);

}  // namespace dipper::learn
