// CUSUM of standardized values (Page, "Continuous inspection schemes", Biometrika 41, 1954; two-sided form
// and run lengths: Siegmund, "Sequential analysis", 1985, chapter II). Values are normalised by their own
// running mean and deviation since the last alarm, as for Page-Hinkley. The cumulated excess is weighed by
// the exponent theta at which exp(theta * excess) is a martingale while nothing changes, so that `threshold`
// is the logarithm of a run length, whatever the values look like: theta = 2 delta for normal values, less
// for skewed ones (Bernstein's form with the measured skewness: rare errors) and for values that come in
// runs (autocorrelation.h). A view over caller memory; state is a pure function of the calls. Not
// thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/learn/drift/drift_level.h"

namespace dipper::learn {

struct CusumConfig {
  double delta = 0.1;         ///< change that is tolerated, in standard deviations, > 0 .. 10
  double threshold = 11;      ///< excess that alarms, about ln of the values between false alarms, > 0 .. 1e6
  uint32_t min_samples = 30;  ///< values after a start or alarm before anything is reported, >= 2
  bool falls = false;         ///< a fall of the mean alarms too; if not, it only renews the reference
  bool autocorrelation = true;  ///< weigh the excess less when values come in runs
};

class Cusum {
 public:
  static base::Result<uint64_t> StateBytes(const CusumConfig& config);
  static base::Status Create(const CusumConfig& config, base::MutableBytes memory);
  static base::Status Validate(const CusumConfig& config, base::ByteView memory);
  Cusum(const CusumConfig& config, base::MutableBytes memory);

  /// Takes one loss, score or input (finite). kWarning: above half the threshold, on every value while it
  /// lasts; kAlarm: above the threshold, once: mean and deviation are learned anew from the next value on.
  /// Cost: two divisions and two square roots.
  DriftLevel Update(double value);

  double statistic() const;   ///< weighed excess, the larger side that can alarm, 0 .. threshold
  uint64_t warnings() const;  ///< times the warning zone was entered
  uint64_t alarms() const;    ///< alarms so far

 private:
  struct State;
  State& state() const;
  double Exponent(double skewness) const;
  double Step(double* value) const;
  void Restart();

  CusumConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
