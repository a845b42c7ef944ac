// Prequential classification metrics (Gama, Sebastiao and Rodrigues, "On evaluating stream learning
// algorithms", Machine Learning 90, 2013) beside the trivial rival that answers the last label available when
// the sample was observed. A view over caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct ClassificationMetricsConfig {
  uint32_t classes = 2;   ///< 2 .. 64
  double fading = 0.999;  ///< factor per label of the faded losses, in (0, 1]
};

class ClassificationMetrics {
 public:
  /// 0-1 losses of one scored label.
  struct Losses {
    double loss = 0;
    double trivial_loss = 0;
  };
  /// Everything that can be read; ratios are the canonical NaN while undefined (no labels, no second class).
  struct Summary {
    uint64_t labels = 0;  ///< scored labels, whatever their weight
    double weight = 0;    ///< their weight
    double accuracy = 0, kappa = 0;
    double kappa_temporal = 0;  ///< (accuracy - trivial accuracy) / (1 - trivial accuracy)
    double log_loss = 0;        ///< mean of -log p(actual), p floored at 1e-15, nats
    double faded_loss = 0, faded_trivial_loss = 0;  ///< 0-1 error with fading memory
    double trivial_accuracy = 0, trivial_kappa = 0;
  };

  static base::Result<uint64_t> StateBytes(const ClassificationMetricsConfig& config);
  static base::Status Create(const ClassificationMetricsConfig& config, base::MutableBytes memory);
  static base::Status Validate(const ClassificationMetricsConfig& config, base::ByteView memory);
  ClassificationMetrics(const ClassificationMetricsConfig& config, base::MutableBytes memory);

  /// What the trivial rival answers now: the class of the last scored label, 0 before the first. Read it when
  /// a sample is observed and keep it with the stored prediction: with late labels it is what the rival knew
  /// then that counts.
  uint32_t Trivial() const;

  /// Scores one label, then makes it the trivial rival's next answer.
  /// @param predicted    class that was answered.
  /// @param probability  probability that was given to `actual`; above 1 or below 1e-15 is clamped.
  /// @param trivial      Trivial() at the time of the prediction.
  /// @param actual       the label. All three classes < config.classes.
  /// @param weight       >= 0 and finite; 0 counts as a label and changes no ratio.
  /// Cost: a few ns (logarithms are taken of products, once in a few hundred calls when weights are 1).
  Losses Score(uint32_t predicted, double probability, uint32_t trivial, uint32_t actual, double weight);

  /// Weight of labels `actual` that were answered `predicted`.
  double confusion(uint32_t actual, uint32_t predicted) const;

  /// Cost: O(classes^2).
  Summary Read() const;

 private:
  struct State;
  State& state() const;
  double* counts() const;

  uint32_t classes_;
  double fading_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
