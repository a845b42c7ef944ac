// MetricBatch: the readings of one moment for one message. Not thread-safe. No heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "agent/base/fixed.h"
#include "agent/telemetry/messages.h"

namespace dipper::runtime {

class MetricBatch {
 public:
  /// More than the catalogue has for a device or a model with drift of kMaxDriftFeatures.
  static constexpr size_t kMaxReadings = 192;

  explicit MetricBatch(int64_t wall_ns) : wall_ns_(wall_ns) {}

  /// Not-a-number says that the value cannot be told.
  void Add(telemetry::MetricId id, double value) {
    DIPPER_CHECK(Ok(readings_.PushBack(telemetry::MakeMetric(id, value, wall_ns_))));
  }
  void AddOf(uint32_t index, telemetry::MetricId id, double value) {
    DIPPER_CHECK(
        Ok(readings_.PushBack(telemetry::MakeMetric(id, value, wall_ns_, static_cast<uint16_t>(index)))));
  }
  void Count(telemetry::MetricId id, uint64_t value) { Add(id, static_cast<double>(value)); }
  void Flag(telemetry::MetricId id, bool value) { Add(id, value ? 1 : 0); }

  int64_t wall_ns() const { return wall_ns_; }
  std::span<const telemetry::MetricValue> readings() const { return {readings_.begin(), readings_.size()}; }

 private:
  int64_t wall_ns_;
  base::FixedVector<telemetry::MetricValue, kMaxReadings> readings_;
};

}  // namespace dipper::runtime
