// See adwin.h. State, then rows from the smallest summaries to the largest; in a row the oldest summary is
// first.
#include "agent/learn/drift/adwin.h"

#include <cmath>

#include "agent/learn/drift/autocorrelation.h"
#include "agent/learn/learners/pairs.h"
#include "agent/learn/math/counts.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/nan.h"
#include "agent/learn/math/place.h"

namespace dipper::learn {
namespace {

// Sums of a few million values up to this, squared twice, stay finite.
constexpr double kLargestValue = 1e60;
constexpr double kLargestSquares = 1e140;  // stored: of 10^19 of them
// Fewer values say too little about their own variance.
constexpr double kLeastValues = 32;
constexpr uint32_t kMostBuckets = 8;
constexpr uint32_t kMostRows = 24;

struct Summary {
  double mean;
  double squares;  // squared deviations from the mean
};

/// Two steps, each one instruction.
double Between(double x, double least, double most) {
  const double above = least > x ? least : x;
  return most < above ? most : above;
}

bool Bounded(double x) { return x >= -kLargestValue && x <= kLargestValue; }

}  // namespace

struct Adwin::State {
  uint64_t alarms;
  uint64_t warnings;
  double statistic;
  double low;  // range of the window at the last test; both 0 while unknown
  double high;
  // The values since the last test, as sums of their differences from the first of them.
  double first;
  double sum;
  double squares;
  double least;
  double most;
  uint32_t filled;
  uint32_t in_warning;  // 0 or 1
  Autocorrelation autocorrelation;
};

struct Adwin::Row {
  double low;  // range of the row's values, or more; both 0 in an empty row
  double high;
  uint32_t count;
  uint32_t reserved;
  // After it: Summary[buckets + 1]; the place beyond `buckets` is used only while a summary is appended.

  Summary* summaries() {
    return PlaceOf<Summary>(static_cast<uint8_t*>(static_cast<void*>(this)) + sizeof(Row));
  }
  void Widen(double least, double most) {
    const bool empty = count == 0;
    low = empty || least < low ? least : low;
    high = empty || most > high ? most : high;
  }
  void RemoveFirst(uint32_t gone) {
    Summary* summary = summaries();
    for (uint32_t i = gone; i < count; ++i) summary[i - gone] = summary[i];
    for (uint32_t i = count - gone; i < count; ++i) summary[i] = Summary{};
    count -= gone;
    if (count == 0) low = high = 0.0;
  }
};

/// The window as a whole: moments about `origin`, its oldest mean, so that nothing cancels.
struct Adwin::Window {
  double count = 0;
  double origin = 0;
  double sum = 0;       // of the deviations from the origin
  double variance = 0;  // about the mean
  double reach = 0;     // largest deviation of a value from the mean
  double low = 0, high = 0;
  double Mean() const { return origin + sum / count; }
};

struct Adwin::Cut {
  double excess = 0;   // exponent in Bernstein's inequality
  uint64_t older = 0;  // summaries before the cut
};

namespace {

/// Exponents in Bernstein's inequality of two cuts of a window with so many values before them.
template <typename Window>
inline Pair Excess(const Window& w, Pair older, Pair older_sum) {
  // With the difference of the means d = distance / pairs, pairs = n0 n1:
  // d^2 / (2 (1/n0 + 1/n1) (v + b d / 3)), the fractions cleared.
  const Pair pairs = older * (Both(w.count) - older);
  const Pair distance = Absolute(older_sum * Both(w.count) - Both(w.sum) * older);
  const Pair scale =
      Both(2.0 * w.count) * (Both(w.variance) * pairs + Both(w.reach) * distance * Both(1.0 / 3.0));
  return OrZero(BothTrue(pairs > Both(0.0), scale > Both(0.0)), distance * distance / scale);
}

uint64_t RowBytes(const AdwinConfig& config) {
  constexpr uint64_t kHead = 24;
  return kHead + (config.buckets + 1) * sizeof(Summary);
}

}  // namespace

base::Result<uint64_t> Adwin::StateBytes(const AdwinConfig& config) {
  static_assert(sizeof(State) == 128 && sizeof(Row) == 24);
  const bool valid = config.delta > 0.0 && config.delta <= config.warning_delta &&
                     config.warning_delta <= 0.5 && config.delta >= 1e-300 && config.buckets >= 2 &&
                     config.buckets <= kMostBuckets && config.rows >= 2 && config.rows <= kMostRows &&
                     config.clock >= 4 && config.clock <= 64;
  if (!valid) return base::Status::kInvalidArgument;
  return base::AlignUp(sizeof(State) + config.rows * RowBytes(config), 16);
}

base::Status Adwin::Create(const AdwinConfig& config, base::MutableBytes memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  return memory.size() == bytes ? base::Status::kOk
                                : base::Status::kInvalidArgument;  // a fresh state is all zero
}

base::Status Adwin::Validate(const AdwinConfig& config, base::ByteView memory) {
  DIPPER_ASSIGN_OR_RETURN(const uint64_t bytes, StateBytes(config));
  if (memory.size() != bytes) return base::Status::kDataLoss;
  const State s = base::Load<State>(memory.data());
  DIPPER_RETURN_IF_ERROR(s.autocorrelation.Validate());
  bool good = ValidCounts(s.warnings, s.alarms) && s.filled < config.clock && s.in_warning <= 1 &&
              IsFinite(s.statistic) && s.statistic >= 0.0;
  good = good && s.low <= s.high && s.least <= s.most && s.squares >= 0.0 && s.squares <= kLargestSquares;
  for (const double x : {s.low, s.high, s.first, s.least, s.most}) good = good && Bounded(x);
  good = good && std::fabs(s.sum) <= 2.0 * kLargestValue * static_cast<double>(config.clock);
  for (uint32_t r = 0; good && r < config.rows; ++r) {
    const uint8_t* at = memory.data() + sizeof(State) + r * RowBytes(config);
    const Row row = base::Load<Row>(at);
    good = row.count <= config.buckets && row.reserved == 0 && row.low <= row.high && Bounded(row.low) &&
           Bounded(row.high);
    for (uint32_t i = 0; good && i <= config.buckets; ++i) {
      const Summary summary = base::Load<Summary>(at + sizeof(Row) + i * sizeof(Summary));
      good = Bounded(summary.mean) && summary.squares >= 0.0 && summary.squares <= kLargestSquares;
      if (i >= row.count) good = good && summary.mean == 0.0 && summary.squares == 0.0;
    }
  }
  const uint8_t* rest = memory.data() + sizeof(State) + config.rows * RowBytes(config);
  for (; rest < memory.data() + bytes; ++rest) good = good && *rest == 0;
  return good ? base::Status::kOk : base::Status::kDataLoss;
}

Adwin::Adwin(const AdwinConfig& config, base::MutableBytes memory)
    : config_(config), memory_(memory.data()) {}

// Inline: private to this file, and a shared object must not be able to replace them.
inline Adwin::State& Adwin::state() const { return *PlaceOf<State>(memory_); }

inline Adwin::Row& Adwin::row(uint32_t index) const {
  return *PlaceOf<Row>(memory_ + sizeof(State) + index * RowBytes(config_));
}

/// The value, at most a width of the known range outside of it.
inline double Adwin::Near(double value) const {
  const State& s = state();
  const double x = Between(value, -kLargestValue, kLargestValue);
  if (!(s.low < s.high)) return x;
  const double width = s.high - s.low;
  return Between(Between(x, s.low - width, s.high + width), -kLargestValue, kLargestValue);
}

DriftLevel Adwin::Update(double value) {
  State& s = state();
  const double x = Near(value);
  if (config_.autocorrelation) s.autocorrelation.Update(x);
  if (s.filled == 0) {
    s.first = s.least = s.most = x;
    s.sum = s.squares = 0.0;
  } else {
    const double difference = x - s.first;
    s.sum += difference;
    s.squares += difference * difference;
    s.least = x < s.least ? x : s.least;
    s.most = x > s.most ? x : s.most;
  }
  s.filled += 1;
  if (s.filled == config_.clock) [[unlikely]]
    return EndTick();
  return s.in_warning != 0 ? DriftLevel::kWarning : DriftLevel::kStable;
}

/// Apart from Update, which would save registers for it at every value.
[[gnu::noinline]] DriftLevel Adwin::EndTick() {
  State& s = state();
  s.filled = 0;
  const double shift = s.sum / static_cast<double>(config_.clock);
  const double squares = s.squares - s.sum * shift;
  // Rounding may leave the mean of equal values beside them, and the squares below 0.
  double mean = s.first + shift;
  mean = mean < s.least ? s.least : (mean > s.most ? s.most : mean);
  Append(mean, squares > 0.0 ? squares : 0.0, s.least, s.most);
  return Test();
}

inline void Adwin::Append(double mean, double squares, double low, double high) {
  Summary next = {mean, squares};
  double size = static_cast<double>(config_.clock);
  for (uint32_t r = 0; r < config_.rows; ++r, size *= 2.0) {
    Row& at = row(r);
    Summary* summary = at.summaries();
    at.Widen(low, high);
    summary[at.count++] = next;
    if (at.count <= config_.buckets) return;
    if (r + 1 == config_.rows) return at.RemoveFirst(1);
    // The two oldest become one of the next row. Its range is that of this row: the summaries' own are not
    // kept.
    const double difference = summary[0].mean - summary[1].mean;
    next.mean = 0.5 * summary[0].mean + 0.5 * summary[1].mean;
    next.squares = (summary[0].squares + summary[1].squares) + difference * difference * (0.5 * size);
    low = at.low;
    high = at.high;
    at.RemoveFirst(2);
  }
}

inline Adwin::Window Adwin::Read() const {
  Window w;
  double inside = 0;  // squared deviations from the summaries' means
  double second = 0;  // of these means from the origin
  double size = static_cast<double>(config_.clock);
  for (uint32_t r = 1; r < config_.rows; ++r) size *= 2.0;
  for (uint32_t r = config_.rows; r-- > 0; size *= 0.5) {
    Row& at = row(r);
    if (at.count == 0) continue;
    const Summary* summary = at.summaries();
    const bool first = w.count == 0.0;
    if (first) w.origin = summary[0].mean;
    w.low = first || at.low < w.low ? at.low : w.low;
    w.high = first || at.high > w.high ? at.high : w.high;
    double row_sum = 0;
    double row_second = 0;
    for (uint32_t i = 0; i < at.count; ++i) {
      const double difference = summary[i].mean - w.origin;
      row_sum += difference;
      row_second += difference * difference;
      inside += summary[i].squares;
    }
    w.count += size * static_cast<double>(at.count);
    w.sum += size * row_sum;
    second += size * row_second;
  }
  if (w.count == 0.0) return w;
  const double shift = w.sum / w.count;
  const double variance = (inside + (second - w.sum * shift)) / w.count;
  w.variance = variance > 0.0 ? variance : 0.0;
  const double mean = w.origin + shift;
  const double above = w.high - mean;
  const double below = mean - w.low;
  w.reach = above > below ? above : below;
  return w;
}

inline Adwin::Cut Adwin::BestCut(const Window& w) const {
  Cut best;
  uint64_t index = 0;
  double older = 0;      // values before the cut
  double older_sum = 0;  // of their deviations from the origin
  double size = static_cast<double>(config_.clock);
  for (uint32_t r = 1; r < config_.rows; ++r) size *= 2.0;
  for (uint32_t r = config_.rows; r-- > 0; size *= 0.5) {
    Row& at = row(r);
    const Summary* summary = at.summaries();
    for (uint32_t i = 0; i < at.count; i += 2) {
      const double first = older + size;
      const double first_sum = older_sum + size * (summary[i].mean - w.origin);
      const bool last = i + 1 == at.count;  // then both lanes are the same cut
      older = last ? first : first + size;
      older_sum = last ? first_sum : first_sum + size * (summary[i + 1].mean - w.origin);
      const Pair excess = Excess(w, Pair{first, older}, Pair{first_sum, older_sum});
      if (excess[0] > best.excess) best = {excess[0], index + 1};
      if (excess[1] > best.excess) best = {excess[1], index + 2};
      index += last ? 1 : 2;
    }
  }
  return best;
}

void Adwin::DropOldest(uint64_t count) {
  for (uint32_t r = config_.rows; r-- > 0 && count > 0;) {
    Row& at = row(r);
    const auto gone = static_cast<uint32_t>(count < at.count ? count : at.count);
    if (gone > 0) at.RemoveFirst(gone);
    count -= gone;
  }
}

DriftLevel Adwin::Test() {
  State& s = state();
  Window window = Read();
  if (window.count < kLeastValues) {
    s.in_warning = 0;
    return DriftLevel::kStable;
  }
  const double before = window.Mean();
  const double logarithm = Log(2.0 * Log(window.count));
  const double inflation = config_.autocorrelation ? s.autocorrelation.Inflation() : 1.0;
  const double bound = (logarithm - Log(config_.delta)) * inflation;
  Cut cut = BestCut(window);
  bool shrunk = false;
  while (cut.excess > bound) {
    DropOldest(cut.older);
    shrunk = true;
    window = Read();
    cut = window.count >= kLeastValues ? BestCut(window) : Cut();
  }
  s.statistic = cut.excess / bound;
  s.low = window.low;
  s.high = window.high;
  const bool alarm = shrunk && (config_.falls || window.Mean() > before);
  const double warning_bound = (logarithm - Log(config_.warning_delta)) * inflation;
  const bool warning = !shrunk && cut.excess > warning_bound;
  if ((warning || alarm) && s.in_warning == 0) s.warnings += 1;
  s.in_warning = warning ? 1 : 0;
  if (!alarm) return warning ? DriftLevel::kWarning : DriftLevel::kStable;
  s.alarms += 1;
  return DriftLevel::kAlarm;
}

double Adwin::statistic() const { return state().statistic; }
uint64_t Adwin::warnings() const { return state().warnings; }
uint64_t Adwin::alarms() const { return state().alarms; }

uint64_t Adwin::width() const {
  uint64_t width = state().filled;
  for (uint32_t r = 0; r < config_.rows; ++r) width += (uint64_t{config_.clock} << r) * row(r).count;
  return width;
}

double Adwin::mean() const {
  const Window window = Read();
  return window.count > 0.0 ? window.Mean() : CanonicalNan();
}

}  // namespace dipper::learn
