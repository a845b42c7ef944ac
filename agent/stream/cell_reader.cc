// Cells to values by the spec.
#include "agent/stream/cell_reader.h"

#include <bit>
#include <cmath>

#include "agent/base/number.h"
#include "agent/stream/csv.h"

namespace dipper::stream {
namespace {

constexpr uint32_t kMissingBits = 0x7FC00000;

std::string_view View(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

}  // namespace

float MissingValue() { return std::bit_cast<float>(kMissingBits); }

std::string_view CellReader::FeatureName(uint32_t feature) const {
  return View(spec_.features()->Get(feature)->name());
}

float CellReader::ReadText(uint32_t feature, std::string_view cell, DecodedSample* sample) const {
  if (IsMissing(cell)) {
    ++sample->missing_cells;
    return MissingValue();
  }
  if (spec_.features()->Get(feature)->type() == schema::FeatureType::Categorical)
    return ReadCategory(feature, TrimBlanks(cell), sample);
  const base::Result<double> number = base::ParseDouble(cell);
  const float value = number.ok() ? base::NarrowToFloat(*number) : MissingValue();
  if (std::isfinite(value)) return value;
  ++sample->bad_cells;
  return MissingValue();
}

float CellReader::ReadNumber(uint32_t feature, double value, DecodedSample* sample) const {
  if (spec_.features()->Get(feature)->type() == schema::FeatureType::Categorical)
    return ReadCategory(feature, base::FormatJsonNumber(value).view(), sample);
  const float narrow = base::NarrowToFloat(value);
  if (std::isfinite(narrow)) return narrow;
  ++sample->bad_cells;
  return MissingValue();
}

float CellReader::ReadIndex(uint32_t feature, float value, DecodedSample* sample) const {
  const schema::Feature& described = *spec_.features()->Get(feature);
  if (!std::isfinite(value)) {
    ++sample->missing_cells;
    return MissingValue();
  }
  if (described.type() != schema::FeatureType::Categorical) return value;
  const uint32_t listed = described.categories() == nullptr ? 0 : described.categories()->size();
  if (value >= 0 && value < static_cast<float>(listed) && std::trunc(value) == value) return value;
  ++sample->unseen_cells;
  return static_cast<float>(listed);
}

float CellReader::ReadCategory(uint32_t feature, std::string_view text, DecodedSample* sample) const {
  const auto* categories = spec_.features()->Get(feature)->categories();
  const uint32_t listed = categories == nullptr ? 0 : categories->size();
  for (uint32_t i = 0; i < listed; ++i) {
    if (View(categories->Get(i)) == text) return static_cast<float>(i);
  }
  ++sample->unseen_cells;
  return static_cast<float>(listed);
}

Label CellReader::ReadLabel(std::string_view cell) const {
  if (IsMissing(cell)) return {};
  const std::string_view text = TrimBlanks(cell);
  const base::Result<double> number = base::ParseDouble(text);
  const bool finite = number.ok() && std::isfinite(*number);
  if (spec_.task() == schema::Task::Regression) {
    return finite ? LabelFromIndex(*number) : Label{.state = LabelState::kUnknown};
  }
  const auto* classes = spec_.target()->classes();
  const uint32_t listed = classes == nullptr ? 0 : classes->size();
  for (uint32_t i = 0; i < listed; ++i) {
    if (View(classes->Get(i)) == text)
      return {.state = LabelState::kPresent, .value = static_cast<double>(i)};
  }
  // "1.0" where the spec says "1": the same number is the same class.
  for (uint32_t i = 0; finite && i < listed; ++i) {
    const base::Result<double> listed_number = base::ParseDouble(View(classes->Get(i)));
    if (listed_number.ok() && *listed_number == *number) {
      return {.state = LabelState::kPresent, .value = static_cast<double>(i)};
    }
  }
  if (listed == 0 && finite && (*number == 0 || *number == 1)) {
    return {.state = LabelState::kPresent, .value = *number};  // anomaly flags need no list
  }
  const uint32_t spare = spec_.target()->spare_classes();
  if (spare == 0 || listed == 0) return {.state = LabelState::kUnknown};
  return {.state = LabelState::kPresent, .is_other = true, .value = static_cast<double>(listed + spare - 1)};
}

Label CellReader::LabelFromIndex(double value) const {
  if (!std::isfinite(value)) return {};
  if (spec_.task() == schema::Task::Regression) return {.state = LabelState::kPresent, .value = value};
  const auto* classes = spec_.target()->classes();
  const uint32_t listed = classes == nullptr ? 0 : classes->size();
  const uint32_t spare = spec_.target()->spare_classes();
  const uint32_t places = listed == 0 ? 2 : listed + spare;
  if (value < 0 || value >= static_cast<double>(places) || std::trunc(value) != value) {
    return {.state = LabelState::kUnknown};
  }
  return {.state = LabelState::kPresent, .value = value};
}

}  // namespace dipper::stream
