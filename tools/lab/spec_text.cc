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
#include "tools/lab/spec_params.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

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

/// Takes the parameters that spec_params.h lists from a table.
class ParamReader {
 public:
  /// @param moved  a stage before this one has moved the inputs, so that only positions name them
  ParamReader(FieldReader& fields, const schema::SpecT& spec, const std::string& file, bool moved)
      : fields_(fields), spec_(spec), file_(file), moved_(moved) {}

  void Number(const char* key, double& value, const Range& range) {
    value = fields_.Number(key, value, range);
  }
  template <typename T>
  void Count(const char* key, T& value, uint64_t low, uint64_t high) {
    value = static_cast<T>(fields_.Count(key, value, low, high));
  }
  template <typename T>
  void Bytes(const char* key, T& value, uint64_t low, uint64_t high) {
    value = static_cast<T>(fields_.Bytes(key, value, low, high));
  }
  void Flag(const char* key, bool& value) { value = fields_.Flag(key, value); }
  template <typename T>
  void Choice(const char* key, T& value, const std::vector<std::string>& names) {
    value = static_cast<T>(fields_.Choice(key, static_cast<size_t>(value), names));
  }
  template <typename T>
  void RequiredChoice(const char* key, T& value, const std::vector<std::string>& names) {
    value = static_cast<T>(fields_.RequiredChoice(key, names));
  }
  template <typename T>
  void Counts(const char* key, std::vector<T>& values, uint64_t low, uint64_t high) {
    for (const uint64_t value : fields_.Counts(key, low, high)) values.push_back(static_cast<T>(value));
  }
  template <typename T>
  void RequiredCounts(const char* key, std::vector<T>& values, uint64_t low, uint64_t high,
                      const char* hint) {
    Counts(key, values, low, high);
    if (values.empty()) fields_.Fail(nullptr, key, fmt::format("is missing; {}", hint));
  }
  template <typename T>
  void Choices(const char* key, std::vector<T>& values, const std::vector<std::string>& names,
               const char* hint) {
    for (const size_t index : fields_.Choices(key, names)) values.push_back(static_cast<T>(index));
    if (values.empty()) fields_.Fail(nullptr, key, fmt::format("is missing; {}", hint));
  }
  void Numbers(const char* key, std::vector<double>& values, const Range& range) {
    values = fields_.Numbers(key, range);
  }
  void Inputs(std::vector<uint16_t>& inputs);
  void Members(std::vector<std::unique_ptr<schema::RaceMemberT>>& members);

 private:
  FieldReader& fields_;
  const schema::SpecT& spec_;
  const std::string& file_;
  bool moved_;
};

/// A list of inputs: feature names, or positions; only positions where a stage has moved the inputs.
void ParamReader::Inputs(std::vector<uint16_t>& inputs) {
  const toml::node* node = fields_.Node("inputs");
  if (node == nullptr) return;
  const char* const allowed = "must be a list of feature names, or of positions from 0";
  if (!node->is_array()) fields_.Fail(node, "inputs", allowed);
  for (const toml::node& item : *node->as_array()) {
    if (item.is_string() && moved_) {
      fields_.Fail(&item, "inputs",
                   "a stage before has moved the inputs; name them by position from here on");
    } else if (item.is_string()) {
      inputs.push_back(FeatureIndex(spec_, item.as_string()->get(), fields_, &item, "inputs"));
    } else if (item.is_integer() && item.as_integer()->get() >= 0 &&
               item.as_integer()->get() < learn::kMaxInputs) {
      inputs.push_back(static_cast<uint16_t>(item.as_integer()->get()));
    } else {
      fields_.Fail(&item, "inputs", allowed);
    }
  }
}

/// The union's value for `kind` with its parameters from `fields`; every key must be known.
template <typename List, typename Union>
Union ReadKind(FieldReader& fields, const schema::SpecT& spec, const std::string& file, size_t kind,
               bool moved = false) {
  Union params;
  ParamReader reader(fields, spec, file, moved);
  ForKind<List>(kind, [&](auto identity) {
    typename decltype(identity)::type value;
    Describe(reader, value);
    params.Set(std::move(value));
  });
  return params;
}

void ParamReader::Members(std::vector<std::unique_ptr<schema::RaceMemberT>>& members) {
  for (const toml::table* table : fields_.Tables("member")) {
    FieldReader fields(*table, "[[learner.member]]", file_);
    const size_t kind = fields.RequiredChoice("kind", words::kLearners);
    if (words::kLearners[kind] == "race") fields.Fail(nullptr, "kind", "a race cannot be in a race");
    auto member = std::make_unique<schema::RaceMemberT>();
    member->params = ReadKind<LearnerKinds, schema::LearnerParamsUnion>(fields, spec_, file_, kind);
    fields.Finish();
    members.push_back(std::move(member));
  }
  if (members.empty())
    fields_.Fail(nullptr, "member", "is missing; add a [[learner.member]] for each learner that takes part");
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
    target->label_delay = static_cast<uint32_t>(fields.Count("label_delay", 0, 0, learn::kMaxPending));
  } else {
    target->name = fields.Text("name", "");
  }
  if (spec->task != schema::Task::Regression) {
    target->classes = fields.Texts("classes");
    target->spare_classes = static_cast<uint16_t>(fields.Count("spare_classes", 0, 0, learn::kMaxClasses));
    target->balanced = fields.Flag("balanced", target->balanced);
  }
  fields.Finish();
  spec->target = std::move(target);
}

schema::StageParamsUnion ReadStage(const toml::table& table, const std::string& file,
                                   const schema::SpecT& spec) {
  FieldReader fields(table, "[[stage]]", file);
  const bool moved = std::any_of(spec.stages.begin(), spec.stages.end(),
                                 [](const auto& stage) { return MovesInputs(stage->params.type); });
  const size_t kind = fields.RequiredChoice("kind", words::kStages);
  schema::StageParamsUnion params =
      ReadKind<StageKinds, schema::StageParamsUnion>(fields, spec, file, kind, moved);
  fields.Finish();
  return params;
}

schema::LearnerParamsUnion ReadLearner(FieldReader& root, const std::string& file,
                                       const schema::SpecT& spec) {
  const toml::table* table = root.Table("learner");
  if (table == nullptr) root.Fail(nullptr, "learner", "is missing; add [learner] with kind = \"linear\"");
  FieldReader fields(*table, "[learner]", file);
  const size_t kind = fields.RequiredChoice("kind", words::kLearners);
  schema::LearnerParamsUnion params =
      ReadKind<LearnerKinds, schema::LearnerParamsUnion>(fields, spec, file, kind);
  fields.Finish();
  return params;
}

/// An optional table of one kind: its parameters, or null.
template <typename Params>
std::unique_ptr<Params> ReadTable(FieldReader& root, const std::string& file, const schema::SpecT& spec,
                                  const char* key) {
  const toml::table* table = root.Table(key);
  if (table == nullptr) return nullptr;
  FieldReader fields(*table, fmt::format("[{}]", key), file);
  auto params = std::make_unique<Params>();
  ParamReader reader(fields, spec, file, false);
  Describe(reader, *params);
  fields.Finish();
  return params;
}

void ReadDrift(FieldReader& root, const std::string& file, schema::SpecT* spec) {
  for (const toml::table* table : root.Tables("drift")) {
    FieldReader fields(*table, "[[drift]]", file);
    const size_t kind = fields.RequiredChoice("kind", words::kDetectors);
    auto drift = std::make_unique<schema::DriftT>();
    drift->input = static_cast<schema::DriftInput>(fields.Choice("input", 0, words::kDriftInputs));
    drift->on_alarm = static_cast<schema::DriftAction>(fields.Choice("on_alarm", 0, words::kDriftActions));
    drift->params = ReadKind<DetectorKinds, schema::DriftParamsUnion>(fields, *spec, file, kind);
    fields.Finish();
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
  spec.seed = root.Count("seed", spec.seed, 0, kMaxLong);
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
  spec.learner = ReadLearner(root, file, spec);
  spec.pending = ReadTable<schema::PendingT>(root, file, spec, "pending");
  spec.anomaly = ReadTable<schema::AnomalyScoreT>(root, file, spec, "anomaly");
  spec.intervals = ReadTable<schema::IntervalsT>(root, file, spec, "intervals");
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
