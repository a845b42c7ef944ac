// Every learner with every kind of target: the specs that the contract suite, the allocation count and the
// digest probe all run. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "tests/unit/agent/learn/spec_maker.h"

namespace dipper::learn::testing {

struct ModelCase {
  std::string learner;
  std::string target;
  std::string name() const { return learner + "_" + target; }
  bool classification() const {
    return target == "binary" || target == "multiclass" || target == "category_ahead";
  }
  /// Takes categorical inputs as they are.
  bool nominal() const { return learner == "hoeffding_tree" || learner == "naive_bayes"; }
};

inline std::vector<ModelCase> AllCases() {
  std::vector<ModelCase> cases;
  for (const char* learner : {"linear", "rls", "hoeffding_tree", "naive_bayes", "knn", "race"}) {
    for (const char* target :
         {"binary", "multiclass", "regression", "ahead", "ahead_late", "category_ahead", "anomaly"}) {
      const ModelCase test = {learner, target};
      if (learner == std::string("naive_bayes") && !test.classification()) continue;
      cases.push_back(test);
    }
  }
  return cases;
}

/// f0, f1, f2 numeric and `kind` of three categories; `scaled` puts a scaler in (before the lags).
inline schema::SpecT SpecOf(const ModelCase& test) {
  const bool classes = test.classification();
  schema::SpecT spec = MakeSpec(test.learner, 3, 0);
  AddFeature(&spec, "kind", {"a", "b", "c"});
  spec.task = classes ? schema::Task::Classification : schema::Task::Regression;
  if (test.target == "binary") spec.target->classes = {"no", "yes"};
  if (test.target == "multiclass") {
    spec.target->classes = {"x", "y", "z"};
    spec.target->spare_classes = 1;
  }
  if (test.target.find("ahead") != std::string::npos || test.target == "anomaly") {
    spec.target->kind = schema::TargetKind::FeatureAhead;
    spec.target->feature = classes ? 3 : 0;
    spec.target->ahead = test.target == "ahead_late" ? 7 : 1;
  }
  if (test.target == "anomaly") spec.task = schema::Task::Anomaly;
  if (test.target == "ahead_late") spec.anomaly = std::make_unique<schema::AnomalyScoreT>();
  if (!test.nominal()) AddStage(&spec, schema::OneHotT());
  schema::LagsT lags;
  lags.inputs = {0, 1};
  lags.lags = {1, 4};
  AddStage(&spec, lags);
  schema::StandardScalerT scaler;
  scaler.decay = test.target == "regression" ? 0.995 : 0.0;
  AddStage(&spec, scaler);
  AddDrift(&spec);
  if (test.target == "anomaly") AddDrift(&spec, schema::DriftInput::Score);
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
    ++count_;
    level_ = 0.98 * level_ + 0.2 * numbers_.Normal();
    const double other = numbers_.Normal();
    const double sign = (count_ / 3000) % 2 == 0 ? 1.0 : -1.0;
    const uint64_t kind = level_ > 0.3 ? 2 : (level_ < -0.3 ? 1 : 0);
    Sample sample = {{static_cast<float>(scale_ * level_), static_cast<float>(other),
                      static_cast<float>(numbers_.Uniform()), static_cast<float>(kind)},
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
  return spec.target_kind() == schema::TargetKind::FeatureAhead ? 2 : spec.class_count();
}

/// Observes `samples` samples and gives each its label `delay` samples later; statuses are the caller's
/// affair.
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
