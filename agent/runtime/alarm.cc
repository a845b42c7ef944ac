// See alarm.h. What the severities mean is in docs/reference/events.md.
#include "agent/runtime/alarm.h"

#include <algorithm>

#include "agent/base/time.h"

namespace dipper::runtime {
namespace {

using Kind = AlarmNews::Kind;
using schema::Severity;

constexpr int64_t kHourNs = 3600 * base::kSecondNs;

base::EventLimit LimitOf(const AlarmRule& rule) {
  const uint32_t hourly = std::max<uint32_t>(rule.max_per_hour, 1);
  return base::EventLimit(std::min(AlarmFilter::kBurst, hourly), kHourNs / hourly);
}

}  // namespace

/// 1 - score is how rare such a score is, so decades of it say how far beyond the threshold it lies.
void AlarmFilter::Judge(double score) {
  peak_ = std::max(peak_, score);
  const double rare = 1 - peak_;
  const double at_raise = 1 - rule_.raise;
  int steps = rare * kDecade * kDecade <= at_raise ? 2 : (rare * kDecade <= at_raise ? 1 : 0);
  if (samples_ >= kLastingFactor * rule_.min_clear_samples) ++steps;
  const auto now = static_cast<Severity>(
      std::min(static_cast<int>(Severity::Minor) + steps, static_cast<int>(Severity::Critical)));
  severity_ = std::max(severity_, now);
}

void AlarmFilter::Begin(uint64_t sample_id, uint64_t samples, double score, int64_t now_ns) {
  on_ = true;
  told_ = false;
  severity_ = told_severity_ = Severity::None;
  alarm_ = sample_id;
  peak_ = 0;
  since_ns_ = now_ns;
  samples_ = samples;
  Judge(score);
}

AlarmNews AlarmFilter::News(Kind kind, int64_t now_ns) {
  AlarmNews news{.kind = kind,
                 .severity = severity_,
                 .alarm = alarm_,
                 .peak = peak_,
                 // A sample may be older than the start that found its alarm on.
                 .lasted_ns = std::max<int64_t>(now_ns - since_ns_, 0),
                 .left_out = left_out_};
  left_out_ = 0;
  told_severity_ = severity_;
  return news;
}

AlarmNews AlarmFilter::SetModel(const AlarmRule& rule, std::optional<Restored> told, int64_t now_ns) {
  const AlarmNews news = on_ && told_ ? News(Kind::kCleared, now_ns) : AlarmNews{};
  if (rule.max_per_hour != rule_.max_per_hour) limit_ = LimitOf(rule);
  rule_ = rule;
  on_ = false;
  if (told) {
    Begin(0, told->samples, told->peak, now_ns);
    // Where nothing is told, no earlier run has told it, and neither its course nor its end is news.
    told_ = rule.max_per_hour > 0;
    told_severity_ = severity_;
  }
  return news;
}

AlarmNews AlarmFilter::Take(double score, bool active, uint64_t sample_id, int64_t now_ns) {
  if (!active) {
    if (!on_) return {};
    on_ = false;
    if (told_) return News(Kind::kCleared, now_ns);
    ++left_out_;
    ++left_out_total_;
    return {};
  }
  if (!on_) {
    Begin(sample_id, 0, score, now_ns);
  } else {
    ++samples_;
    Judge(score);
  }
  if (told_) return severity_ > told_severity_ ? News(Kind::kRaised, now_ns) : AlarmNews{};
  // One that the limit held back is told as soon as it allows, if it is still on then.
  if (rule_.max_per_hour == 0 || !limit_.TrySpend(now_ns)) return {};
  told_ = true;
  return News(Kind::kRaised, now_ns);
}

}  // namespace dipper::runtime
