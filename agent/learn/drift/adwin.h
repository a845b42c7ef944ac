// ADWIN: a window over a stream's last values that shrinks when its older and newer parts differ in their
// mean (Bifet and Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007, section 3:
// ADWIN2). The window is an exponential histogram of fixed size: row r holds up to `buckets` summaries of
// clock * 2^r values each; when the last row is full its oldest summary is dropped.
//
// Differences to the paper, all of them for values of any scale and for streams of a device:
// - A cut is judged by Bernstein's inequality with the window's own variance and largest deviation from the
//   mean instead of an assumed range of 1: d^2 / (2 m (v + b d / 3)) > ln(2 ln n / delta), m = 1/n0 + 1/n1.
//   The paper's bound with the variance follows from it for values in [0, 1], a little looser.
// - The window is cut at its most significant place at once, not summary by summary from its end.
// - One value moves the known range at most by its width: a single outlier does not blind the test.
// - Runs of like values count as fewer values (autocorrelation.h).
// A view over caller memory; state is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/learn/drift/drift_level.h"

namespace dipper::learn {

struct AdwinConfig {
  double delta = 0.0002;         ///< confidence of a cut, > 0 .. 0.5
  double warning_delta = 0.002;  ///< the same for the warning, delta .. 0.5
  uint32_t buckets = 5;          ///< summaries per row, 2 .. 8: more place cuts more finely
  uint32_t rows = 12;            ///< 2 .. 24; the window holds up to clock * buckets * (2^rows - 1) values
  uint32_t clock = 16;           ///< values between two tests and in the smallest summary, 4 .. 64
  bool falls = false;            ///< a fall of the mean alarms too; if not, it only cuts the window
  bool autocorrelation = true;   ///< widen the bound when values come in runs
};

class Adwin {
 public:
  static base::Result<uint64_t> StateBytes(const AdwinConfig& config);
  static base::Status Create(const AdwinConfig& config, base::MutableBytes memory);
  static base::Status Validate(const AdwinConfig& config, base::ByteView memory);
  Adwin(const AdwinConfig& config, base::MutableBytes memory);

  /// Takes one loss, score or input (finite; beyond 1e60 it is cut). kAlarm: the window was cut and its mean
  /// rose (or fell, with `falls`); kWarning: a cut would pass at warning_delta, on every value until the next
  /// test. Cost: O(1), and every `clock` values one pass over the summaries, O(buckets * rows); a cut repeats
  /// it until nothing is left to cut.
  DriftLevel Update(double value);

  double statistic() const;   ///< most significant cut at the last test, relative to the alarm's bound
  uint64_t warnings() const;  ///< times the warning zone was entered
  uint64_t alarms() const;    ///< alarms so far
  uint64_t width() const;     ///< values in the window
  double mean() const;        ///< of the window; the canonical NaN while it is empty

 private:
  struct State;
  struct Row;
  struct Window;
  struct Cut;
  State& state() const;
  Row& row(uint32_t index) const;

  void Append(double mean, double squares, double low, double high);
  Window Read() const;
  Cut BestCut(const Window& window) const;
  void DropOldest(uint64_t count);
  double Near(double value) const;
  DriftLevel EndTick();
  DriftLevel Test();

  AdwinConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
