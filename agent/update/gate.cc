// Implementation of gate.h: betting with fixed stakes, mixed over eight stakes. Formulas:
// docs/reference/update.md.
#include "agent/update/gate.h"

#include <algorithm>
#include <cmath>

#include "agent/base/crc32c.h"
#include "agent/base/time.h"
#include "agent/learn/math/functions.h"

namespace dipper::update {
namespace {

using base::Status;

/// Least K with log(1 + x) >= x - x^2/2 + x^3/3 - K x^4 for all x >= -stake.
double TailConstant(double stake) {
  const double square = stake * stake;
  return (-learn::Log1p(-stake) - stake - square / 2 - square * stake / 3) / (square * square);
}

/// Of each stake; a logarithm a stake, a lane and a look would be half of a verdict's cost.
const std::array<double, kStakes.size()>& TailConstants() {
  static const auto constants = [] {
    std::array<double, kStakes.size()> made{};
    std::transform(kStakes.begin(), kStakes.end(), made.begin(), TailConstant);
    return made;
  }();
  return constants;
}

double Clip(double loss, double bound) {
  if (!std::isfinite(loss) || loss < 0) return bound;
  return std::min(loss, bound);
}

bool IsFinite(const GateLane& lane) {
  return std::isfinite(lane.count) && std::isfinite(lane.s1) && std::isfinite(lane.s2) &&
         std::isfinite(lane.s3) && std::isfinite(lane.s4) && lane.count >= 0;
}

/// Sums of the first four powers of (threshold - X) over a lane.
std::array<double, 4> PowersBelow(const GateLane& lane, double threshold) {
  const double n = lane.count, m = threshold;
  return {n * m - lane.s1, n * m * m - 2 * m * lane.s1 + lane.s2,
          n * m * m * m - 3 * m * m * lane.s1 + 3 * m * lane.s2 - lane.s3,
          n * m * m * m * m - 4 * m * m * m * lane.s1 + 6 * m * m * lane.s2 - 4 * m * lane.s3 + lane.s4};
}

VetoConfig VetoConfigOf(const GateConfig& config) {
  return {.max_alarm_excess = config.max_alarm_excess,
          .max_score_shift = config.max_score_shift,
          .alpha = config.alpha,
          .warmup_samples = config.warmup_samples};
}

}  // namespace

Status CheckGateConfig(const GateConfig& config) {
  const bool finite = std::isfinite(config.loss_bound) && std::isfinite(config.margin) &&
                      std::isfinite(config.margin_ratio) && std::isfinite(config.alpha);
  if (!finite || config.loss_bound < 0 || config.margin < 0) return Status::kInvalidArgument;
  if (config.loss_bound > 0 && config.margin > config.loss_bound) return Status::kInvalidArgument;
  if (config.margin_ratio < 0 || config.margin_ratio > 10) return Status::kInvalidArgument;
  if (config.alpha < 1e-9 || config.alpha > 0.5 || config.recent > kMaxRecent)
    return Status::kInvalidArgument;
  if (config.horizon == 0 || !Veto::IsGood(VetoConfigOf(config))) return Status::kInvalidArgument;
  return config.deadline_samples == 0 && config.deadline_seconds == 0 ? Status::kInvalidArgument
                                                                      : Status::kOk;
}

schema::Reason ReasonOf(GateVerdict verdict) {
  switch (verdict) {
    case GateVerdict::kContinue:
      return schema::Reason::None;
    case GateVerdict::kConfirm:
      return schema::Reason::ShownNotWorse;
    case GateVerdict::kFallBack:
      return schema::Reason::ShownWorse;
    case GateVerdict::kDeadlineConfirm:
      return schema::Reason::PolicyAtDeadline;
    case GateVerdict::kDeadlineFallBack:
      return schema::Reason::Deadline;
    case GateVerdict::kAlarmRate:
      return schema::Reason::AlarmRate;
    case GateVerdict::kScoreShift:
      return schema::Reason::ScoreShift;
  }
  return schema::Reason::None;
}

Gate::Gate(const GateConfig& config, const base::Digest& package) : config_(config) {
  DIPPER_CHECK(base::Ok(CheckGateConfig(config)));
  state_.loss_bound = config.loss_bound;
  state_.package_digest = package.bytes;
  veto_ = Veto(VetoConfigOf(config));
}

/// Fixed before the first counted sample, so that it is predictable and the bounds below hold.
void Gate::FixBound() {
  const double bound = kAutoBound * state_.warmup_rival_sum / static_cast<double>(state_.seen);
  if (state_.seen < std::max(config_.warmup_samples, kAutoWarmup) || !(bound > 0) || !std::isfinite(bound))
    return;
  state_.loss_bound = std::max(bound, config_.margin);
}

void Gate::Add(double challenger_loss, double rival_loss) {
  ++state_.seen;
  if (!config_.paired) return;
  if (state_.loss_bound <= 0) {
    if (std::isfinite(rival_loss) && rival_loss > 0) state_.warmup_rival_sum += rival_loss;
    FixBound();
    return;
  }
  if (state_.seen <= config_.warmup_samples) return;
  const double bound = state_.loss_bound;
  const double challenger = Clip(challenger_loss, bound), rival = Clip(rival_loss, bound);
  // With a delay beyond the lanes, the samples between are left out: each lane stays `horizon` labels apart.
  const uint64_t lane_index = state_.counted % config_.horizon;
  ++state_.counted;
  state_.challenger_sum += challenger;
  state_.rival_sum += rival;
  const double x = (challenger - Ratio() * rival) / bound;
  if (config_.recent > 0) {
    state_.recent[(state_.counted - 1) % config_.recent] = x;
    state_.recent_count = std::min(state_.recent_count + 1, config_.recent);
  }
  if (lane_index >= LaneCount()) return;
  GateLane& lane = state_.lanes[lane_index];
  lane.count += 1;
  lane.s1 += x;
  lane.s2 += x * x;
  lane.s3 += x * x * x;
  lane.s4 += x * x * x * x;
}

/// At most that of a martingale when the threshold holds.
LogWealths Gate::LaneWealths(Side side, double threshold, const GateLane& lane) const {
  const bool below = side == Side::kBelow;
  // How far X can lie on the losing side of the threshold.
  const double range = below ? 1 - threshold : Ratio() + threshold;
  const auto& tail = TailConstants();
  std::array<double, 4> powers = PowersBelow(lane, threshold);
  if (!below) {
    powers[0] = -powers[0];
    powers[2] = -powers[2];
  }
  LogWealths wealths{};
  for (size_t k = 0; k < kStakes.size(); ++k) {
    const double rate = kStakes[k] / range, square = rate * rate;
    wealths[k] = rate * powers[0] - square * powers[1] / 2 + square * rate * powers[2] / 3 -
                 tail[k] * square * square * powers[3];
  }
  return wealths;
}

bool Gate::Reached(Side side, double threshold) const {
  return MeanWealthReaches(config_.alpha, LaneCount(),
                           [&](uint32_t i) { return LaneWealths(side, threshold, state_.lanes[i]); });
}

bool Gate::Shown(Side side) const {
  // A margin of the whole bound leaves nothing to show for one side and everything for the other.
  const double threshold = Margin();
  if (side == Side::kBelow && threshold >= 1) return true;
  return Reached(side, threshold);
}

double Gate::RecentExcess() const {
  double sum = 0;
  for (uint32_t i = 0; i < state_.recent_count; ++i) sum += state_.recent[i];
  return state_.recent_count == 0 ? 0 : sum / state_.recent_count - Margin();
}

bool Gate::AtDeadline() const {
  const bool samples_up = config_.deadline_samples != 0 && state_.seen >= config_.deadline_samples;
  const bool time_up =
      config_.deadline_seconds != 0 && state_.powered_ns / base::kSecondNs >= config_.deadline_seconds;
  return samples_up || time_up;
}

GateVerdict Gate::JudgeVeto() const {
  switch (veto_.Verdict()) {
    case VetoVerdict::kAlarmRate:
      return GateVerdict::kAlarmRate;
    case VetoVerdict::kScoreShift:
      return GateVerdict::kScoreShift;
    case VetoVerdict::kNone:
      break;
  }
  return GateVerdict::kContinue;
}

GateVerdict Gate::Verdict() const {
  if (const GateVerdict veto = JudgeVeto(); veto != GateVerdict::kContinue) return veto;
  if (config_.paired && state_.counted > 0) {
    // Both verdicts ask the newest labels too: one that was good long ago is not confirmed, and one that
    // began untrained and has caught up is not condemned for its beginning.
    const bool full = state_.recent_count == config_.recent;
    const double recent = RecentExcess();
    if (full && recent >= 0 && Shown(Side::kAbove)) return GateVerdict::kFallBack;
    if (full && recent <= 0 && Shown(Side::kBelow)) return GateVerdict::kConfirm;
  }
  if (!AtDeadline()) return GateVerdict::kContinue;
  return config_.confirm_at_deadline ? GateVerdict::kDeadlineConfirm : GateVerdict::kDeadlineFallBack;
}

/// The threshold nearest to the mean at which the evidence reaches 1 / alpha. The polynomial bound of the
/// evidence is loose far from the mean, so it is not monotone: walk outwards first, then bisect.
double Gate::Limit(Side side) const {
  constexpr int kWalk = 64;
  const bool below = side == Side::kBelow;
  double count = 0, sum = 0;
  for (uint32_t i = 0; i < LaneCount(); ++i) {
    count += state_.lanes[i].count;
    sum += state_.lanes[i].s1;
  }
  const double mean = sum / count, end = below ? 1 : -Ratio();
  double inside = mean, outside = end;
  bool found = false;
  for (int step = 1; step < kWalk && !found; ++step) {
    outside = mean + (end - mean) * step / kWalk;
    found = Reached(side, outside);
    if (!found) inside = outside;
  }
  if (!found) return end;
  for (int step = 0; step < 24; ++step) {
    const double middle = (inside + outside) / 2;
    (Reached(side, middle) ? outside : inside) = middle;
  }
  return outside;
}

GateReport Gate::Report() const {
  GateReport report;
  report.seen = state_.seen;
  report.counted = state_.counted;
  report.loss_bound = state_.loss_bound;
  report.veto = veto_.Report();
  if (!config_.paired || state_.counted == 0) return report;
  const auto counted = static_cast<double>(state_.counted);
  const double bound = state_.loss_bound;
  report.challenger_loss = state_.challenger_sum / counted;
  report.rival_loss = state_.rival_sum / counted;
  report.excess = report.challenger_loss - Ratio() * report.rival_loss - config_.margin;
  report.lower = Limit(Side::kAbove) * bound - config_.margin;
  report.upper = Limit(Side::kBelow) * bound - config_.margin;
  report.recent_excess = RecentExcess() * bound;
  return report;
}

base::Result<uint32_t> Gate::Save(base::MutableBytes out, uint32_t link) const {
  if (out.size() < kGateStateBytes) return Status::kResourceExhausted;
  GateState state = state_;
  state.veto = veto_.state();
  state.link = link;
  state.crc = 0;
  std::memcpy(out.data(), &state, sizeof state);
  base::Store(out.data() + offsetof(GateState, crc), base::Crc32c(out.first(offsetof(GateState, crc))));
  return kGateStateBytes;
}

Status Gate::Restore(base::ByteView bytes, uint32_t* link) {
  if (bytes.size() < kGateStateBytes) return Status::kDataLoss;
  const auto state = base::Load<GateState>(bytes.data());
  if (state.crc != base::Crc32c(bytes.first(offsetof(GateState, crc))) || state.layout != 2)
    return Status::kDataLoss;
  if (state.package_digest != state_.package_digest || state.recent_count > config_.recent)
    return Status::kDataLoss;
  bool good = std::isfinite(state.loss_bound) && state.loss_bound >= 0 && state.counted <= state.seen &&
              std::isfinite(state.warmup_rival_sum) && std::isfinite(state.challenger_sum) &&
              std::isfinite(state.rival_sum);
  for (const double x : state.recent) good = good && std::isfinite(x);
  for (const GateLane& lane : state.lanes) good = good && IsFinite(lane);
  if (config_.loss_bound > 0 && state.loss_bound != config_.loss_bound) good = false;
  if (state.counted > 0 && state.loss_bound <= 0) good = false;
  if (!good || !veto_.Restore(state.veto)) return Status::kDataLoss;
  state_ = state;
  if (link != nullptr) *link = state.link;
  return Status::kOk;
}

}  // namespace dipper::update
