// See hddm_a.h.
#include "agent/learn/drift/hddm_a.h"

#include <cmath>

#include "agent/learn/drift/autocorrelation.h"
#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

// Sums of values up to this, squared, stay finite.
constexpr double kLargestValue = 1e60;
constexpr double kLargestSquares = 1e140;  // stored: of 10^19 of them
// The width of the values is at most this many deviations, unless a value lies farther from the mean (rare
// errors do): for normal values twice what Hoeffding's bound needs.
constexpr double kWidest = 4.0;

bool Bounded(double x) { return std::fabs(x) <= kLargestValue; }

}  // namespace

struct HddmA::State {
  uint64_t count;  // values since the start or the last alarm
  double mean;
  double squares;  // squared deviations from the mean
  double low;      // range of the values
  double high;
  uint64_t low_count;  // values up to where the mean was lowest
  double low_mean;
  uint64_t high_count;  // and highest
  double high_mean;
  double alarm_logarithm;  // -ln of the confidences
  double warning_logarithm;
  double statistic;
  uint64_t warnings;
  uint64_t alarms;
  uint64_t in_warning;  // 0 or 1
  Autocorrelation autocorrelation;

  /// Width of the values for Hoeffding's bound.
  double Width() const {
    double width = kWidest * std::sqrt(squares / static_cast<double>(count));
    width = high - mean > width ? high - mean : width;
    width = mean - low > width ? mean - low : width;
    return high - low < width ? high - low : width;
  }
  /// Square of the difference between the mean up to a point and that of everything, over the bound's square
  /// at confidence 1/e. The paper's test is this against ln(1 / confidence).
  double Excess(uint64_t point, double point_mean, double width) const {
    const double before = static_cast<double>(point);
    const double all = static_cast<double>(count);
    if (point == count || !(width > 0.0)) return 0.0;
    const double difference = (mean - point_mean) / width;
    return 2.0 * (difference * difference) * (before * all / (all - before));
  }
};

base::Result<uint64_t> HddmA::StateBytes(const HddmAConfig& config) {
  static_assert(sizeof(State) == 160);
  const bool valid = config.alarm_confidence >= 1e-300 &&
                     config.alarm_confidence <= config.warning_confidence && config.warning_confidence <= 0.5;
  if (!valid) return base::Status::kInvalidArgument;
  return uint64_t{sizeof(State)};
}

base::Status HddmA::Create(const HddmAConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  State& s = *PlaceOf<State>(memory.data());
  s.alarm_logarithm = -Log(config.alarm_confidence);
  s.warning_logarithm = -Log(config.warning_confidence);
  return base::Status::kOk;
}

base::Status HddmA::Validate(const HddmAConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  DIPPER_RETURN_IF_ERROR(s.autocorrelation.Validate());
  bool good = ValidCounts(s.count, s.warnings, s.alarms) && s.low <= s.high && s.low_count <= s.count &&
              s.high_count <= s.count && s.in_warning <= 1;
  for (const double x : {s.mean, s.low, s.high, s.low_mean, s.high_mean}) good = good && Bounded(x);
  good =
      good && s.squares >= 0.0 && s.squares <= kLargestSquares && s.statistic >= 0.0 && IsFinite(s.statistic);
  good = good && s.alarm_logarithm == -Log(config.alarm_confidence) &&
         s.warning_logarithm == -Log(config.warning_confidence);
  return good ? base::Status::kOk : base::Status::kDataLoss;
}

HddmA::HddmA(const HddmAConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline HddmA::State& HddmA::state() const { return *PlaceOf<State>(memory_); }

inline void HddmA::Learn(double x) {
  State& s = state();
  if (s.count == 0) {
    s.low = s.high = x;
  } else {
    // One value moves the range at most by its width: a single outlier does not blind the test.
    const double width = s.high - s.low;
    if (width > 0.0) x = x > s.high + width ? s.high + width : (x < s.low - width ? s.low - width : x);
    x = x > kLargestValue ? kLargestValue : (x < -kLargestValue ? -kLargestValue : x);
    s.low = x < s.low ? x : s.low;
    s.high = x > s.high ? x : s.high;
  }
  if (config_.autocorrelation) s.autocorrelation.Update(x);
  s.count += 1;
  const double deviation = x - s.mean;
  s.mean += deviation / static_cast<double>(s.count);
  s.mean = s.mean < s.low ? s.low : (s.mean > s.high ? s.high : s.mean);
  const double squares = s.squares + deviation * (x - s.mean);
  s.squares = squares > 0.0 ? squares : 0.0;  // rounding of the mean can make a zero term negative
}

inline void HddmA::MovePoints(double bound) {
  // Each point moves on to where the mean and its uncertainty are least (greatest).
  State& s = state();
  const double now = bound * std::sqrt(1.0 / static_cast<double>(s.count));
  if (s.low_count == 0 ||
      s.low_mean + bound * std::sqrt(1.0 / static_cast<double>(s.low_count)) >= s.mean + now) {
    s.low_count = s.count;
    s.low_mean = s.mean;
  }
  if (s.high_count == 0 ||
      s.high_mean - bound * std::sqrt(1.0 / static_cast<double>(s.high_count)) <= s.mean - now) {
    s.high_count = s.count;
    s.high_mean = s.mean;
  }
}

void HddmA::Restart() {
  State& s = state();
  State next{};
  next.alarm_logarithm = s.alarm_logarithm;
  next.warning_logarithm = s.warning_logarithm;
  next.warnings = s.warnings;
  next.alarms = s.alarms;
  next.autocorrelation = s.autocorrelation;
  s = next;
}

DriftLevel HddmA::Update(double value) {
  State& s = state();
  const double x = value > kLargestValue ? kLargestValue : (value < -kLargestValue ? -kLargestValue : value);
  Learn(x);
  const double inflation = config_.autocorrelation ? s.autocorrelation.Inflation() : 1.0;
  const double width = s.Width();
  MovePoints(width * std::sqrt(0.5 * inflation * s.alarm_logarithm));
  const double rise = s.mean > s.low_mean ? s.Excess(s.low_count, s.low_mean, width) / inflation : 0.0;
  const double fall = s.mean < s.high_mean ? s.Excess(s.high_count, s.high_mean, width) / inflation : 0.0;
  const double excess = config_.falls && fall > rise ? fall : rise;
  // The paper's test of a difference that was looked for doubles the confidence's reciprocal.
  constexpr double kLn2 = 0.693147180559945286;
  if (excess > s.alarm_logarithm + kLn2) {
    s.alarms += 1;
    s.warnings += s.in_warning == 0 ? 1 : 0;
    Restart();
    return DriftLevel::kAlarm;
  }
  if (fall > s.alarm_logarithm + kLn2) Restart();  // nothing got worse, but the past is out of date
  s.statistic = excess / (s.alarm_logarithm + kLn2);
  const bool warning = excess > s.warning_logarithm + kLn2;
  if (warning && s.in_warning == 0) s.warnings += 1;
  s.in_warning = warning ? 1 : 0;
  return warning ? DriftLevel::kWarning : DriftLevel::kStable;
}

double HddmA::statistic() const { return state().statistic; }
uint64_t HddmA::warnings() const { return state().warnings; }
uint64_t HddmA::alarms() const { return state().alarms; }

}  // namespace dipper::learn
