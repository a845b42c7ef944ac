// Exact whole-stream scores from recorded predictions. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace dipper::lab {

/// A score that does not apply or is undefined, and a truth that is not there.
inline constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

/// Scores over some rows. kUndefined: does not apply, or undefined (one class only, no labels).
struct Scores {
  uint64_t rows = 0;  ///< Rows that were scored.
  double accuracy;
  double kappa;           ///< Cohen 1960.
  double kappa_temporal;  ///< (p - p_trivial) / (1 - p_trivial): Zliobaite et al., Machine Learning 98, 2015.
  double mae;
  double rmse;
  double auc;
  double pr_auc;  ///< mean over the ones of the precision at their score (Davis and Goadrich 2006).
};

/// Recorded columns, one entry a row. kUndefined in a truth column: not scored there.
struct Records {
  std::span<const double> truth;      ///< class index or target
  std::span<const double> predicted;  ///< class index or value
  std::span<const double> trivial;    ///< what the trivial rival said
  std::span<const double> flag;       ///< 0 or 1: what `score` should tell apart; empty: no AUC
  std::span<const double> score;      ///< higher means more likely 1
  std::span<const double> trivial_score;
};

struct ScoredRange {
  Scores model;
  Scores trivial;
};

/// Scores rows [first, end). @param classes  Class places, or 0 for regression.
ScoredRange ScoreRange(const Records& records, uint32_t classes, uint64_t first, uint64_t end);

/// Probability that a 1 scores above a 0, ties half (Mann-Whitney). NaN unless both are present.
double ExactAuc(std::span<const double> score, std::span<const double> flag);

/// Average precision of the ones; equal scores count together. NaN unless both are present.
double ExactPrAuc(std::span<const double> score, std::span<const double> flag);

}  // namespace dipper::lab
