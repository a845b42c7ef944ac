// AnomalyScorer: how well the device's anomaly scores match a truth column, where the data bring one. It is
// about the device, not about one model: it goes on when the champion changes. Not thread-safe. Fixed memory,
// no heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/learn/metrics/auc.h"

namespace dipper::runtime {

class AnomalyScorer {
 public:
  static constexpr uint32_t kWindow = 8192;  ///< Newest scored samples that the AUC is over.

  AnomalyScorer();

  void Add(double score, bool truth) { auc_.Add(score, truth); }
  /// ROC-AUC over the window; not-a-number while one of the classes is missing. Cost: O(kWindow log kWindow).
  double Auc();

 private:
  static constexpr size_t kStateBytes = size_t{kWindow} * 9 + 64;

  alignas(16) std::array<uint8_t, kStateBytes> memory_{};
  std::array<uint32_t, kWindow> scratch_{};
  learn::AucWindow auc_;
};

}  // namespace dipper::runtime
