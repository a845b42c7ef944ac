// ByteBudget: what a day of telemetry may cost where bytes are paid for. A day is one of UTC by the device's
// wall clock. Measurements are held to a line that rises through the day, so that they come more seldom
// rather than stop at noon; what happened is told until the day's bytes are spent; what an update does is
// always told. docs/reference/topics.md has the rules. Not thread-safe. No heap.
#pragma once

#include <cstdint>

namespace dipper::telemetry {

class ByteBudget {
 public:
  /// @param max_bytes  A day; 0: no limit.
  explicit ByteBudget(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  /// What an earlier run counted; counts only if that day is the present or a later one. Before the first
  /// Tick.
  void Restore(uint64_t day, uint64_t bytes);

  /// A clock that is set ahead begins a new day; one that is set back goes on with the day that was, but when
  /// it is synchronized with its own: the day before was never.
  /// @param wall_ns       Since 1970; before that it is the day 0.
  /// @param synchronized  As the system calls its clock.
  void Tick(int64_t wall_ns, int64_t monotonic_ns, bool synchronized);
  void Spend(uint64_t bytes) {
    spent_ += bytes;
    here_ += bytes;
  }

  bool MayMeasure() const { return Below(0.1, 0.8); }   ///< Metrics and predictions, live.
  bool MayCatchUp() const { return Below(0.05, 0.6); }  ///< Backlog and snapshots: behind those.
  bool MayTell() const { return max_bytes_ == 0 || spent_ < max_bytes_; }  ///< Events but those of updates.

  uint64_t max_bytes() const { return max_bytes_; }
  uint64_t day() const { return day_; }      ///< Since 1970.
  uint64_t spent() const { return spent_; }  ///< This day, topics and payloads.
  /// At the day's end, if it goes on as in this run's part of the day.
  double projected() const;

 private:
  bool Below(double start, double rise) const;

  uint64_t max_bytes_;
  uint64_t day_ = 0;
  uint64_t spent_ = 0;
  double passed_ = 0;  ///< Part of the day, 0 to 1.
  uint64_t here_ = 0;  ///< Of `spent_`, since `since_ns_`.
  int64_t since_ns_ = -1;
  int64_t now_ns_ = 0;
};

}  // namespace dipper::telemetry
