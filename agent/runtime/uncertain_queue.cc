// Implementation of uncertain_queue.h: a few dozen places need no heap structure.
#include "agent/runtime/uncertain_queue.h"

#include <algorithm>

namespace dipper::runtime {

UncertainQueue::UncertainQueue(size_t samples) : capacity_(samples) { DIPPER_CHECK(samples <= kMaxSamples); }

void UncertainQueue::SetColumns(std::span<const uint32_t> columns) {
  DIPPER_CHECK(columns.size() <= kMaxFeatures);
  std::copy(columns.begin(), columns.end(), columns_.begin());
  column_count_ = columns.size();
  count_ = 0;
}

void UncertainQueue::Offer(const telemetry::UncertainSample& sample, std::span<const float> row) {
  if (capacity_ == 0 || column_count_ == 0) return;
  Place* place = nullptr;
  if (count_ < capacity_) {
    place = &places_[count_++];
  } else {
    place = &*std::min_element(
        places_.begin(), places_.begin() + static_cast<ptrdiff_t>(count_),
        [](const Place& a, const Place& b) { return a.sample.uncertainty < b.sample.uncertainty; });
    if (place->sample.uncertainty >= sample.uncertainty) return;
  }
  place->sample = sample;
  for (size_t i = 0; i < column_count_; ++i) place->values[i] = row[columns_[i]];
}

void UncertainQueue::Forget(uint64_t id) {
  for (size_t i = 0; i < count_; ++i) {
    if (places_[i].sample.id != id) continue;
    places_[i] = places_[--count_];
    return;
  }
}

std::span<const telemetry::UncertainSample> UncertainQueue::Sorted() {
  for (size_t i = 0; i < count_; ++i) {
    sorted_[i] = places_[i].sample;
    sorted_[i].values = std::span(places_[i].values).first(column_count_);
  }
  const std::span all(sorted_.data(), count_);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.uncertainty != b.uncertainty ? a.uncertainty > b.uncertainty : a.id < b.id;
  });
  return all;
}

}  // namespace dipper::runtime
