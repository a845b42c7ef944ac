// A model: views over one block of bytes, the model image, that holds everything it has learned (the
// model is its memory image; byte for byte in docs/reference/model-image.md). Not thread-safe; several models
// may live in several threads. No heap, no exceptions, no I/O; every call takes time bounded by the spec.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/image/image_format.h"
#include "agent/learn/image/spec.h"
#include "agent/learn/math/place.h"

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
  bool has_score = false;                 ///< an anomaly score came with this sample
  double anomaly_score = 0;               ///< calibrated, 0 .. 1; about 1 - s of normal samples exceed s
  bool anomaly_active = false, anomaly_raised = false, anomaly_cleared = false;
  double anomaly_residual = 0;  ///< truth - forecast that was scored, in the target's unit
  Outcome outcome;              ///< FeatureAhead: the label that came due with this sample
};

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
  double trivial_accuracy = 0, trivial_kappa = 0, trivial_mae = 0, trivial_rmse = 0;
  double faded_loss = 0, faded_trivial_loss = 0;  ///< error rate or MAE with fading memory
  uint64_t drift_warnings = 0, drift_alarms = 0;
  double drift_statistic = 0;  ///< largest of the detectors
  uint64_t anomaly_events = 0;
  double anomaly_score = 0;
  bool anomaly_active = false, cold = true, frozen = false;
};

class Model {
 public:
  /// Exact size of the image, a multiple of 16. Never fails for a parsed spec.
  static base::Result<uint64_t> StateBytes(const Spec& spec);

  /// Makes a fresh model in `memory`, which is zeroed first.
  /// Neither the Spec nor its bytes are needed afterwards; the memory is, unmoved.
  /// @param memory  16-byte aligned, exactly StateBytes(spec) long.
  /// @returns kInvalidArgument: misaligned or another size; kFailedPrecondition: the floating-point
  /// environment of this
  ///          thread or build would give other results than other machines.
  static base::Result<Model> Create(const Spec& spec, base::MutableBytes memory);

  /// Takes over an existing image after checking every index, count and number in it. Writes nothing on
  /// failure.
  /// @returns as Create, and kDataLoss: not an image of this spec, or damaged; kUnimplemented: layout or
  /// numerics
  ///          version of another agent.
  static base::Result<Model> Attach(const Spec& spec, base::MutableBytes memory);

  /// Advances every stage once, predicts and keeps the prediction until its label comes. FeatureAhead: first
  /// scores and learns the sample `ahead` earlier, whose label is in this one.
  ///
  /// Ids rise within a series. An id that is not above the last one and not waiting starts a new series: lags
  /// and waiting samples are dropped (StartSeries), what was learned stays.
  /// @param time_ns  Sample time, kept as last_time_ns; it changes no result.
  /// @param x        feature_count() values; NaN and infinity are missing, beyond +-1e30 is cut, a category
  /// that is not a
  ///                 whole number of its range is `other`.
  /// @param out      Filled; may be null.
  /// @returns kInvalidArgument: wrong width (counted); kAlreadyExists: id is the last one or waits (counted).
  /// Then
  ///          nothing changed but the counter.
  base::Status Observe(uint64_t id, int64_t time_ns, std::span<const float> x, Output* out);

  /// Scores the stored prediction of sample `id` with its label, then learns from its stored inputs.
  /// FeatureAhead: the label is the truth about an anomaly (0 or 1) and is only scored (AUC).
  /// @param y       Class index (a whole number below class_count()) or target, finite.
  /// @param weight  Importance, >= 0 and finite; above 1e6 is cut. With 0 the label is counted and changes
  /// neither
  ///                a metric nor the model.
  /// @param out     Filled; may be null.
  /// @returns kNotFound: no sample waits under this id, counted; kInvalidArgument: y or weight unusable,
  /// counted, the
  ///          sample keeps waiting.
  base::Status Learn(uint64_t id, double y, double weight, Outcome* out);

  /// What Observe would answer for x, changing nothing. Errors as Observe.
  base::Status Predict(std::span<const float> x, Output* out) const;

  /// Forgets the recent past (lags, waiting samples), keeps what was learned: for the seam between two
  /// streams.
  void StartSeries();

  /// Frozen: observes, predicts and scores (metrics, anomaly and drift included), but the learner and the
  /// statistics of the stages stay as they are. Kept in the image.
  void SetFrozen(bool frozen);
  bool frozen() const;

  base::MutableBytes image() const { return memory_; }
  /// SHA-256 of the image. Cost: about 6 us a KiB.
  base::Digest ImageDigest() const;
  /// Every number in the image is finite or legally missing, every index in range. Cost: O(image), no heap.
  bool AllFinite() const;

  /// Cost: O(classes^2 + auc window); 4 KiB of stack.
  Metrics ReadMetrics() const;
  uint64_t samples() const;
  uint64_t labels_learned() const;
  uint64_t last_id() const;
  int64_t last_time_ns() const;
  uint32_t class_count() const { return layout_.target.classes; }
  uint32_t feature_count() const { return layout_.features; }

 private:
  friend class ImageChecker;
  Model(const Layout& layout, base::MutableBytes memory) : layout_(layout), memory_(memory) {
    layout_.Bind(tables());
  }

  struct Entry;
  ImageHeader& header() const { return *PlaceOf<ImageHeader>(memory_.data()); }
  const uint16_t* tables() const { return PlaceOf<uint16_t>(memory_.data() + layout_.table_section.offset); }
  base::MutableBytes At(const Section& section) const {
    return memory_.subspan(section.offset, section.bytes);
  }
  Entry EntryAt(uint64_t place) const;
  Entry NextEntry(uint64_t id);
  Entry FindWaiting(uint64_t id) const;
  void DropOldest();
  void DropDone();
  bool TakeTruth(uint64_t id, double* score);
  void KeepTruth(uint64_t id, double score);
  base::Status CheckId(uint64_t id);
  void Enter(std::span<const float> x, float* row, uint64_t* missing, uint64_t* clamped) const;
  void RunStages(StageMode mode, float* row) const;
  void PredictOutputs(std::span<const float> inputs, std::span<double> outputs) const;
  void FillAnswer(std::span<const double> outputs, double value, Output* out) const;
  double Answer(std::span<const double> outputs, double base) const;
  void ComeDue(double actual, Output* out);
  void ScoreAndLearn(const Entry& entry, double y, double weight, Outcome* out);
  void UpdateLearner(const Entry& entry, double y, double weight);
  void UpdateDrift(Outcome* out);
  double StepShare() const;
  void ScoreStep(double step, double truth);
  double ScoreRegression(const Entry& entry, double y, double weight, Outcome* out);
  bool ScoreResidual(double residual, Outcome* out);
  double TameTarget(double target, double answer, bool anomalous);
  void ReadLossMetrics(Metrics* m) const;
  base::Status LearnTruth(uint64_t id, double y, double weight, Outcome* out);

  Layout layout_;
  base::MutableBytes memory_;
  mutable std::array<double, kMaxClasses> scratch_{};  // outputs of Predict, which may not touch the image
};

}  // namespace dipper::learn
