// Two-pass exact scores: no windows, no fading.
#include "tools/lab/scores.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace dipper::lab {
namespace {

constexpr Scores kNoScores = {0,          kUndefined, kUndefined, kUndefined,
                              kUndefined, kUndefined, kUndefined, kUndefined};

void ScoreClasses(std::span<const double> truth, std::span<const double> predicted, uint32_t classes,
                  Scores* scores) {
  std::vector<double> confusion(size_t{classes} * classes);
  double right = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    if (std::isnan(truth[i])) continue;
    ++scores->rows;
    confusion[static_cast<size_t>(truth[i]) * classes + static_cast<size_t>(predicted[i])] += 1;
    if (truth[i] == predicted[i]) right += 1;
  }
  if (scores->rows == 0) return;
  const auto total = static_cast<double>(scores->rows);
  double chance = 0;
  for (uint32_t c = 0; c < classes; ++c) {
    double row = 0;
    double column = 0;
    for (uint32_t d = 0; d < classes; ++d) {
      row += confusion[size_t{c} * classes + d];
      column += confusion[size_t{d} * classes + c];
    }
    chance += row / total * (column / total);
  }
  scores->accuracy = right / total;
  if (chance < 1) scores->kappa = (scores->accuracy - chance) / (1 - chance);
}

void ScoreValues(std::span<const double> truth, std::span<const double> predicted, Scores* scores) {
  double absolute = 0;
  double square = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    if (std::isnan(truth[i])) continue;
    ++scores->rows;
    const double error = truth[i] - predicted[i];
    absolute += std::fabs(error);
    square += error * error;
  }
  if (scores->rows == 0) return;
  scores->mae = absolute / static_cast<double>(scores->rows);
  scores->rmse = std::sqrt(square / static_cast<double>(scores->rows));
}

}  // namespace

namespace {

/// Rows of one score: how many zeros and ones.
struct Tie {
  double score = 0;
  double zeros = 0;
  double ones = 0;
};

std::vector<Tie> Ties(std::span<const double> score, std::span<const double> flag) {
  std::vector<std::pair<double, bool>> pairs;
  for (size_t i = 0; i < score.size(); ++i) {
    if (!std::isnan(flag[i]) && !std::isnan(score[i])) pairs.emplace_back(score[i], flag[i] > 0);
  }
  std::sort(pairs.begin(), pairs.end());
  std::vector<Tie> ties;
  for (const auto& [value, one] : pairs) {
    if (ties.empty() || ties.back().score != value) ties.push_back({value, 0, 0});
    (one ? ties.back().ones : ties.back().zeros) += 1;
  }
  return ties;
}

}  // namespace

double ExactAuc(std::span<const double> score, std::span<const double> flag) {
  double zeros = 0;  // with a lower score
  double ones = 0;
  double wins = 0;
  for (const Tie& tie : Ties(score, flag)) {
    wins += tie.ones * (zeros + tie.zeros / 2);
    zeros += tie.zeros;
    ones += tie.ones;
  }
  return ones == 0 || zeros == 0 ? kUndefined : wins / (ones * zeros);
}

double ExactPrAuc(std::span<const double> score, std::span<const double> flag) {
  std::vector<Tie> ties = Ties(score, flag);
  std::reverse(ties.begin(), ties.end());
  double zeros = 0;  // with this score or a higher one
  double ones = 0;
  double sum = 0;
  for (const Tie& tie : ties) {
    zeros += tie.zeros;
    ones += tie.ones;
    sum += tie.ones * ones / (ones + zeros);
  }
  return ones == 0 || zeros == 0 ? kUndefined : sum / ones;
}

ScoredRange ScoreRange(const Records& records, uint32_t classes, uint64_t first, uint64_t end) {
  const auto cut = [&](std::span<const double> column) {
    return column.empty() ? column : column.subspan(first, end - first);
  };
  ScoredRange out = {kNoScores, kNoScores};
  if (classes == 0) {
    ScoreValues(cut(records.truth), cut(records.predicted), &out.model);
    ScoreValues(cut(records.truth), cut(records.trivial), &out.trivial);
  } else {
    ScoreClasses(cut(records.truth), cut(records.predicted), classes, &out.model);
    ScoreClasses(cut(records.truth), cut(records.trivial), classes, &out.trivial);
    const double rival = out.trivial.accuracy;
    if (rival < 1) {
      out.model.kappa_temporal = (out.model.accuracy - rival) / (1 - rival);
      out.trivial.kappa_temporal = 0;
    }
  }
  if (!records.flag.empty()) {
    out.model.auc = ExactAuc(cut(records.score), cut(records.flag));
    out.trivial.auc = ExactAuc(cut(records.trivial_score), cut(records.flag));
    out.model.pr_auc = ExactPrAuc(cut(records.score), cut(records.flag));
    out.trivial.pr_auc = ExactPrAuc(cut(records.trivial_score), cut(records.flag));
  }
  return out;
}

}  // namespace dipper::lab
