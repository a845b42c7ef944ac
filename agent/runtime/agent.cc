// One turn of the loop: wire, models, samples, states, storage. Commands, births and metrics are in
// agent_report.cc.
#include "agent/runtime/agent.h"

#include <algorithm>

#include "agent/base/time.h"

namespace dipper::runtime {

namespace {

constexpr int64_t kLongestSleepNs = 100000000;        // the outbox wants a turn every 100 ms
constexpr int64_t kSilenceNs = 30 * base::kSecondNs;  // after that a component counts as not answering
constexpr int64_t kSyncIntervalNs =
    2 * base::kSecondNs;  // event log and backlog reach the medium at least that often
constexpr uint32_t kEventsPerTurn = 128;
// Checked in one turn; the rest waits in the link's queue. A signature takes 11 ms on a slow processor, and
// whoever may publish can send as many as the wire carries: models get their turns in between.
constexpr uint32_t kDocumentsPerTurn = 4;
constexpr int64_t kReminderNs = 10 * base::kSecondNs;  // of storage that cannot be written

}  // namespace

Agent::Agent(const AgentConfig& config, const AgentParts& parts)
    : config_(config),
      at_(parts),
      topics_(config.fleet, config.device),
      health_(config.healthy_after_ns, kSilenceNs, parts.clock.MonotonicNs()),
      started_ns_(parts.clock.MonotonicNs()) {
  DIPPER_CHECK(topics_.valid());
  next_metrics_ns_ = started_ns_ + config.telemetry_interval_ns;
}

void Agent::Add(ModelRunner& model) {
  DIPPER_CHECK(Ok(models_.PushBack(&model)));
  const uint32_t who = answers().Add(model.id(), kSilenceNs, at_.clock.MonotonicNs());
  DIPPER_CHECK(Ok(answers_of_models_.PushBack(who)));
}

int64_t Agent::Step() {
  const int64_t now_ns = at_.clock.MonotonicNs();
  TickBudget(now_ns);
  DrainTransport();
  for (ModelRunner* model : models_) model->Poll(now_ns);
  at_.turns.Poll(now_ns);
  health_.Answered(Component::kUpdate, now_ns);
  FeedRecords(now_ns);
  ReportTrouble(now_ns);
  for (uint32_t who : answers_of_models_) answers().Answered(who, now_ns);
  SendDueStates();
  if (now_ns >= next_metrics_ns_) {
    SendMetrics(now_ns);
    next_metrics_ns_ = now_ns + config_.telemetry_interval_ns;
  }
  at_.outbox.Poll(now_ns);
  PollWipe(now_ns);
  SyncStorage(now_ns);
  if (health_.PeriodPassed(now_ns)) {
    for (ModelRunner* model : models_) model->OnHealthyPeriod();
  }
  int64_t due = std::min(now_ns + kLongestSleepNs, next_metrics_ns_);
  for (const ModelRunner* model : models_) {
    if (model->NextDueNs() != 0) due = std::min(due, model->NextDueNs());
  }
  // 0: the source does not know; whoever waits watches its descriptor.
  const int64_t next = source_ended_ || models_.empty() ? 0 : at_.source.NextDueNs();
  if (at_.labels != nullptr && !models_.empty() && at_.labels->NextDueNs() != 0)
    due = std::min(due, at_.labels->NextDueNs());
  return next == 0 ? due : std::min(due, next);
}

void Agent::Stop() {
  for (ModelRunner* model : models_) model->Stop();
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::Stopped}, {});
  if (!at_.reporter.SendOnline(false)) online_due_ = false;  // the will says it then
  at_.outbox.FlushToBacklog();
  at_.backlog.SetTally(at_.outbox.budget().day(), at_.outbox.budget().spent());
  // Nothing more can be done about a medium that fails on the way out.
  if (!Ok(at_.backlog.Flush()) || !Ok(at_.log.Sync())) return;
}

void Agent::DrainTransport() {
  telemetry::TransportEvent event;
  uint32_t documents = 0;
  for (uint32_t i = 0; i < kEventsPerTurn && documents < kDocumentsPerTurn; ++i) {
    if (!Ok(at_.transport.Poll(&event))) return;
    at_.outbox.OnEvent(event);
    at_.turns.OnEvent(event);
    for (ModelRunner* model : models_) model->OnTransportEvent(event);
    if (event.kind == telemetry::TransportEvent::Kind::kConnected) OnConnected();
    if (event.kind == telemetry::TransportEvent::Kind::kMessage && OnMessage(event)) ++documents;
  }
}

void Agent::OnConnected() {
  for (ModelRunner* model : models_) model->OnConnected();
  online_due_ = birth_due_ = true;
  subscribe_due_ = true;
  subscribed_ = 0;
  at_.turns.OnConnected();
  SendDueStates();
}

void Agent::SubscribeWanted() {
  if (!subscribe_due_ || !at_.transport.connected()) return;
  // All filters again, whatever the broker has kept: it sends retained messages anew for each, and offers and
  // roots that are known cost nothing. There may be more than the wire takes at once: the rest follows.
  bool good = true;
  size_t number = 0;
  const auto subscribe_at = [&](std::string_view filter, telemetry::Qos qos) {
    if (++number <= subscribed_ || !good) return;
    good = filter.empty() || Ok(at_.transport.Subscribe(filter, qos));
    if (good) subscribed_ = number;
  };
  const auto subscribe = [&](const telemetry::Topic& filter) {
    subscribe_at(filter.view(), telemetry::Qos::kAtLeastOnce);
  };
  const bool named = std::any_of(models_.begin(), models_.end(), [](const ModelRunner* model) {
    return model->id() != telemetry::kMainModel;
  });
  const auto subscribe_node = [&](std::string_view node) {
    subscribe(telemetry::OfferTopic(config_.fleet, node));
    if (named) subscribe(telemetry::ModelOfferFilter(config_.fleet, node));
    subscribe(telemetry::CommandTopic(config_.fleet, node));
  };
  subscribe(telemetry::RootFilter(config_.fleet));
  subscribe_node(config_.device);
  subscribe_node(telemetry::kEverybody);
  for (std::string_view group : config_.groups) subscribe_node(group);
  for (const MqttSource* inlet : at_.inlets) {
    for (const MqttTopic& topic : inlet->topics()) subscribe_at(topic.filter, inlet->qos());
  }
  subscribe_due_ = !good;
}

void Agent::OnRoot(base::ByteView document) {
  if (at_.trust.OnRoot(document) != schema::Reason::None) return;
  at_.reporter.Send(
      telemetry::Event{.kind = schema::EventKind::RootChanged, .count = at_.trust.root().version()}, {});
  // Whether an offer counts is a question of the root in force, and the broker has it: one that came before
  // its root, or that the change of keys would drop.
  subscribe_due_ = true;
  subscribed_ = 0;
}

ModelRunner* Agent::Find(std::string_view model) {
  const auto found = std::find_if(models_.begin(), models_.end(),
                                  [&](const ModelRunner* runner) { return runner->id() == model; });
  return found == models_.end() ? nullptr : *found;
}

ModelRunner* Agent::WhoWants(const base::Digest& package) {
  const auto number = at_.turns.WhoWants(package);
  if (!number) return nullptr;
  const auto found = std::find_if(models_.begin(), models_.end(),
                                  [&](const ModelRunner* runner) { return runner->number() == *number; });
  return found == models_.end() ? nullptr : *found;
}

/// Whether it was a signed document that had to be checked.
bool Agent::OnMessage(const telemetry::TransportEvent& message) {
  const auto topic = telemetry::ParseTopic(message.topic);
  if (!topic.ok() || topic->fleet != config_.fleet) {
    TakeMessage(message);
    return false;
  }
  switch (topic->kind) {
    case telemetry::TopicKind::kOffer:
      // An empty one is a cleared offer. Its document says which model it is for; the topic only keeps offers
      // for different models apart.
      if (message.payload.empty()) return false;
      for (ModelRunner* model : models_) model->OnOffer(message.payload);
      return true;
    case telemetry::TopicKind::kPkgManifest:
      if (ModelRunner* model = WhoWants(topic->digest); model != nullptr)
        model->OnManifest(topic->digest, message.payload);
      return false;
    case telemetry::TopicKind::kPkgBlock:
      if (ModelRunner* model = WhoWants(topic->digest); model != nullptr)
        model->OnBlock(topic->digest, topic->block, message.payload);
      return false;
    case telemetry::TopicKind::kRoot:
      OnRoot(message.payload);
      return true;
    case telemetry::TopicKind::kCommand:
      OnCommand(message.payload);
      return true;
    default:
      TakeMessage(message);
      return false;
  }
}

void Agent::SyncStorage(int64_t now_ns) {
  if (now_ns < next_sync_ns_) return;
  next_sync_ns_ = now_ns + kSyncIntervalNs;
  const uint64_t written = at_.log.newest() + at_.backlog.next_sequence() + at_.backlog.oldest();
  const bool good = written == synced_ || (Ok(at_.backlog.Flush()) && Ok(at_.log.Sync()));
  if (good) synced_ = written;
  sync_failures_ += good ? 0 : 1;
  ReportStorage(now_ns);
  // A full disk has answered; the healthy time waits until it works, the watchdog does not.
  health_.Answered(Component::kStorage, now_ns, good && !data_watch_.trouble());
}

/// While it lasts, each reminder is also the attempt to write that shows the end of the trouble.
void Agent::ReportStorage(int64_t now_ns) {
  const auto news = data_watch_.Look(at_.reporter.log_failures() + sync_failures_, at_.log.newest());
  if (news == StorageWatch::News::kRecovered) {
    at_.reporter.Send(
        telemetry::Event{.kind = schema::EventKind::StorageRecovered, .count = data_watch_.failed()}, {});
  }
  if (!data_watch_.trouble() || (news == StorageWatch::News::kNothing && now_ns < next_reminder_ns_)) return;
  next_reminder_ns_ = now_ns + kReminderNs;
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::StorageError,
                                     .count = data_watch_.failed(),
                                     .detail = "data cannot be written; learning goes on in memory"},
                    {});
}

}  // namespace dipper::runtime
