// Makes compiled specs for tests of agent/learn. Not thread-safe.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/learn/image/model.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::learn::testing {

using test::AlignedBytes;

inline void AddFeature(schema::SpecT* spec, const std::string& name,
                       const std::vector<std::string>& categories = {}) {
  auto feature = std::make_unique<schema::FeatureT>();
  feature->name = name;
  feature->type = categories.empty() ? schema::FeatureType::Numeric : schema::FeatureType::Categorical;
  feature->categories = categories;
  spec->features.push_back(std::move(feature));
}

template <typename Params>
void AddStage(schema::SpecT* spec, Params params) {
  auto stage = std::make_unique<schema::StageT>();
  stage->params.Set(std::move(params));
  spec->stages.push_back(std::move(stage));
}

template <typename Params>
void AddDetector(schema::SpecT* spec, Params params, schema::DriftInput input = schema::DriftInput::Loss,
                 schema::DriftAction on_alarm = schema::DriftAction::Report) {
  auto drift = std::make_unique<schema::DriftT>();
  drift->input = input;
  drift->on_alarm = on_alarm;
  drift->params.Set(std::move(params));
  spec->drift.push_back(std::move(drift));
}

inline void AddDrift(schema::SpecT* spec, schema::DriftInput input = schema::DriftInput::Loss) {
  AddDetector(spec, schema::PageHinkleyT(), input);
}

/// Sets `union_value` to a learner of this kind with its defaults.
inline void SetKind(schema::LearnerParamsUnion* union_value, const std::string& kind) {
  if (kind == "linear") union_value->Set(schema::LinearT());
  if (kind == "rls") union_value->Set(schema::RlsT());
  if (kind == "hoeffding_tree") union_value->Set(schema::HoeffdingTreeT());
  if (kind == "naive_bayes") union_value->Set(schema::NaiveBayesT());
  if (kind == "knn") union_value->Set(schema::KnnT());
  if (kind == "adaptive_forest") union_value->Set(schema::AdaptiveForestT());
  if (kind == "half_space_trees") union_value->Set(schema::HalfSpaceTreesT());
}

inline void SetRace(schema::SpecT* spec, const std::vector<std::string>& members, bool trivial) {
  schema::RaceT race;
  race.trivial = trivial;
  for (const std::string& member : members) {
    race.members.push_back(std::make_unique<schema::RaceMemberT>());
    SetKind(&race.members.back()->params, member);
  }
  spec->learner.Set(std::move(race));
}

/// "race" runs linear, rls, knn, a tree and the no-change rival.
inline void SetLearner(schema::SpecT* spec, const std::string& kind) {
  if (kind != "race") return SetKind(&spec->learner, kind);
  SetRace(spec, {"linear", "hoeffding_tree", "knn", "rls"}, true);
}

/// `inputs` numeric features f0, f1, ... and a label column; classes 0 = regression. half_space_trees: no
/// target, the task is anomaly.
inline schema::SpecT MakeSpec(const std::string& learner, uint32_t inputs, uint32_t classes) {
  schema::SpecT spec;
  spec.model_id = "main";
  spec.budget_bytes = 131072;
  spec.task = classes > 0 ? schema::Task::Classification : schema::Task::Regression;
  for (uint32_t i = 0; i < inputs; ++i) AddFeature(&spec, "f" + std::to_string(i));
  spec.target = std::make_unique<schema::TargetT>();
  if (learner == "half_space_trees") {
    spec.task = schema::Task::Anomaly;
    spec.target->kind = schema::TargetKind::None;
  }
  for (uint32_t i = 0; i < classes; ++i) spec.target->classes.push_back("c" + std::to_string(i));
  SetLearner(&spec, learner);
  return spec;
}

/// A FeatureAhead forecast of f0 with lags, scaler, anomaly score and drift.
inline schema::SpecT MakeForecastSpec(const std::string& learner, uint32_t inputs, uint32_t ahead) {
  schema::SpecT spec = MakeSpec(learner, inputs, 0);
  spec.target->kind = schema::TargetKind::FeatureAhead;
  spec.target->ahead = ahead;
  spec.anomaly = std::make_unique<schema::AnomalyScoreT>();
  schema::LagsT lags;
  lags.lags = {1, 2, 3};
  AddStage(&spec, lags);
  AddStage(&spec, schema::StandardScalerT());
  AddDrift(&spec, schema::DriftInput::Score);
  return spec;
}

/// Compiled bytes and what Parse says about them.
class Compiled {
 public:
  explicit Compiled(const schema::SpecT& spec) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(schema::Spec::Pack(builder, &spec), schema::SpecIdentifier());
    bytes_ = std::make_unique<AlignedBytes>(builder.GetSize());
    std::memcpy(bytes_->bytes().data(), builder.GetBufferPointer(), builder.GetSize());
  }
  base::MutableBytes bytes() const { return bytes_->bytes(); }
  base::Result<Spec> Parse() { return Spec::Parse(bytes_->bytes(), &why_); }
  const char* why() const { return why_; }

 private:
  std::unique_ptr<AlignedBytes> bytes_;
  const char* why_ = "";
};

/// A parsed spec with a fresh model in memory of its own.
class Fixture {
 public:
  explicit Fixture(const schema::SpecT& spec)
      : compiled_(spec),
        spec_(compiled_.Parse().value()),
        memory_(spec_.state_bytes()),
        model_(Model::Create(spec_, memory_.bytes()).value()) {}
  const Spec& spec() const { return spec_; }
  Model& model() { return model_; }
  Model* operator->() { return &model_; }
  base::MutableBytes memory() { return memory_.bytes(); }

 private:
  Compiled compiled_;
  Spec spec_;
  AlignedBytes memory_;
  Model model_;
};

/// Plain, repeatable numbers for streams.
class Numbers {
 public:
  explicit Numbers(uint64_t seed) : state_(SeedOf(seed)) {}
  double Uniform() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<double>(state_ >> 11) * 0x1p-53;
  }
  /// Roughly normal: twelve uniforms.
  double Normal() {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum;
  }
  uint64_t Below(uint64_t bound) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state_ >> 33) % bound;
  }

 private:
  static uint64_t SeedOf(uint64_t seed) { return seed * 0x9E3779B97F4A7C15ULL + 1; }
  uint64_t state_;
};

}  // namespace dipper::learn::testing
