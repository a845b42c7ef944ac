// HDDM-A: compares the mean of all values since the start or the last alarm with the mean up to the point
// where it was lowest, by Hoeffding's inequality (Frias-Blanco et al., "Online and non-parametric drift
// detection methods based on Hoeffding's bounds", IEEE TKDE 27, 2015, the A-test). The
// paper's values lie in [0, 1]; here they are any, and the bound is multiplied by the width of the values:
// the range seen, or less if four deviations and both reaches from the mean are less. For 0-1 losses that is
// the paper's test, for losses with long tails ADWIN is the better choice. A view over caller memory; state
// is a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/learn/drift/drift_level.h"

namespace dipper::learn {

struct HddmAConfig {
  double alarm_confidence = 0.001;    ///< > 0 .. 0.5
  double warning_confidence = 0.005;  ///< alarm_confidence .. 0.5
  bool falls = false;                 ///< a fall of the mean alarms too; if not, it only starts the test anew
  bool autocorrelation = true;        ///< widen the bound when values come in runs
};

class HddmA {
 public:
  static base::Result<uint64_t> StateBytes(const HddmAConfig& config);
  static base::Status Create(const HddmAConfig& config, base::MutableBytes memory);
  static base::Status Validate(const HddmAConfig& config, base::ByteView memory);
  HddmA(const HddmAConfig& config, base::MutableBytes memory);

  /// Takes one loss, score or input (finite; beyond 1e60 it is cut). kWarning: the difference is significant
  /// at warning_confidence, on every value while it lasts; kAlarm: at alarm_confidence, once: the test starts
  /// anew with the next value. Cost: O(1), a few divisions and square roots.
  DriftLevel Update(double value);

  double statistic() const;   ///< square of the difference over its bound; 1 alarms
  uint64_t warnings() const;  ///< times the warning zone was entered
  uint64_t alarms() const;    ///< alarms so far

 private:
  struct State;
  State& state() const;
  void Learn(double x);
  void MovePoints(double bound);
  void Restart();

  HddmAConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
