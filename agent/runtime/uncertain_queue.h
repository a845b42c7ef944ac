// UncertainQueue: the samples of which a model was least certain, with the features that may leave the
// device, until the fleet asks for them (docs/how-to/late-labels.md). Of fixed size: a more uncertain sample
// takes the place of the least uncertain one. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/telemetry/messages.h"

namespace dipper::runtime {

class UncertainQueue {
 public:
  static constexpr size_t kMaxSamples = telemetry::kMaxUncertainSamples;
  static constexpr size_t kMaxFeatures = telemetry::kMaxUncertainFeatures;

  /// @param samples  Places, at most kMaxSamples; 0: nothing is ever kept.
  explicit UncertainQueue(size_t samples);

  /// Which columns of a row of features are kept; what was kept before is forgotten.
  void SetColumns(std::span<const uint32_t> columns);
  /// Offers a sample. @param row  All features of the model.
  void Offer(const telemetry::UncertainSample& sample, std::span<const float> row);
  /// Its label is known: it is of no more use.
  void Forget(uint64_t id);
  void Clear() { count_ = 0; }

  size_t size() const { return count_; }
  size_t columns() const { return column_count_; }
  /// The samples, most uncertain first; valid until the next call of anything else.
  std::span<const telemetry::UncertainSample> Sorted();

 private:
  struct Place {
    telemetry::UncertainSample sample;  ///< Without values.
    std::array<float, kMaxFeatures> values;
  };

  size_t capacity_;
  std::array<uint32_t, kMaxFeatures> columns_{};
  size_t column_count_ = 0;
  std::array<Place, kMaxSamples> places_{};
  std::array<telemetry::UncertainSample, kMaxSamples> sorted_{};
  size_t count_ = 0;
};

}  // namespace dipper::runtime
