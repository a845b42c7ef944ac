// Implementation of sample_spec.h.
#include "tests/fuzz/sample_spec.h"

#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace dipper::fuzz {
namespace {

void AddFeature(schema::SpecT* spec, const char* name, const std::vector<std::string>& categories) {
  auto feature = std::make_unique<schema::FeatureT>();
  feature->name = name;
  if (!categories.empty()) feature->type = schema::FeatureType::Categorical;
  feature->categories = categories;
  spec->features.push_back(std::move(feature));
}

flatbuffers::DetachedBuffer MakeSpec(int task) {
  schema::SpecT spec;
  spec.model_id = "m";
  spec.task = task == 0   ? schema::Task::Classification
              : task == 1 ? schema::Task::Regression
                          : schema::Task::Anomaly;
  AddFeature(&spec, "temperature", {});
  AddFeature(&spec, "mode", {"eco", "boost"});
  AddFeature(&spec, "humidity", {});
  spec.target = std::make_unique<schema::TargetT>();
  spec.target->name = "state";
  if (task == 0) {
    spec.target->classes = {"ok", "1"};
    spec.target->spare_classes = 1;
  }
  spec.learner.Set(schema::LinearT{});
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishSpecBuffer(builder, schema::CreateSpec(builder, &spec));
  return builder.Release();
}

}  // namespace

const schema::Spec& SampleSpec(int task) {
  static const std::array<flatbuffers::DetachedBuffer, 3> specs = {MakeSpec(0), MakeSpec(1), MakeSpec(2)};
  return *schema::GetSpec(specs[static_cast<size_t>(task)].data());
}

void CheckLabel(const schema::Spec& spec, const stream::Label& label) {
  DIPPER_CHECK(std::isfinite(label.value));
  if (label.state != stream::LabelState::kPresent) {
    DIPPER_CHECK(label.value == 0 && !label.is_other);
    return;
  }
  if (spec.task() == schema::Task::Regression) return;
  const auto* classes = spec.target()->classes();
  const uint32_t listed = classes == nullptr ? 0 : classes->size();
  const uint32_t places = listed == 0 ? 2 : listed + spec.target()->spare_classes();
  DIPPER_CHECK(label.value >= 0 && label.value < places && std::trunc(label.value) == label.value);
  DIPPER_CHECK(!label.is_other || label.value >= listed);
}

void CheckSample(const schema::Spec& spec, std::span<const float> values,
                 const stream::DecodedSample& sample) {
  uint32_t missing = 0;
  uint32_t others = 0;
  for (uint32_t f = 0; f < values.size(); ++f) {
    const schema::Feature& feature = *spec.features()->Get(f);
    if (!std::isfinite(values[f])) {
      DIPPER_CHECK(std::bit_cast<uint32_t>(values[f]) == 0x7FC00000U);
      ++missing;
    } else if (feature.type() == schema::FeatureType::Categorical) {
      const auto listed = static_cast<float>(feature.categories()->size());
      DIPPER_CHECK(values[f] >= 0 && values[f] <= listed && std::trunc(values[f]) == values[f]);
      if (values[f] == listed) ++others;
    }
  }
  DIPPER_CHECK(sample.missing_cells + sample.bad_cells <= missing && others == sample.unseen_cells);
  CheckLabel(spec, sample.label);
  CheckLabel(spec, sample.truth);
}

}  // namespace dipper::fuzz
