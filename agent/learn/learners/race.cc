// See race.h.
#include "agent/learn/learners/race.h"

#include <array>
#include <cmath>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {

using base::Status;

struct Race::State {
  uint64_t labels;
  double least, greatest;  // regression: targets seen
  double scale;            // regression: faded mean squared error of the members' weighted mean
  double weights[kMaxRaceMembers];
  double losses[kMaxRaceMembers];
};

namespace {

constexpr double kLossBound = 4.0;  // nats, or squared errors of the usual size: what a loss is clipped at
constexpr double kRate = 1.0;       // log loss and its Bayesian mixture: the rate at which the bound holds
constexpr double kRegressionRate =
    0.5;  // squared errors in units of twice their variance: a Gaussian's log loss
constexpr double kFading = 0.999;
constexpr double kScaleMemory = 0.01;
constexpr double kLargest = 1e31;

double Clip(double x, double bound) { return x < bound ? x : bound; }

}  // namespace

Race::State& Race::state() const { return *PlaceOf<State>(memory_); }

base::Result<uint64_t> Race::StateBytes(const RaceConfig& config) {
  const bool outputs =
      config.classification ? config.outputs >= 2 && config.outputs <= 64 : config.outputs == 1;
  const bool good = config.members >= 1 && config.members <= kMaxRaceMembers && outputs &&
                    config.share >= 0.0 && config.share <= 0.5;
  if (!good) return Status::kInvalidArgument;
  return uint64_t{base::AlignUp(sizeof(State), 16)};
}

Status Race::Create(const RaceConfig& config, base::MutableBytes memory) {
  DIPPER_RETURN_IF_ERROR(StateBytes(config).status());
  State& s = *PlaceOf<State>(memory.data());
  for (uint32_t i = 0; i < config.members; ++i) s.weights[i] = 1.0 / static_cast<double>(config.members);
  return Status::kOk;
}

Status Race::Validate(const RaceConfig& config, base::ByteView memory) {
  const auto s = base::Load<State>(memory.data());
  double sum = 0.0;
  bool good = ValidCounts(s.labels) && std::fabs(s.least) <= kLargest && std::fabs(s.greatest) <= kLargest &&
              s.least <= s.greatest && s.scale >= 0.0 && s.scale <= kLargest * kLargest;
  for (uint32_t i = 0; i < kMaxRaceMembers; ++i) {
    const bool used = i < config.members;
    good = good && s.weights[i] >= 0.0 && s.weights[i] <= 1.0 && s.losses[i] >= 0.0 && s.losses[i] <= 1.0 &&
           (used || (s.weights[i] == 0.0 && s.losses[i] == 0.0));
    sum += s.weights[i];
  }
  return good && std::fabs(sum - 1.0) < 1e-6 ? Status::kOk : Status::kDataLoss;
}

double Race::Tame(double value) const {
  const State& s = state();
  const double range = s.greatest - s.least;
  const double low = s.least - range;
  const double high = s.greatest + range;
  return value < low ? low : (value > high ? high : value);
}

void Race::Blend(std::span<const double> answers, std::span<double> out) const {
  const State& s = state();
  for (double& value : out) value = 0.0;
  for (uint32_t i = 0; i < config_.members; ++i) {
    const double* answer = answers.data() + size_t{i} * config_.outputs;
    if (!config_.classification) {
      out[0] += s.weights[i] * Tame(answer[0]);
      continue;
    }
    for (uint32_t k = 0; k < config_.outputs; ++k) out[k] += s.weights[i] * answer[k];
  }
}

void Race::Learn(std::span<const double> answers, double y, double weight, uint64_t late) {
  if (!(weight > 0.0)) return;
  State& s = state();
  std::array<double, kMaxRaceMembers> loss{};
  const uint32_t members = config_.members;
  if (config_.classification) {
    const auto actual = static_cast<uint32_t>(y);
    for (uint32_t i = 0; i < members; ++i) {
      const double p = answers[size_t{i} * config_.outputs + actual];
      loss[i] = p > 0.0 ? Clip(-Log(p), kLossBound) : kLossBound;
    }
  } else {
    double blend = 0.0;
    for (uint32_t i = 0; i < members; ++i) blend += s.weights[i] * Tame(answers[i]);
    const double own = 1.0 / static_cast<double>(s.labels + 1);
    const double gain = own > kScaleMemory ? own : kScaleMemory;
    s.scale += gain * ((y - blend) * (y - blend) - s.scale);
    for (uint32_t i = 0; i < members; ++i) {
      const double error = y - Tame(answers[i]);
      loss[i] = s.scale > 0.0 ? Clip(error * error / s.scale, kLossBound) : 0.0;
    }
    if (s.labels == 0 || y < s.least) s.least = y;
    if (s.labels == 0 || y > s.greatest) s.greatest = y;
  }
  const double turns = 1.0 + static_cast<double>(late);
  const double rate =
      (config_.classification ? kRate : kRegressionRate) * (weight < 1.0 ? weight : 1.0) / turns;
  double least = loss[0];
  for (uint32_t i = 1; i < members; ++i) least = loss[i] < least ? loss[i] : least;
  double sum = 0.0;
  for (uint32_t i = 0; i < members; ++i) {
    s.weights[i] *= Exp(-rate * (loss[i] - least));
    sum += s.weights[i];
    s.losses[i] = kFading * s.losses[i] + (1.0 - kFading) * loss[i] / kLossBound;
    if (s.losses[i] > 1.0) s.losses[i] = 1.0;
  }
  const double share = config_.share / turns;
  const double floor = share / static_cast<double>(members);
  for (uint32_t i = 0; i < members; ++i) s.weights[i] = (1.0 - share) * (s.weights[i] / sum) + floor;
  s.labels += 1;
}

double Race::weight(uint32_t member) const { return state().weights[member]; }
double Race::loss(uint32_t member) const { return state().losses[member]; }

}  // namespace dipper::learn
