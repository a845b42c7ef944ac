// AlarmFilter: which of a model's anomalies become events, and how severe they are. Hysteresis and minimum
// durations are the model's own and lie in its image (agent/learn/learners/anomaly_score.h), so that they
// survive a checkpoint and come out the same in a replay; here is what only telling needs: severity, the
// limit of a storm, and what was told so far, which is derived anew from the image after a restart. Not
// thread-safe. No heap.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/base/event_limit.h"
#include "agent/schema/telemetry_generated.h"

namespace dipper::runtime {

/// From the spec's [anomaly].
struct AlarmRule {
  double raise = 0.9999;
  uint32_t min_clear_samples = 10;
  uint32_t max_per_hour = 60;  ///< 0: none is ever told.
};

struct AlarmNews {
  enum class Kind : uint8_t {
    kNothing,
    kRaised,  ///< Or a told alarm became more severe.
    kCleared
  };
  Kind kind = Kind::kNothing;
  schema::Severity severity = schema::Severity::None;  ///< The worst so far.
  uint64_t alarm = 0;  ///< Id of the sample that raised it; 0: in an earlier run.
  double peak = 0;
  int64_t lasted_ns = 0;
  uint64_t left_out = 0;  ///< Alarms that were not told, since the last that was.
};

class AlarmFilter {
 public:
  static constexpr uint32_t kBurst = 8;           ///< Alarms told at once, whatever the hour's limit.
  static constexpr double kDecade = 10;           ///< So many times as rare is one step more severe.
  static constexpr uint64_t kLastingFactor = 30;  ///< Times min_clear_samples: so long is one step more.

  /// An alarm that a model's image has on.
  struct Restored {
    double peak = 0;       ///< Its largest score.
    uint64_t samples = 0;  ///< Scored since it was raised.
  };

  /// The model whose answers come from now on.
  /// @param told  The alarm that its image has on: an earlier run has told it, unless the rule tells none.
  /// @returns kCleared when a told alarm of the model before ends with it.
  AlarmNews SetModel(const AlarmRule& rule, std::optional<Restored> told, int64_t now_ns);

  /// One scored sample.
  /// @param now_ns  Monotonic time.
  AlarmNews Take(double score, bool active, uint64_t sample_id, int64_t now_ns);

  /// None: no alarm is on.
  schema::Severity severity() const { return on_ ? severity_ : schema::Severity::None; }
  uint64_t left_out_total() const { return left_out_total_; }

 private:
  void Begin(uint64_t sample_id, uint64_t samples, double score, int64_t now_ns);
  void Judge(double score);
  AlarmNews News(AlarmNews::Kind kind, int64_t now_ns);

  AlarmRule rule_;
  base::EventLimit limit_;
  bool on_ = false, told_ = false;
  schema::Severity severity_ = schema::Severity::None, told_severity_ = schema::Severity::None;
  uint64_t alarm_ = 0;
  double peak_ = 0;
  int64_t since_ns_ = 0;
  uint64_t samples_ = 0;  ///< Scored while it is on.
  uint64_t left_out_ = 0, left_out_total_ = 0;
};

}  // namespace dipper::runtime
