// The prequential run behind `dipper eval`: every row is observed and predicted before its label is known;
// the label arrives `label_delay` rows later. All scores are of the predictions that the model fixed at
// Observe. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agent/schema/spec_generated.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/scores.h"

namespace dipper::lab {

struct EvalOptions {
  std::string label;         ///< Label column; "" takes the spec's.
  uint64_t label_delay = 0;  ///< After row i is observed, labels of rows <= i - label_delay are available.
  std::optional<uint64_t> seed;
};

/// Twenty equal blocks, of which the worst is told.
inline constexpr uint64_t kEvalBlocks = 20;
/// Each from a fresh image; the time is their median.
inline constexpr int kEvalPasses = 5;

struct EvalResult {
  schema::Task task = schema::Task::Classification;
  bool forecast = false;   ///< the target is a feature some steps ahead
  bool anomaly = false;    ///< samples get anomaly scores
  bool has_flags = false;  ///< AUC applies
  uint64_t rows = 0;
  ScoredRange whole;
  ScoredRange second_half;
  std::optional<ScoredRange> worst_block;  ///< none below 20 rows
  uint64_t worst_block_index = 0;
  uint64_t worst_block_first_row = 0;

  double ns_per_sample = 0;
  uint64_t state_bytes = 0;
  uint64_t peak_rss_bytes = 0;
  base::Digest state_digest;
  base::Digest spec_digest;
  uint64_t drift_alarms = 0;
  uint64_t anomaly_events = 0;
  uint64_t seed = 0;

  uint64_t skipped_rows = 0;
  uint64_t unlabelled_rows = 0;
  uint64_t unknown_labels = 0;
  uint64_t other_labels = 0;
  uint64_t missing_cells = 0;
  uint64_t bad_cells = 0;
  uint64_t unseen_cells = 0;

  std::vector<std::string> notes;     ///< what was adjusted
  std::vector<std::string> warnings;  ///< what a reader of the numbers must know
};

/// Throws Error: spec and data do not fit (2, 3), nothing to score (1).
EvalResult Evaluate(schema::SpecT spec, const CsvTable& table, const EvalOptions& options);

enum class Verdict : uint8_t {
  kBetter,         ///< than the trivial rival, by the task's main score
  kBetterForRare,  ///< not by accuracy, which a rare class hardly moves, but clearly by kappa or AUC
  kNotBetter,
};
Verdict VerdictOf(const EvalResult& result);

}  // namespace dipper::lab
