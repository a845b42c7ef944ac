// See forest_detector.h.
#include "agent/learn/learners/forest_detector.h"

#include <cmath>

#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"

namespace dipper::learn::forest {
namespace {

constexpr uint64_t kLeastPart = 5;  // labels on either side of a cut

}  // namespace

base::Status Detector::Validate() const {
  uint64_t labels = 0;
  double sums = 0;
  for (uint32_t level = 0; level < kLevels; ++level) {
    if (used[level] > kBuckets) return base::Status::kDataLoss;
    for (uint32_t i = 0; i <= kBuckets; ++i) {
      const float value = sum[level][i];
      const bool good = i < used[level] ? value >= 0.0F && value <= static_cast<float>(1U << level)
                                        : value == 0.0F && !std::signbit(value);
      if (!good) return base::Status::kDataLoss;
      sums += static_cast<double>(value);
    }
    labels += uint64_t{used[level]} << level;
  }
  const bool good = labels == count && until_check < kPeriod && reserved == 0 &&
                    std::fabs(total - sums) <= 1.0 + 1e-3 * sums;
  return good ? base::Status::kOk : base::Status::kDataLoss;
}

void Detector::Insert(float error) {
  count += 1;
  total += static_cast<double>(error);
  float carry = error;
  for (uint32_t level = 0; level < kLevels; ++level) {
    sum[level][used[level]++] = carry;
    if (used[level] <= kBuckets) return;
    const float oldest = sum[level][0] + sum[level][1];
    for (uint32_t i = 0; i + 2 <= kBuckets; ++i) sum[level][i] = sum[level][i + 2];
    sum[level][kBuckets - 1] = 0.0F;
    sum[level][kBuckets] = 0.0F;
    used[level] = static_cast<uint8_t>(kBuckets - 1);
    carry = oldest;
  }
  // The window is full: the oldest two buckets leave it.
  count -= uint64_t{2} << (kLevels - 1);
  total -= static_cast<double>(carry);
  if (total < 0.0) total = 0.0;
}

void Detector::DropOldest(uint64_t labels) {
  for (uint32_t level = kLevels; level-- > 0 && labels > 0;) {
    uint32_t dropped = 0;
    while (dropped < used[level] && labels > 0) {
      const uint64_t size = uint64_t{1} << level;
      total -= static_cast<double>(sum[level][dropped++]);
      count -= size;
      labels = labels > size ? labels - size : 0;
    }
    for (uint32_t i = 0; i <= kBuckets; ++i)
      sum[level][i] = i + dropped <= kBuckets ? sum[level][i + dropped] : 0.0F;
    used[level] = static_cast<uint8_t>(used[level] - dropped);
  }
  if (total < 0.0) total = 0.0;
}

Change Detector::Look(double warning_delta, double alarm_delta) {
  const double n = static_cast<double>(count);
  const double mean_error = total / n;
  const double variance = mean_error * (1.0 - mean_error);
  const double tests = Log(2.0 * Log(n));
  const double confidence[2] = {tests - Log(warning_delta), tests - Log(alarm_delta)};
  Change found = Change::kNone;
  uint64_t old_count = 0;
  uint64_t drop = 0;
  double old_sum = 0;
  for (uint32_t level = kLevels; level-- > 0;) {
    for (uint32_t i = 0; i < used[level]; ++i) {
      old_count += uint64_t{1} << level;
      old_sum += static_cast<double>(sum[level][i]);
      if (count - old_count < kLeastPart) break;
      if (old_count < kLeastPart) continue;
      const double n0 = static_cast<double>(old_count);
      const double n1 = n - n0;
      const double gap = (total - old_sum) / n1 - old_sum / n0;
      const double inverse = 1.0 / n0 + 1.0 / n1;
      const auto exceeds = [&](double d) {
        return std::fabs(gap) > std::sqrt(2.0 * inverse * variance * d) + 2.0 / 3.0 * inverse * d;
      };
      if (!exceeds(confidence[0])) continue;
      const bool sure = exceeds(confidence[1]);
      if (gap < 0.0) {
        if (sure) drop = old_count;
        continue;
      }
      if (sure) return Change::kAlarm;
      found = Change::kWarning;
    }
  }
  if (drop > 0) DropOldest(drop);
  return found;
}

Change Detector::Add(double error, double warning_delta, double alarm_delta) {
  Insert(static_cast<float>(error));
  if (++until_check < kPeriod) return Change::kNone;
  until_check = 0;
  return count >= 2 * kLeastPart ? Look(warning_delta, alarm_delta) : Change::kNone;
}

}  // namespace dipper::learn::forest
