// See page_hinkley.h.
#include "agent/learn/drift/page_hinkley.h"

#include <cmath>
#include <cstring>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

// One value counts at most this many deviations: a single outlier is no change of the mean.
constexpr double kLargestStep = 4.0;
constexpr double kLargestValue = 1e140;
constexpr double kLargestSquares = 1e300;  // stored: of 10^19 of them

}  // namespace

struct PageHinkley::State {
  uint64_t count;  // values since the start or the last alarm
  double mean;
  double squares;    // squared deviations from the mean
  double statistic;  // cumulated excess above its minimum
  uint64_t warnings;
  uint64_t alarms;
  uint64_t in_warning;  // 0 or 1
  uint64_t reserved;    // 0
};

base::Result<uint64_t> PageHinkley::StateBytes(const PageHinkleyConfig& config) {
  static_assert(sizeof(State) == 64);
  const bool valid = config.delta >= 0.0 && config.delta <= 10.0 && config.threshold > 0.0 &&
                     config.threshold <= 1e6 && config.min_samples >= 2;
  if (!valid) return base::Status::kInvalidArgument;
  return uint64_t{sizeof(State)};
}

base::Status PageHinkley::Create(const PageHinkleyConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status PageHinkley::Validate(const PageHinkleyConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  if (!(std::fabs(s.mean) <= kLargestValue && s.squares >= 0.0 && s.squares <= kLargestSquares))
    return base::Status::kDataLoss;
  if (!(s.statistic >= 0.0 && s.statistic <= config.threshold)) return base::Status::kDataLoss;
  if (!ValidCounts(s.count, s.warnings, s.alarms)) return base::Status::kDataLoss;
  return s.in_warning <= 1 && s.reserved == 0 ? base::Status::kOk : base::Status::kDataLoss;
}

PageHinkley::PageHinkley(const PageHinkleyConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

PageHinkley::State& PageHinkley::state() const { return *PlaceOf<State>(memory_); }

DriftLevel PageHinkley::Update(double value) {
  State& s = state();
  const double x = value > kLargestValue ? kLargestValue : (value < -kLargestValue ? -kLargestValue : value);
  const double n = static_cast<double>(s.count);
  const double deviation = x - s.mean;
  // The value is judged by the past alone; before min_samples there is too little of it.
  if (s.count >= config_.min_samples) {
    const double scale = std::sqrt(s.squares / n);
    double step = 0;
    if (scale > 0.0) {
      step = deviation / scale;
      step = step > kLargestStep ? kLargestStep : (step < -kLargestStep ? -kLargestStep : step);
    } else if (deviation != 0.0) {
      step = deviation > 0.0 ? kLargestStep : -kLargestStep;
    }
    const double statistic = s.statistic + (step - config_.delta);
    s.statistic = statistic > 0.0 ? statistic : 0.0;
  }
  s.count += 1;
  s.mean += deviation / (n + 1.0);
  const double squares = s.squares + deviation * (x - s.mean);
  s.squares = squares > 0.0 ? squares : 0.0;  // rounding of the mean can make a zero term negative
  if (s.statistic > config_.threshold) {
    const uint64_t warnings = s.warnings + (s.in_warning == 0 ? 1 : 0);
    const uint64_t alarms = s.alarms + 1;
    s = State{};
    s.warnings = warnings;
    s.alarms = alarms;
    return DriftLevel::kAlarm;
  }
  const bool warning = s.statistic > 0.5 * config_.threshold;
  if (warning && s.in_warning == 0) s.warnings += 1;
  s.in_warning = warning ? 1 : 0;
  return warning ? DriftLevel::kWarning : DriftLevel::kStable;
}

double PageHinkley::statistic() const { return state().statistic; }
uint64_t PageHinkley::warnings() const { return state().warnings; }
uint64_t PageHinkley::alarms() const { return state().alarms; }

}  // namespace dipper::learn
