// What the agent says: update steps, answers to commands, retained states and metrics.
#include <algorithm>

#include "agent/runtime/agent.h"
#include "agent/runtime/model_metrics.h"

namespace dipper::runtime {

using telemetry::MetricId;

namespace {

constexpr size_t kMaxBirthFeatures = 64;  // what a birth buffer is sure to hold

schema::SlotName SlotName(store::SlotId slot) {
  switch (slot) {
    case store::SlotId::kA:
      return schema::SlotName::A;
    case store::SlotId::kB:
      return schema::SlotName::B;
    case store::SlotId::kFactory:
      return schema::SlotName::Factory;
    case store::SlotId::kNone:
      break;
  }
  return schema::SlotName::None;
}

// The wire's report tells both losses and the interval of their difference; the gate's interval is that of
// the excess.
telemetry::GateReport WireReport(const update::GateReport& gate) {
  const double margin = gate.challenger_loss - gate.rival_loss - gate.excess;
  return {.samples = gate.counted,
          .champion_loss = gate.rival_loss,
          .challenger_loss = gate.challenger_loss,
          .lower = gate.lower + margin,
          .upper = gate.upper + margin,
          .margin = margin};
}

}  // namespace

void Agent::OnUpdateEvent(const update::UpdateEvent& event) {
  if (event.to != event.from) {
    counters_.confirms += event.to == schema::UpdateState::Confirmed ? 1 : 0;
    counters_.fall_backs += event.to == schema::UpdateState::FellBack ? 1 : 0;
    counters_.rejects += event.to == schema::UpdateState::Rejected ? 1 : 0;
  }
  if (!event.champion_image.IsZero()) served_image_ = event.champion_image;
  const telemetry::GateReport gate = WireReport(event.gate);
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::UpdateStep,
                                     .from = event.from,
                                     .to = event.to,
                                     .reason = event.reason,
                                     .package = {.digest = event.package,
                                                 .name = event.name.view(),
                                                 .version = event.version.view(),
                                                 .security_version = event.security_version},
                                     .image = event.champion_image,
                                     .gate = event.has_gate ? &gate : nullptr,
                                     .count = event.offer_number,
                                     .detail = event.denied ? "the package is denied from now on" : ""},
                    config_.model);
  update_due_ = true;
  birth_due_ = birth_due_ || event.to == schema::UpdateState::Confirmed;
}

void Agent::OnCommand(base::ByteView document) {
  const package::DeviceNames names{
      .fleet = config_.fleet, .device = config_.device, .groups = config_.groups};
  const update::Trust::Ticket ticket = at_.trust.OnCommand(document, names);
  if (ticket.reason == schema::Reason::WrongTarget) return;  // somebody else's
  telemetry::CommandResponse response{
      .number = ticket.facts.number, .name = ticket.facts.name.view(), .reason = ticket.reason};
  if (ticket.reason != schema::Reason::None) {
    response.status = schema::CommandStatus::Refused;
  } else if (ticket.lookup == store::CommandLookup::kNew) {
    response.reason = RunCommand(ticket.facts);
    if (!Ok(at_.trust.FinishCommand(ticket.facts.number, response.reason))) {
      response.status = schema::CommandStatus::Failed;
      response.reason = schema::Reason::StorageError;
    }
  } else {
    response.repeated = true;
    response.reason = static_cast<schema::Reason>(ticket.stored_result);
    if (ticket.lookup == store::CommandLookup::kOutcomeUnknown) {
      response.status = schema::CommandStatus::OutcomeUnknown;
      response.reason = schema::Reason::OutcomeUnknown;
    } else if (ticket.lookup != store::CommandLookup::kDone) {
      response.status = schema::CommandStatus::Refused;
      response.reason = schema::Reason::OldNumber;
    }
  }
  if (response.status == schema::CommandStatus::Done && response.reason != schema::Reason::None) {
    response.status = schema::CommandStatus::Refused;
  }
  if (learn::Model* champion = at_.updater.champion(); champion != nullptr) {
    response.image = served_image_ = champion->ImageDigest();
  }
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::CommandDone,
                                     .reason = response.reason,
                                     .image = response.image,
                                     .count = response.number,
                                     .detail = response.name},
                    config_.model);
  // A lost answer is asked for again with the same number: the stored result is the answer then.
  (void)at_.reporter.SendNow(response, {});
  update_due_ = true;
}

schema::Reason Agent::RunCommand(const package::CommandFacts& command) {
  const std::string_view name = command.name.view();
  if (!command.model.empty() && command.model.view() != config_.model) return schema::Reason::WrongTarget;
  if (name == "fall_back") return at_.updater.FallBack();
  if (name == "undo") return at_.updater.Undo();
  if (name == "freeze") return at_.updater.Freeze(true);
  if (name == "unfreeze") return at_.updater.Freeze(false);
  if (name == "checkpoint") return at_.updater.Checkpoint();
  if (name == "override_denied") {
    const auto digest = base::DigestFromHex(command.argument("package"));
    return digest.ok() ? at_.updater.OverrideDenied(*digest) : schema::Reason::BadFormat;
  }
  return schema::Reason::Unknown;
}

void Agent::SendDueStates() {
  if (!at_.transport.connected()) return;
  SubscribeWanted();
  if (online_due_) online_due_ = !at_.reporter.SendOnline(true);
  if (birth_due_) birth_due_ = !SendBirth();
  if (update_due_) update_due_ = !SendUpdateStatus();
}

bool Agent::SendBirth() {
  std::array<telemetry::FeatureInfo, kMaxBirthFeatures> features;
  telemetry::ModelInfo model{
      .id = config_.model, .max_image_bytes = config_.max_image_bytes, .slot_bytes = config_.slot_bytes};
  const update::UpdateStatus status = at_.updater.Status();
  if (const learn::Spec* spec = at_.updater.champion_spec(); spec != nullptr) {
    const schema::Spec& table = spec->table();
    const size_t count = std::min<size_t>(spec->feature_count(), features.size());
    for (uint32_t i = 0; i < count; ++i) {
      const schema::Feature& feature = *table.features()->Get(i);
      features[i] = {.name = feature.name()->string_view(),
                     .unit = feature.unit() != nullptr ? feature.unit()->string_view() : std::string_view{},
                     .categorical = feature.type() == schema::FeatureType::Categorical};
    }
    model.features = {features.data(), count};
    model.task = schema::EnumNameTask(table.task());
    model.learner = schema::EnumNameLearnerParams(table.learner_type());
    model.target = table.target()->kind() == schema::TargetKind::FeatureAhead
                       ? spec->feature_name(table.target()->feature())
                       : (table.target()->name() != nullptr ? table.target()->name()->string_view()
                                                            : std::string_view{});
    model.serving = {.digest = status.champion,
                     .name = status.champion_name.view(),
                     .version = status.champion_version.view(),
                     .security_version = status.floor};
    model.slot = SlotName(status.champion_slot);
    model.image_bytes = spec->state_bytes();
  }
  return at_.reporter.SendBirth({&model, 1}, learn::kNumericsVersion);
}

bool Agent::SendUpdateStatus() {
  const update::UpdateStatus status = at_.updater.Status();
  const auto gate = at_.updater.ReadGate();
  const telemetry::GateReport report = gate.ok() ? WireReport(*gate) : telemetry::GateReport{};
  telemetry::UpdateStatus message{.state = status.state,
                                  .reason = status.reason,
                                  .offer_number = status.offer_number,
                                  .serving = {.digest = status.champion,
                                              .name = status.champion_name.view(),
                                              .version = status.champion_version.view()},
                                  .serving_slot = SlotName(status.champion_slot),
                                  .serving_image = served_image_,
                                  .undo = {.digest = status.undo_package},
                                  .floor = status.floor,
                                  .blocks_done = status.blocks_have,
                                  .blocks_total = status.blocks_total,
                                  .tries_left = static_cast<uint8_t>(status.tries_left),
                                  .rung = static_cast<uint8_t>(status.rung),
                                  .gate = gate.ok() ? &report : nullptr};
  if (learn::Model* champion = at_.updater.champion(); champion != nullptr)
    message.frozen = champion->frozen();
  message.target = {.digest = status.challenger.IsZero() ? status.offered : status.challenger,
                    .name = status.challenger_name.view(),
                    .version = status.challenger_version.view()};
  return at_.reporter.SendNow(message, config_.model);
}

void Agent::AddChampionMetrics(MetricBatch* batch) {
  const learn::Model* champion = at_.updater.champion();
  if (champion == nullptr) return;
  AddModelMetrics(*champion, *at_.updater.champion_spec(), feed_.counters().skipped, batch);
  batch->Add(MetricId::kLatencyP50Seconds, static_cast<double>(latency_.QuantileNs(0.5)) * 1e-9);
  batch->Add(MetricId::kLatencyP99Seconds, static_cast<double>(latency_.QuantileNs(0.99)) * 1e-9);
  batch->Add(MetricId::kLatencyMaxSeconds, static_cast<double>(latency_.MaxNs()) * 1e-9);
  if (scored_) batch->Add(MetricId::kAnomalyAuc, scorer_.Auc());
}

void Agent::AddUpdateMetrics(const update::UpdateStatus& status, MetricBatch* batch) {
  batch->Count(MetricId::kUpdateState, static_cast<uint64_t>(status.state));
  batch->Count(MetricId::kUpdateReason, static_cast<uint64_t>(status.reason));
  batch->Count(MetricId::kServingSlot, static_cast<uint64_t>(status.champion_slot));
  batch->Count(MetricId::kTriesLeft, status.tries_left);
  batch->Count(MetricId::kFloorEpoch, status.floor.epoch);
  batch->Count(MetricId::kFloorVersion, status.floor.version);
  batch->Count(MetricId::kRung, static_cast<uint64_t>(status.rung));
  batch->Count(MetricId::kCheckpointsTotal, status.checkpoints);
  batch->Count(MetricId::kConfirmsTotal, counters_.confirms);
  batch->Count(MetricId::kFallBacksTotal, counters_.fall_backs);
  batch->Count(MetricId::kRejectsTotal, counters_.rejects);
  if (const auto gate = at_.updater.ReadGate(); gate.ok()) {
    const telemetry::GateReport report = WireReport(*gate);
    batch->Count(MetricId::kGateSamples, report.samples);
    batch->Add(MetricId::kGateLower, report.lower);
    batch->Add(MetricId::kGateUpper, report.upper);
  }
}

void Agent::AddDeviceMetrics(MetricBatch* batch) {
  hal::SystemReading reading;
  if (Ok(at_.system.Read(&reading))) {
    batch->Add(MetricId::kSystemCpuRatio, reading.cpu_ratio);
    batch->Add(MetricId::kSystemLoad1m, reading.load_1m);
    batch->Count(MetricId::kSystemMemoryTotalBytes, reading.memory_total_bytes);
    batch->Count(MetricId::kSystemMemoryAvailableBytes, reading.memory_available_bytes);
    batch->Add(MetricId::kSystemTemperatureCelsius, reading.temperature_celsius);
    batch->Count(MetricId::kSystemDiskFreeBytes, reading.disk_free_bytes);
    batch->Count(MetricId::kSystemUptimeSeconds, reading.uptime_seconds);
    batch->Add(MetricId::kProcessCpuSecondsTotal, reading.process_cpu_seconds);
    batch->Count(MetricId::kProcessRssBytes, reading.process_rss_bytes);
  }
  batch->Flag(MetricId::kSystemClockSynchronized, at_.clock.WallSynchronized());
  batch->Add(MetricId::kProcessUptimeSeconds,
             static_cast<double>(at_.clock.MonotonicNs() - started_ns_) * 1e-9);
  const telemetry::TransportStats link = at_.transport.stats();
  batch->Count(MetricId::kLinkConnectsTotal, link.connects);
  batch->Count(MetricId::kLinkFailedConnectsTotal, link.failed_connects);
  batch->Count(MetricId::kLinkSentMessagesTotal, link.sent_messages);
  batch->Count(MetricId::kLinkSentBytesTotal, link.sent_bytes);
  batch->Count(MetricId::kLinkReceivedMessagesTotal, link.received_messages);
  batch->Count(MetricId::kLinkReceivedBytesTotal, link.received_bytes);
  batch->Count(MetricId::kLinkReceivedDroppedTotal, link.received_dropped);
  batch->Count(MetricId::kLinkInFlight, link.in_flight);
  const telemetry::OutboxCounters outbox = at_.outbox.counters();
  batch->Count(MetricId::kBacklogEntries, outbox.backlog_entries);
  batch->Count(MetricId::kBacklogStoredTotal, outbox.stored);
  batch->Count(MetricId::kBacklogSentTotal, outbox.backlog_sent);
  batch->Count(MetricId::kBacklogDroppedTotal, outbox.dropped);
  batch->Count(MetricId::kTelemetryRefusedTotal, outbox.refused);
  const double age =
      outbox.oldest_time_ns == 0 ? 0 : static_cast<double>(batch->wall_ns() - outbox.oldest_time_ns) * 1e-9;
  batch->Add(MetricId::kBacklogOldestAgeSeconds, std::max(age, 0.0));
}

void Agent::SendMetrics() {
  const int64_t wall_ns = at_.clock.WallNs();
  MetricBatch of_device(wall_ns);
  AddDeviceMetrics(&of_device);
  at_.reporter.Send(of_device.readings(), {});
  const update::UpdateStatus status = at_.updater.Status();
  // Progress of a transfer or a trial is worth telling between its steps.
  update_due_ = update_due_ || status.state == schema::UpdateState::Transferring ||
                status.state == schema::UpdateState::Trial;
  MetricBatch of_model(wall_ns);
  AddChampionMetrics(&of_model);
  AddUpdateMetrics(status, &of_model);
  at_.reporter.Send(of_model.readings(), config_.model);
}

}  // namespace dipper::runtime
