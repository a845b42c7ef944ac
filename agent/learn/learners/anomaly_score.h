// Anomaly score from forecast residuals, calibrated so that a score s is exceeded by about 1 - s of normal
// samples, and events with hysteresis. Residuals are divided by a robust decayed scale, held as a decaying
// maximum so that a whole event scores, and ranked in a decayed histogram with a generalized Pareto tail
// (peaks over threshold: Pickands, Annals of Statistics 3, 1975). A view over caller memory; state is a pure
// function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"

namespace dipper::learn {

struct AnomalyScoreConfig {
  uint32_t channels = 1;            ///< residuals per sample, 1 .. 8; the worst one counts
  double raise = 0.9999;            ///< score at which an event is raised, in (0, 1)
  double clear = 0.99;              ///< score below which it is cleared, in (0, raise]
  uint32_t min_raise_samples = 2;   ///< samples in a row at or above `raise`, >= 1
  uint32_t min_clear_samples = 10;  ///< samples in a row below `clear`, >= 1
  double decay = 0.999;             ///< memory of the residual scale, in [0.5, 1)
  double hold = 0.97;               ///< factor per sample of the held maximum, 0 = none, < 1
};

class AnomalyScore {
 public:
  struct Result {
    double score = 0;      ///< 0 .. 1, calibrated; 0 while there is too little history to say
    bool active = false;   ///< an event is on
    bool raised = false;   ///< it began with this sample
    bool cleared = false;  ///< it ended with this sample
  };

  static base::Result<uint64_t> StateBytes(const AnomalyScoreConfig& config);
  static base::Status Create(const AnomalyScoreConfig& config, base::MutableBytes memory);
  static base::Status Validate(const AnomalyScoreConfig& config, base::ByteView memory);
  AnomalyScore(const AnomalyScoreConfig& config, base::MutableBytes memory);

  /// Scores one sample by its residuals (truth - forecast; `channels` values, NaN = none this time), then
  /// learns from them, less while they look abnormal. Cost: O(channels + bins), no heap.
  Result Update(std::span<const double> residuals);
  Result Update(double residual) { return Update(std::span<const double>(&residual, 1)); }

  /// Score as of the last Update, learning nothing.
  double score() const;
  bool active() const;
  double peak() const;       ///< largest score of the event that is on; 0 while none is
  uint32_t samples() const;  ///< scored since it was raised
  uint64_t events() const;   ///< events raised so far

 private:
  struct State;
  State& state() const;
  double Rank(double at) const;  // calibrated score of a place on the histogram's axis
  double RaisePlace() const;     // where the calibrated score reaches config_.raise
  void Remember(double at);
  Result Step();  // the event machine, on the present score

  AnomalyScoreConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
