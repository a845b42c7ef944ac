// Veto: what forbids a challenger without a single label. Two questions about the same samples that champion
// and challenger have both answered: is its alarm on more often, and have its answers another distribution?
// Both are sequential tests that may be looked at after every sample; docs/reference/update.md has the
// formulas. A veto never confirms. Not thread-safe. No heap; the state is a plain struct.
// Source: Ville's inequality for bets on the mean of a bounded variable (Waudby-Smith and Ramdas 2024,
// section 4); Kolmogorov's distance at fixed places.
#pragma once

#include <array>
#include <cstdint>

#include "agent/update/betting.h"

namespace dipper::update {

inline constexpr uint32_t kVetoPlaces = 9;   ///< Deciles of the champion's answers.
inline constexpr uint32_t kVetoWarmup = 64;  ///< Least compared samples before any counts; the deciles' data.
inline constexpr uint32_t kVetoLeast =
    32;  ///< Counted samples before what was seen is looked at for a confirm.
/// So many samples beyond the warm-up without that many compared: the challenger does not answer what it is
/// asked for (an anomaly score that never comes).
inline constexpr uint32_t kVetoPatience = 1024;

struct VetoConfig {
  /// By so much of the samples may the challenger's alarm be on more often than the champion's; 0: not asked.
  double max_alarm_excess = 0;
  /// By so much may the shares of answers above one of the champion's deciles differ; 0: not asked.
  double max_score_shift = 0;
  double alpha = 0.05;  ///< Chance of a veto without reason, both questions together.
  uint64_t warmup_samples = 0;
  bool operator==(const VetoConfig&) const = default;
};

/// One model's answer to one sample, as far as it is compared.
struct Sight {
  bool valid = false;
  double score = 0;    ///< Calibrated anomaly score, forecast or class place: the same of both models.
  bool alarm = false;  ///< Its alarm is on.
};

enum class VetoVerdict : uint8_t { kNone = 0, kAlarmRate, kScoreShift };

struct VetoReport {
  uint64_t samples = 0;                                       ///< Seen by the challenger in this trial.
  uint64_t counted = 0;                                       ///< Of them compared, after the warm-up.
  double champion_alarm_rate = 0, challenger_alarm_rate = 0;  ///< Of the counted.
  /// Challenger's minus champion's share above the decile where they differ most, -1 to 1.
  double score_shift = 0;
};

/// Saved as it is (little-endian, no padding): docs/reference/update.md.
struct VetoState {
  uint64_t samples = 0;
  uint64_t warm = 0;  ///< Compared samples of the warm-up.
  uint64_t counted = 0;
  uint64_t both_alarm = 0, only_challenger = 0, only_champion = 0;
  std::array<double, kVetoPlaces> places{};
  std::array<uint64_t, kVetoPlaces> above{}, below{};  ///< Only the challenger, only the champion lies above.
  std::array<double, kVetoWarmup> first{};             ///< The champion's first scores.
};
static_assert(sizeof(VetoState) == 48 + 24 * kVetoPlaces + 8 * kVetoWarmup, "stored as it is");

class Veto {
 public:
  Veto() = default;
  explicit Veto(const VetoConfig& config);

  static bool IsGood(const VetoConfig& config);

  /// A sample that the challenger has seen. Cost: O(1), once O(kVetoWarmup log kVetoWarmup).
  void Add(const Sight& champion, const Sight& challenger);
  /// Shown at the level alpha, at any time whatever. Cost: at most 19 x 8 x 3 products.
  VetoVerdict Verdict() const;
  /// What was seen lies within the limits, or too little has been seen yet to say; true where nothing is
  /// asked.
  bool Permits() const;
  VetoReport Report() const;

  const VetoState& state() const { return state_; }
  /// False: out of range; unchanged then.
  bool Restore(const VetoState& state);

 private:
  /// Logarithms of what a stake makes of a bet that wins, stands or loses.
  struct Odds {
    LogWealths win{}, stand{}, lose{};
  };
  static Odds OddsOf(double limit);
  static bool Shown(const Odds& odds, uint64_t more, uint64_t fewer, uint64_t counted, double alpha);
  bool asked() const { return config_.max_alarm_excess > 0 || config_.max_score_shift > 0; }
  uint64_t WarmUpSamples() const;
  void WarmUp(double champion_score);
  double AlarmExcess() const;
  double ScoreShift() const;

  VetoConfig config_;
  Odds alarm_odds_, shift_odds_;
  VetoState state_;
};

}  // namespace dipper::update
