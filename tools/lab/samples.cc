// CSV rows to floats by the same decoder that a device uses.
#include "tools/lab/samples.h"

#include <fmt/format.h>

#include <limits>
#include <memory>

#include "tools/lab/error.h"

namespace dipper::lab {
namespace {

/// The label column to use, checked; "" when there is none and none is needed.
std::string LabelColumn(const learn::Spec& spec, const CsvTable& table, const std::string& label) {
  if (!label.empty()) return table.columns()[table.ColumnIndex(label)];
  const flatbuffers::String* name = spec.table().target()->name();
  if (name == nullptr || name->size() == 0) return {};
  if (spec.target_kind() == schema::TargetKind::LabelColumn)
    return table.columns()[table.ColumnIndex(name->str())];
  for (const std::string& column : table.columns()) {
    if (column == name->string_view()) return column;
  }
  return {};
}

void CheckColumns(const learn::Spec& spec, const CsvTable& table, const std::string& label) {
  for (uint32_t f = 0; f < spec.feature_count(); ++f) {
    const std::string name(spec.feature_name(f));
    table.ColumnIndex(name);
    if (name == label && spec.target_kind() == schema::TargetKind::LabelColumn) {
      throw Error(ExitCode::kUsage,
                  fmt::format("column '{}' is the label and also a feature of the spec: the model "
                              "would see its answer; drop the feature",
                              name));
    }
  }
}

}  // namespace

std::vector<std::string> WarningsOf(const SampleTable& samples, const std::string& path) {
  std::vector<std::string> warnings;
  const stream::DecodeCounters& counters = samples.counters;
  if (samples.skipped_rows > 0)
    warnings.push_back(SkippedText(samples.skipped_rows, path, samples.first_skipped_line));
  if (counters.bad_cells > 0) {
    warnings.push_back(fmt::format("{} cells of numeric features are no numbers and were taken as missing",
                                   counters.bad_cells));
  }
  if (counters.unknown_labels > 0) {
    warnings.push_back(fmt::format(
        "{} labels are of no use to this spec, for example '{}': add the class to target.classes, or "
        "set target.spare_classes",
        counters.unknown_labels, Printable(samples.first_unknown_label)));
  }
  if (counters.other_labels > 0) {
    warnings.push_back(
        fmt::format("{} labels are of classes that the spec does not list; they all count as 'other'",
                    counters.other_labels));
  }
  return warnings;
}

SampleTable DecodeTable(const learn::Spec& spec, const CsvTable& table, const std::string& label) {
  const std::string label_column = LabelColumn(spec, table, label);
  CheckColumns(spec, table, label_column);
  const auto decoder = std::make_unique<stream::SampleDecoder>(spec.table(), label_column);
  const std::vector<std::string_view> names(table.columns().begin(), table.columns().end());
  stream::HeaderMatch match;
  const base::Status bound = decoder->BindColumns(names, &match);
  if (!base::Ok(bound)) {
    throw Error(ExitCode::kFailure, fmt::format("{}: the header does not fit the spec ({})", table.path(),
                                                base::StatusName(bound)));
  }
  SampleTable samples;
  samples.features = spec.feature_count();
  samples.has_labels = match.has_label;
  const size_t label_index = match.has_label ? table.ColumnIndex(label_column) : 0;
  // A forecast brings its own labels, and a scorer needs none; the column then only says which rows are
  // anomalies.
  const bool flags = spec.target_kind() != schema::TargetKind::LabelColumn;
  std::vector<float> row(samples.features);
  const auto take = [&](std::span<const std::string_view> cells, uint64_t) {
    stream::DecodedSample sample;
    if (!base::Ok(decoder->DecodeCells(cells, row, &sample))) return true;
    samples.values.insert(samples.values.end(), row.begin(), row.end());
    const double label_value = sample.label.value;
    const bool usable = !flags || label_value == 0 || label_value == 1;
    const bool known = sample.label.state == stream::LabelState::kPresent && usable;
    const bool unknown = sample.label.state != stream::LabelState::kAbsent && !known;
    if (unknown && samples.first_unknown_label.empty()) samples.first_unknown_label = cells[label_index];
    samples.labels.push_back(known ? label_value : std::numeric_limits<double>::quiet_NaN());
    samples.label_kinds.push_back(known     ? LabelKind::kKnown
                                  : unknown ? LabelKind::kUnknown
                                            : LabelKind::kNone);
    ++samples.rows;
    return true;
  };
  table.ForEachRow(take, [&](uint64_t line, uint32_t) {
    if (samples.skipped_rows++ == 0) samples.first_skipped_line = line;
  });
  if (samples.rows == 0) {
    throw Error(ExitCode::kFailure,
                fmt::format("'{}' has a header but no usable row{}", table.path(),
                            samples.skipped_rows == 0
                                ? std::string("; add data")
                                : fmt::format(": {} lines have another number of cells than the "
                                              "header, the first is line {}",
                                              samples.skipped_rows, samples.first_skipped_line)));
  }
  samples.counters = decoder->counters();
  return samples;
}

}  // namespace dipper::lab
