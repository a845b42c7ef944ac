// DriftFilter: which of the detectors' warnings and alarms become events. A detector warns with every value
// while it is in its warning zone, and a broken sensor may alarm for hours; events go to flash and to the
// broker. So entering the zone is told once, and a flood is cut to kBurst at once and one a kRefillNs; what
// is left out is counted. The metrics count them all. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "agent/base/event_limit.h"

namespace dipper::runtime {

/// What the detectors watch: the model's losses and scores, or the features that come in.
enum class DriftSource : uint8_t { kModel = 0, kFeatures = 1 };

class DriftFilter {
 public:
  static constexpr uint32_t kBurst = base::EventLimit::kBurst;
  static constexpr int64_t kRefillNs = base::EventLimit::kRefillNs;

  enum class Answer : uint8_t { kNothing = 0, kWarning = 1, kAlarm = 2 };

  /// What the detectors of one source say to one value, stable included.
  /// @param feature   The feature they name; anything for kModel.
  /// @param now_ns    Monotonic time.
  /// @param left_out  Filled when something is to be told: how many of its kind were not, since the last.
  Answer Take(DriftSource source, bool warning, bool alarm, int32_t feature, int64_t now_ns,
              uint64_t* left_out) {
    int32_t& zone = zones_[static_cast<size_t>(source)];
    const int32_t place = source == DriftSource::kModel ? 0 : feature;
    if (alarm) {
      zone = kNoZone;  // the test starts anew
      return kinds_[1].Spend(now_ns, left_out) ? Answer::kAlarm : Answer::kNothing;
    }
    if (!warning) zone = kNoZone;
    if (!warning || zone == place) return Answer::kNothing;
    zone = place;
    return kinds_[0].Spend(now_ns, left_out) ? Answer::kWarning : Answer::kNothing;
  }

  /// Another model: its zones are not those of the one before.
  void OnModelsChanged() { zones_.fill(kNoZone); }

 private:
  static constexpr int32_t kNoZone = -1;

  std::array<int32_t, 2> zones_{kNoZone, kNoZone};
  std::array<base::EventLimit, 2> kinds_{};  // warnings, alarms
};

}  // namespace dipper::runtime
