// Exact ROC-AUC and PR-AUC over the last W (score, label) pairs in fixed memory, computed when read. ROC-AUC:
// the probability that a positive scores above a negative, ties half (Mann-Whitney; Hanley and McNeil, "The
// meaning and use of the area under a receiver operating characteristic curve", Radiology 143, 1982). PR-AUC:
// average precision, the mean over the positives of the precision at their score, no interpolation (Davis and
// Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006). A view over
// caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct AucWindowConfig {
  uint32_t window = 1024;  ///< pairs kept, 1 .. 65536
  bool weighted = false;   ///< keep weights (4 bytes a pair); if not, a pair counts once
};

class AucWindow {
 public:
  static base::Result<uint64_t> StateBytes(const AucWindowConfig& config);
  static base::Status Create(const AucWindowConfig& config, base::MutableBytes memory);
  static base::Status Validate(const AucWindowConfig& config, base::ByteView memory);
  AucWindow(const AucWindowConfig& config, base::MutableBytes memory);

  /// Appends a pair; the oldest leaves a full window. `score` is finite; weight >= 0 and finite, 0 is left
  /// out, and any other is 1 unless the window is weighted (kept as float32, up to 1e30). Cost: O(1).
  void Add(double score, bool positive, double weight = 1.0);

  uint32_t count() const;      ///< pairs held
  uint32_t positives() const;  ///< of them positive

  /// Areas of the held pairs; the canonical NaN while one of the classes is missing. A scorer that knows
  /// nothing has a ROC-AUC of 0.5 and a PR-AUC of the share of positives.
  struct Areas {
    double roc = 0;
    double precision_recall = 0;
  };
  /// Cost: O(W log W), no heap. `scratch` needs count() places, its content is lost.
  Areas ReadAreas(std::span<uint32_t> scratch) const;

  /// The ROC-AUC alone.
  double Read(std::span<uint32_t> scratch) const { return ReadAreas(scratch).roc; }

 private:
  struct State;
  State& state() const;
  double* scores() const;
  uint8_t* labels() const;
  float* weights() const;
  double WeightOf(uint32_t place) const;

  uint32_t window_;
  bool weighted_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
