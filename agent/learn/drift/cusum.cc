// See cusum.h.
#include "agent/learn/drift/cusum.h"

#include <cmath>

#include "agent/learn/drift/autocorrelation.h"
#include "agent/learn/math/counts.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

// Cubes of values up to this, summed 10^20 times, stay finite.
constexpr double kLargestValue = 1e90;
constexpr double kLargestCubes = 1e300;  // stored: of 10^19 of them, and so squares
// A value counts at most this many deviations, and twice the skewness more: an error that is rare but usual
// is as many deviations away as the losses are skewed, and it is no outlier.
constexpr double kLargestStep = 4.0;
// Values farther than this times the above are cut before they enter the mean and the deviation.
constexpr double kMomentsReach = 2.0;
constexpr double kMostSkewness = 1e4;  // one error in 10^8

}  // namespace

struct Cusum::State {
  uint64_t count;  // values since the start or the last alarm
  double mean;
  double squares;  // squared deviations from the mean
  double cubes;    // and cubed ones
  double rise;     // cumulated excess above its minimum, in standard deviations
  double fall;
  uint64_t warnings;
  uint64_t alarms;
  uint64_t in_warning;  // 0 or 1
  Autocorrelation autocorrelation;

  void Learn(double x) {
    const double n = static_cast<double>(count);
    const double deviation = x - mean;
    const double share = deviation / (n + 1.0);
    const double square = deviation * share * n;
    cubes += square * share * (n - 1.0) - 3.0 * share * squares;
    squares += square;
    mean += share;
    count += 1;
  }
  double Scale() const { return std::sqrt(squares / static_cast<double>(count)); }
  double Skewness() const {
    if (count < 2) return 0.0;
    const double scale = Scale();
    const double cube = scale * scale * scale;
    if (!(cube > 0.0)) return 0.0;
    const double skewness = cubes / (static_cast<double>(count) * cube);
    return skewness < -kMostSkewness ? -kMostSkewness : (skewness > kMostSkewness ? kMostSkewness : skewness);
  }
};

base::Result<uint64_t> Cusum::StateBytes(const CusumConfig& config) {
  static_assert(sizeof(State) == 112);
  const bool valid = config.delta > 0.0 && config.delta <= 10.0 && config.threshold > 0.0 &&
                     config.threshold <= 1e6 && config.min_samples >= 2;
  if (!valid) return base::Status::kInvalidArgument;
  return uint64_t{sizeof(State)};
}

base::Status Cusum::Create(const CusumConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status Cusum::Validate(const CusumConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  DIPPER_RETURN_IF_ERROR(s.autocorrelation.Validate());
  const bool finite = std::fabs(s.mean) <= kLargestValue && std::fabs(s.cubes) <= kLargestCubes &&
                      s.squares <= kLargestCubes && IsFinite(s.rise) && IsFinite(s.fall);
  const bool positive = s.squares >= 0.0 && s.rise >= 0.0 && s.fall >= 0.0;
  return ValidCounts(s.count, s.warnings, s.alarms) && finite && positive && s.in_warning <= 1
             ? base::Status::kOk
             : base::Status::kDataLoss;
}

Cusum::Cusum(const CusumConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline Cusum::State& Cusum::state() const { return *PlaceOf<State>(memory_); }

inline double Cusum::Exponent(double skewness) const {
  const double skewed = skewness > 0.0 ? 2.0 * config_.delta * skewness * (1.0 / 3.0) : 0.0;
  const double inflation = config_.autocorrelation ? state().autocorrelation.Inflation() : 1.0;
  return 2.0 * config_.delta / ((1.0 + skewed) * inflation);
}

inline double Cusum::Step(double* value) const {
  const State& s = state();
  const double deviation = *value - s.mean;
  const double scale = s.Scale();
  if (!(scale > 0.0)) return deviation > 0.0 ? kLargestStep : (deviation < 0.0 ? -kLargestStep : 0.0);
  const double step = deviation / scale;
  const double size = std::fabs(step);
  if (!(size > kLargestStep)) return step;
  const double skewness = s.Skewness();
  const double tail = step > 0.0 ? skewness : -skewness;
  const double limit = kLargestStep + 2.0 * (tail > 0.0 ? tail : 0.0);
  const double sign = step > 0.0 ? 1.0 : -1.0;
  if (size > kMomentsReach * limit) *value = s.mean + sign * (kMomentsReach * limit * scale);
  return size > limit ? sign * limit : step;
}

void Cusum::Restart() {
  State& s = state();
  State next{};
  next.warnings = s.warnings;
  next.alarms = s.alarms;
  next.autocorrelation = s.autocorrelation;
  s = next;
}

DriftLevel Cusum::Update(double value) {
  State& s = state();
  double x = value > kLargestValue ? kLargestValue : (value < -kLargestValue ? -kLargestValue : value);
  // The value is judged by the past alone; before min_samples there is too little of it.
  if (s.count >= config_.min_samples) {
    const double step = Step(&x);
    // The mean itself is known to one deviation over the root of n only.
    const double tolerated = config_.delta + std::sqrt(1.0 / static_cast<double>(s.count));
    const double rise = s.rise + (step - tolerated);
    const double fall = s.fall - (step + tolerated);
    s.rise = rise > 0.0 ? rise : 0.0;
    s.fall = fall > 0.0 ? fall : 0.0;
  }
  if (config_.autocorrelation) s.autocorrelation.Update(x);
  s.Learn(x);
  // The exponent is at most 2 delta: what stays below half the threshold with that needs no exact one.
  const double most = s.rise > s.fall ? s.rise : s.fall;
  double excess = 0;
  if (2.0 * config_.delta * most > 0.5 * config_.threshold) {
    const double rise = s.rise * Exponent(s.Skewness());
    const double fall = s.fall * Exponent(-s.Skewness());
    excess = config_.falls && fall > rise ? fall : rise;
    if (excess > config_.threshold) {
      s.alarms += 1;
      s.warnings += s.in_warning == 0 ? 1 : 0;
      Restart();
      return DriftLevel::kAlarm;
    }
    if (fall > config_.threshold) Restart();  // the reference is out of date, and nothing got worse
  }
  const bool warning = excess > 0.5 * config_.threshold;
  if (warning && s.in_warning == 0) s.warnings += 1;
  s.in_warning = warning ? 1 : 0;
  return warning ? DriftLevel::kWarning : DriftLevel::kStable;
}

double Cusum::statistic() const {
  const State& s = state();
  const double rise = s.rise * Exponent(s.Skewness());
  const double fall = s.fall * Exponent(-s.Skewness());
  const double excess = config_.falls && fall > rise ? fall : rise;
  return excess < config_.threshold ? excess : config_.threshold;
}

uint64_t Cusum::warnings() const { return state().warnings; }
uint64_t Cusum::alarms() const { return state().alarms; }

}  // namespace dipper::learn
