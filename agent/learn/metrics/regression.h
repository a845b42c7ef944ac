// Prequential regression metrics beside the trivial rival that answers the last label available when the
// sample was observed (fading losses: Gama et al., Machine Learning 90, 2013; pinball loss: Koenker and
// Bassett, "Regression quantiles", Econometrica 46, 1978). A view over caller memory;
// state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct RegressionMetricsConfig {
  double fading = 0.999;  ///< factor per label of the faded losses, in (0, 1]
  double quantile = 0.5;  ///< of the pinball loss, in (0, 1): what a quantile learner aims at
};

class RegressionMetrics {
 public:
  /// Absolute errors of one scored label, cut to 1e140 so that no sum overflows.
  struct Losses {
    double loss = 0;
    double trivial_loss = 0;
  };
  /// Everything that can be read; the canonical NaN while undefined (no labels; constant target for r2).
  struct Summary {
    uint64_t labels = 0;  ///< scored labels, of any weight above 0
    double weight = 0;    ///< their weight
    double mae = 0, rmse = 0, r2 = 0;
    double faded_mae = 0, faded_trivial_mae = 0;
    double trivial_mae = 0, trivial_rmse = 0, trivial_r2 = 0;
    double target_mean = 0, target_variance = 0;
    double pinball = 0;  ///< mean of q (y - answer) above the answer, (1 - q) (answer - y) below
    double trivial_pinball = 0;
  };

  static base::Result<uint64_t> StateBytes(const RegressionMetricsConfig& config);
  static base::Status Create(const RegressionMetricsConfig& config, base::MutableBytes memory);
  static base::Status Validate(const RegressionMetricsConfig& config, base::ByteView memory);
  RegressionMetrics(const RegressionMetricsConfig& config, base::MutableBytes memory);

  /// What the trivial rival answers now: the last scored label, 0 before the first. Read it when a sample is
  /// observed and keep it with the stored prediction: with late labels it is what the rival knew then that
  /// counts.
  double Trivial() const;

  /// Scores one label, then makes it the trivial rival's next answer. predicted, trivial and actual are
  /// finite; weight >= 0 and finite, 0 changes nothing, not even what the rival knows. Cost: a few ns.
  Losses Score(double predicted, double trivial, double actual, double weight);

  Summary Read() const;

 private:
  struct State;
  State& state() const;

  double fading_;
  double quantile_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
