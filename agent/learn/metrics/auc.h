// Exact ROC-AUC over the last W (score, label) pairs in fixed memory, computed when read: the probability
// that a positive scores above a negative, ties half (Mann-Whitney; Hanley and McNeil 1982). A view over
// caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct AucWindowConfig {
  uint32_t window = 1024;  ///< pairs kept, 1 .. 65536
};

class AucWindow {
 public:
  static base::Result<uint64_t> StateBytes(const AucWindowConfig& config);
  static base::Status Create(const AucWindowConfig& config, base::MutableBytes memory);
  static base::Status Validate(const AucWindowConfig& config, base::ByteView memory);
  AucWindow(const AucWindowConfig& config, base::MutableBytes memory);

  /// Appends a pair; the oldest leaves a full window. `score` is finite. Cost: O(1).
  void Add(double score, bool positive);

  uint32_t count() const;      ///< pairs held
  uint32_t positives() const;  ///< of them positive

  /// AUC of the held pairs; the canonical NaN while one of the classes is missing.
  /// Cost: O(W log W), no heap. `scratch` needs count() places, its content is lost.
  double Read(std::span<uint32_t> scratch) const;

 private:
  struct State;
  State& state() const;
  double* scores() const;
  uint8_t* labels() const;

  uint32_t window_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
