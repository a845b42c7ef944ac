// Every learner with every kind of target, and every stage, detector and option in one of them: the specs
// that the contract suite, the allocation count, the digest probe and call_cost all run. Not thread-safe.
#pragma once

#include <iterator>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {

struct ModelCase {
  std::string learner;
  std::string target;
  std::string extra = "";  ///< what SpecOf adds: stages, drift, watch, late; or nothing
  /// Takes many times the others' time, and its learner has a case that does not: an emulator may leave it.
  bool slow = false;

  std::string name() const { return learner + "_" + target + (extra.empty() ? "" : "_" + extra); }
  bool classification() const {
    return target == "binary" || target == "multiclass" || target == "category_ahead";
  }
  bool ahead() const { return target.find("ahead") != std::string::npos || target == "anomaly"; }
  bool labelled() const { return !ahead() && target != "scores"; }
  /// Takes categorical inputs as they are, and inputs of any scale.
  bool nominal() const {
    return learner == "hoeffding_tree" || learner == "naive_bayes" || learner == "adaptive_forest" ||
           learner == "half_space_trees";
  }
};

inline void PrintTo(const ModelCase& test, std::ostream* out) { *out << test.name(); }
inline std::vector<ModelCase> AllCases() {
  std::vector<ModelCase> cases;
  for (const char* learner : {"linear", "rls", "hoeffding_tree", "naive_bayes", "knn", "race"}) {
    for (const char* target :
         {"binary", "multiclass", "regression", "ahead", "ahead_late", "category_ahead", "anomaly"}) {
      ModelCase test = {learner, target};
      if (test.learner == "naive_bayes" && !test.classification()) continue;
      if (test.learner == "knn" || test.learner == "race")
        test.slow = test.target != "binary" && test.target != "regression";
      cases.push_back(test);
    }
  }
  for (const char* target : {"multiclass", "ahead_late", "category_ahead"})
    cases.push_back({"adaptive_forest", target, "", true});
  const ModelCase others[] = {
      {"adaptive_forest", "binary"},    {"adaptive_forest", "regression"},
      {"half_space_trees", "scores"},   {"linear", "regression", "stages"},
      {"linear", "binary", "drift"},    {"hoeffding_tree", "regression", "drift"},
      {"rls", "regression", "watch"},   {"linear", "ahead_late", "watch"},
      {"linear", "multiclass", "late"}, {"naive_bayes", "binary", "late"},
      {"race", "binary", "late", true},
  };
  cases.insert(cases.end(), std::begin(others), std::end(others));
  return cases;
}

/// Every stage in one model, the lags and the scaler of SpecOf included: 4 features become 39 inputs.
inline void AddAllStages(schema::SpecT* spec) {
  using enum schema::Statistic;
  AddStage(spec, schema::RobustClipT());
  schema::ImputerT imputer;
  imputer.missing_flags = true;
  AddStage(spec, imputer);
  schema::HashedT hashed;
  hashed.buckets = 8;
  AddStage(spec, hashed);
  schema::InteractionsT interactions;
  interactions.inputs = {0, 1, 2};
  interactions.squares = true;
  AddStage(spec, interactions);
  schema::RollingT rolling;
  rolling.inputs = {0, 1};
  rolling.window = 16;
  rolling.statistics = {Mean, Std, Crest, ZeroCrossings, Median};
  AddStage(spec, rolling);
  schema::BandEnergyT bands;
  bands.inputs = {1};
  bands.window = 64;
  bands.hop = 16;
  bands.bands = 4;
  AddStage(spec, bands);
}

inline void AddExtra(schema::SpecT* spec, const std::string& extra) {
  using enum schema::DriftAction;
  if (extra == "drift") {
    AddDetector(spec, schema::AdwinT(), schema::DriftInput::Loss, Background);
    AddDetector(spec, schema::CusumT(), schema::DriftInput::Loss, Reset);
    AddDetector(spec, schema::HddmAT());
  }
  if (extra == "watch") {
    AddDetector(spec, schema::AdwinT(), schema::DriftInput::Features, RaiseRate);
    AddDetector(spec, schema::HddmAT());
  }
  if (extra == "late") {
    spec->target->label_delay = 12;
    spec->target->balanced = true;
  }
  if (extra == "late" || extra == "watch") spec->intervals = std::make_unique<schema::IntervalsT>();
}

/// f0, f1, f2 numeric and `kind` of three categories, lags of f0 and f1, a scaler.
inline schema::SpecT SpecOf(const ModelCase& test) {
  schema::SpecT spec = MakeSpec(test.learner, 3, 0);
  AddFeature(&spec, "kind", {"a", "b", "c"});
  if (test.classification()) spec.task = schema::Task::Classification;
  if (test.target == "binary") spec.target->classes = {"no", "yes"};
  if (test.target == "multiclass") {
    spec.target->classes = {"x", "y", "z"};
    spec.target->spare_classes = 1;
  }
  if (test.ahead()) {
    spec.target->kind = schema::TargetKind::FeatureAhead;
    spec.target->feature = test.classification() ? 3 : 0;
    spec.target->ahead = test.target == "ahead_late" ? 7 : 1;
  }
  if (test.target == "anomaly") spec.task = schema::Task::Anomaly;
  if (test.target == "ahead_late") spec.anomaly = std::make_unique<schema::AnomalyScoreT>();
  if (test.extra == "stages") {
    AddAllStages(&spec);
  } else if (!test.nominal()) {
    AddStage(&spec, schema::OneHotT());
  }
  schema::LagsT lags;
  lags.inputs = {0, 1};
  lags.lags = {1, 4};
  AddStage(&spec, lags);
  schema::StandardScalerT scaler;
  scaler.decay = test.target == "regression" ? 0.995 : 0.0;
  AddStage(&spec, scaler);
  if (test.extra.empty() && test.target != "scores") AddDrift(&spec);
  if (test.target == "anomaly" || test.target == "scores") AddDrift(&spec, schema::DriftInput::Score);
  AddExtra(&spec, test.extra);
  return spec;
}

/// A drifting, partly missing stream with a label for each sample.
class Stream {
 public:
  explicit Stream(uint64_t seed, double scale = 1.0) : numbers_(seed), scale_(scale) {}

  struct Sample {
    float x[4];
    double label;
  };

  Sample Next(uint32_t classes) {
    level_ = 0.98 * level_ + 0.2 * numbers_.Normal();
    const double other = numbers_.Normal();
    const double sign = (++count_ / 3000) % 2 == 0 ? 1.0 : -1.0;
    const uint64_t kind = level_ > 0.3 ? 2 : (level_ < -0.3 ? 1 : 0);
    Sample sample = {{static_cast<float>(scale_ * level_), static_cast<float>(scale_ * other),
                      static_cast<float>(scale_ * numbers_.Uniform()), static_cast<float>(kind)},
                     0.0};
    if (numbers_.Below(50) == 0) sample.x[numbers_.Below(3)] = std::numeric_limits<float>::quiet_NaN();
    const double truth = sign * level_ + 0.7 * other + 0.3 * numbers_.Normal();
    if (classes == 0) {
      sample.label = scale_ * truth;
    } else {
      const double place = (truth + 1.5) / 3.0 * static_cast<double>(classes);
      sample.label = place < 0.0
                         ? 0.0
                         : (place >= classes ? classes - 1.0 : static_cast<double>(static_cast<int>(place)));
    }
    return sample;
  }

 private:
  Numbers numbers_;
  double scale_;
  uint64_t count_ = 0;
  double level_ = 0;
};

inline uint32_t LabelClasses(const Spec& spec) {
  return spec.target_kind() == schema::TargetKind::LabelColumn ? spec.class_count() : 2;
}

/// Observes `samples` samples and gives each its label `delay` samples later.
inline void RunStream(Model& model, const Spec& spec, Stream* stream, uint64_t samples, uint64_t delay = 0) {
  std::vector<double> labels;
  labels.reserve(samples);
  const uint64_t first = model.last_id() + 1;
  for (uint64_t i = 0; i < samples; ++i) {
    const Stream::Sample sample = stream->Next(LabelClasses(spec));
    labels.push_back(sample.label);
    if (!base::Ok(model.Observe(first + i, static_cast<int64_t>(i), sample.x, nullptr))) std::abort();
    if (i < delay) continue;
    const base::Status status = model.Learn(first + i - delay, labels[i - delay], 1.0, nullptr);
    if (!base::Ok(status) && status != base::Status::kNotFound) std::abort();
  }
}

}  // namespace dipper::learn::testing
