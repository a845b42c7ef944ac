// A model: views over one block of bytes, the model image, that holds everything it has learned (the
// model is its memory image; byte for byte in docs/reference/model-image.md). Not thread-safe; several models
// may live in several threads. No heap, no exceptions, no I/O; every call takes time bounded by the spec.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/image/answers.h"
#include "agent/learn/image/image_format.h"
#include "agent/learn/image/spec.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

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
  /// @param weight  Importance, >= 0 and finite; above 1e6 is cut. With 0 the label lets its sample go and
  ///                changes neither a metric, nor what the trivial rival knows, nor the model.
  /// @param out     Filled; may be null.
  /// @returns kNotFound: no sample waits under this id, counted; kInvalidArgument: y or weight unusable,
  /// counted, the
  ///          sample keeps waiting.
  base::Status Learn(uint64_t id, double y, double weight, Outcome* out);

  /// What Observe would answer for x, changing nothing. Errors as Observe.
  base::Status Predict(std::span<const float> x, Output* out) const;

  /// Why Predict answers x as it does: what each input of the learner adds to the probability of class
  /// `output`, or to the value (output 0), the stages standing as they do. Of a race: the blend of the
  /// members that can tell. Of classes by scores (linear, naive_bayes, the models in a tree's leaves):
  /// integrated gradients, see learners/score_way.h.
  ///
  /// Cost: as Predict twice; trees O(nodes * outputs); 8 KiB of stack.
  /// @param terms  input_count() + 2 places: the inputs in the learner's order; the base, which is the answer
  ///               without any input (a tree's mean, a linear model's bias, the last value that a forecast
  ///               starts from); and what belongs to no input (what a tree's leaf adds without any, cuts,
  ///               members that cannot tell). Their sum is Predict's answer.
  /// @returns kInvalidArgument: a width or `output` out of range; kUnimplemented: no learner here can tell,
  ///          which are all but knn and half_space_trees.
  base::Status Contributions(std::span<const float> x, uint32_t output, std::span<double> terms) const;

  /// How much each input of the learner matters in general, sum 1 (all 0 before anything is known): trees by
  /// their splits, linear and rls by the sizes of the weights, comparable behind a scaler, naive_bayes by
  /// what it tells of the class. Of a race: the blend of the members that can tell.
  /// @param out  input_count() places.
  /// @returns as Contributions.
  base::Status Importance(std::span<double> out) const;

  /// Which inputs make x unusual to half_space_trees: terms[i] is what the raw score falls by when input i is
  /// taken for missing, below 0 if it speaks for x; all 0 while the trees are cold. Inputs that are unusual
  /// only together each get the whole of it. The largest: LargestPlaces (math/largest.h). Changes nothing.
  ///
  /// Cost: O(inputs * trees * depth), no heap; 3 KiB of stack.
  /// @param terms  input_count() places.
  /// @returns kInvalidArgument: a width; kUnimplemented: another learner (there see Contributions).
  base::Status ScoreTerms(std::span<const float> x, std::span<double> terms) const;

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
  /// Of one feature; kNotFound: no detector watches it (it is categorical, or none is on features).
  base::Result<FeatureDrift> ReadFeatureDrift(uint32_t feature) const;
  uint64_t samples() const;
  uint64_t labels_learned() const;
  /// Members of a race (the no-change rival last), else 0.
  uint32_t race_members() const { return layout_.race_enabled ? layout_.race.members : 0; }
  /// Share of a race's member in the answer; the shares sum to 1.
  double race_weight(uint32_t member) const;
  uint64_t last_id() const;
  int64_t last_time_ns() const;
  uint32_t class_count() const { return layout_.target.classes; }
  uint32_t feature_count() const { return layout_.features; }
  /// Inputs of the learner, after all stages.
  uint32_t input_count() const { return layout_.inputs; }

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
  void PredictAnswers(std::span<const float> inputs, double trivial, std::span<double> answers) const;
  bool AddTerms(const LearnerLayout& member, std::span<const float> inputs, uint32_t output, double share,
                std::span<double> terms) const;
  double ShareOf(uint32_t member) const { return layout_.race_enabled ? race_weight(member) : 1.0; }
  void FillTrivial(double trivial, std::span<double> out) const;
  double Trivial(double actual) const;
  void Act(DriftLevel level, schema::DriftAction action);
  void ResetLearner();
  static void Renew(const LearnerConfig& config, base::MutableBytes memory);
  void StartBackground();
  void LearnBackground(const Entry& entry, std::span<const double> answers, double y, double weight);
  double LossOf(std::span<const double> answers, double y) const;
  void Prepare(std::span<const float> x, float* row, Output* out);
  void ObserveAside(uint64_t id, std::span<const float> x, Output* out);
  void Forecast(const Entry& entry, Output* out);
  void ScoreSample(std::span<const float> inputs, Output* out);
  void FillAnswer(std::span<const double> outputs, double value, Output* out) const;
  void FillInterval(std::span<const double> outputs, double issued, Output* out) const;
  double IssueInterval() const;
  double Answer(std::span<const double> outputs, double base) const;
  void ComeDue(double actual, Output* out);
  void ScoreAndLearn(const Entry& entry, double y, double weight, Outcome* out);
  void JudgeOnly(const PendingEntry& e, Outcome* out) const;
  void UpdateLearner(const Entry& entry, double y, double weight);
  void UpdateDrift(Outcome* out);
  void WatchFeatures(const float* row, Output* out);
  void WatchScore(double score, Output* out);
  double BalanceOf(double y) const;
  double StepShare() const;
  void ScoreStep(double step, double truth);
  double ScoreRegression(const Entry& entry, double y, double weight, Outcome* out);
  bool ScoreResidual(double residual, Outcome* out);
  double TameTarget(double target, double answer, bool anomalous);
  void ReadLossMetrics(Metrics* m) const;
  base::Status LearnTruth(uint64_t id, double y, double weight, Outcome* out);

  Layout layout_;
  base::MutableBytes memory_;
  // Answers of Predict, which may not touch the image, and of late labels: the model's, then the members'.
  // And one member's terms or importances.
  mutable std::array<double, kMaxAnswers> scratch_{};
};

}  // namespace dipper::learn
