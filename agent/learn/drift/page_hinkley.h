// Page-Hinkley test for a rise of a stream's mean (Page, "Continuous inspection schemes", Biometrika 41,
// 1954; Hinkley, "Inference about the change-point from cumulative sum tests", Biometrika 58, 1971). Values
// are normalised by their own running mean and deviation since the last alarm, so that delta and threshold
// are in standard deviations and one default serves losses of any scale. A view over caller memory; state is
// a pure function of the calls. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/learn/drift/drift_level.h"

namespace dipper::learn {

struct PageHinkleyConfig {
  double delta = 0.1;         ///< rise that is tolerated, in standard deviations, 0 .. 10
  double threshold = 50;      ///< accumulated excess that alarms, in standard deviations, > 0 .. 1e6
  uint32_t min_samples = 30;  ///< values after a start or alarm before anything is reported, >= 2
};

class PageHinkley {
 public:
  static base::Result<uint64_t> StateBytes(const PageHinkleyConfig& config);
  static base::Status Create(const PageHinkleyConfig& config, base::MutableBytes memory);
  static base::Status Validate(const PageHinkleyConfig& config, base::ByteView memory);
  PageHinkley(const PageHinkleyConfig& config, base::MutableBytes memory);

  /// Takes one loss or score (finite). kWarning: above half the threshold, on every value while it lasts;
  /// kAlarm: above the threshold, once: the test starts anew with the next value. Cost: two divisions and a
  /// square root.
  DriftLevel Update(double value);

  double statistic() const;   ///< accumulated excess over its minimum, 0 .. threshold
  uint64_t warnings() const;  ///< times the warning zone was entered
  uint64_t alarms() const;    ///< alarms so far

 private:
  struct State;
  State& state() const;

  PageHinkleyConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
