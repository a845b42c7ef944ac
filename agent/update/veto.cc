// Implementation of veto.h: bets with fixed stakes on variables that are -1, 0 or 1, so that three counts are
// the whole evidence.
#include "agent/update/veto.h"

#include <algorithm>
#include <cmath>

#include "agent/base/assert.h"
#include "agent/learn/math/functions.h"

namespace dipper::update {
namespace {

// Every decile is asked both ways.
constexpr double kShiftTests = 2.0 * kVetoPlaces;

bool IsShare(double value) { return std::isfinite(value) && value >= 0 && value < 1; }

double Share(uint64_t part, uint64_t whole) { return static_cast<double>(part) / static_cast<double>(whole); }

}  // namespace

Veto::Veto(const VetoConfig& config)
    : config_(config),
      alarm_odds_(OddsOf(config.max_alarm_excess)),
      shift_odds_(OddsOf(config.max_score_shift)) {
  DIPPER_CHECK(IsGood(config));
}

bool Veto::IsGood(const VetoConfig& config) {
  return IsShare(config.max_alarm_excess) && IsShare(config.max_score_shift) && config.alpha >= 1e-9 &&
         config.alpha <= 0.5;
}

/// Bets that the mean lies above `limit`: x is at least -1, so a stake below 1 of 1 + limit cannot go
/// bankrupt.
Veto::Odds Veto::OddsOf(double limit) {
  Odds odds;
  for (size_t k = 0; k < kStakes.size(); ++k) {
    const double rate = kStakes[k] / (1 + limit);
    odds.win[k] = learn::Log1p(rate * (1 - limit));
    odds.stand[k] = learn::Log1p(-rate * limit);
    odds.lose[k] = learn::Log1p(-kStakes[k]);
  }
  return odds;
}

bool Veto::Shown(const Odds& odds, uint64_t more, uint64_t fewer, uint64_t counted, double alpha) {
  if (more <= fewer) return false;
  const auto wins = static_cast<double>(more), losses = static_cast<double>(fewer);
  const double stands = static_cast<double>(counted) - wins - losses;
  return MeanWealthReaches(alpha, 1, [&](uint32_t) {
    LogWealths wealths{};
    for (size_t k = 0; k < kStakes.size(); ++k)
      wealths[k] = wins * odds.win[k] + stands * odds.stand[k] + losses * odds.lose[k];
    return wealths;
  });
}

uint64_t Veto::WarmUpSamples() const { return std::max<uint64_t>(kVetoWarmup, config_.warmup_samples); }

/// The deciles are fixed before the first counted sample, so that what is counted is a fair bet.
void Veto::WarmUp(double champion_score) {
  if (state_.warm < kVetoWarmup) state_.first[state_.warm] = champion_score;
  if (++state_.warm != kVetoWarmup) return;
  std::array<double, kVetoWarmup> sorted = state_.first;
  std::sort(sorted.begin(), sorted.end());
  for (uint32_t i = 0; i < kVetoPlaces; ++i)
    state_.places[i] = sorted[(i + 1) * kVetoWarmup / (kVetoPlaces + 1)];
}

void Veto::Add(const Sight& champion, const Sight& challenger) {
  ++state_.samples;
  if (!asked() || !champion.valid || !challenger.valid) return;
  if (!std::isfinite(champion.score) || !std::isfinite(challenger.score)) return;
  if (state_.warm < WarmUpSamples()) {
    WarmUp(champion.score);
    return;
  }
  ++state_.counted;
  if (champion.alarm && challenger.alarm) ++state_.both_alarm;
  if (challenger.alarm && !champion.alarm) ++state_.only_challenger;
  if (champion.alarm && !challenger.alarm) ++state_.only_champion;
  for (uint32_t i = 0; i < kVetoPlaces; ++i) {
    const bool is = challenger.score > state_.places[i], was = champion.score > state_.places[i];
    if (is && !was) ++state_.above[i];
    if (was && !is) ++state_.below[i];
  }
}

VetoVerdict Veto::Verdict() const {
  if (state_.counted == 0) return VetoVerdict::kNone;
  // Each question has half of the level, each decile and side its part of that.
  if (config_.max_alarm_excess > 0 &&
      Shown(alarm_odds_, state_.only_challenger, state_.only_champion, state_.counted, config_.alpha / 2)) {
    return VetoVerdict::kAlarmRate;
  }
  if (config_.max_score_shift <= 0) return VetoVerdict::kNone;
  const double alpha = config_.alpha / 2 / kShiftTests;
  for (uint32_t i = 0; i < kVetoPlaces; ++i) {
    if (Shown(shift_odds_, state_.above[i], state_.below[i], state_.counted, alpha) ||
        Shown(shift_odds_, state_.below[i], state_.above[i], state_.counted, alpha)) {
      return VetoVerdict::kScoreShift;
    }
  }
  return VetoVerdict::kNone;
}

double Veto::AlarmExcess() const {
  return Share(state_.only_challenger, state_.counted) - Share(state_.only_champion, state_.counted);
}

double Veto::ScoreShift() const {
  double largest = 0;
  for (uint32_t i = 0; i < kVetoPlaces; ++i) {
    const double shift = Share(state_.above[i], state_.counted) - Share(state_.below[i], state_.counted);
    if (std::abs(shift) > std::abs(largest)) largest = shift;
  }
  return largest;
}

bool Veto::Permits() const {
  if (!asked()) return true;
  if (state_.counted < kVetoLeast) return state_.samples < WarmUpSamples() + kVetoPatience;
  if (config_.max_alarm_excess > 0 && AlarmExcess() > config_.max_alarm_excess) return false;
  return config_.max_score_shift <= 0 || std::abs(ScoreShift()) <= config_.max_score_shift;
}

VetoReport Veto::Report() const {
  VetoReport report{.samples = state_.samples, .counted = state_.counted};
  if (state_.counted == 0) return report;
  report.champion_alarm_rate = Share(state_.both_alarm + state_.only_champion, state_.counted);
  report.challenger_alarm_rate = Share(state_.both_alarm + state_.only_challenger, state_.counted);
  report.score_shift = ScoreShift();
  return report;
}

bool Veto::Restore(const VetoState& state) {
  // Counts of things that cannot be at the same time.
  const auto fits = [](uint64_t a, uint64_t b, uint64_t whole) { return a <= whole && b <= whole - a; };
  bool good = fits(state.warm, state.counted, state.samples) &&
              fits(state.only_challenger, state.only_champion, state.counted) &&
              state.both_alarm <= state.counted - state.only_challenger - state.only_champion;
  if (state.counted > 0 && state.warm < kVetoWarmup) good = false;
  for (uint32_t i = 0; i < kVetoPlaces; ++i) {
    good = good && std::isfinite(state.places[i]) && fits(state.above[i], state.below[i], state.counted);
  }
  for (const double score : state.first) good = good && std::isfinite(score);
  if (good) state_ = state;
  return good;
}

}  // namespace dipper::update
