// One pass is a plain loop over parsed rows and preallocated columns, so that what is timed is the model.
#include "tools/lab/prequential.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "agent/learn/image/limits.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/samples.h"

namespace dipper::lab {
namespace {

/// What one pass leaves behind.
struct Pass {
  std::vector<double> predicted;
  std::vector<double> score;  // probability of class 1, or the anomaly score
  uint64_t drift_alarms = 0;
  uint64_t unmatched_labels = 0;
  uint64_t anomaly_events = 0;
  base::Digest digest;
  double ns = 0;
};

/// How the rows are to be run; the same for every pass.
struct Plan {
  const SampleTable& samples;
  uint64_t delay;
  bool classification;
  bool anomaly_score;  // `score` is the anomaly score rather than a probability
  bool labels;         // labels are given to the model
  bool raw;            // a scorer's own score rather than its calibration, which forgets
};

[[noreturn]] void FailRow(uint64_t row, const char* verb, base::Status status) {
  throw Error(ExitCode::kFailure,
              fmt::format("row {}: the model refused to {} ({})", row, verb, base::StatusName(status)));
}

void RunRows(const Plan& plan, learn::Model& model, Pass* pass) {
  const SampleTable& samples = plan.samples;
  learn::Output output;
  learn::Outcome outcome;
  for (uint64_t i = 0; i < samples.rows; ++i) {
    const base::Status observed = model.Observe(i, 0, samples.Row(i), &output);
    if (!base::Ok(observed)) FailRow(i, "observe", observed);
    pass->predicted[i] = plan.classification ? static_cast<double>(output.class_index) : output.value;
    if (plan.anomaly_score) {
      pass->score[i] = plan.raw ? output.anomaly_raw : (output.has_score ? output.anomaly_score : 0);
    } else if (output.probabilities.size() > 1) {
      pass->score[i] = output.probabilities[1];
    }
    if (output.drift_alarm || (output.outcome.valid && output.outcome.drift_alarm)) ++pass->drift_alarms;
    if (!plan.labels || i < plan.delay || samples.label_kinds[i - plan.delay] != LabelKind::kKnown) continue;
    const base::Status learned = model.Learn(i - plan.delay, samples.labels[i - plan.delay], 1, &outcome);
    if (base::Ok(learned)) {
      if (outcome.valid && outcome.drift_alarm) ++pass->drift_alarms;
    } else if (learned != base::Status::kNotFound) {
      FailRow(i - plan.delay, "learn", learned);
    }
  }
}

Pass RunPass(const Plan& plan, DeskModel& desk) {
  Pass pass;
  pass.predicted.resize(plan.samples.rows);
  pass.score.resize(plan.samples.rows);
  learn::Model model = desk.Create();
  const auto start = std::chrono::steady_clock::now();
  RunRows(plan, model, &pass);
  const auto end = std::chrono::steady_clock::now();
  pass.ns = static_cast<double>(std::chrono::nanoseconds(end - start).count());
  const learn::Metrics metrics = model.ReadMetrics();
  pass.unmatched_labels = metrics.unmatched_labels;
  pass.anomaly_events = metrics.anomaly_events;
  pass.digest = model.ImageDigest();
  return pass;
}

/// The last label that was available when row i was observed, for each row.
std::vector<double> LastAvailable(std::span<const double> labels, uint64_t delay) {
  std::vector<double> last(labels.size());
  double current = 0;
  for (uint64_t i = 0; i < labels.size(); ++i) {
    if (i > delay && !std::isnan(labels[i - 1 - delay])) current = labels[i - 1 - delay];
    last[i] = current;
  }
  return last;
}

/// Truth and trivial rival's answers.
struct Truth {
  std::vector<double> truth;
  std::vector<double> trivial;
  std::vector<double> flag;
  std::vector<double> trivial_flag;
};

Truth ForecastTruth(const learn::Spec& spec, const SampleTable& samples) {
  const schema::Target& target = *spec.table().target();
  Truth out;
  out.truth.assign(samples.rows, kUndefined);
  out.trivial.resize(samples.rows);
  double current = 0;
  for (uint64_t i = 0; i < samples.rows; ++i) {
    const double value = static_cast<double>(samples.Row(i)[target.feature()]);
    if (!std::isnan(value)) current = value;
    out.trivial[i] = current;
    if (i >= target.ahead()) out.truth[i - target.ahead()] = value;
  }
  return out;
}

Truth FindTruth(const learn::Spec& spec, const SampleTable& samples, uint64_t delay, bool flags) {
  Truth out;
  if (spec.target_kind() == schema::TargetKind::FeatureAhead) out = ForecastTruth(spec, samples);
  if (spec.target_kind() == schema::TargetKind::None) {
    out.truth.assign(samples.rows, kUndefined);  // nothing is forecast; only the scores are judged
    out.trivial.resize(samples.rows);
  }
  std::vector<double> labels = samples.labels;
  const uint32_t places = spec.class_count();
  for (uint64_t i = 0; places > 0 && i < samples.rows; ++i) {
    // A class without a place cannot be answered right, but it is there: one place more in the tables, never
    // learned.
    if (samples.label_kinds[i] == LabelKind::kUnknown) labels[i] = places;
  }
  const std::vector<double> last = LastAvailable(labels, delay);
  if (flags) {
    out.flag = labels;
    out.trivial_flag = last;
    // Of two classes the second is the positive one; what is neither is not told apart.
    for (double& flag : out.flag) {
      if (places > 0 && flag > 1) flag = kUndefined;
    }
  }
  if (out.truth.empty()) {
    out.truth = std::move(labels);
    out.trivial = last;
  }
  return out;
}

void FindWorstBlock(const Records& records, uint32_t classes, EvalResult* result) {
  if (result->rows < kEvalBlocks) return;
  for (uint64_t block = 0; block < kEvalBlocks; ++block) {
    const uint64_t first = block * result->rows / kEvalBlocks;
    const ScoredRange range = ScoreRange(records, classes, first, (block + 1) * result->rows / kEvalBlocks);
    if (range.model.rows == 0) continue;
    const bool worse = !result->worst_block.has_value() ||
                       (classes == 0 ? range.model.mae > result->worst_block->model.mae
                                     : range.model.accuracy < result->worst_block->model.accuracy);
    if (!worse) continue;
    result->worst_block = range;
    result->worst_block_index = block;
    result->worst_block_first_row = first;
  }
}

/// Rows that can wait for their labels, as the spec says or by its budget.
uint32_t PendingCapacity(const schema::SpecT& spec) {
  if (spec.pending != nullptr && spec.pending->capacity > 0) return spec.pending->capacity;
  const DeskModel model(spec);
  const learn::Layout& layout = model.spec().plan().layout;
  return std::max(layout.pending_capacity, layout.truth_capacity);
}

/// The ring must hold a row until its label: row i - delay and all after it.
void FitPending(uint64_t delay, schema::SpecT* spec, EvalResult* result) {
  if (delay >= learn::kMaxPending) {
    throw Error(ExitCode::kUsage,
                fmt::format("--label-delay {} is too long: a model keeps at most {} rows waiting for "
                            "their labels",
                            delay, learn::kMaxPending));
  }
  const uint32_t capacity = PendingCapacity(*spec);
  if (capacity >= delay + 1) return;
  // Only now: a spec that changes in any byte has another digest, and so have its images.
  if (spec->pending == nullptr) spec->pending = std::make_unique<schema::PendingT>();
  result->notes.push_back(
      fmt::format("pending.capacity raised from {} to {} for labels that come {} rows late; put it "
                  "into the spec for the device",
                  capacity, delay + 1, delay));
  spec->pending->capacity = static_cast<uint32_t>(delay + 1);
}

void AddWarnings(const SampleTable& samples, const Pass& pass, const std::string& path, EvalResult* result) {
  result->warnings = WarningsOf(samples, path);
  // Flags of rows that got no score (the first ones) match nothing; that is no loss.
  if (result->anomaly || pass.unmatched_labels == 0) return;
  result->warnings.push_back(
      fmt::format("{} labels came when their row was no longer waiting and were not learned; raise "
                  "pending.max_age_samples",
                  pass.unmatched_labels));
}

uint64_t PeakRssBytes() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

void FillCounters(const DeskModel& desk, const SampleTable& samples, EvalResult* result) {
  result->rows = samples.rows;
  result->state_bytes = desk.spec().state_bytes();
  result->spec_digest = desk.spec().digest();
  result->skipped_rows = samples.skipped_rows;
  result->unlabelled_rows = static_cast<uint64_t>(
      std::count(samples.label_kinds.begin(), samples.label_kinds.end(), LabelKind::kNone));
  result->unknown_labels = samples.counters.unknown_labels;
  result->other_labels = samples.counters.other_labels;
  result->missing_cells = samples.counters.missing_cells;
  result->bad_cells = samples.counters.bad_cells;
  result->unseen_cells = samples.counters.unseen_cells;
}

/// A run without one label to learn from would be a table of errors that says nothing.
void CheckLabels(const SampleTable& samples, bool own_labels, const std::string& path) {
  if (own_labels || std::count(samples.label_kinds.begin(), samples.label_kinds.end(), LabelKind::kKnown) > 0)
    return;
  throw Error(
      ExitCode::kFailure,
      fmt::format("'{}': no row has a label that this spec can score{}; check --label and target.classes",
                  path,
                  samples.first_unknown_label.empty()
                      ? std::string()
                      : ", the first one is '" + Printable(samples.first_unknown_label) + "'"));
}

/// Runs all passes; the first one's records are the result. Every pass must end in the same bytes.
Pass RunPasses(const Plan& plan, DeskModel& desk, EvalResult* result) {
  std::array<double, kEvalPasses> ns{};
  Pass first = RunPass(plan, desk);
  ns[0] = first.ns;
  for (size_t p = 1; p < ns.size(); ++p) {
    const Pass pass = RunPass(plan, desk);
    ns[p] = pass.ns;
    if (pass.digest != first.digest) {
      throw Error(
          ExitCode::kVerificationFailed,
          "two passes over the same rows ended in different images; this build or machine cannot be trusted");
    }
  }
  std::nth_element(ns.begin(), ns.begin() + kEvalPasses / 2, ns.end());
  result->ns_per_sample = ns[kEvalPasses / 2] / static_cast<double>(plan.samples.rows);
  result->state_digest = first.digest;
  result->drift_alarms = first.drift_alarms;
  result->anomaly_events = first.anomaly_events;
  return first;
}

}  // namespace

EvalResult Evaluate(schema::SpecT spec, const CsvTable& table, const EvalOptions& options) {
  EvalResult result;
  if (options.seed.has_value()) spec.seed = *options.seed;
  const bool forecast = spec.target->kind == schema::TargetKind::FeatureAhead;
  FitPending(options.label_delay, &spec, &result);
  DeskModel desk(spec);
  const SampleTable samples = DecodeTable(desk.spec(), table, options.label);
  const bool label_column = spec.target->kind == schema::TargetKind::LabelColumn;
  CheckLabels(samples, !label_column, table.path());
  FillCounters(desk, samples, &result);
  result.task = spec.task;
  result.forecast = forecast;
  result.seed = spec.seed;
  const uint32_t places = desk.spec().class_count();
  const bool anomaly = !label_column && (spec.task == schema::Task::Anomaly || spec.anomaly != nullptr);
  result.anomaly = anomaly;
  result.has_flags = samples.has_labels && (anomaly || spec.target->classes.size() == 2);
  if (forecast && samples.has_labels && !anomaly) {
    result.notes.push_back(
        "the label is not used: a forecast without [anomaly] has no score to compare it with");
  }

  const Plan plan = {samples, options.label_delay,     places > 0,
                     anomaly, label_column || anomaly, spec.target->kind == schema::TargetKind::None};
  const Truth truth = FindTruth(desk.spec(), samples, options.label_delay, result.has_flags);
  const Pass pass = RunPasses(plan, desk, &result);
  const Records records = {truth.truth, pass.predicted, truth.trivial,
                           truth.flag,  pass.score,     truth.trivial_flag};
  const uint32_t classes = places > 0 ? places + 1 : 0;
  result.whole = ScoreRange(records, classes, 0, samples.rows);
  if (forecast && result.whole.model.rows == 0) {
    throw Error(
        ExitCode::kFailure,
        fmt::format(
            "'{}' has {} usable rows and the forecast is {} ahead, so no row could be scored; add data, "
            "or forecast less far",
            table.path(), samples.rows, spec.target->ahead));
  }
  result.second_half = ScoreRange(records, classes, samples.rows / 2, samples.rows);
  FindWorstBlock(records, classes, &result);
  AddWarnings(samples, pass, table.path(), &result);
  result.peak_rss_bytes = PeakRssBytes();
  return result;
}

Verdict VerdictOf(const EvalResult& result) {
  const Scores& model = result.whole.model;
  const Scores& trivial = result.whole.trivial;
  const auto verdict = [](bool better) { return better ? Verdict::kBetter : Verdict::kNotBetter; };
  // So that a missing score (not a number) is no better one.
  if (result.task == schema::Task::Anomaly && result.has_flags) return verdict(!(model.auc <= trivial.auc));
  if (std::isnan(model.accuracy)) return verdict(!(model.mae >= trivial.mae));
  if (model.accuracy > trivial.accuracy) return Verdict::kBetter;
  constexpr double kClearly = 0.05;
  const bool rare = model.kappa > trivial.kappa + kClearly || model.auc > trivial.auc + kClearly;
  return rare ? Verdict::kBetterForRare : Verdict::kNotBetter;
}

}  // namespace dipper::lab
