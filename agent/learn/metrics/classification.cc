// See classification.h.
#include "agent/learn/metrics/classification.h"

#include <cmath>
#include <cstring>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/lanes.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxClasses = 64;
constexpr double kLeastProbability = 1e-15;
// The pending product of probabilities is turned into a logarithm before it could leave the normal numbers.
constexpr double kLeastProduct = 0x1p-900;
constexpr double kLargestSum = 1e100;  // stored: of no number of labels

bool ValidConfig(const ClassificationMetricsConfig& config) {
  return config.classes >= 2 && config.classes <= kMaxClasses && config.fading > 0.0 && config.fading <= 1.0;
}

double Probability(double p) {
  const double least = p > 0.0 ? p : 0.0;  // in two steps, each one instruction
  return least < 1.0 ? least : 1.0;
}

double SumOfSquares(const double* p, uint32_t classes) {
  const auto square = [p](size_t c) { return Probability(p[c]) * Probability(p[c]); };
  return classes == 2 ? square(0) + square(1) : LaneSum(classes, square);  // equal bit for bit
}

}  // namespace

struct ClassificationMetrics::State {
  uint64_t labels;
  double weight;
  double correct;
  double trivial_correct;
  double log_loss;     // of the labels that have left the product
  double log_product;  // product of the last unit-weight probabilities, in (0, 1]
  double faded_weight;
  double faded_loss;
  double faded_trivial_loss;
  double brier;
  uint32_t last_label;
  uint32_t classes;
};
// After it: double confusion[actual][predicted], double trivial_answers[classes], double
// class_weights[classes], Bin[kConfidenceBins].

struct ClassificationMetrics::Bin {
  double weight;
  double confidence;  // weighted sums
  double correct;
};

base::Result<uint64_t> ClassificationMetrics::StateBytes(const ClassificationMetricsConfig& config) {
  static_assert(sizeof(State) == 88 && sizeof(Bin) == 24);
  if (!ValidConfig(config)) return base::Status::kInvalidArgument;
  const uint64_t counts = uint64_t{config.classes} * (config.classes + 2);
  return base::AlignUp(sizeof(State) + counts * sizeof(double) + kConfidenceBins * sizeof(Bin), 16);
}

base::Status ClassificationMetrics::Create(const ClassificationMetricsConfig& config,
                                           base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  State state{};
  state.log_product = 1.0;
  state.classes = config.classes;
  std::memcpy(memory.data(), &state, sizeof state);
  return base::Status::kOk;
}

base::Status ClassificationMetrics::Validate(const ClassificationMetricsConfig& config,
                                             base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  if (!ValidCounts(s.labels) || s.classes != config.classes || s.last_label >= config.classes)
    return base::Status::kDataLoss;
  const double sums[] = {s.weight,       s.correct,    s.trivial_correct,    s.log_loss,
                         s.faded_weight, s.faded_loss, s.faded_trivial_loss, s.brier};
  for (double sum : sums) {
    if (!(sum >= 0.0 && sum <= kLargestSum)) return base::Status::kDataLoss;
  }
  // Parts of a weight, added up as it is: never above it, to the last bit.
  if (s.correct > s.weight || s.trivial_correct > s.weight || s.faded_loss > s.faded_weight ||
      s.faded_trivial_loss > s.faded_weight)
    return base::Status::kDataLoss;
  if (!(s.log_product >= kLeastProduct && s.log_product <= 1.0)) return base::Status::kDataLoss;
  for (uint64_t at = sizeof(State); at + sizeof(double) <= bytes; at += sizeof(double)) {
    const double count = base::Load<double>(memory.data() + at);
    if (!(count >= 0.0 && count <= kLargestSum)) return base::Status::kDataLoss;
  }
  return base::Status::kOk;
}

ClassificationMetrics::ClassificationMetrics(const ClassificationMetricsConfig& config,
                                             base::MutableBytes memory)
    : classes_(config.classes), fading_(config.fading), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline ClassificationMetrics::State& ClassificationMetrics::state() const { return *PlaceOf<State>(memory_); }

inline double* ClassificationMetrics::counts() const { return PlaceOf<double>(memory_ + sizeof(State)); }

inline ClassificationMetrics::Bin* ClassificationMetrics::bins() const {
  return PlaceOf<Bin>(memory_ + sizeof(State) + uint64_t{classes_} * (classes_ + 2) * sizeof(double));
}

uint32_t ClassificationMetrics::Trivial() const { return state().last_label; }

inline ClassificationMetrics::Losses ClassificationMetrics::Judge(uint32_t predicted, uint32_t trivial,
                                                                  uint32_t actual) {
  // No branch: whether an answer is right is what nobody can guess.
  return {static_cast<double>(predicted != actual), static_cast<double>(trivial != actual)};
}

ClassificationMetrics::Losses ClassificationMetrics::Score(uint32_t predicted,
                                                           std::span<const double> probabilities,
                                                           uint32_t trivial, uint32_t actual, double weight) {
  DIPPER_CHECK(predicted < classes_ && actual < classes_ && probabilities.size() == classes_);
  if (!(weight > 0.0)) return Judge(predicted, trivial, actual);
  const double* p = probabilities.data();
  const double squares = SumOfSquares(p, classes_);
  const double brier = (squares - 2.0 * Probability(p[actual])) + 1.0;
  state().brier += weight * (brier > 0.0 ? brier : 0.0);  // rounding may leave a perfect one below 0
  const double confidence = Probability(p[predicted]);
  const auto bin = static_cast<uint32_t>(confidence * kConfidenceBins);  // 0 .. 10
  Bin& at = bins()[bin < kConfidenceBins ? bin : kConfidenceBins - 1];
  at.weight += weight;
  at.confidence += weight * confidence;
  at.correct += weight * static_cast<double>(predicted == actual);
  return Score(predicted, p[actual], trivial, actual, weight);
}

ClassificationMetrics::Losses ClassificationMetrics::Score(uint32_t predicted, double probability,
                                                           uint32_t trivial, uint32_t actual, double weight) {
  DIPPER_CHECK(predicted < classes_ && trivial < classes_ && actual < classes_);
  const Losses losses = Judge(predicted, trivial, actual);
  if (!(weight > 0.0)) return losses;
  State& s = state();
  s.labels += 1;
  s.last_label = actual;
  s.weight += weight;
  s.correct += weight * (1.0 - losses.loss);
  s.trivial_correct += weight * (1.0 - losses.trivial_loss);
  counts()[actual * classes_ + predicted] += weight;
  double* classes = counts() + classes_ * classes_;
  classes[trivial] += weight;
  classes[classes_ + actual] += weight;
  // A label fades the past in proportion to nothing but its coming.
  s.faded_weight = s.faded_weight * fading_ + weight;
  s.faded_loss = s.faded_loss * fading_ + weight * losses.loss;
  s.faded_trivial_loss = s.faded_trivial_loss * fading_ + weight * losses.trivial_loss;
  double p = probability < 1.0 ? probability : 1.0;
  p = p > kLeastProbability ? p : kLeastProbability;
  if (weight == 1.0) {
    s.log_product *= p;
    if (s.log_product < kLeastProduct * 0x1p64) {
      s.log_loss -= Log(s.log_product);
      s.log_product = 1.0;
    }
  } else {
    s.log_loss -= weight * Log(p);
  }
  return losses;
}

std::span<const double> ClassificationMetrics::ClassWeights() const {
  return {counts() + classes_ * (classes_ + 1), classes_};
}

double ClassificationMetrics::confusion(uint32_t actual, uint32_t predicted) const {
  DIPPER_CHECK(actual < classes_ && predicted < classes_);
  return counts()[actual * classes_ + predicted];
}

ClassificationMetrics::Summary ClassificationMetrics::Read() const {
  const State& s = state();
  const double* count = counts();
  double chance = 0;
  double trivial_chance = 0;
  double recalls = 0;
  double f1s = 0;
  double seen = 0;  // classes that came up
  for (uint32_t c = 0; c < classes_; ++c) {
    double actual = 0;
    double predicted = 0;
    for (uint32_t other = 0; other < classes_; ++other) {
      actual += count[c * classes_ + other];
      predicted += count[other * classes_ + c];
    }
    chance += Ratio(actual, s.weight) * Ratio(predicted, s.weight);
    trivial_chance += Ratio(actual, s.weight) * Ratio(count[classes_ * classes_ + c], s.weight);
    if (!(actual > 0.0)) continue;
    const double right = count[c * classes_ + c];
    seen += 1.0;
    recalls += right / actual;
    f1s += 2.0 * right / (actual + predicted);
  }
  Summary out;
  out.labels = s.labels;
  out.weight = s.weight;
  out.accuracy = Ratio(s.correct, s.weight);
  out.trivial_accuracy = Ratio(s.trivial_correct, s.weight);
  out.kappa = Canonical(Ratio(out.accuracy - chance, 1.0 - chance));
  out.trivial_kappa = Canonical(Ratio(out.trivial_accuracy - trivial_chance, 1.0 - trivial_chance));
  out.kappa_temporal = Canonical(Ratio(out.accuracy - out.trivial_accuracy, 1.0 - out.trivial_accuracy));
  out.log_loss = Ratio(s.log_loss - Log(s.log_product), s.weight);
  out.faded_loss = Ratio(s.faded_loss, s.faded_weight);
  out.faded_trivial_loss = Ratio(s.faded_trivial_loss, s.faded_weight);
  out.balanced_accuracy = Ratio(recalls, seen);
  out.macro_f1 = Ratio(f1s, seen);
  double judged = 0;  // weight of the labels that came with all probabilities
  double gaps = 0;
  for (uint32_t b = 0; b < kConfidenceBins; ++b) {
    judged += bins()[b].weight;
    gaps += std::fabs(bins()[b].correct - bins()[b].confidence);
  }
  out.brier = Ratio(s.brier, judged);
  out.calibration_error = Ratio(gaps, judged);
  return out;
}

ClassificationMetrics::ClassSummary ClassificationMetrics::ReadClass(uint32_t label) const {
  DIPPER_CHECK(label < classes_);
  const double* count = counts();
  double predicted = 0;
  ClassSummary out;
  for (uint32_t other = 0; other < classes_; ++other) {
    out.weight += count[label * classes_ + other];
    predicted += count[other * classes_ + label];
  }
  const double right = count[label * classes_ + label];
  out.precision = Ratio(right, predicted);
  out.recall = Ratio(right, out.weight);
  out.f1 = Ratio(2.0 * right, out.weight + predicted);
  return out;
}

ClassificationMetrics::ConfidenceBin ClassificationMetrics::ReadBin(uint32_t bin) const {
  DIPPER_CHECK(bin < kConfidenceBins);
  const Bin& at = bins()[bin];
  return {at.weight, Ratio(at.confidence, at.weight), Ratio(at.correct, at.weight)};
}

}  // namespace dipper::learn
