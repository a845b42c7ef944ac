// Infers a sensible spec from the first rows of a CSV file. Thread-safe: pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/schema/spec_generated.h"
#include "tools/lab/csv_table.h"

namespace dipper::lab {

/// Rows that inference may look at, so that a long file costs no more than a short one.
inline constexpr uint64_t kInferenceRows = 1000;

struct SpecInitOptions {
  std::string label;         ///< Label column; empty with `feature`.
  std::string feature;       ///< Forecast this column instead of a label...
  uint32_t ahead = 1;        ///< ...so many samples ahead.
  uint32_t label_delay = 0;  ///< Samples until a label usually comes.
  std::string learner = "linear";
  std::optional<schema::Task> task;  ///< Overrides what the label looks like.
  uint64_t budget_bytes = 256 * 1024;
  uint64_t seed = 1;
  std::string model_id = "main";
};

struct SpecInitResult {
  schema::SpecT spec;
  std::vector<std::string> notes;     ///< What was inferred and why, a line each.
  std::vector<std::string> warnings;  ///< What was passed over.
};

/// Throws Error: no such column (3), no rows, no usable feature, unknown learner (2).
SpecInitResult InferSpec(const CsvTable& table, const SpecInitOptions& options);

}  // namespace dipper::lab
