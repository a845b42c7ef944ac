// MetricFilter: which readings of one sender (the device, a model) are worth a message. A reader keeps what
// it was told last; a whole batch, with every value, comes now and then so that late readers catch up. The
// rule is on docs/reference/metrics.md. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "agent/base/fixed.h"
#include "agent/runtime/metric_batch.h"

namespace dipper::runtime {

class MetricFilter {
 public:
  using Buffer = std::array<telemetry::MetricValue, MetricBatch::kMaxReadings>;
  struct Choice {
    std::span<const telemetry::MetricValue> values;
    bool partial = false;  ///< What has not changed is left out of `values`.
  };

  /// The next batch is a whole one: readers may have nothing.
  void Renew() { renew_ = true; }

  /// Cost: O(readings) time where they come in the order of the time before.
  /// @param now_ns     Monotonic.
  /// @param repeat_ns  The longest time between whole batches; 0: each is one.
  /// @param buffer     What the choice points into.
  Choice Choose(std::span<const telemetry::MetricValue> readings, int64_t now_ns, int64_t repeat_ns,
                Buffer* buffer) const;

  /// The choice is on its way: from now on readers have it.
  void Sent(const Choice& choice, int64_t now_ns);

 private:
  struct Held {
    double value = 0;
    uint16_t id = 0;
    uint16_t index = 0;
  };
  /// Where the reading is held, searched from `*from`, which goes on behind it; the size: nowhere.
  size_t Find(const telemetry::MetricValue& reading, size_t* from) const;

  base::FixedVector<Held, MetricBatch::kMaxReadings> held_;
  bool renew_ = true;
  int64_t whole_at_ns_ = 0;
};

}  // namespace dipper::runtime
