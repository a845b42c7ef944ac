// Prequential classification metrics (Gama, Sebastiao and Rodrigues, "On evaluating stream learning
// algorithms", Machine Learning 90, 2013) beside the trivial rival that answers the last label available when
// the sample was observed. Probabilities are judged by log loss, Brier score (Brier, "Verification of
// forecasts expressed in terms of probability", Monthly Weather Review 78, 1950) and expected calibration
// error (Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning",
// AAAI 2015). A view over caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct ClassificationMetricsConfig {
  uint32_t classes = 2;   ///< 2 .. 64
  double fading = 0.999;  ///< factor per label of the faded losses, in (0, 1]
};

class ClassificationMetrics {
 public:
  static constexpr uint32_t kConfidenceBins = 10;

  /// 0-1 losses of one scored label.
  struct Losses {
    double loss = 0;
    double trivial_loss = 0;
  };
  /// Everything that can be read; ratios are the canonical NaN while undefined (no labels, no second class).
  struct Summary {
    uint64_t labels = 0;  ///< scored labels, of any weight above 0
    double weight = 0;    ///< their weight
    double accuracy = 0, kappa = 0;
    double kappa_temporal = 0;  ///< (accuracy - trivial accuracy) / (1 - trivial accuracy)
    double log_loss = 0;        ///< mean of -log p(actual), p floored at 1e-15, nats
    double faded_loss = 0, faded_trivial_loss = 0;  ///< 0-1 error with fading memory
    double trivial_accuracy = 0, trivial_kappa = 0;
    double balanced_accuracy = 0;  ///< mean recall of the classes that came up
    double macro_f1 = 0;           ///< mean F1 of the classes that came up
    double brier = 0;              ///< mean of sum over classes (p - [actual])^2, 0 .. 2
    double calibration_error = 0;  ///< mean distance of confidence and accuracy over ten bins of confidence
  };
  /// One class against the rest.
  struct ClassSummary {
    double weight = 0;  ///< of the labels of this class
    double precision = 0, recall = 0, f1 = 0;
  };
  /// Answers whose confidence (the answered class's probability) lies in [i / 10, (i + 1) / 10).
  struct ConfidenceBin {
    double weight = 0;
    double confidence = 0;  ///< mean of it
    double accuracy = 0;    ///< share that was right; equal to the confidence if that means what it says
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
  /// @param predicted      class that was answered.
  /// @param probabilities  of all classes, as stored with the answer; finite, cut to 0 .. 1.
  /// @param trivial        Trivial() at the time of the prediction.
  /// @param actual         the label. All three classes < config.classes.
  /// @param weight         >= 0 and finite; 0 changes nothing, not even what the rival knows.
  /// Cost: O(classes), a few ns (logarithms are taken of products, once in a few hundred calls when weights
  /// are 1).
  Losses Score(uint32_t predicted, std::span<const double> probabilities, uint32_t trivial, uint32_t actual,
               double weight);

  /// The same when only the probability of `actual` is known: Brier score and calibration are left alone.
  Losses Score(uint32_t predicted, double probability, uint32_t trivial, uint32_t actual, double weight);

  /// Weight of labels `actual` that were answered `predicted`.
  double confusion(uint32_t actual, uint32_t predicted) const;

  /// Weight of the labels of each class.
  std::span<const double> ClassWeights() const;

  /// Cost: O(classes^2).
  Summary Read() const;
  /// Cost: O(classes).
  ClassSummary ReadClass(uint32_t label) const;
  /// The reliability diagram, `bin` < kConfidenceBins.
  ConfidenceBin ReadBin(uint32_t bin) const;

 private:
  struct State;
  State& state() const;
  static Losses Judge(uint32_t predicted, uint32_t trivial, uint32_t actual);
  struct Bin;
  double* counts() const;
  Bin* bins() const;

  uint32_t classes_;
  double fading_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
