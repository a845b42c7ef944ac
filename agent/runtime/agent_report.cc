// What the device says for all of its models: answers to commands, its birth, its own metrics.
#include <algorithm>
#include <array>
#include <cstdio>

#include "agent/base/time.h"
#include "agent/runtime/agent.h"

namespace dipper::runtime {

using telemetry::MetricId;

namespace {

constexpr size_t kMaxBirthFeatures = 64;  // of one model; what a birth buffer is sure to hold of one
constexpr int64_t kTickNs = base::kSecondNs;
constexpr int64_t kTallyNs = 900'000'000'000;     // each costs the flash a write
constexpr int64_t kWipeAnswerNs = 5'000'000'000;  // the answer's way to the broker; then it erases without
constexpr std::string_view kWipe = "wipe";
constexpr std::string_view kWipeBegins = "it erases now; the event wiped tells the end";
constexpr std::string_view kWipeOfModel = "wipe is of the whole device; name no model";
constexpr std::string_view kNoSuchModel = "no such model runs here; the birth message lists those that do";
constexpr std::string_view kRootExpired =
    "offers and commands are refused until a newer root comes (dipper root publish); models go on";
constexpr std::string_view kCarriedOut = "carried out before: answered again";

/// Of a command that was not carried out.
std::string_view WhyRefused(schema::Reason reason) {
  switch (reason) {
    case schema::Reason::BadFormat:
      return "it is no signed command";
    case schema::Reason::TooLarge:
      return "it is larger than a command may be";
    case schema::Reason::UnknownKey:
      return "no key of the command role in this device's root has signed it";
    case schema::Reason::BadSignature:
      return "a signature is wrong, or too few keys of the command role have signed it";
    case schema::Reason::Expired:
      return "its time, or that of the device's root, is over";
    case schema::Reason::OldNumber:
      return "its number is not above the last one; use a higher one";
    case schema::Reason::RootInvalid:
      return "it is of a later epoch than the device's root; publish the newer root";
    case schema::Reason::StorageError:
      return "its number could not be stored; send it again";
    case schema::Reason::OutcomeUnknown:
      return "its run was cut; look at status, then use a new number";
    default:
      return "it cannot be carried out";
  }
}

}  // namespace

void Agent::OnCommand(base::ByteView document) {
  const package::DeviceNames names{
      .fleet = config_.fleet, .device = config_.device, .groups = config_.groups};
  const update::Trust::Ticket ticket = at_.trust.OnCommand(document, names);
  if (ticket.reason == schema::Reason::WrongTarget) return;  // somebody else's
  if (ticket.reason != schema::Reason::None || ticket.lookup != store::CommandLookup::kNew) {
    Refuse(ticket);
    return;
  }
  // A command that names no model is for the only one.
  ModelRunner* about =
      ticket.facts.model.empty() && models_.size() == 1 ? models_[0] : Find(ticket.facts.model.view());
  telemetry::CommandResponse response{.number = ticket.facts.number, .name = ticket.facts.name.view()};
  if (response.name == kWipe) {
    about = nullptr;
    BeginWipe(ticket.facts, &response);
  } else {
    response.reason = about != nullptr ? about->Run(ticket.facts) : schema::Reason::WrongTarget;
    if (about == nullptr) response.detail = kNoSuchModel;
    if (response.reason == schema::Reason::NotAllowed)
      response.detail = ModelRunner::WhyNotAllowed(ticket.facts.name.view());
    if (!Ok(at_.trust.FinishCommand(ticket.facts.number, response.reason))) {
      response.status = schema::CommandStatus::Failed;
      response.reason = schema::Reason::StorageError;
    }
  }
  if (response.status == schema::CommandStatus::Done && response.reason != schema::Reason::None) {
    response.status = schema::CommandStatus::Refused;
  }
  Answer(response, about);
}

/// Whoever may publish can send these for ever, signed once or not at all: beyond a limit each costs its
/// check and is counted, no more. What nobody has signed does not use up what signed ones may be told by.
void Agent::Refuse(const update::Trust::Ticket& ticket) {
  ++commands_refused_;
  const package::CommandFacts& command = ticket.facts;
  const bool is_signed = command.number != 0;
  uint64_t left_out = 0;
  if (!(is_signed ? repeat_limit_ : junk_limit_).Spend(at_.clock.MonotonicNs(), &left_out)) return;
  telemetry::CommandResponse response{.number = command.number,
                                      .name = command.name.view(),
                                      .status = schema::CommandStatus::Refused,
                                      .reason = ticket.reason};
  schema::Reason why = ticket.reason;
  if (why == schema::Reason::None) {
    response.repeated = true;
    why = response.reason = schema::Reason::OldNumber;
    if (ticket.lookup == store::CommandLookup::kOutcomeUnknown) {
      response.status = schema::CommandStatus::OutcomeUnknown;
      why = response.reason = schema::Reason::OutcomeUnknown;
    } else if (ticket.lookup == store::CommandLookup::kDone) {
      response.reason = static_cast<schema::Reason>(ticket.stored_result);
      if (response.reason == schema::Reason::None) response.status = schema::CommandStatus::Done;
    }
  }
  const bool done = ticket.lookup == store::CommandLookup::kDone;
  std::string_view text = done ? kCarriedOut : WhyRefused(why);
  if (!done) response.detail = text;
  std::array<char, 192> detail{};
  if (is_signed) {
    const int length = std::snprintf(detail.data(), detail.size(), "%.*s, number %llu: %.*s",
                                     static_cast<int>(response.name.size()), response.name.data(),
                                     static_cast<unsigned long long>(response.number),
                                     static_cast<int>(text.size()), text.data());
    text = {detail.data(), static_cast<size_t>(length)};
  }
  at_.reporter.Send(
      telemetry::Event{
          .kind = schema::EventKind::CommandRefused, .reason = why, .count = left_out, .detail = text},
      {});
  // A lost answer is asked for again with the same number: the stored result is the answer then.
  if (!at_.reporter.SendNow(response, {})) return;
}

void Agent::Answer(telemetry::CommandResponse response, ModelRunner* about) {
  if (about != nullptr) {
    response.image = about->OnCommandDone(response.name, response.number, response.reason);
  } else {
    at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::CommandDone,
                                       .reason = response.reason,
                                       .count = response.number,
                                       .detail = response.name},
                      {});
  }
  const bool sent = at_.reporter.SendNow(response, {});
  if (wipe_ != 0 && response.number == wipe_) wipe_told_ = sent;
}

/// Result and mark are stored in one write: from here on every start erases until it is done.
void Agent::BeginWipe(const package::CommandFacts& facts, telemetry::CommandResponse* response) {
  if (!facts.model.empty()) {
    response->reason = schema::Reason::WrongTarget;
    response->detail = kWipeOfModel;
    if (Ok(at_.trust.FinishCommand(facts.number, response->reason))) return;
  } else if (Ok(at_.trust.counters().BeginWipe(facts.number))) {
    response->detail = kWipeBegins;
    wipe_ = facts.number;
    wipe_by_ns_ = at_.clock.MonotonicNs() + kWipeAnswerNs;
    return;
  }
  response->status = schema::CommandStatus::Failed;
  response->reason = schema::Reason::StorageError;
}

/// Answer first, then erase: but nobody may stop it by not taking the answer.
void Agent::PollWipe(int64_t now_ns) {
  if (wipe_ == 0) return;
  if (!wipe_told_) {
    wipe_told_ = at_.reporter.SendNow(
        telemetry::CommandResponse{.number = wipe_, .name = kWipe, .detail = kWipeBegins}, {});
  }
  const bool out = wipe_told_ && at_.transport.stats().in_flight == 0;
  wipe_due_ = out || now_ns >= wipe_by_ns_;
}

void Agent::SendDueStates() {
  if (!at_.transport.connected()) return;
  SubscribeWanted();
  if (online_due_) online_due_ = !at_.reporter.SendOnline(true);
  for (ModelRunner* model : models_) birth_due_ = model->TakeBirthDue() || birth_due_;
  if (birth_due_) {
    birth_due_ = !SendBirth();
    discovered_ = birth_due_ ? discovered_ : 0;
  }
  for (ModelRunner* model : models_) model->SendDueStates();
  SendDiscovery();
}

/// As many features of each model as fit.
bool Agent::SendBirth() {
  std::array<std::array<telemetry::FeatureInfo, kMaxBirthFeatures>, store::kMaxModels> features;
  std::array<telemetry::ModelInfo, store::kMaxModels> models;
  for (size_t i = 0; i < models_.size(); ++i) models[i] = models_[i]->Describe(features[i]);
  const std::span<telemetry::ModelInfo> all(models.data(), models_.size());
  for (size_t most = kMaxBirthFeatures; most > 0 && !at_.reporter.BirthFits(all); most /= 2) {
    for (telemetry::ModelInfo& model : all) {
      model.features = model.features.first(std::min(model.features.size(), most / 2));
    }
  }
  return at_.reporter.SendBirth(all, learn::kNumericsVersion);
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
  const hal::Clock::Discipline clock = at_.clock.WallDiscipline();
  batch->Add(MetricId::kSystemClockOffsetSeconds, clock.offset_seconds);
  batch->Add(MetricId::kSystemClockErrorSeconds, clock.error_seconds);
  batch->Add(MetricId::kSystemResetReason, last_end_);
  const package::TrustRoot& root = at_.trust.root();
  if (root.version() != 0) batch->Add(MetricId::kTrustRootExpires, static_cast<double>(root.expires()));
  batch->Count(MetricId::kCommandsRefusedTotal, commands_refused_);
  batch->Add(MetricId::kProcessUptimeSeconds,
             static_cast<double>(at_.clock.MonotonicNs() - started_ns_) * 1e-9);
  batch->Count(MetricId::kStorageFailuresTotal, at_.reporter.log_failures() + sync_failures_);
  AddLinkMetrics(batch);
  const hal::SourceTotals sources = SourceTotals();
  batch->Count(MetricId::kSourceDroppedTotal, sources.dropped);
  batch->Count(MetricId::kSourceUnreadableTotal, sources.unreadable);
  batch->Count(MetricId::kSourceIgnoredTotal, sources.ignored);
  batch->Count(MetricId::kSourceAnswersDroppedTotal, sources.answers_dropped);
  batch->Flag(MetricId::kSourceAvailable, at_.source.trouble().empty());
  batch->Count(MetricId::kSourceFailedTotal, sources.failed);
  batch->Count(MetricId::kSourceRefusedWritersTotal, sources.refused_writers);
  batch->Count(MetricId::kJoinSupersededTotal, sources.superseded);
  batch->Count(MetricId::kJoinStaleTotal, sources.stale);
  batch->Count(MetricId::kJoinLateTotal, sources.late);
  batch->Count(MetricId::kJoinSkippedTotal, sources.skipped);
}

void Agent::AddLinkMetrics(MetricBatch* batch) {
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
  const telemetry::ByteBudget& budget = at_.outbox.budget();
  batch->Count(MetricId::kTelemetryDayBytes, budget.spent());
  batch->Add(MetricId::kTelemetryDayProjectedBytes, budget.projected());
  batch->Count(MetricId::kTelemetryCappedTotal, outbox.capped);
}

/// What was lost is told when there is a connection again: told before, it would be lost with the rest.
void Agent::ReportDrops(int64_t now_ns) {
  if (!at_.transport.connected()) return;
  const telemetry::OutboxCounters outbox = at_.outbox.counters();
  const uint64_t lost = outbox.dropped + outbox.refused;
  uint64_t left_out = 0;
  if (lost <= drops_told_ || !drop_limit_.Spend(now_ns, &left_out)) return;
  const uint64_t count = lost - drops_told_;
  drops_told_ = lost;
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::Drop, .count = count}, {});
}

/// Once a day when measurements begin to be left out, and once when its bytes are spent.
void Agent::ReportCap() {
  const telemetry::ByteBudget& budget = at_.outbox.budget();
  const uint64_t capped = at_.outbox.counters().capped;
  const bool hard = !budget.MayTell();
  if (capped == capped_told_ && !hard) return;
  const bool new_day = cap_day_ != budget.day();
  if (!new_day && (cap_told_hard_ || !hard)) return;
  cap_day_ = budget.day();
  cap_told_hard_ = hard;
  std::array<char, 160> detail{};
  const int length = std::snprintf(
      detail.data(), detail.size(), "%llu of telemetry.max_bytes_per_day = %llu are spent; %s",
      static_cast<unsigned long long>(budget.spent()), static_cast<unsigned long long>(budget.max_bytes()),
      hard ? "until midnight UTC only events of updates are sent, others wait"
           : "measurements come as seldom as the rest of the day asks for");
  at_.reporter.Send(telemetry::Event{.kind = schema::EventKind::TelemetryCapped,
                                     .count = capped - capped_told_,
                                     .detail = {detail.data(), static_cast<size_t>(length)}},
                    {});
  capped_told_ = capped;
}

/// Under a freeze no document comes that would be refused for it: the device itself has to say so.
void Agent::ReportRoot() {
  const package::TrustRoot& root = at_.trust.root();
  if (root.version() == root_told_ || !root.ExpiredAt(at_.trust.Now())) return;
  root_told_ = root.version();
  at_.reporter.Send(
      telemetry::Event{.kind = schema::EventKind::RootExpired, .count = root_told_, .detail = kRootExpired},
      {});
}

/// A restart goes on with the day's count; it may lose as much as came since.
void Agent::TickBudget(int64_t now_ns) {
  if (now_ns < next_tick_ns_) return;
  next_tick_ns_ = now_ns + kTickNs;
  at_.outbox.budget().Tick(at_.clock.WallNs(), now_ns, at_.clock.WallSynchronized());
  if (next_tally_ns_ == 0) next_tally_ns_ = now_ns + kTallyNs;
  if (now_ns < next_tally_ns_) return;
  next_tally_ns_ = now_ns + kTallyNs;
  at_.backlog.SetTally(at_.outbox.budget().day(), at_.outbox.budget().spent());
}

void Agent::SendMetrics(int64_t now_ns) {
  const int64_t wall_ns = at_.clock.WallNs();
  ReportDrops(now_ns);
  ReportSources(now_ns);
  ReportRoot();
  MetricBatch batch(wall_ns);
  AddDeviceMetrics(&batch);
  at_.reporter.Send(batch, {});
  for (ModelRunner* model : models_) model->SendMetrics(wall_ns);
  ReportCap();
}

}  // namespace dipper::runtime
