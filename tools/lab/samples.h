// SampleTable: a CSV file decoded by a spec, once, into one block of floats. Not thread-safe while decoding.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/learn/image/spec.h"
#include "agent/stream/decoder.h"
#include "tools/lab/csv_table.h"

namespace dipper::lab {

/// What a row's label cell said.
enum class LabelKind : uint8_t { kNone = 0, kKnown = 1, kUnknown = 2 };

struct SampleTable {
  uint32_t features = 0;
  uint64_t rows = 0;
  std::vector<float> values;   ///< rows x features
  std::vector<double> labels;  ///< class index or target; NaN unless kKnown
  std::vector<LabelKind> label_kinds;
  uint64_t skipped_rows = 0;  ///< lines with another number of cells, or broken quotes
  uint64_t first_skipped_line = 0;
  std::string first_unknown_label;
  bool has_labels = false;  ///< the file has the label column
  stream::DecodeCounters counters;

  std::span<const float> Row(uint64_t row) const { return {values.data() + row * features, features}; }
};

/// What a reader of results from these rows must know: rows that were skipped, cells and labels of no use.
std::vector<std::string> WarningsOf(const SampleTable& samples, const std::string& path);

/// Decodes all rows. Throws Error: a feature or the label has no column (3), no rows (1).
/// @param label  Label column; "" takes the spec's target name. A forecasting spec needs none.
SampleTable DecodeTable(const learn::Spec& spec, const CsvTable& table, const std::string& label);

}  // namespace dipper::lab
