// Implementation of metric_filter.h.
#include "agent/runtime/metric_filter.h"

#include <cmath>

namespace dipper::runtime {
namespace {

using telemetry::MetricValue;

// A measured value trembles; what moves less than this, of the value readers have, is no news.
constexpr double kTremble = 0.001;

/// Counters, states and everything else that is counted (unit 1) is news whenever it differs.
bool IsMeasured(uint16_t id) {
  const telemetry::MetricRow* row = telemetry::FindMetric(id);
  return row != nullptr && row->type == schema::MetricType::Gauge && row->unit != "1";
}

bool IsNews(uint16_t id, double had, double has) {
  if (had == has || (std::isnan(had) && std::isnan(has))) return false;
  if (!std::isfinite(had) || !std::isfinite(has)) return true;
  return !IsMeasured(id) || std::abs(has - had) > kTremble * std::abs(had);
}

}  // namespace

size_t MetricFilter::Find(const MetricValue& reading, size_t* from) const {
  for (size_t tried = 0; tried < held_.size(); ++tried) {
    const size_t at = (*from + tried) % held_.size();
    if (held_[at].id != reading.id() || held_[at].index != reading.index()) continue;
    *from = at + 1;
    return at;
  }
  return held_.size();
}

MetricFilter::Choice MetricFilter::Choose(std::span<const MetricValue> readings, int64_t now_ns,
                                          int64_t repeat_ns, Buffer* buffer) const {
  if (renew_ || now_ns - whole_at_ns_ >= repeat_ns) return {.values = readings, .partial = false};
  size_t count = 0;
  size_t from = 0;
  for (const MetricValue& reading : readings) {
    const size_t at = Find(reading, &from);
    const bool known = at != held_.size();
    if (known && !IsNews(reading.id(), held_[at].value, reading.value())) continue;
    (*buffer)[count++] = reading;
  }
  return {.values = std::span<const MetricValue>(*buffer).first(count), .partial = true};
}

void MetricFilter::Sent(const Choice& choice, int64_t now_ns) {
  if (!choice.partial) {
    held_.Clear();
    renew_ = false;
    whole_at_ns_ = now_ns;
  }
  size_t from = 0;
  for (const MetricValue& reading : choice.values) {
    const Held held{.value = reading.value(), .id = reading.id(), .index = reading.index()};
    const size_t at = choice.partial ? Find(reading, &from) : held_.size();
    if (at != held_.size()) {
      held_[at] = held;
    } else if (!Ok(held_.PushBack(held))) {
      renew_ = true;  // more kinds of readings than a batch may have, over time
    }
  }
}

}  // namespace dipper::runtime
