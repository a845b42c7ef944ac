// Mean loss over the last W labels: windowed accuracy (one bit a label) or mean absolute error (one float32 a
// label). Nothing is summed up along the way, so nothing drifts: the ring is summed when read. A view over
// caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct LossWindowConfig {
  uint32_t window = 1024;  ///< labels kept, 1 .. 65536
  bool zero_one = true;    ///< losses are 0 or 1 and take a bit; else >= 0, float32, cut to 1e38
  bool weighted = false;   ///< keep weights (4 bytes a label); if not, a label counts once
};

class LossWindow {
 public:
  static base::Result<uint64_t> StateBytes(const LossWindowConfig& config);
  static base::Status Create(const LossWindowConfig& config, base::MutableBytes memory);
  static base::Status Validate(const LossWindowConfig& config, base::ByteView memory);
  LossWindow(const LossWindowConfig& config, base::MutableBytes memory);

  /// Appends a loss; the oldest leaves a full window. weight >= 0 and finite: 0 is left out, and any other is
  /// 1 unless the window is weighted (kept as float32, up to 1e30). Cost: O(1).
  void Add(double loss, double weight = 1.0);

  uint32_t count() const;  ///< losses held

  /// Mean of the held losses; the canonical NaN while there is none. Cost: O(W), no heap.
  double Read() const;

 private:
  struct State;
  State& state() const;
  uint64_t* bits() const;
  float* losses() const;
  float* weights() const;

  LossWindowConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
