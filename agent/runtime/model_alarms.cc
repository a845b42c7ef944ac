// A model's alarms: what is told of them, and which features made the sample unusual.
#include <algorithm>
#include <array>

#include "agent/learn/math/largest.h"
#include "agent/learn/math/nan.h"
#include "agent/runtime/model_runner.h"

namespace dipper::runtime {

namespace {

constexpr size_t kMostContributors = 4;  // an event with them still fits the event log
constexpr size_t kMostTried = 64;        // features; each costs two passes through the model

AlarmRule RuleOf(const learn::Spec& spec) {
  const learn::AnomalyScoreConfig& planned = spec.plan().layout.anomaly;
  AlarmRule rule{.raise = planned.raise, .min_clear_samples = planned.min_clear_samples};
  if (const schema::AnomalyScore* table = spec.table().anomaly(); table != nullptr)
    rule.max_per_hour = table->max_events_per_hour();
  return rule;
}

/// How much of the raw score is a feature's: the mean of what it falls by when the feature is taken for
/// missing, and what it rises by when only the feature is there. The first alone says nothing of features
/// that are each unusual enough by themselves, the second nothing of those that are so only together (the
/// first and the last step of a Shapley value). The largest of them; the shares sum to 1.
size_t Contributors(const learn::Model& model, const learn::Spec& spec, std::span<const float> values,
                    std::span<telemetry::Contribution> out) {
  std::array<float, learn::kMaxFeatures> row;
  const std::span<float> tried = std::span(row).first(values.size());
  const auto score = [&] {
    learn::Output answer;
    return Ok(model.Predict(tried, &answer)) ? answer.anomaly_raw : 0.0;
  };
  const size_t count = std::min(values.size(), kMostTried);
  std::array<double, kMostTried> parts{};
  std::copy(values.begin(), values.end(), row.begin());
  const double whole = score();
  for (size_t f = 0; f < count; ++f) {
    row[f] = learn::CanonicalNanFloat();
    parts[f] = whole - score();
    row[f] = values[f];
  }
  std::fill(tried.begin(), tried.end(), learn::CanonicalNanFloat());
  const double nothing = score();
  for (size_t f = 0; f < count; ++f) {
    row[f] = values[f];
    parts[f] += score() - nothing;
    row[f] = learn::CanonicalNanFloat();
  }
  std::array<uint16_t, kMostContributors> places{};
  const size_t found = learn::LargestPlaces({parts.data(), count}, places);
  double sum = 0;
  for (size_t i = 0; i < found; ++i) sum += parts[places[i]];
  for (size_t i = 0; i < found; ++i) {
    out[i].feature = spec.feature_name(places[i]);
    out[i].share = parts[places[i]] / sum;
  }
  return found;
}

}  // namespace

/// Another champion has another image, and alarms of its own.
void ModelRunner::BindAlarm() {
  const FeedModel& champion = feed_.champion();
  const bool at_start = !alarm_bound_;
  alarm_bound_ = true;
  if (champion.package == alarm_package_) return;
  const base::Digest before = alarm_package_;
  alarm_package_ = champion.package;
  const int64_t now_ns = at_.clock.MonotonicNs();
  AlarmRule rule;
  std::optional<AlarmFilter::Restored> told;  // an alarm that is on at the start was told by an earlier run
  if (champion.model != nullptr) {
    rule = RuleOf(*champion.spec);
    const learn::Metrics metrics = champion.model->ReadMetrics();
    if (at_start && metrics.anomaly_active)
      told = {.peak = metrics.anomaly_peak, .samples = metrics.anomaly_samples};
  }
  const AlarmNews news = alarm_.SetModel(rule, told, now_ns);
  if (news.kind != AlarmNews::Kind::kCleared) return;
  Send({.kind = schema::EventKind::AnomalyCleared,
        .package = {.digest = before},
        .count = news.left_out,
        .detail = "another model serves",
        .severity = news.severity,
        .alarm = news.alarm,
        .peak = news.peak,
        .lasted_ns = news.lasted_ns});
}

void ModelRunner::ReportAnomaly(const FeedResult& result, int64_t now_ns) {
  const learn::Output& out = result.champion.output;
  if (!result.champion.observed || !out.has_score) return;
  const AlarmNews news = alarm_.Take(out.anomaly_score, out.anomaly_active, result.id, now_ns);
  if (news.kind == AlarmNews::Kind::kNothing) return;
  const FeedModel& champion = feed_.champion();
  const learn::Spec& spec = *champion.spec;
  const learn::Layout& layout = spec.plan().layout;
  const bool raised = news.kind == AlarmNews::Kind::kRaised;
  telemetry::Event event{
      .kind = raised ? schema::EventKind::AnomalyRaised : schema::EventKind::AnomalyCleared,
      .sample_id = result.id,
      .score = out.anomaly_score,
      .threshold = raised ? layout.anomaly.raise : layout.anomaly.clear,
      .count = news.left_out,
      .severity = news.severity,
      .alarm = news.alarm,
      .peak = news.peak,
      .lasted_ns = news.lasted_ns};
  std::array<telemetry::Contribution, kMostContributors> shares{};
  size_t count = 0;
  if (raised && spec.target_kind() == schema::TargetKind::FeatureAhead) {
    // A forecast's residual is of one feature.
    shares[0] = {.feature = spec.feature_name(layout.target.feature), .share = 1.0};
    count = 1;
  } else if (raised) {
    count = Contributors(*champion.model, spec, feed_.champion_values(), shares);
  }
  event.contributions = {shares.data(), count};
  Send(event);
}

}  // namespace dipper::runtime
