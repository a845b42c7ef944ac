// What a model answers to a sample and to a label, and what it reports about itself. Thread-safe: plain
// values.
#pragma once

#include <cstdint>
#include <span>

#include "agent/learn/math/nan.h"

namespace dipper::learn {

/// One label that was scored and (unless frozen or of weight 0) learned.
struct Outcome {
  bool valid = false;       ///< the fields below mean something
  uint64_t id = 0;          ///< the sample that the label belongs to
  double label = 0;         ///< class index or value
  double predicted = 0;     ///< class index or value that was stored for it
  double loss = 0;          ///< 0-1 error or absolute error
  double trivial_loss = 0;  ///< the same of the trivial rival
  bool drift_warning = false, drift_alarm = false;
  bool has_score = false;    ///< the anomaly fields mean something: the residual of this label was scored
  double anomaly_score = 0;  ///< calibrated, 0 .. 1; about 1 - s of normal samples exceed s
  bool anomaly_active = false, anomaly_raised = false, anomaly_cleared = false;
};

/// What a model says about one sample. `probabilities` points into the model or its image: valid until
/// the next call on the model.
struct Output {
  uint64_t id = 0;
  bool cold = true;                       ///< fewer than min_labels labels learned so far
  int32_t class_index = -1;               ///< classification: the answer; -1 otherwise
  std::span<const double> probabilities;  ///< classification: one per class place, sum 1
  double value = 0;                       ///< regression: the forecast, in the target's unit
  bool has_interval = false;              ///< with [intervals]: the fields of the next line mean something
  bool unbounded = false;                 ///< too little is known: any value, every class
  double low = 0, high = 0;               ///< regression: holds the target with the spec's coverage
  uint64_t class_set = 0;                 ///< classification: bit c = class c is in the set
  bool has_score = false;                 ///< an anomaly score came with this sample
  double anomaly_score = 0;               ///< calibrated, 0 .. 1; about 1 - s of normal samples exceed s
  bool anomaly_active = false, anomaly_raised = false, anomaly_cleared = false;
  double anomaly_raw = 0;       ///< unsupervised: the score before calibration, 0 .. 1
  double anomaly_residual = 0;  ///< truth - forecast that was scored, in the target's unit
  bool drift_warning = false, drift_alarm = false;  ///< of a detector on features, or on a scorer's score
  int32_t drift_feature = -1;                       ///< the feature that it watches; -1: none
  Outcome outcome;  ///< FeatureAhead: the label that came due with this sample
};

/// No number in it is infinite or not-a-number; `outcome` is not looked at: its losses are judged by the
/// gate.
inline bool IsFinite(const Output& output) {
  for (const double p : output.probabilities) {
    if (!IsFinite(p)) return false;
  }
  return IsFinite(output.value) && IsFinite(output.low) && IsFinite(output.high) &&
         IsFinite(output.anomaly_score) && IsFinite(output.anomaly_raw) && IsFinite(output.anomaly_residual);
}

/// Everything a model reports about itself. Undefined ratios are NaN.
struct Metrics {
  uint64_t samples = 0, skipped = 0;                ///< observed; refused (wrong width, duplicate id)
  uint64_t series = 0;                              ///< times the sample ids started anew
  uint64_t missing_values = 0, clamped_values = 0;  ///< NaN or infinite inputs; inputs cut to +-1e30
  uint64_t labels = 0, learned = 0;                 ///< labels scored; of them learned from
  uint64_t unmatched_labels = 0;  ///< no sample with that id was waiting (too late, or never seen)
  uint64_t rejected_labels = 0;   ///< label or weight not usable
  uint64_t lost_samples = 0;      ///< left the ring without a label (overflow or age)
  uint64_t pending = 0, pending_capacity = 0,
           pending_age_samples = 0;  ///< waiting now; places; age of the oldest
  double accuracy = 0, kappa = 0, kappa_temporal = 0, log_loss = 0, mae = 0, rmse = 0, r2 = 0, auc = 0;
  double balanced_accuracy = 0, macro_f1 = 0, brier = 0, calibration_error = 0, pr_auc = 0;
  double windowed_loss = 0;                          ///< error rate or MAE of the last 1,024 labels
  double interval_coverage = 0, interval_width = 0;  ///< of all labels; width of the bounded ones
  double interval_unbounded = 0;                     ///< share of the labels

  double trivial_accuracy = 0, trivial_kappa = 0, trivial_mae = 0, trivial_rmse = 0;
  double faded_loss = 0, faded_trivial_loss = 0;  ///< error rate or MAE with fading memory
  uint64_t drift_warnings = 0, drift_alarms = 0;
  uint64_t replacements = 0;   ///< times a background learner took over
  double drift_statistic = 0;  ///< largest of the detectors
  uint64_t anomaly_events = 0;
  double anomaly_score = 0;
  double anomaly_peak = 0;       ///< largest score of the anomaly that is on
  uint32_t anomaly_samples = 0;  ///< scored since it was raised
  bool anomaly_active = false, cold = true, frozen = false;
};

/// What the detectors on one feature say.
struct FeatureDrift {
  double statistic = 0;  ///< the largest of theirs
  uint64_t warnings = 0, alarms = 0;
};

}  // namespace dipper::learn
