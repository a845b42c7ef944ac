// A small compiled spec for the tests of agent/stream. Not thread-safe.
#pragma once

#include <bit>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/schema/spec_generated.h"

namespace dipper::stream {

/// The one not-a-number that a missing value is.
inline bool IsCanonicalMissing(float value) { return std::bit_cast<uint32_t>(value) == 0x7FC00000U; }

/// Features temperature (numeric), mode (one of `modes`), humidity (numeric); label `state`, for a
/// classification with the classes "ok" and "1".
class SampleSpec {
 public:
  SampleSpec(schema::Task task, uint16_t spare,
             std::vector<std::string> modes = {"eco", "boost", "true", "7"}) {
    schema::SpecT spec;
    spec.model_id = "m";
    spec.task = task;
    AddFeature(&spec, "temperature", {});
    AddFeature(&spec, "mode", std::move(modes));
    AddFeature(&spec, "humidity", {});
    spec.target = std::make_unique<schema::TargetT>();
    spec.target->name = "state";
    if (task == schema::Task::Classification) spec.target->classes = {"ok", "1"};
    spec.target->spare_classes = spare;
    spec.learner.Set(schema::LinearT{});
    schema::FinishSpecBuffer(builder_, schema::CreateSpec(builder_, &spec));
  }
  const schema::Spec& table() const { return *schema::GetSpec(builder_.GetBufferPointer()); }

 private:
  static void AddFeature(schema::SpecT* spec, const char* name, std::vector<std::string> categories) {
    auto feature = std::make_unique<schema::FeatureT>();
    feature->name = name;
    if (!categories.empty()) feature->type = schema::FeatureType::Categorical;
    feature->categories = std::move(categories);
    spec->features.push_back(std::move(feature));
  }

  flatbuffers::FlatBufferBuilder builder_;
};

}  // namespace dipper::stream
