// Why a model answers rows of a file as it does: `dipper explain`. Errors are lab::Error. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/schema/spec_generated.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/train.h"

namespace dipper::lab {

struct ExplainOptions {
  std::string label;            ///< Label column; "" takes the spec's.
  std::string output;           ///< Classification: the class to explain; "" takes the answer.
  std::optional<uint64_t> row;  ///< This row, counted from 0; else the last ones:
  uint64_t last = 1;
};

/// One answer and what it is made of.
struct ExplainedRow {
  uint64_t row = 0;
  std::string output;          ///< class that is explained; "" for a value
  std::string label;           ///< what the file says; "" if nothing
  double answer = 0;           ///< probability of `output`, or the value: base + rest + sum of the terms
  double base = 0;             ///< the answer without any input
  double rest = 0;             ///< what belongs to no input
  std::vector<double> terms;   ///< of each input
  std::vector<double> inputs;  ///< features as the file has them; not-a-number if missing
};

struct Explanation {
  std::vector<std::string> features;
  std::vector<std::string> inputs;  ///< of the learner, after all stages
  std::vector<ExplainedRow> rows;
  std::vector<double> importance;     ///< of each input after the last row, sum 1
  uint64_t learned = 0;               ///< labels, the image's included
  std::vector<std::string> warnings;  ///< of WarningsOf: skipped rows are not counted as rows
};

/// Runs the rows up to those that are explained as `dipper eval` does, labels prompt; each is explained as it
/// stood when its label was not known.
/// @param image  From `dipper train`, to start from; null: from nothing.
/// Throws Error: no such row or class (2), an image of another spec (5), a learner that cannot tell (1), or
/// parts that do not sum to the answer (5).
Explanation Explain(const schema::SpecT& spec, const CsvTable& table, const ImageFile* image,
                    const ExplainOptions& options);

}  // namespace dipper::lab
