// Each stage's order of outputs is that of its class in agent/learn/stages.
#include "tools/lab/input_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "agent/learn/image/layout.h"
#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

struct Input {
  std::string name;
  uint32_t feature = 0;  // that a categorical input is
};
using Inputs = std::vector<Input>;

bool Selected(std::span<const uint16_t> inputs, size_t input) {
  return std::binary_search(inputs.begin(), inputs.end(), static_cast<uint16_t>(input));
}

std::string CategoryName(const learn::Spec& spec, uint32_t feature, uint32_t category) {
  const auto* names = spec.table().features()->Get(feature)->categories();
  return names != nullptr && category < names->size() ? names->Get(category)->str() : "other";
}

void Split(const learn::Spec& spec, const learn::OneHotConfig& stage, Inputs* inputs) {
  Inputs out;
  size_t selected = 0;
  for (size_t i = 0; i < inputs->size(); ++i) {
    const Input& input = (*inputs)[i];
    if (!Selected(stage.inputs, i)) {
      out.push_back(input);
      continue;
    }
    const uint32_t categories = stage.categories[selected++];
    for (uint32_t c = 0; c <= categories; ++c)
      out.push_back({input.name + "=" + CategoryName(spec, input.feature, c)});
  }
  *inputs = std::move(out);
}

void Hash(const learn::HashedConfig& stage, Inputs* inputs) {
  Inputs out;
  for (size_t i = 0; i < inputs->size(); ++i) {
    if (!Selected(stage.inputs, i)) out.push_back((*inputs)[i]);
  }
  for (uint32_t bucket = 0; bucket < stage.buckets; ++bucket)
    out.push_back({fmt::format("hashed[{}]", bucket)});
  *inputs = std::move(out);
}

void AddLags(const learn::LagsConfig& stage, Inputs* inputs) {
  for (const uint16_t i : stage.inputs) {
    const Input from = (*inputs)[i];
    for (const uint16_t lag : stage.lags) {
      const std::string past = fmt::format("{}[-{}]", from.name, lag);
      inputs->push_back({stage.differences ? from.name + " - " + past : past, from.feature});
    }
  }
}

void AddProducts(const learn::InteractionsConfig& stage, Inputs* inputs) {
  for (size_t i = 0; i < stage.inputs.size(); ++i) {
    for (size_t j = i + (stage.squares ? 0 : 1); j < stage.inputs.size(); ++j)
      inputs->push_back({(*inputs)[stage.inputs[i]].name + " * " + (*inputs)[stage.inputs[j]].name});
  }
}

void AddStatistics(const learn::RollingConfig& stage, Inputs* inputs) {
  static const std::vector<std::string> kWords = words::Snake(schema::EnumNamesStatistic());
  for (const uint16_t i : stage.inputs) {
    for (const uint16_t statistic : stage.statistics)
      inputs->push_back({fmt::format("{}({}, {})", kWords[statistic], (*inputs)[i].name, stage.window)});
  }
}

void AddStage(const learn::Spec& spec, const learn::StageConfig& config, Inputs* inputs) {
  if (const auto* one_hot = std::get_if<learn::OneHotConfig>(&config)) Split(spec, *one_hot, inputs);
  if (const auto* hashed = std::get_if<learn::HashedConfig>(&config)) Hash(*hashed, inputs);
  if (const auto* lags = std::get_if<learn::LagsConfig>(&config)) AddLags(*lags, inputs);
  if (const auto* products = std::get_if<learn::InteractionsConfig>(&config)) AddProducts(*products, inputs);
  if (const auto* rolling = std::get_if<learn::RollingConfig>(&config)) AddStatistics(*rolling, inputs);
  if (const auto* imputer = std::get_if<learn::ImputerConfig>(&config); imputer && imputer->missing_flags) {
    for (const uint16_t i : imputer->inputs) inputs->push_back({"missing(" + (*inputs)[i].name + ")"});
  }
  if (const auto* bands = std::get_if<learn::BandEnergyConfig>(&config)) {
    for (const uint16_t i : bands->inputs) {
      for (uint32_t band = 0; band < bands->bands; ++band)
        inputs->push_back({fmt::format("band[{}]({}, {})", band, (*inputs)[i].name, bands->window)});
    }
  }
}

}  // namespace

std::vector<std::string> InputNames(const learn::Spec& spec) {
  learn::Layout layout = spec.plan().layout;
  layout.Bind(spec.plan().tables.data());
  Inputs inputs;
  for (uint32_t i = 0; i < layout.features; ++i) inputs.push_back({std::string(spec.feature_name(i)), i});
  for (uint32_t i = 0; i < layout.stage_count; ++i) AddStage(spec, layout.stages[i].config, &inputs);
  std::vector<std::string> names;
  for (Input& input : inputs) names.push_back(std::move(input.name));
  return names;
}

}  // namespace dipper::lab
