// The models and the stream that learn_bench and call_cost_probe run. Not thread-safe.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {

inline constexpr const char* kLearners[] = {
    "linear", "rls", "naive_bayes", "knn", "hoeffding_tree", "adaptive_forest", "half_space_trees", "race"};
inline constexpr size_t kRows = 4096;  // of the stream, which is then repeated

struct Rows {
  std::vector<std::vector<float>> x;
  std::vector<double> labels;
};

/// The first four features are the contract suite's stream; the others are noise.
inline Rows Draw(uint32_t features, uint32_t classes) {
  Rows rows;
  Stream stream(1);
  Numbers numbers(2);
  for (size_t i = 0; i < kRows; ++i) {
    const Stream::Sample sample = stream.Next(classes);
    std::vector<float> x(sample.x, sample.x + std::min<size_t>(features, 4));
    while (x.size() < features) x.push_back(static_cast<float>(numbers.Normal()));
    rows.x.push_back(std::move(x));
    rows.labels.push_back(sample.label);
  }
  return rows;
}

/// Numeric features, two classes (half_space_trees: none), a scaler, a drift detector.
inline schema::SpecT SpecWith(const std::string& learner, uint32_t features, uint64_t delay) {
  schema::SpecT spec = MakeSpec(learner, features, learner == "half_space_trees" ? 0 : 2);
  spec.budget_bytes = features > 64 ? 1048576 : 262144;
  AddStage(&spec, schema::StandardScalerT());
  AddDetector(&spec, schema::AdwinT(),
              learner == "half_space_trees" ? schema::DriftInput::Score : schema::DriftInput::Loss);
  spec.pending = std::make_unique<schema::PendingT>();
  spec.pending->capacity = static_cast<uint32_t>(delay + 1);
  if (spec.target->kind == schema::TargetKind::LabelColumn) {
    spec.target->label_delay = static_cast<uint32_t>(delay);
  }
  return spec;
}

}  // namespace dipper::learn::testing
