// Pairs of losses of two models whose true difference is known at every step: what gate_bench feeds to the
// gate. Not thread-safe; one generator a run.
#pragma once

#include <cstdint>
#include <vector>

#include "agent/learn/math/random.h"

namespace dipper::bench {

enum class LossKind : uint8_t {
  kAbsolute,  ///< |error| of two forecasts, clipped to kLossBound.
  kErrors,    ///< 0 or 1: two classifiers.
};

enum class Course : uint8_t {
  kIndependent,  ///< Noise new with every sample, however late the labels; nothing changes.
  kCorrelated,   ///< Hard and easy times that last for some hundred samples; late errors overlap.
  kLearning,     ///< The same, and both models learn: the challenger begins untrained.
  kTurning,      ///< The same as kCorrelated; the challenger is better first and has its difference later.
};

struct PairsConfig {
  LossKind kind = LossKind::kAbsolute;
  Course course = Course::kIndependent;
  double difference = 0;  ///< Of the challenger's mean loss in the end, as a ratio of the rival's.
  uint32_t horizon = 1;   ///< Samples between prediction and label: errors share their noise for so long.
};

/// Clip of the absolute losses, in the rival's mean loss (about): what "0: found in the warm-up" gives.
inline constexpr double kLossBound = 4.0;

struct LossPair {
  double challenger = 0, rival = 0;
  /// Means of both, given everything known when the predictions were made: what the gate judges. Exact.
  double challenger_mean = 0, rival_mean = 0;
};

class LossPairs {
 public:
  LossPairs(const PairsConfig& config, uint64_t seed);
  LossPair Next();

 private:
  /// A normal number made of the last `horizon` shocks: what is not known at prediction time.
  struct Shocks {
    std::vector<double> ring;
    double sum = 0;
    uint32_t place = 0;
  };
  double NextShock(Shocks* shocks);
  double NormalDraw();
  double Hardness();

  PairsConfig config_;
  learn::RandomState random_;
  Shocks common_, challenger_, rival_;
  double spare_ = 0;
  bool has_spare_ = false;
  double mood_ = 0;
  uint64_t step_ = 0;
};

}  // namespace dipper::bench
