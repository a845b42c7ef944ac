// Implementation of loss_bound.h.
#include "tools/lab/loss_bound.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace dipper::lab {
namespace {

constexpr double kRivalsLosses = 4;  // as the gate's own bound (docs/reference/update.md)
constexpr double kLeastOfWidth = 0.05;

/// Of sorted values.
double Quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
}

double RoundUp(double value) {
  const double step = std::pow(10, std::floor(std::log10(value)) - 1);
  const double digits = std::ceil(value / step * (1 - 1e-12));
  // Division by a power of ten that is a whole number gives the double nearest to the two digits.
  return step < 1 ? digits / std::round(1 / step) : digits * step;
}

}  // namespace

double InferLossBound(std::span<const double> values, uint32_t back) {
  std::vector<double> sorted;
  std::vector<double> losses;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    sorted.push_back(values[i]);
    if (i >= back && std::isfinite(values[i - back]))
      losses.push_back(std::fabs(values[i] - values[i - back]));
  }
  if (sorted.empty()) return 1;
  std::ranges::sort(sorted);
  std::ranges::sort(losses);
  double mean = 0;
  for (const double loss : losses)
    mean += std::min(loss, Quantile(losses, 0.99)) / static_cast<double>(losses.size());
  const double width = Quantile(sorted, 0.99) - Quantile(sorted, 0.01);
  const double bound = std::max(kRivalsLosses * mean, kLeastOfWidth * width);
  constexpr double kLeast = 1e-12, kMost = 1e30;  // as specs allow it, with room for two digits
  return bound > kLeast && bound < kMost / 10 ? RoundUp(bound) : 1;
}

}  // namespace dipper::lab
