// Spec text to SpecT, one function a table. Ranges are those of docs/reference/spec.md; what only the whole
// spec can show wrong (sizes, budget) is left to learn::Spec, which a device asks too.
#include "tools/lab/spec_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>

#include "agent/learn/image/limits.h"
#include "agent/learn/image/spec.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"
#include "tools/lab/spec_fields.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

constexpr uint64_t kMaxInt = std::numeric_limits<int64_t>::max();

/// Index of a feature that a text names.
uint16_t FeatureIndex(const schema::SpecT& spec, const std::string& name, const FieldReader& fields,
                      const toml::node* at, const char* key) {
  std::vector<std::string> names;
  for (size_t i = 0; i < spec.features.size(); ++i) {
    if (spec.features[i]->name == name) return static_cast<uint16_t>(i);
    names.push_back(spec.features[i]->name);
  }
  const std::string suggestion = Suggestion(name, names);
  fields.Fail(at, key,
              fmt::format("there is no feature '{}'{}", name,
                          suggestion.empty() ? "; add a [[feature]] of that name" : suggestion));
}

/// A list of inputs: feature names, or positions; only positions where one_hot has `moved` the inputs.
std::vector<uint16_t> Inputs(const schema::SpecT& spec, bool moved, FieldReader& fields) {
  std::vector<uint16_t> inputs;
  const toml::node* node = fields.Node("inputs");
  if (node == nullptr) return inputs;
  const char* const allowed = "must be a list of feature names, or of positions from 0";
  if (!node->is_array()) fields.Fail(node, "inputs", allowed);
  for (const toml::node& item : *node->as_array()) {
    if (item.is_string() && moved) {
      fields.Fail(&item, "inputs", "one_hot has moved the inputs; name them by position from here on");
    } else if (item.is_string()) {
      inputs.push_back(FeatureIndex(spec, item.as_string()->get(), fields, &item, "inputs"));
    } else if (item.is_integer() && item.as_integer()->get() >= 0 &&
               item.as_integer()->get() < learn::kMaxInputs) {
      inputs.push_back(static_cast<uint16_t>(item.as_integer()->get()));
    } else {
      fields.Fail(&item, "inputs", allowed);
    }
  }
  return inputs;
}

void ReadFeatures(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  for (const toml::table* table : root.Tables("feature")) {
    FieldReader fields(*table, "[[feature]]", file);
    auto feature = std::make_unique<schema::FeatureT>();
    feature->name = fields.RequiredText("name");
    feature->unit = fields.Text("unit", "");
    feature->type = static_cast<schema::FeatureType>(fields.Choice("type", 0, words::kFeatureTypes));
    feature->categories = fields.Texts("categories");
    fields.Finish();
    const bool categorical = feature->type == schema::FeatureType::Categorical;
    if (categorical == feature->categories.empty()) {
      fields.Fail(
          nullptr, "categories",
          categorical ? "a categorical feature needs its categories" : "a numeric feature has no categories");
    }
    for (const auto& other : spec->features) {
      if (other->name == feature->name) {
        fields.Fail(nullptr, "name", fmt::format("two features are called '{}'", feature->name));
      }
    }
    spec->features.push_back(std::move(feature));
  }
  if (spec->features.empty()) root.Fail(nullptr, "feature", "is missing; add a [[feature]] for each input");
}

void ReadTarget(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  const toml::table* table = root.Table("target");
  if (table == nullptr)
    root.Fail(nullptr, "target", "is missing; add [target] with kind = \"label_column\" and a name");
  FieldReader fields(*table, "[target]", file);
  auto target = std::make_unique<schema::TargetT>();
  target->kind = static_cast<schema::TargetKind>(fields.RequiredChoice("kind", words::kTargetKinds));
  if (target->kind == schema::TargetKind::FeatureAhead) {
    const std::string name = fields.RequiredText("feature");
    target->feature = FeatureIndex(*spec, name, fields, table->get("feature"), "feature");
    target->ahead = static_cast<uint32_t>(fields.Count("ahead", 1, 1, learn::kMaxAhead));
  } else if (target->kind == schema::TargetKind::LabelColumn) {
    target->name = fields.RequiredText("name");
  } else {
    target->name = fields.Text("name", "");
  }
  if (spec->task != schema::Task::Regression) {
    target->classes = fields.Texts("classes");
    target->spare_classes = static_cast<uint16_t>(fields.Count("spare_classes", 0, 0, learn::kMaxClasses));
  }
  fields.Finish();
  spec->target = std::move(target);
}

schema::StageParamsUnion ReadStage(const toml::table& table, const std::string& file,
                                   const schema::SpecT& spec) {
  FieldReader fields(table, "[[stage]]", file);
  const bool moved = std::any_of(spec.stages.begin(), spec.stages.end(), [](const auto& stage) {
    return stage->params.type == schema::StageParams::OneHot;
  });
  schema::StageParamsUnion params;
  switch (fields.RequiredChoice("kind", words::kStages)) {
    case 0: {
      schema::StandardScalerT stage;
      stage.inputs = Inputs(spec, moved, fields);
      stage.decay = fields.Number("decay", stage.decay, {0, 1, false, true});
      stage.clip = fields.Number("clip", stage.clip, {0, 1e6});
      params.Set(std::move(stage));
      break;
    }
    case 1: {
      schema::LagsT stage;
      stage.inputs = Inputs(spec, moved, fields);
      for (uint64_t lag : fields.Counts("lags", 1, learn::kMaxLag))
        stage.lags.push_back(static_cast<uint16_t>(lag));
      if (stage.lags.empty())
        fields.Fail(nullptr, "lags", "is missing; list how many samples back, for example [1, 2]");
      stage.differences = fields.Flag("differences", stage.differences);
      params.Set(std::move(stage));
      break;
    }
    case 2: {
      schema::OneHotT stage;
      stage.inputs = Inputs(spec, moved, fields);
      params.Set(std::move(stage));
      break;
    }
    default: {
      schema::FaultT stage;
      stage.kind = static_cast<schema::FaultKind>(fields.RequiredChoice("fault", words::kFaults));
      stage.at_sample = fields.Count("at_sample", stage.at_sample, 0, kMaxInt);
      stage.value = static_cast<uint32_t>(fields.Count("value", stage.value, 0, UINT32_MAX));
      params.Set(std::move(stage));
    }
  }
  fields.Finish();
  return params;
}

schema::LearnerParamsUnion ReadLearner(FieldReader& root, const std::string& file) {
  const toml::table* table = root.Table("learner");
  if (table == nullptr) root.Fail(nullptr, "learner", "is missing; add [learner] with kind = \"linear\"");
  FieldReader fields(*table, "[learner]", file);
  schema::LearnerParamsUnion params;
  switch (fields.RequiredChoice("kind", words::kLearners)) {
    case 0: {
      schema::LinearT learner;
      learner.loss = static_cast<schema::Loss>(fields.Choice("loss", 0, words::kLosses));
      learner.rate = fields.Number("rate", learner.rate, {0, 1, true, false});
      learner.l2 = fields.Number("l2", learner.l2, {0, 1});
      learner.adaptive = fields.Flag("adaptive", learner.adaptive);
      params.Set(std::move(learner));
      break;
    }
    case 1: {
      schema::RlsT learner;
      learner.forgetting = fields.Number("forgetting", learner.forgetting, {0.9, 1});
      learner.regularization = fields.Number("regularization", learner.regularization, {1e-9, 1e6});
      params.Set(std::move(learner));
      break;
    }
    default: {
      schema::HoeffdingTreeT learner;
      learner.pool_bytes = static_cast<uint32_t>(fields.Bytes("pool_bytes", 0, 0, learn::kMaxBudgetBytes));
      learner.grace_labels =
          static_cast<uint32_t>(fields.Count("grace_labels", learner.grace_labels, 1, UINT32_MAX));
      learner.delta = fields.Number("delta", learner.delta, {0, 1, true, true});
      learner.tie = fields.Number("tie", learner.tie, {0, 1});
      learner.max_depth = static_cast<uint16_t>(fields.Count("max_depth", learner.max_depth, 1, 64));
      params.Set(std::move(learner));
    }
  }
  fields.Finish();
  return params;
}

void ReadPending(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  const toml::table* table = root.Table("pending");
  if (table == nullptr) return;
  FieldReader fields(*table, "[pending]", file);
  auto pending = std::make_unique<schema::PendingT>();
  pending->capacity =
      static_cast<uint32_t>(fields.Count("capacity", pending->capacity, 1, learn::kMaxPending));
  pending->max_age_samples = fields.Count("max_age_samples", pending->max_age_samples, 0, kMaxInt);
  fields.Finish();
  spec->pending = std::move(pending);
}

void ReadAnomaly(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  const toml::table* table = root.Table("anomaly");
  if (table == nullptr) return;
  FieldReader fields(*table, "[anomaly]", file);
  auto anomaly = std::make_unique<schema::AnomalyScoreT>();
  anomaly->raise = fields.Number("raise", anomaly->raise, {0, 1, true, true});
  anomaly->clear = fields.Number("clear", anomaly->clear, {0, anomaly->raise, true, false});
  anomaly->min_raise_samples =
      static_cast<uint32_t>(fields.Count("min_raise_samples", anomaly->min_raise_samples, 1, UINT32_MAX));
  anomaly->min_clear_samples =
      static_cast<uint32_t>(fields.Count("min_clear_samples", anomaly->min_clear_samples, 1, UINT32_MAX));
  anomaly->decay = fields.Number("decay", anomaly->decay, {0.5, 1, false, true});
  anomaly->hold = fields.Number("hold", anomaly->hold, {0, 1, false, true});
  fields.Finish();
  spec->anomaly = std::move(anomaly);
}

void ReadDrift(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  for (const toml::table* table : root.Tables("drift")) {
    FieldReader fields(*table, "[[drift]]", file);
    fields.RequiredChoice("kind", words::kDetectors);
    schema::PageHinkleyT detector;
    detector.input = static_cast<schema::DriftInput>(fields.Choice("input", 0, words::kDriftInputs));
    detector.delta = fields.Number("delta", detector.delta, {0, 10});
    detector.threshold = fields.Number("threshold", detector.threshold, {0, 1e6, true, false});
    detector.min_samples =
        static_cast<uint32_t>(fields.Count("min_samples", detector.min_samples, 2, UINT32_MAX));
    fields.Finish();
    auto drift = std::make_unique<schema::DriftT>();
    drift->params.Set(std::move(detector));
    spec->drift.push_back(std::move(drift));
  }
}

schema::SpecT ReadSpec(const toml::table& text, const std::string& file) {
  FieldReader root(text, "the spec's", file);
  schema::SpecT spec;
  if (!root.Has("format")) root.Fail(nullptr, "format", "is missing; begin the file with format = 1");
  root.Count("format", 1, 1, 1);
  spec.model_id = root.Text("model_id", "main");
  spec.task = static_cast<schema::Task>(root.RequiredChoice("task", words::kTasks));
  spec.seed = root.Count("seed", spec.seed, 0, kMaxInt);
  spec.budget_bytes = root.Bytes("budget", spec.budget_bytes, 1, learn::kMaxBudgetBytes);
  spec.min_labels = static_cast<uint32_t>(root.Count("min_labels", spec.min_labels, 0, UINT32_MAX));
  spec.loss_bound = root.Number("loss_bound", spec.loss_bound, {0, 1e30});
  ReadFeatures(root, file, &spec);
  ReadTarget(root, file, &spec);
  for (const toml::table* table : root.Tables("stage")) {
    auto stage = std::make_unique<schema::StageT>();
    stage->params = ReadStage(*table, file, spec);
    spec.stages.push_back(std::move(stage));
  }
  spec.learner = ReadLearner(root, file);
  ReadPending(root, file, &spec);
  ReadAnomaly(root, file, &spec);
  ReadDrift(root, file, &spec);
  root.Finish();
  return spec;
}

/// Asks the code that a device will ask.
void CheckCompiled(base::ByteView bytes, const std::string& file) {
  const char* why = "";
  const base::Result<learn::Spec> parsed = learn::Spec::Parse(bytes, &why);
  if (parsed.ok()) return;
  throw Error(ExitCode::kUsage, fmt::format("{}: {} ({})", file, why, base::StatusName(parsed.status())));
}

}  // namespace

schema::SpecT ParseSpecText(std::string_view text, const std::string& file_name) {
  try {
    const toml::table table = toml::parse(text, file_name);
    schema::SpecT spec = ReadSpec(table, file_name);
    CheckCompiled(CompileSpec(spec), file_name);
    return spec;
  } catch (const toml::parse_error& error) {
    throw Error(ExitCode::kUsage, fmt::format("{}:{}: not valid TOML: {}", file_name,
                                              error.source().begin.line, error.description()));
  }
}

schema::SpecT LoadSpec(const std::string& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 20U);
  if (bytes.size() >= 8 && schema::SpecBufferHasIdentifier(bytes.data())) return DecompileSpec(bytes);
  return ParseSpecText(base::AsText(bytes), path);
}

std::vector<uint8_t> CompileSpec(const schema::SpecT& spec) {
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishSpecBuffer(builder, schema::CreateSpec(builder, &spec));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

schema::SpecT DecompileSpec(base::ByteView bytes) {
  const std::vector<uint8_t> aligned(bytes.begin(), bytes.end());
  const char* why = "";
  const base::Result<learn::Spec> parsed = learn::Spec::Parse(aligned, &why);
  if (!parsed.ok()) {
    throw Error(ExitCode::kVerificationFailed, fmt::format("not a compiled spec of this version: {} ({})",
                                                           why, base::StatusName(parsed.status())));
  }
  schema::SpecT spec;
  parsed->table().UnPackTo(&spec);
  return spec;
}

}  // namespace dipper::lab
