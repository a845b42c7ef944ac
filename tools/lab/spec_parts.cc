// See spec_parts.h.
#include "tools/lab/spec_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/lab/spec_words.h"

namespace dipper::lab {
namespace {

constexpr size_t kListedParts = 4;

using Parts = std::vector<std::pair<std::string, uint64_t>>;

void AddLearners(const schema::Spec& table, const learn::Layout& layout, Parts* parts) {
  const schema::Race* race = table.learner_as_Race();
  parts->emplace_back("race", layout.race_section.bytes);
  for (uint32_t i = 0; i < layout.learner_count; ++i) {
    const auto kind = race == nullptr ? table.learner_type() : race->members()->Get(i)->params_type();
    parts->emplace_back("learner " + words::kLearners[static_cast<size_t>(kind) - 1],
                        layout.learners[i].section.bytes);
  }
  parts->emplace_back("background learner", layout.background_section.bytes);
  parts->emplace_back("scorer", layout.scorer_section.bytes);
}

void AddStages(const schema::Spec& table, const learn::Layout& layout, Parts* parts) {
  for (uint32_t i = 0; i < layout.stage_count; ++i) {
    const auto kind = static_cast<size_t>(table.stages()->Get(i)->params_type()) - 1;
    parts->emplace_back("stage " + words::kStages[kind], layout.stages[i].section.bytes);
  }
}

void AddRest(const learn::Layout& layout, Parts* parts) {
  parts->emplace_back("pending", layout.pending_section.bytes);
  parts->emplace_back("truth", layout.truth_section.bytes);
  parts->emplace_back("metrics", layout.metrics_section.bytes);
  parts->emplace_back("loss window", layout.window_section.bytes);
  parts->emplace_back("auc", layout.auc_section.bytes);
  parts->emplace_back("anomaly", layout.anomaly_section.bytes);
  parts->emplace_back("intervals", layout.intervals_section.bytes);
  for (uint32_t i = 0; i < layout.detector_count; ++i)
    parts->emplace_back("drift", layout.detectors[i].section.bytes);
}

void DropEmpty(Parts* parts) {
  std::erase_if(*parts, [](const auto& part) { return part.second == 0; });
}

}  // namespace

Parts ImageParts(const schema::Spec& table, const learn::Layout& layout) {
  Parts parts;
  AddStages(table, layout, &parts);
  AddRest(layout, &parts);
  AddLearners(table, layout, &parts);
  DropEmpty(&parts);
  return parts;
}

std::string LargestParts(const schema::Spec& table, const learn::Layout& layout) {
  Parts parts;
  AddStages(table, layout, &parts);
  AddRest(layout, &parts);
  DropEmpty(&parts);
  std::stable_sort(parts.begin(), parts.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (parts.size() > kListedParts) parts.resize(kListedParts);
  std::string text;
  for (const auto& [name, bytes] : parts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, bytes);
  return text;
}

}  // namespace dipper::lab
