// One turn of the loop: wire, updater, samples, states, storage. Metrics and states are in agent_report.cc.
#include "agent/runtime/agent.h"

#include <algorithm>

namespace dipper::runtime {

using base::Status;

namespace {

constexpr int64_t kSecondNs = 1000000000;
constexpr int64_t kLongestSleepNs = 100000000;  // the outbox wants a turn every 100 ms
constexpr int64_t kSilenceNs = 30 * kSecondNs;  // after that a component counts as not answering
constexpr int64_t kSyncIntervalNs =
    2 * kSecondNs;                        // event log and backlog reach the medium at least that often
constexpr uint32_t kRecordsPerTurn = 64;  // so that a burst does not starve the wire
constexpr uint32_t kEventsPerTurn = 128;
constexpr uint64_t kTimedOneIn = 64;  // a clock read costs more than a prediction

bool Finite(const FeedAnswer& answer) { return !answer.observed || learn::IsFinite(answer.output); }

}  // namespace

Agent::Agent(const AgentConfig& config, const AgentParts& parts)
    : config_(config),
      at_(parts),
      topics_(config.fleet, config.device),
      feed_(config.truth, parts.marker),
      health_(config.healthy_after_ns, kSilenceNs, parts.clock.MonotonicNs()),
      started_ns_(parts.clock.MonotonicNs()) {
  DIPPER_CHECK(topics_.valid());
  next_metrics_ns_ = started_ns_ + config.telemetry_interval_ns;
}

int64_t Agent::Step() {
  const int64_t now_ns = at_.clock.MonotonicNs();
  DrainTransport();
  at_.updater.Poll(now_ns);
  health_.Answered(Component::kUpdate, now_ns);
  FeedSamples(now_ns);
  SendDueStates();
  if (now_ns >= next_metrics_ns_) {
    SendMetrics();
    next_metrics_ns_ = now_ns + config_.telemetry_interval_ns;
  }
  at_.outbox.Poll(now_ns);
  SyncStorage(now_ns);
  if (!healthy_ && health_.PeriodPassed(now_ns)) {
    healthy_ = Ok(at_.updater.HealthyMark());
    if (healthy_) at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::Healthy}, config_.model);
  }
  int64_t due = std::min(now_ns + kLongestSleepNs, next_metrics_ns_);
  if (!source_ended_) due = std::min(due, at_.source.NextDueNs());
  return due;
}

void Agent::Stop() {
  if (!Ok(at_.updater.PlannedStop())) {
    at_.reporter.Send(
        telemetry::Event{.kind = schema::EventKind::StorageError, .detail = "stop was not recorded"},
        config_.model);
  }
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::Stopped}, {});
  if (!at_.reporter.SendOnline(false)) online_due_ = false;  // the will says it then
  at_.outbox.FlushToBacklog();
  // Nothing more can be done about a medium that fails on the way out.
  if (!Ok(at_.backlog.Flush()) || !Ok(at_.log.Sync())) return;
}

void Agent::DrainTransport() {
  telemetry::TransportEvent event;
  for (uint32_t i = 0; i < kEventsPerTurn && Ok(at_.transport.Poll(&event)); ++i) {
    at_.outbox.OnEvent(event);
    if (event.kind == telemetry::TransportEvent::Kind::kConnected) OnConnected();
    if (event.kind == telemetry::TransportEvent::Kind::kMessage) OnMessage(event);
  }
}

void Agent::OnConnected() {
  at_.updater.OnLinkReached();
  online_due_ = birth_due_ = update_due_ = true;
  subscribe_due_ = true;
  SendDueStates();
}

void Agent::SubscribeWanted() {
  if (!subscribe_due_ || !at_.transport.connected()) return;
  // All filters again: brokers send retained messages anew for each, and offers and roots that are known cost
  // nothing.
  bool good = true;
  const auto subscribe = [&](const telemetry::Topic& filter) {
    if (!filter.empty())
      good = Ok(at_.transport.Subscribe(filter.view(), telemetry::Qos::kAtLeastOnce)) && good;
  };
  const auto subscribe_node = [&](std::string_view node) {
    subscribe(telemetry::OfferTopic(config_.fleet, node));
    subscribe(telemetry::CommandTopic(config_.fleet, node));
  };
  subscribe(telemetry::RootFilter(config_.fleet));
  subscribe_node(config_.device);
  subscribe_node(telemetry::kEverybody);
  for (std::string_view group : config_.groups) subscribe_node(group);
  subscribe(wanted_);
  subscribe_due_ = !good;
}

void Agent::WantTopic(const telemetry::Topic& filter) {
  WantNothing();
  wanted_ = filter;
  if (!Ok(at_.transport.Subscribe(wanted_.view(), telemetry::Qos::kAtLeastOnce))) subscribe_due_ = true;
}

void Agent::WantNothing() {
  if (wanted_.empty()) return;
  const Status status = at_.transport.Unsubscribe(wanted_.view());
  (void)status;  // without a connection there is nothing to end; otherwise what still comes is ignored
  wanted_ = {};
}

void Agent::OnMessage(const telemetry::TransportEvent& message) {
  const auto topic = telemetry::ParseTopic(message.topic);
  if (!topic.ok() || topic->fleet != config_.fleet) return;
  switch (topic->kind) {
    case telemetry::TopicKind::kOffer:
      if (message.payload.empty()) return;  // a cleared offer
      // The reason is reported by the updater's own event.
      if (at_.updater.OnOffer(message.payload) != schema::Reason::None) update_due_ = true;
      return;
    case telemetry::TopicKind::kPkgManifest:
      at_.updater.OnManifest(topic->digest, message.payload);
      return;
    case telemetry::TopicKind::kPkgBlock:
      at_.updater.OnBlock(topic->digest, topic->block, message.payload);
      return;
    case telemetry::TopicKind::kRoot:
      if (at_.trust.OnRoot(message.payload) == schema::Reason::None) {
        at_.reporter.Send(
            telemetry::Event{.kind = schema::EventKind::RootChanged, .count = at_.trust.root().version()},
            {});
      }
      return;
    case telemetry::TopicKind::kCommand:
      OnCommand(message.payload);
      return;
    default:
      return;
  }
}

void Agent::FeedSamples(int64_t now_ns) {
  for (uint32_t i = 0; i < kRecordsPerTurn && !source_ended_; ++i) {
    hal::Record record;
    const Status status = at_.source.Poll(&record);
    if (status == Status::kOutOfRange) {
      source_ended_ = true;
      at_.reporter.Send(
          telemetry::Event{.kind = schema::EventKind::DataError, .detail = "the source has ended"}, {});
      break;
    }
    if (status == Status::kNotFound) break;
    if (!Ok(status)) continue;
    if (models_changed_) {
      models_changed_ = false;
      drift_.OnModelsChanged();
      const update::UpdateStatus status_now = at_.updater.Status();
      feed_.SetModels({at_.updater.champion(), at_.updater.champion_spec(), status_now.champion},
                      {at_.updater.challenger(), at_.updater.challenger_spec(), status_now.challenger});
    }
    const bool timed = fed_++ % kTimedOneIn == 0;
    const int64_t before_ns = timed ? at_.clock.MonotonicNs() : 0;
    FeedResult result;
    const bool each_timed = timed || at_.updater.WantsLatency();
    if (!Ok(feed_.OnRecord(record, &result, each_timed ? &at_.clock : nullptr))) {
      at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::DataError,
                                         .detail = "no column of the source is a feature"},
                        config_.model);
    }
    if (timed) latency_.Add(at_.clock.MonotonicNs() - before_ns);
    if (result.is_sample) OnSample(result, now_ns);
  }
  // A source that has nothing due, or has ended, has answered too.
  health_.Answered(Component::kSource, now_ns);
  health_.Answered(Component::kModel, now_ns);
}

void Agent::OnSample(const FeedResult& result, int64_t now_ns) {
  // Reported first: the updater may put another model in the champion's place.
  if (Finite(result.champion)) {
    ReportAnomaly(result);
    ReportDrift(result, now_ns);
    if (result.has_truth && result.champion.observed && result.champion.output.has_score) {
      scorer_.Add(result.champion.output.anomaly_score, result.truth);
      scored_ = true;
    }
    SendPrediction(result);
  } else {
    at_.updater.OnChampionFailed();
  }
  if (!Finite(result.challenger)) at_.updater.OnChallengerFailed(schema::Reason::NotFinite);
  if (result.challenger.took_ns >= 0) at_.updater.OnChallengerLatency(result.challenger.took_ns);
  if (result.challenger.learned) at_.updater.OnOutcomes(result.champion.outcome, result.challenger.outcome);
}

void Agent::SendPrediction(const FeedResult& result) {
  if (!config_.publish_predictions || !result.champion.observed || !at_.transport.connected()) return;
  const learn::Output& out = result.champion.output;
  // A prediction that finds the wire full is not worth keeping.
  (void)at_.reporter.SendNow(telemetry::Prediction{.id = result.id,
                                                   .cold = out.cold,
                                                   .value = out.value,
                                                   .class_index = out.class_index,
                                                   .probabilities = out.probabilities,
                                                   .has_score = out.has_score,
                                                   .anomaly_score = out.anomaly_score,
                                                   .anomaly_active = out.anomaly_active,
                                                   .has_interval = out.has_interval,
                                                   .unbounded = out.unbounded,
                                                   .low = out.low,
                                                   .high = out.high,
                                                   .class_set = out.class_set},
                             config_.model);
}

void Agent::ReportAnomaly(const FeedResult& result) {
  const learn::Output& out = result.champion.output;
  if (!result.champion.observed || !(out.anomaly_raised || out.anomaly_cleared)) return;
  const learn::Spec& spec = *at_.updater.champion_spec();
  const learn::Layout& layout = spec.plan().layout;
  telemetry::Event event{
      .kind = out.anomaly_raised ? schema::EventKind::AnomalyRaised : schema::EventKind::AnomalyCleared,
      .sample_id = result.id,
      .score = out.anomaly_score,
      .threshold = out.anomaly_raised ? layout.anomaly.raise : layout.anomaly.clear};
  // A forecast's residual is of one feature; an unsupervised score is of the whole sample.
  telemetry::Contribution share{.share = 1.0};
  if (spec.target_kind() == schema::TargetKind::FeatureAhead) {
    share.feature = spec.feature_name(layout.target.feature);
    event.contributions = {&share, 1};
  }
  at_.reporter.Send(event, config_.model);
}

void Agent::ReportDrift(const FeedResult& result, int64_t now_ns) {
  const auto report = [&](DriftSource source, bool warning, bool alarm, int32_t feature) {
    telemetry::Event event{.sample_id = result.id};
    const auto told = drift_.Take(source, warning, alarm, feature, now_ns, &event.count);
    if (told == DriftFilter::Answer::kNothing) return;
    event.kind =
        told == DriftFilter::Answer::kAlarm ? schema::EventKind::DriftAlarm : schema::EventKind::DriftWarning;
    telemetry::Contribution share{.share = 1.0};
    if (feature >= 0) {
      share.feature = at_.updater.champion_spec()->feature_name(static_cast<uint32_t>(feature));
      event.contributions = {&share, 1};
    }
    at_.reporter.Send(event, config_.model);
  };
  if (result.champion.observed) {
    const learn::Output& out = result.champion.output;
    report(DriftSource::kFeatures, out.drift_warning, out.drift_alarm, out.drift_feature);
  }
  if (result.champion.learned) {
    const learn::Outcome& outcome = result.champion.outcome;
    report(DriftSource::kModel, outcome.drift_warning, outcome.drift_alarm, -1);
  }
}

void Agent::SyncStorage(int64_t now_ns) {
  if (now_ns < next_sync_ns_) return;
  next_sync_ns_ = now_ns + kSyncIntervalNs;
  const uint64_t written = at_.log.newest() + at_.backlog.next_sequence() + at_.backlog.oldest();
  if (written == synced_ || (Ok(at_.backlog.Flush()) && Ok(at_.log.Sync()))) {
    synced_ = written;
    health_.Answered(Component::kStorage, now_ns);
  }
}

}  // namespace dipper::runtime
