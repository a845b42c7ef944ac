// Implementation of loss_pairs.h.
#include "tests/bench/gate/loss_pairs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dipper::bench {
namespace {

// Two models that see the same inputs err together: correlation of their errors.
constexpr double kTogether = 0.8;
// Hard and easy times: an autoregression whose memory is 1 / (1 - kStay) = 200 samples.
constexpr double kStay = 0.995;
constexpr double kMoodSpread = 0.5;    // of the logarithm of the loss
constexpr double kErrorRate = 0.15;    // of the rival, in neither hard nor easy times
constexpr double kUntrained = 1.0;     // the challenger's loss begins at twice its own
constexpr double kHeadStart = -0.2;    // and in kTurning 20 % better than the rival
constexpr double kLearnSamples = 400;  // e-folding of either

double NormalCdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

/// Mean of min(|X|, bound) for a normal X with this deviation.
double MeanClippedAbsolute(double deviation, double bound) {
  const double z = bound / deviation;
  return deviation * std::sqrt(2.0 / M_PI) * (1 - std::exp(-z * z / 2)) +
         bound * std::erfc(z / std::sqrt(2.0));
}

}  // namespace

LossPairs::LossPairs(const PairsConfig& config, uint64_t seed)
    : config_(config), random_(learn::SeedRandom(seed, 7)) {
  for (Shocks* shocks : {&common_, &challenger_, &rival_}) {
    shocks->ring.assign(config.horizon, 0.0);
    for (uint32_t i = 0; i < config.horizon; ++i) (void)NextShock(shocks);
  }
  mood_ = NormalDraw();
}

double LossPairs::NormalDraw() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - learn::NextUniform(random_)));
  const double angle = 2 * M_PI * learn::NextUniform(random_);
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

double LossPairs::NextShock(Shocks* shocks) {
  double& place = shocks->ring[shocks->place];
  const double fresh = NormalDraw();
  shocks->sum += fresh - place;
  place = fresh;
  shocks->place = (shocks->place + 1) % config_.horizon;
  // Summed anew once a turn of the ring, so that rounding does not gather.
  if (shocks->place == 0) shocks->sum = std::accumulate(shocks->ring.begin(), shocks->ring.end(), 0.0);
  return shocks->sum / std::sqrt(static_cast<double>(config_.horizon));
}

/// Known when the predictions are made, so that it belongs to the conditional mean.
double LossPairs::Hardness() {
  if (config_.course == Course::kIndependent) return 1;
  mood_ = kStay * mood_ + std::sqrt(1 - kStay * kStay) * NormalDraw();
  return std::exp(kMoodSpread * mood_ - kMoodSpread * kMoodSpread / 2);
}

LossPair LossPairs::Next() {
  const double hardness = Hardness();
  const double early = std::exp(-static_cast<double>(step_++) / kLearnSamples);
  double difference = config_.difference;
  if (config_.course == Course::kTurning) difference += (kHeadStart - difference) * early;
  double challenger_scale = 1 + difference, rival_scale = 1;
  if (config_.course == Course::kLearning) {
    challenger_scale *= 1 + kUntrained * early;
    rival_scale *= 1 + 0.2 * early;  // the champion goes on learning too
  }
  const double common = NextShock(&common_), own = std::sqrt(1 - kTogether);
  const double challenger = std::sqrt(kTogether) * common + own * NextShock(&challenger_);
  const double rival = std::sqrt(kTogether) * common + own * NextShock(&rival_);
  LossPair pair;
  if (config_.kind == LossKind::kAbsolute) {
    // Deviation for a mean loss of about 1, the unit of kLossBound.
    const double unit = std::sqrt(M_PI / 2) * hardness;
    pair.challenger = std::min(std::fabs(challenger) * unit * challenger_scale, kLossBound);
    pair.rival = std::min(std::fabs(rival) * unit * rival_scale, kLossBound);
    pair.challenger_mean = MeanClippedAbsolute(unit * challenger_scale, kLossBound);
    pair.rival_mean = MeanClippedAbsolute(unit * rival_scale, kLossBound);
    return pair;
  }
  pair.challenger_mean = std::clamp(kErrorRate * hardness * challenger_scale, 1e-6, 0.9);
  pair.rival_mean = std::clamp(kErrorRate * hardness * rival_scale, 1e-6, 0.9);
  pair.challenger = NormalCdf(challenger) < pair.challenger_mean ? 1 : 0;
  pair.rival = NormalCdf(rival) < pair.rival_mean ? 1 : 0;
  return pair;
}

}  // namespace dipper::bench
