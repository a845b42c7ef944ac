// Columns to features by name; each cell by the feature's type.
#include "agent/stream/decoder.h"

#include <cstddef>

#include "agent/base/text.h"

namespace dipper::stream {
namespace {

// Roles of a column above every feature index.
constexpr uint16_t kIgnored = 0xFFFF;
constexpr uint16_t kLabel = 0xFFFE;
constexpr uint16_t kTruth = 0xFFFD;

}  // namespace

SampleDecoder::SampleDecoder(const schema::Spec& spec, std::string_view label, std::string_view truth)
    : reader_(spec), label_name_(label), truth_name_(truth) {
  const flatbuffers::String* name = spec.target()->name();
  if (label_name_.empty() && name != nullptr) label_name_ = {name->c_str(), name->size()};
}

uint32_t SampleDecoder::feature_count() const { return reader_.feature_count(); }

base::Status SampleDecoder::ReadHeader(std::string_view line, HeaderMatch* match) {
  column_count_ = 0;
  *match = {};
  if (line.size() > kMaxLineBytes) return base::Status::kResourceExhausted;
  line = base::WithoutByteOrderMark(line);
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
    DIPPER_RETURN_IF_ERROR(bind(reader_.FeatureName(f), static_cast<uint16_t>(f), &bound));
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
      decoded.label = reader_.ReadLabel(cells[c]);
    } else if (role == kTruth) {
      decoded.truth = reader_.ReadLabel(cells[c]);
    } else {
      values[role] = reader_.ReadText(role, cells[c], &decoded);
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
    if (role == kLabel || role == kTruth) {
      (role == kLabel ? decoded.label : decoded.truth) = reader_.LabelFromIndex(static_cast<double>(value));
    } else {
      values[role] = reader_.ReadIndex(role, value, &decoded);
    }
  }
  CountSample(decoded);
  *sample = decoded;
  return base::Status::kOk;
}

Label SampleDecoder::DecodeLabel(std::string_view text) {
  const Label label = reader_.ReadLabel(text);
  CountLabel(label);
  return label;
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
