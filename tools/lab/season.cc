// See season.h.
#include "tools/lab/season.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace dipper::lab {
namespace {

constexpr size_t kLeastValues = 64;
constexpr size_t kLeastPeriods = 4;
constexpr double kLeastPower = 1e-12;  // of the values' own
constexpr double kLeastCorrelation = 0.3;
/// A peak this near the highest one is the season itself; the highest may be a multiple of it.
constexpr double kNearHighest = 0.8;

/// The values less a straight line fitted to them; missing ones stay so.
std::vector<double> Detrended(std::span<const double> values) {
  double n = 0, t_sum = 0, x_sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    n += 1;
    t_sum += static_cast<double>(i);
    x_sum += values[i];
  }
  std::vector<double> out(values.begin(), values.end());
  if (n < 2) return out;
  double tt = 0, tx = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    const double t = static_cast<double>(i) - t_sum / n;
    tt += t * t;
    tx += t * (values[i] - x_sum / n);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    out[i] = values[i] - x_sum / n - tx / tt * (static_cast<double>(i) - t_sum / n);
  }
  return out;
}

/// Mean square of those present.
double Power(std::span<const double> x) {
  double sum = 0, n = 0;
  for (const double value : x) {
    if (std::isnan(value)) continue;
    sum += value * value;
    n += 1;
  }
  return n > 0 ? sum / n : 0;
}

/// Over the pairs of which both are present.
double Correlation(const std::vector<double>& x, double power, size_t lag) {
  double sum = 0, n = 0;
  for (size_t i = lag; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(x[i - lag])) continue;
    sum += x[i] * x[i - lag];
    n += 1;
  }
  return n > 0 ? sum / n / power : 0;
}

}  // namespace

Season FindSeason(std::span<const double> values) {
  if (values.size() < kLeastValues) return {};
  const std::vector<double> x = Detrended(values);
  const double power = Power(x);
  // What a line leaves of a line is rounding.
  if (!(power > kLeastPower * Power(values))) return {};
  const size_t longest = x.size() / kLeastPeriods;
  std::vector<double> correlation(longest + 2);
  for (size_t lag = 0; lag < correlation.size(); ++lag) correlation[lag] = Correlation(x, power, lag);
  // Neighbours resemble each other in any slow stream; a season is where likeness has gone and comes back.
  size_t first = 1;
  while (first <= longest && correlation[first] > 0) ++first;
  double highest = 0;
  for (size_t lag = first; lag <= longest; ++lag) highest = std::max(highest, correlation[lag]);
  if (highest < kLeastCorrelation) return {};
  for (size_t lag = first; lag <= longest; ++lag) {
    const bool peak = correlation[lag] >= correlation[lag - 1] && correlation[lag] >= correlation[lag + 1];
    if (peak && correlation[lag] >= kNearHighest * highest)
      return {static_cast<uint32_t>(lag), correlation[lag]};
  }
  return {};
}

}  // namespace dipper::lab
