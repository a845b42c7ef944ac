// Columns to features by name; each cell by the feature's type.
#include "agent/stream/decoder.h"

#include <cmath>
#include <cstddef>

#include "agent/base/number.h"

namespace dipper::stream {
namespace {

// Roles of a column above every feature index.
constexpr uint16_t kIgnored = 0xFFFF;
constexpr uint16_t kLabel = 0xFFFE;
constexpr uint16_t kTruth = 0xFFFD;
constexpr uint32_t kMissingBits = 0x7FC00000;

std::string_view View(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

}  // namespace

float MissingValue() { return std::bit_cast<float>(kMissingBits); }

SampleDecoder::SampleDecoder(const schema::Spec& spec, std::string_view label, std::string_view truth)
    : spec_(spec), label_name_(label), truth_name_(truth) {
  if (label_name_.empty()) label_name_ = View(spec.target()->name());
}

uint32_t SampleDecoder::feature_count() const { return spec_.features()->size(); }

base::Status SampleDecoder::ReadHeader(std::string_view line, HeaderMatch* match) {
  column_count_ = 0;
  *match = {};
  if (line.size() > kMaxLineBytes) return base::Status::kResourceExhausted;
  line = WithoutByteOrderMark(line);
  delimiter_ = DetectDelimiter(line);
  uint32_t count = 0;
  DIPPER_RETURN_IF_ERROR(SplitLine(line, delimiter_, scratch_, cells_, &count));
  return BindColumns(std::span(cells_).first(count), match);
}

base::Status SampleDecoder::BindColumns(std::span<const std::string_view> names, HeaderMatch* match) {
  column_count_ = 0;
  *match = {};
  if (names.size() > kMaxColumns) return base::Status::kResourceExhausted;
  for (size_t c = 0; c < names.size(); ++c) roles_[c] = kIgnored;
  HeaderMatch found;
  found.columns = static_cast<uint32_t>(names.size());
  // A column can carry one role: a label that is also a feature would let the model see its answer.
  const auto bind = [&](std::string_view name, uint16_t role, bool* bound) {
    *bound = false;
    if (name.empty()) return base::Status::kOk;
    for (size_t c = 0; c < names.size(); ++c) {
      if (TrimBlanks(names[c]) != name) continue;
      if (*bound) return base::Status::kInvalidArgument;
      if (roles_[c] != kIgnored) continue;
      roles_[c] = role;
      *bound = true;
    }
    return base::Status::kOk;
  };
  uint32_t bound_features = 0;
  for (uint32_t f = 0; f < feature_count(); ++f) {
    bool bound = false;
    DIPPER_RETURN_IF_ERROR(bind(View(spec_.features()->Get(f)->name()), static_cast<uint16_t>(f), &bound));
    bound_features += bound ? 1U : 0U;
    if (!bound && found.missing_features++ == 0) found.first_missing = f;
  }
  DIPPER_RETURN_IF_ERROR(bind(label_name_, kLabel, &found.has_label));
  if (truth_name_ != label_name_) DIPPER_RETURN_IF_ERROR(bind(truth_name_, kTruth, &found.has_truth));
  if (bound_features == 0) return base::Status::kNotFound;
  found.extra_columns =
      found.columns - bound_features - (found.has_label ? 1U : 0U) - (found.has_truth ? 1U : 0U);
  column_count_ = found.columns;
  *match = found;
  return base::Status::kOk;
}

base::Status SampleDecoder::DecodeLine(std::string_view line, std::span<float> values,
                                       DecodedSample* sample) {
  if (column_count_ == 0) return base::Status::kFailedPrecondition;
  uint32_t count = 0;
  const base::Status status = line.size() > kMaxLineBytes
                                  ? base::Status::kResourceExhausted
                                  : SplitLine(line, delimiter_, scratch_, cells_, &count);
  if (!base::Ok(status)) {
    ++counters_.malformed;
    return status;
  }
  return DecodeCells(std::span(cells_).first(count), values, sample);
}

base::Status SampleDecoder::DecodeCells(std::span<const std::string_view> cells, std::span<float> values,
                                        DecodedSample* sample) {
  DIPPER_CHECK(values.size() == feature_count());
  if (column_count_ == 0) return base::Status::kFailedPrecondition;
  if (cells.size() != column_count_) {
    ++counters_.wrong_columns;
    return base::Status::kInvalidArgument;
  }
  DecodedSample decoded;
  for (float& value : values) value = MissingValue();
  for (size_t c = 0; c < cells.size(); ++c) {
    const uint16_t role = roles_[c];
    if (role == kIgnored) continue;
    if (role == kLabel) {
      decoded.label = ReadLabel(cells[c]);
    } else if (role == kTruth) {
      decoded.truth = ReadLabel(cells[c]);
    } else if (IsMissing(cells[c])) {
      ++decoded.missing_cells;
    } else if (spec_.features()->Get(role)->type() == schema::FeatureType::Categorical) {
      values[role] = ReadCategory(role, cells[c], &decoded);
    } else {
      values[role] = ReadNumber(cells[c], &decoded);
    }
  }
  CountSample(decoded);
  *sample = decoded;
  return base::Status::kOk;
}

base::Status SampleDecoder::DecodeFloats(base::ByteView row, std::span<float> values, DecodedSample* sample) {
  DIPPER_CHECK(values.size() == feature_count());
  if (column_count_ == 0) return base::Status::kFailedPrecondition;
  if (row.size() != size_t{column_count_} * sizeof(float)) {
    ++counters_.wrong_columns;
    return base::Status::kInvalidArgument;
  }
  DecodedSample decoded;
  for (float& value : values) value = MissingValue();
  for (size_t c = 0; c < column_count_; ++c) {
    const uint16_t role = roles_[c];
    if (role == kIgnored) continue;
    const float value = base::Load<float>(row.data() + c * sizeof(float));
    const bool finite = std::isfinite(value);
    if (role == kLabel || role == kTruth) {
      const Label label = finite ? LabelFromNumber(static_cast<double>(value)) : Label{};
      (role == kLabel ? decoded.label : decoded.truth) = label;
      continue;
    }
    const schema::Feature& feature = *spec_.features()->Get(role);
    if (!finite) {
      ++decoded.missing_cells;
    } else if (feature.type() != schema::FeatureType::Categorical) {
      values[role] = value;
    } else {
      const uint32_t listed = feature.categories() == nullptr ? 0 : feature.categories()->size();
      const bool known = value >= 0 && value < static_cast<float>(listed) && std::trunc(value) == value;
      values[role] = known ? value : static_cast<float>(listed);
      if (!known) ++decoded.unseen_cells;
    }
  }
  CountSample(decoded);
  *sample = decoded;
  return base::Status::kOk;
}

Label SampleDecoder::DecodeLabel(std::string_view text) {
  const Label label = ReadLabel(text);
  CountLabel(label);
  return label;
}

float SampleDecoder::ReadNumber(std::string_view cell, DecodedSample* sample) const {
  const base::Result<double> number = base::ParseDouble(cell);
  const float value = number.ok() ? base::NarrowToFloat(*number) : MissingValue();
  if (std::isfinite(value)) return value;
  ++sample->bad_cells;
  return MissingValue();
}

float SampleDecoder::ReadCategory(uint32_t feature, std::string_view cell, DecodedSample* sample) const {
  const auto* categories = spec_.features()->Get(feature)->categories();
  const uint32_t listed = categories == nullptr ? 0 : categories->size();
  const std::string_view text = TrimBlanks(cell);
  for (uint32_t i = 0; i < listed; ++i) {
    if (View(categories->Get(i)) == text) return static_cast<float>(i);
  }
  ++sample->unseen_cells;
  return static_cast<float>(listed);
}

Label SampleDecoder::ReadLabel(std::string_view cell) const {
  if (IsMissing(cell)) return {};
  const std::string_view text = TrimBlanks(cell);
  const base::Result<double> number = base::ParseDouble(text);
  const bool finite = number.ok() && std::isfinite(*number);
  if (spec_.task() == schema::Task::Regression) {
    return finite ? LabelFromNumber(*number) : Label{.state = LabelState::kUnknown};
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

Label SampleDecoder::LabelFromNumber(double value) const {
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

void SampleDecoder::CountLabel(const Label& label) {
  if (label.state == LabelState::kUnknown) ++counters_.unknown_labels;
  if (label.is_other) ++counters_.other_labels;
}

void SampleDecoder::CountSample(const DecodedSample& sample) {
  ++counters_.records;
  counters_.missing_cells += sample.missing_cells;
  counters_.bad_cells += sample.bad_cells;
  counters_.unseen_cells += sample.unseen_cells;
  CountLabel(sample.label);
}

}  // namespace dipper::stream
