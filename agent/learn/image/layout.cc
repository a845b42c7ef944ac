// See layout.h: checks a verified spec table value by value and lays the image out. Sections and their order:
// docs/reference/model-image.md.
#include "agent/learn/image/layout.h"

#include <algorithm>
#include <string_view>

#include "agent/learn/image/image_format.h"
#include "agent/learn/image/planner.h"

namespace dipper::learn {
namespace {

using base::Status;

constexpr size_t kMaxNameBytes = 128;
constexpr size_t kMaxModelIdBytes = 32;

std::string_view Text(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

// Names and labels go into topics, tables and files: some text without control characters.
bool GoodName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

bool GoodModelId(std::string_view id) {
  if (id.empty() || id.size() > kMaxModelIdBytes || id.front() == '.' || id.front() == '-') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

using Texts = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;

bool GoodTexts(const Texts& texts) {
  for (uint32_t i = 0; i < texts.size(); ++i) {
    const std::string_view text = Text(texts.Get(i));
    if (!GoodName(text)) return false;
    for (uint32_t j = 0; j < i; ++j) {
      if (Text(texts.Get(j)) == text) return false;
    }
  }
  return true;
}

}  // namespace

Status Planner::Refuse(const char* why, Status status) {
  if (why_ != nullptr) *why_ = why;
  return status;
}

Status Planner::AddTable(std::span<const uint16_t> values, TableList* list) {
  if (values.size() > kMaxTableEntries - layout_.table_count) {
    return Refuse("the stages select too many inputs: their lists together hold at most 4096 entries");
  }
  list->first = layout_.table_count;
  list->count = static_cast<uint32_t>(values.size());
  std::copy(values.begin(), values.end(), plan_.tables.begin() + layout_.table_count);
  layout_.table_count += list->count;
  return Status::kOk;
}

Status Planner::PlanFeatures() {
  const auto& features = *table_.features();
  if (features.size() < 1 || features.size() > kMaxFeatures) {
    return Refuse("feature: a model has 1 to 256 features");
  }
  layout_.features = features.size();
  width_ = features.size();
  for (uint32_t i = 0; i < features.size(); ++i) {
    const schema::Feature& feature = *features.Get(i);
    if (!GoodName(Text(feature.name())))
      return Refuse("feature.name: 1 to 128 bytes without control characters");
    if (Text(feature.unit()).size() > kMaxNameBytes) return Refuse("feature.unit: at most 128 bytes");
    for (uint32_t j = 0; j < i; ++j) {
      if (Text(features.Get(j)->name()) == Text(feature.name()))
        return Refuse("feature.name: two features share a name");
    }
    const bool categorical = feature.type() == schema::FeatureType::Categorical;
    if (!categorical && feature.type() != schema::FeatureType::Numeric) {
      return Refuse("feature.type: unknown type", Status::kUnimplemented);
    }
    const uint32_t count = feature.categories() == nullptr ? 0 : feature.categories()->size();
    if (!categorical && count != 0)
      return Refuse("feature.categories: only a categorical feature has categories");
    if (categorical && (count < 1 || count > kMaxCategories)) {
      return Refuse("feature.categories: a categorical feature lists 1 to 1024 categories");
    }
    if (categorical && !GoodTexts(*feature.categories())) {
      return Refuse("feature.categories: each one non-empty, at most 128 bytes, and only once");
    }
    categories_[i] = static_cast<uint16_t>(count);
    layout_.all_numeric = layout_.all_numeric && count == 0;
  }
  return AddTable({categories_.data(), width_}, &layout_.categories);
}

Status Planner::PlanTarget() {
  const schema::Target& target = *table_.target();
  TargetLayout& out = layout_.target;
  const schema::Task task = table_.task();
  if (task > schema::Task::MAX) return Refuse("task: unknown task", Status::kUnimplemented);
  out.kind = target.kind();
  out.classification = task == schema::Task::Classification;
  const uint32_t classes = target.classes() == nullptr ? 0 : target.classes()->size();
  switch (target.kind()) {
    case schema::TargetKind::LabelColumn:
      if (task == schema::Task::Anomaly) {
        return Refuse(
            "task anomaly needs target.kind feature_ahead (the score comes from forecast residuals), or none "
            "with half_space_trees");
      }
      if (Text(target.name()).size() > kMaxNameBytes) return Refuse("target.name: at most 128 bytes");
      break;
    case schema::TargetKind::FeatureAhead:
      if (target.feature() >= layout_.features) return Refuse("target.feature: no such feature");
      if (target.ahead() < 1 || target.ahead() > kMaxAhead) return Refuse("target.ahead: 1 to 65536 samples");
      if ((categories_[target.feature()] > 0) != out.classification) {
        return Refuse(
            "target.feature: a categorical feature ahead is classification, a numeric one regression or "
            "anomaly");
      }
      out.feature = target.feature();
      out.ahead = target.ahead();
      break;
    case schema::TargetKind::None:
      if (task != schema::Task::Anomaly) return Refuse("target.kind none: only for task anomaly");
      if (Text(target.name()).size() > kMaxNameBytes) return Refuse("target.name: at most 128 bytes");
      break;
    default:
      return Refuse("target.kind: unknown kind", Status::kUnimplemented);
  }
  if (!out.classification || out.kind == schema::TargetKind::FeatureAhead) {
    if (classes != 0 || target.spare_classes() != 0) {
      return Refuse("target.classes: only for classification of a label column");
    }
    out.classes = out.classification ? categories_[out.feature] + 1U : 0;
  } else {
    out.classes = classes + target.spare_classes();
    if (classes > 0 && !GoodTexts(*target.classes())) {
      return Refuse("target.classes: each one non-empty, at most 128 bytes, and only once");
    }
  }
  if (out.classification && (out.classes < 2 || out.classes > kMaxClasses)) {
    return Refuse("target.classes: classification has 2 to 64 places for classes, spare ones included");
  }
  layout_.outputs = out.classification ? out.classes : 1;
  out.label_delay = out.kind == schema::TargetKind::FeatureAhead ? out.ahead - 1 : target.label_delay();
  if (out.label_delay > kMaxPending) return Refuse("target.label_delay: at most 65536 samples");
  out.balanced = target.balanced();
  if (out.balanced && !out.classification) return Refuse("target.balanced: only for classification");
  return Status::kOk;
}

Status Planner::PlanStages() {
  const auto* stages = table_.stages();
  layout_.stage_count = stages == nullptr ? 0 : stages->size();
  if (layout_.stage_count > kMaxStages) return Refuse("stage: at most 16 stages");
  layout_.input_stride = width_;
  for (uint32_t i = 0; i < layout_.stage_count; ++i) {
    const schema::Stage& in = *stages->Get(i);
    StageLayout& stage = layout_.stages[i];
    stage.in_width = width_;
    DIPPER_RETURN_IF_ERROR(PlanStage(in, &stage));
    stage.out_width = width_;
    layout_.input_stride = std::max(layout_.input_stride, width_);
  }
  layout_.inputs = width_;
  return AddTable({categories_.data(), width_}, &layout_.learner_categories);
}

Status Planner::Run() {
  if (!GoodModelId(Text(table_.model_id()))) {
    return Refuse("model_id: 1 to 32 of letters, digits, '_', '-' and '.', not starting with '.' or '-'");
  }
  if (table_.budget_bytes() > kMaxBudgetBytes) return Refuse("budget: at most 1 GiB");
  if (!(table_.loss_bound() >= 0.0 && table_.loss_bound() <= 1e30)) return Refuse("loss_bound: 0 to 1e30");
  DIPPER_RETURN_IF_ERROR(PlanFeatures());
  DIPPER_RETURN_IF_ERROR(PlanTarget());
  DIPPER_RETURN_IF_ERROR(PlanStages());
  DIPPER_RETURN_IF_ERROR(PlanLearner());
  DIPPER_RETURN_IF_ERROR(PlanPending());
  DIPPER_RETURN_IF_ERROR(PlanAnomaly());
  DIPPER_RETURN_IF_ERROR(PlanIntervals());
  DIPPER_RETURN_IF_ERROR(PlanDrift());
  DIPPER_RETURN_IF_ERROR(PlanSections());
  layout_.Bind(nullptr);  // the plan may move; a model binds its copy to the tables of its image
  return Status::kOk;
}

void Layout::Bind(const uint16_t* tables) {
  const auto list = [tables](TableList from) {
    return tables == nullptr ? std::span<const uint16_t>()
                             : std::span<const uint16_t>(tables + from.first, from.count);
  };
  for (uint32_t i = 0; i < stage_count; ++i) {
    StageLayout& stage = stages[i];
    std::visit(
        [&](auto& config) {
          if constexpr (requires { config.inputs = list(stage.inputs); }) config.inputs = list(stage.inputs);
          if constexpr (requires { config.lags; }) config.lags = list(stage.parameters);
          if constexpr (requires { config.categories; }) config.categories = list(stage.parameters);
          if constexpr (requires { config.statistics; }) config.statistics = list(stage.parameters);
          if constexpr (requires { config.edges; }) config.edges = list(stage.parameters);
        },
        stage.config);
  }
  // All numeric is said by an empty list, which spares the learners a look at each.
  std::span<const uint16_t> kinds = list(learner_categories);
  if (std::all_of(kinds.begin(), kinds.end(), [](uint16_t kind) { return kind == 0; })) kinds = {};
  for (uint32_t i = 0; i < learner_count; ++i) {
    std::visit(
        [&](auto& config) {
          if constexpr (requires { config.categories; }) config.categories = kinds;
        },
        learners[i].config);
  }
  scorer.categories = kinds;
}

Status MakePlan(const schema::Spec& table, Plan* plan, const char** why) {
  return Planner(table, plan, why).Run();
}

}  // namespace dipper::learn
