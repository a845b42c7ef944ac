// See anomaly_score.h.
#include "agent/learn/learners/anomaly_score.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"
#include "agent/learn/math/saturate.h"

namespace dipper::learn {
namespace {

constexpr uint32_t kMaxChannels = 8;
// Histogram of log2(held residual / scale): eighths of octaves from 2^-2 to 2^14.
constexpr uint32_t kBins = 128;
constexpr double kBinsPerOctave = 8.0;
constexpr double kLowestOctave = -2.0;
constexpr double kLargestRatio = 0x1p14;
constexpr double kLastPlace = static_cast<double>(kBins) - 0x1p-20;
constexpr double kClip =
    3.0;  // scales a residual counts as, at most: a burst inflates its own yardstick slowly
constexpr uint64_t kFirstSamples = 10;   // residuals before clipping begins
constexpr double kHistogramMemory = 20;  // times longer than the scale's
// The calibration must not learn the anomalies, or the next one of that size would pass for known: samples
// that keep an event up count less, and none as farther beyond the raising threshold than so many bins, so
// that what is taken for normal grows slowly.
constexpr double kActiveWeight = 0.02;
constexpr double kBeyondRaise = 2.0;
constexpr double kLeastHistory = 50;  // samples before a score is given
constexpr double kLargestIncrement = 1e100;
constexpr double kLargestBin = 1e120;    // stored: of as many increments as any memory keeps
constexpr double kLargestScale = 1e140;  // stored
constexpr double kLeastTail = 1e-12;
constexpr double kLeastShape = -0.2;

bool ValidConfig(const AnomalyScoreConfig& c) {
  return c.channels >= 1 && c.channels <= kMaxChannels && c.raise > 0.0 && c.raise < 1.0 && c.clear > 0.0 &&
         c.clear <= c.raise && c.min_raise_samples >= 1 && c.min_clear_samples >= 1 && c.decay >= 0.5 &&
         c.decay < 1.0 && c.hold >= 0.0 && c.hold < 1.0;
}

/// Place of a ratio on the histogram's axis, in bins.
double AxisOf(double ratio) {
  if (!(ratio > 0.0)) return 0.0;
  const double at = (Log(ratio) * 0x1.71547652b82fep+0 - kLowestOctave) * kBinsPerOctave;
  return at < 0.0 ? 0.0 : (at > kLastPlace ? kLastPlace : at);
}

/// P(distance > d) of a tail whose distances from its edge have these moments: a generalized Pareto
/// distribution by the method of moments (Hosking and Wallis, Technometrics 29, 1987). Distances are of
/// logarithms, so shape 0 is a Pareto tail of the ratio itself; a shape above 0 is not believed, and one
/// below only so far, from so few samples.
double TailBeyond(double distance, double mean, double second_moment) {
  const double variance = second_moment - mean * mean;
  const double squared = variance > 0.0 ? mean * mean / variance : 1.0;
  double shape = 0.5 * (1.0 - squared);
  shape = shape > 0.0 ? 0.0 : (shape < kLeastShape ? kLeastShape : shape);
  const double scale = mean * (1.0 - shape);
  if (!(scale > 0.0)) return distance > 0.0 ? 0.0 : 1.0;
  if (shape > -1e-6) return Exp(-distance / scale);
  const double base = 1.0 + shape * distance / scale;
  return base > 0.0 ? Pow(base, -1.0 / shape) : 0.0;
}

/// Mean absolute residual that an outlier moves little.
struct Channel {
  double scale;
  uint64_t count;

  /// Residual in scales; 0 while there is no scale to judge by.
  double Ratio(double absolute) const {
    if (count < kFirstSamples || absolute == 0.0) return 0.0;
    const double ratio =
        absolute / scale;  // a constant signal has scale 0: its first move is beyond every ratio
    return ratio < kLargestRatio ? ratio : kLargestRatio;
  }

  void Learn(double absolute, double decay) {
    count += 1;
    const double gain = 1.0 / static_cast<double>(count);
    const bool clip = count > kFirstSamples && scale > 0.0 && absolute > kClip * scale;
    const double value = clip ? kClip * scale : absolute;
    scale += (gain > 1.0 - decay ? gain : 1.0 - decay) * (value - scale);
  }
};

}  // namespace

struct AnomalyScore::State {
  uint64_t events;
  double held;       // decaying maximum of the worst channel's ratio
  double score;      // of the last sample
  double increment;  // what one sample now adds to a bin: grows instead of all bins shrinking
  double total;      // sum of the bins
  uint32_t active;
  uint32_t run;  // samples in a row on the other side of the threshold that would end the present condition
  uint32_t channels;
  uint32_t samples;  // scored since the event that is on was raised; 0 while none is
  Channel channel[kMaxChannels];
  double bin[kBins];
  double peak;  // largest score of the event that is on; 0 while none is
};

base::Result<uint64_t> AnomalyScore::StateBytes(const AnomalyScoreConfig& config) {
  static_assert(sizeof(State) == 64 + kMaxChannels * 16 + kBins * 8 && sizeof(State) % 8 == 0);
  if (!ValidConfig(config)) return base::Status::kInvalidArgument;
  return base::AlignUp(sizeof(State), 16);
}

base::Status AnomalyScore::Create(const AnomalyScoreConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kInvalidArgument;
  State& state = *PlaceOf<State>(memory.data());
  state.increment = 1.0;
  state.channels = config.channels;
  return base::Status::kOk;
}

base::Status AnomalyScore::Validate(const AnomalyScoreConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  const auto not_negative = [](double x) { return IsFinite(x) && x >= 0.0; };
  bool good = ValidCounts(s.events) && s.active <= 1 && s.channels == config.channels &&
              not_negative(s.held) && s.held <= kLargestRatio && s.score >= 0.0 && s.score <= 1.0 &&
              s.peak >= 0.0 && s.peak <= 1.0 && s.increment >= 1.0 && s.increment <= kLargestIncrement &&
              s.total >= 0.0 && s.total <= kLargestBin;
  good = good && (s.active != 0 || (s.samples == 0 && s.peak == 0.0));
  for (const Channel& channel : s.channel) {
    good = good && channel.scale >= 0.0 && channel.scale <= kLargestScale && ValidCounts(channel.count);
  }
  for (const double bin : s.bin) good = good && bin >= 0.0 && bin <= kLargestBin;
  return good ? base::Status::kOk : base::Status::kDataLoss;
}

AnomalyScore::AnomalyScore(const AnomalyScoreConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

AnomalyScore::State& AnomalyScore::state() const { return *PlaceOf<State>(memory_); }

double AnomalyScore::Rank(double at) const {
  const State& s = state();
  const double history = s.total / s.increment;  // samples' worth
  if (history < kLeastHistory) return 0.0;
  // The tail begins at the highest edge with enough samples above it: 2 %, but 10 to 50 of them.
  double enough = 0.02 * history;
  enough = (enough < 10.0 ? 10.0 : (enough > 50.0 ? 50.0 : enough)) * s.increment;
  double above = 0;   // weight at or above the edge
  double first = 0;   // sum of weight * distance from the edge, in bins
  double second = 0;  // sum of weight * distance^2
  uint32_t edge = kBins;
  while (edge > 0 && above < enough) {
    --edge;
    // Everything already counted moves one bin further from the edge; the new bin lies evenly over its width.
    second += 2.0 * first + above + s.bin[edge] / 3.0;
    first += above + 0.5 * s.bin[edge];
    above += s.bin[edge];
  }
  const uint32_t bin = SaturatingToInt<uint32_t>(at);
  if (bin >= edge) {
    const double tail =
        above / s.total * TailBeyond(at - static_cast<double>(edge), first / above, second / above);
    // A sum that a damaged image has smaller than its bins makes no score below 0.
    return tail >= 1.0 ? 0.0 : 1.0 - (tail > kLeastTail ? tail : kLeastTail);
  }
  for (uint32_t i = edge; i-- > bin + 1;) above += s.bin[i];
  above += s.bin[bin] * (static_cast<double>(bin + 1) - at);
  const double below = 1.0 - above / s.total;
  return below > 0.0 ? below : 0.0;
}

double AnomalyScore::RaisePlace() const {
  double low = 0;
  double high = kBins;
  for (int i = 0; i < 12; ++i) {
    const double middle = 0.5 * (low + high);
    (Rank(middle) >= config_.raise ? high : low) = middle;
  }
  return high;
}

void AnomalyScore::Remember(double at) {
  State& s = state();
  double added = s.increment;
  if (s.score >= config_.raise) {
    if (s.active != 0) added *= kActiveWeight;
    const double most = RaisePlace() + kBeyondRaise;
    at = at < most ? at : most;
    at = at < kLastPlace ? at : kLastPlace;
  }
  s.bin[SaturatingToInt<uint32_t>(at)] += added;
  s.total += added;
  s.increment /= 1.0 - (1.0 - config_.decay) / kHistogramMemory;
  if (s.increment < kLargestIncrement) return;
  s.total = 0;
  for (double& bin : s.bin) {
    bin /= s.increment;
    s.total += bin;
  }
  s.increment = 1.0;
}

AnomalyScore::Result AnomalyScore::Step() {
  State& s = state();
  Result result;
  const bool towards = s.active != 0 ? s.score < config_.clear : s.score >= config_.raise;
  const uint32_t needed = s.active != 0 ? config_.min_clear_samples : config_.min_raise_samples;
  s.run = towards ? s.run + (s.run < needed ? 1 : 0) : 0;
  if (s.run >= needed) {
    s.active = 1 - s.active;
    s.run = 0;
    result.raised = s.active != 0;
    result.cleared = s.active == 0;
    s.events += result.raised ? 1 : 0;
  }
  if (result.raised || s.active == 0) {
    s.samples = 0;
    s.peak = 0;
  } else if (s.samples < std::numeric_limits<uint32_t>::max()) {
    ++s.samples;
  }
  if (s.active != 0 && s.score > s.peak) s.peak = s.score;
  result.score = s.score;
  result.active = s.active != 0;
  return result;
}

AnomalyScore::Result AnomalyScore::Update(std::span<const double> residuals) {
  DIPPER_CHECK(residuals.size() == config_.channels);
  State& s = state();
  double worst = 0;
  bool any = false;
  for (uint32_t i = 0; i < config_.channels; ++i) {
    if (!IsFinite(residuals[i])) continue;
    const double absolute = std::fabs(residuals[i]);
    const double ratio = s.channel[i].Ratio(absolute);
    any = any || s.channel[i].count >= kFirstSamples;
    worst = ratio > worst ? ratio : worst;
    s.channel[i].Learn(absolute, config_.decay);
  }
  if (!any) {
    Result result;
    result.score = s.score;
    result.active = s.active != 0;
    return result;
  }
  const double faded = s.held * config_.hold;
  s.held = worst > faded ? worst : faded;
  const double at = AxisOf(s.held);
  s.score = Rank(at);
  const Result result = Step();
  Remember(at);
  return result;
}

double AnomalyScore::score() const { return state().score; }
bool AnomalyScore::active() const { return state().active != 0; }
double AnomalyScore::peak() const { return state().peak; }
uint32_t AnomalyScore::samples() const { return state().samples; }
uint64_t AnomalyScore::events() const { return state().events; }

}  // namespace dipper::learn
