// Gate: is the challenger worse than its rival? A sequential test on the running average of paired, clipped
// losses that may be looked at after every label, and the vetoes that need none (veto.h).
// docs/reference/update.md has the formulas and their proof. Not thread-safe. No heap; the state is a plain
// struct that is saved with the challenger's checkpoint. Source: Choe and Ramdas 2023, Comparing Sequential
// Forecasters (running averages of conditional means, theorem 2; lagged forecasts, section 4.4); Howard,
// Ramdas, McAuliffe and Sekhon 2021 (nonnegative supermartingales, mixtures).
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"
#include "agent/update/betting.h"
#include "agent/update/veto.h"

namespace dipper::update {

inline constexpr uint32_t kMaxLanes = 64;  ///< Interleaved tests; a longer label delay leaves samples out.
inline constexpr uint32_t kMaxRecent = 256;

/// Losses are in the unit of the task: 0-1 error or absolute error.
struct GateConfig {
  bool paired = true;  ///< False: no loss test; the deadline's policy decides.
  double loss_bound =
      0;  ///< B: losses are clipped to [0, B]; 0: kAutoBound times the rival's mean loss in warm-up.
  double margin = 0;        ///< Still "not worse": absolute part, >= 0
  double margin_ratio = 0;  ///< and part of the rival's loss, 0 to 10.
  double alpha = 0.05;      ///< Of each side: wrong confirm, wrong fall back.
  uint64_t warmup_samples = 0;
  uint32_t recent = 0;            ///< Newest labels that must agree with a verdict; to kMaxRecent, 0: none.
  uint64_t deadline_samples = 0;  ///< Labelled samples, warm-up included; 0: none.
  uint64_t deadline_seconds = 0;  ///< Powered-on; 0: none.
  bool confirm_at_deadline = false;
  uint32_t horizon = 1;                              ///< Samples between a prediction and its label.
  double max_alarm_excess = 0, max_score_shift = 0;  ///< Of the vetoes: VetoConfig; 0: not asked.
};

/// With no bound known, B = 4 times the rival's mean loss: above nearly all of an exponential tail (e^-4 = 2
/// %).
inline constexpr double kAutoBound = 4.0;
inline constexpr uint64_t kAutoWarmup = 32;  ///< Least warm-up when B comes from it.

/// kOk or kInvalidArgument: a value out of range or not finite.
base::Status CheckGateConfig(const GateConfig& config);

enum class GateVerdict : uint8_t {
  kContinue = 0,
  kConfirm,           ///< Shown not worse than the margin.
  kFallBack,          ///< Shown worse than the margin.
  kDeadlineConfirm,   ///< Undecided at the deadline; the policy confirms.
  kDeadlineFallBack,  ///< Undecided at the deadline; the policy falls back.
  kAlarmRate,         ///< A veto: shown to alarm more often than is allowed.
  kScoreShift,        ///< A veto: shown to answer otherwise than is allowed.
};

/// What is told of it; kContinue: None.
schema::Reason ReasonOf(GateVerdict verdict);
/// The trial ends with a confirm.
constexpr bool Confirms(GateVerdict verdict) {
  return verdict == GateVerdict::kConfirm || verdict == GateVerdict::kDeadlineConfirm;
}

/// What the decision rests on. "Excess" = challenger's loss - (1 + margin_ratio) * rival's loss - margin.
struct GateReport {
  uint64_t seen = 0;                           ///< Labelled pairs, warm-up included.
  uint64_t counted = 0;                        ///< Pairs in the test.
  double challenger_loss = 0, rival_loss = 0;  ///< Means of the counted, clipped losses.
  double excess = 0;                           ///< Mean excess.
  double lower = 0, upper = 0;  ///< Confidence sequence for the running average of the expected excess.
  double recent_excess = 0;     ///< Mean over the recent window.
  double loss_bound = 0;        ///< B in force; 0: not yet known.
  VetoReport veto;              ///< Its `samples`: all of the trial, labelled or not.
};

/// One interleaved test: sums of powers of the scaled excess.
struct GateLane {
  double count = 0;
  double s1 = 0, s2 = 0, s3 = 0, s4 = 0;
};

/// Kept beside a test: whether its trial asks for the broker, and has reached it.
inline constexpr uint32_t kLinkAsked = 1, kLinkReached = 2;

/// Saved as it is (little-endian, no padding): docs/reference/update.md.
struct GateState {
  uint32_t layout = 2;
  uint32_t recent_count = 0;
  uint64_t seen = 0;
  uint64_t counted = 0;
  uint64_t powered_ns = 0;  ///< Powered-on time of this trial.
  double loss_bound = 0;
  double warmup_rival_sum = 0;
  double challenger_sum = 0;
  double rival_sum = 0;
  std::array<double, kMaxRecent> recent{};
  std::array<GateLane, kMaxLanes> lanes{};
  VetoState veto;
  std::array<uint8_t, 32> package_digest{};
  uint32_t link = 0;  ///< Not the gate's: kLinkAsked, kLinkReached. Agents before them wrote 0.
  uint32_t crc = 0;
};
static_assert(sizeof(GateState) == 64 + 8 * kMaxRecent + 40 * kMaxLanes + sizeof(VetoState) + 40,
              "stored as it is");

class Gate {
 public:
  /// `config` was checked.
  Gate(const GateConfig& config, const base::Digest& package);
  Gate() = default;

  /// One labelled sample, each loss of a prediction that was fixed before the label. Negative or not finite
  /// losses are clipped as B (a prediction that cannot be scored is as bad as can be). Cost: O(1).
  void Add(double challenger_loss, double rival_loss);
  /// One sample that the challenger has seen, labelled or not; what is not compared is not valid. Cost: O(1).
  void AddSample(const Sight& champion, const Sight& challenger) { veto_.Add(champion, challenger); }
  /// Powered-on time since the last call.
  void AddPoweredTime(uint64_t ns) { state_.powered_ns += ns; }

  /// Cost: O(lanes), and exponentials only near a decision. May be asked as often as wanted: the error bounds
  /// hold for all times together.
  GateVerdict Verdict() const;
  /// The vetoes alone, which only a sample can change: kContinue, kAlarmRate or kScoreShift.
  GateVerdict JudgeVeto() const;
  /// The vetoes do not forbid a confirm: enough was compared, and all lies within the limits.
  bool Permits() const { return veto_.Permits(); }
  /// Labelled samples or powered-on time are up, whatever has been shown.
  bool AtDeadline() const;
  /// Cost: two bisections over Verdict's sums, about 100 times its cost.
  GateReport Report() const;

  /// kResourceExhausted: `out` is smaller than kGateStateBytes. Returns the bytes written.
  base::Result<uint32_t> Save(base::MutableBytes out, uint32_t link = 0) const;
  /// Continues a saved test; `link` as it was given to Save, may be null. kDataLoss: damaged, of another
  /// package, or out of range; unchanged then.
  base::Status Restore(base::ByteView bytes, uint32_t* link = nullptr);
  const GateConfig& config() const { return config_; }
  uint64_t powered_ns() const { return state_.powered_ns; }

 private:
  enum class Side : uint8_t { kBelow, kAbove };
  LogWealths LaneWealths(Side side, double threshold, const GateLane& lane) const;
  bool Reached(Side side, double threshold) const;
  double Limit(Side side) const;
  bool Shown(Side side) const;
  void FixBound();
  uint32_t LaneCount() const { return config_.horizon < kMaxLanes ? config_.horizon : kMaxLanes; }
  double RecentExcess() const;
  double Ratio() const { return 1 + config_.margin_ratio; }
  double Margin() const { return config_.margin / state_.loss_bound; }  ///< In units of B.

  GateConfig config_;
  GateState state_;  ///< Its `veto` is only a place to save: the live one is in veto_.
  Veto veto_;
};
inline constexpr uint32_t kGateStateBytes = sizeof(GateState);

}  // namespace dipper::update
