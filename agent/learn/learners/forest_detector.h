// Change detector of one tree of a forest: ADWIN (Bifet and Gavalda, "Learning from time-changing data with
// adaptive windowing", SDM 2007, version 2) over an error in 0 .. 1, bounded to 12 levels of exponential
// buckets (about 20,000 labels) and looking for cuts every 32 labels. One window serves both the warning and
// the alarm, which differ in their confidence only. Not thread-safe. State: plain bytes, zero when fresh.
#pragma once

#include <cstdint>

#include "agent/base/status.h"

namespace dipper::learn::forest {

enum class Change : uint8_t { kNone, kWarning, kAlarm };

struct Detector {
  static constexpr uint32_t kLevels = 12;
  static constexpr uint32_t kBuckets = 5;  // per level, before the two oldest become one of the next level
  static constexpr uint32_t kPeriod = 32;

  float sum[kLevels][kBuckets + 1];  // oldest first; a bucket of level l holds 2^l labels
  uint8_t used[kLevels];
  uint32_t until_check;  // labels since the last look
  double total;
  uint64_t count;
  uint64_t reserved;

  /// Adds an error; looks for a cut when it is time to. An increase beyond the alarm's bound is kAlarm; a
  /// decrease drops the older part.
  Change Add(double error, double warning_delta, double alarm_delta);
  double mean() const { return count > 0 ? total / static_cast<double>(count) : 0.0; }
  base::Status Validate() const;

 private:
  void Insert(float error);
  Change Look(double warning_delta, double alarm_delta);
  void DropOldest(uint64_t labels);
};
static_assert(sizeof(Detector) == 328);

}  // namespace dipper::learn::forest
