// A naive Bayes classifier as a textbook has it: it keeps every row. Not thread-safe.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "agent/learn/learners/naive_bayes.h"

namespace dipper::learn {

struct Row {
  std::vector<float> x;
  uint32_t y;
  double weight;
};

/// Keeps the whole stream and goes through it anew for every answer. Weights are as of the newest label.
class Textbook {
 public:
  explicit Textbook(const NaiveBayesConfig& config) : config_(config), last_(config.outputs, -1) {}

  void Learn(const Row& row) {
    rows_.push_back(row);
    last_[row.y] = static_cast<int>(rows_.size()) - 1;
  }

  std::vector<double> Predict(const std::vector<float>& x) const {
    const double classes = config_.outputs;
    std::vector<double> p(config_.outputs, -1e300);
    double all = 0;
    for (uint32_t c = 0; c < config_.outputs; ++c) {
      if (last_[c] < 0) continue;
      const double weight = Weight(c, [](const Row&) { return true; });
      all += weight;
      p[c] = std::log(weight + Prior());
      for (uint32_t i = 0; i < config_.inputs; ++i) {
        if (std::isnan(x[i])) continue;
        const uint32_t categories = config_.categories.empty() ? 0 : config_.categories[i];
        p[c] += categories == 0 ? LogDensity(c, i, static_cast<double>(x[i]))
                                : LogFrequency(c, i, x[i], categories);
      }
    }
    const double greatest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& one : p) sum += one = std::exp(one - greatest);
    const double doubt = classes / (all + classes);
    for (double& one : p) one = (1.0 - doubt) * one / sum + doubt / classes;
    return p;
  }

 private:
  struct Moments {
    double weight = 0, mean = 0, variance = 0;
  };

  /// The prior counts as much as the next label will.
  double Prior() const { return 1.0 / config_.fading; }
  double WeightOf(int row, int newest) const {
    return rows_[static_cast<size_t>(row)].weight * std::pow(config_.fading, newest - row);
  }
  template <typename Match>
  double Weight(uint32_t c, Match match) const {
    const int newest = static_cast<int>(rows_.size()) - 1;
    double sum = 0;
    for (int r = 0; r <= newest; ++r) {
      const Row& row = rows_[static_cast<size_t>(r)];
      if (row.y == c && match(row)) sum += WeightOf(r, newest);
    }
    return sum;
  }
  /// Of the rows of class `c` (all: -1) when row `newest` was the newest.
  Moments Of(int c, uint32_t input, int newest) const {
    Moments m;
    double sum = 0;
    double squares = 0;
    for (int pass = 0; pass < 2; ++pass) {
      for (int r = 0; r <= newest; ++r) {
        const Row& row = rows_[static_cast<size_t>(r)];
        if ((c >= 0 && row.y != static_cast<uint32_t>(c)) || std::isnan(row.x[input])) continue;
        const double x = static_cast<double>(row.x[input]);
        const double w = WeightOf(r, newest);
        m.weight += pass == 0 ? w : 0.0;
        sum += pass == 0 ? w * x : 0.0;
        squares += pass == 1 ? w * (x - m.mean) * (x - m.mean) : 0.0;
      }
      m.mean = m.weight > 0.0 ? sum / m.weight : 0.0;
    }
    m.variance = m.weight > 0.0 ? squares / m.weight : 0.0;
    return m;
  }
  /// As of the class's last label, with one prior observation of the overall variance.
  double LogDensity(uint32_t c, uint32_t input, double x) const {
    const Moments all = Of(-1, input, last_[c]);
    const Moments own = Of(static_cast<int>(c), input, last_[c]);
    const double variance = (all.variance + own.weight * own.variance) / (1.0 + own.weight);
    const double mean = own.weight > 0.0 ? own.mean : all.mean;
    return -0.5 * std::log(variance) - 0.5 * (x - mean) * (x - mean) / variance;
  }
  double LogFrequency(uint32_t c, uint32_t input, float x, uint32_t categories) const {
    const auto value = [&](float v) {
      return v >= 0.0F && v < static_cast<float>(categories) ? static_cast<uint32_t>(v) : categories;
    };
    const double all = Weight(c, [&](const Row& row) { return !std::isnan(row.x[input]); });
    const double same = Weight(
        c, [&](const Row& row) { return !std::isnan(row.x[input]) && value(row.x[input]) == value(x); });
    return std::log((same + Prior()) / (all + Prior() * (categories + 1.0)));
  }

  NaiveBayesConfig config_;
  std::vector<Row> rows_;
  std::vector<int> last_;
};

}  // namespace dipper::learn
