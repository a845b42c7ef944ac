// What one model tells of itself: update steps, checkpoints and the ladder, its retained state, its metrics.
#include <algorithm>
#include <array>
#include <cstdio>

#include "agent/runtime/model_metrics.h"
#include "agent/runtime/model_runner.h"

namespace dipper::runtime {

using telemetry::MetricId;

namespace {

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
          .margin = margin,
          .observed = gate.veto.samples,
          .labelled = gate.seen,
          .compared = gate.veto.counted,
          .champion_alarm_rate = gate.veto.champion_alarm_rate,
          .challenger_alarm_rate = gate.veto.challenger_alarm_rate,
          .score_shift = gate.veto.score_shift};
}

std::string_view SourceText(store::ImageSource source) {
  switch (source) {
    case store::ImageSource::kNewestCheckpoint:
      return "newest checkpoint";
    case store::ImageSource::kOlderCheckpoint:
      return "older checkpoint";
    default:
      return "package image";
  }
}

std::string_view RungText(store::Rung rung) {
  constexpr std::string_view kTexts[] = {"newest checkpoint", "older checkpoint", "package image",
                                         "other slot",        "factory model",    "none"};
  return kTexts[static_cast<size_t>(rung)];
}

/// What the fields of an update step do not say. A view of `memory` or of a constant.
std::string_view EventDetail(const update::UpdateEvent& event, std::span<char> memory) {
  if (event.denied) return "the package is denied from now on";
  if (event.to != schema::UpdateState::Verifying || event.blocks_reused == 0) return "";
  const int length = std::snprintf(memory.data(), memory.size(), "%u of %u blocks were here already",
                                   event.blocks_reused, event.blocks_total);
  return {memory.data(), static_cast<size_t>(length)};
}

constexpr std::string_view kSafeModeText = "no model is left to serve";

}  // namespace

void ModelRunner::OnUpdateEvent(const update::UpdateEvent& event) {
  if (at_.recorder != nullptr) at_.recorder->OnUpdateStep(event);
  if (event.to != event.from) {
    confirms_ += event.to == schema::UpdateState::Confirmed ? 1 : 0;
    fall_backs_ += event.to == schema::UpdateState::FellBack ? 1 : 0;
    rejects_ += event.to == schema::UpdateState::Rejected ? 1 : 0;
  }
  if (!event.champion_image.IsZero()) served_image_ = event.champion_image;
  const telemetry::GateReport gate = WireReport(event.gate);
  std::array<char, 64> detail{};
  Send({.kind = schema::EventKind::UpdateStep,
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
        .detail = EventDetail(event, detail)});
  update_due_ = true;
  birth_due_ = birth_due_ || event.to == schema::UpdateState::Confirmed;
}

void ModelRunner::OnCheckpoint(const update::Checkpointed& saved) {
  const int64_t now_ns = at_.clock.MonotonicNs();
  // A confirm swaps the roles of packages, not their checkpoints.
  Saved& place =
      saved_[saved_[0].package == saved.package || (saved.of_champion && saved_[1].package != saved.package)
                 ? 0
                 : 1];
  place = {saved.package, now_ns};
  if (saved.of_champion) served_image_ = saved.image;
  uint64_t left_out = 0;
  if (!checkpoint_limit_.Spend(now_ns, &left_out)) return;
  Send({.kind = schema::EventKind::Checkpoint,
        .package = {.digest = saved.package},
        .image = saved.image,
        .count = saved.samples,
        .detail = saved.of_champion ? "champion" : "challenger"});
}

void ModelRunner::OnRestored(const update::Restored& loaded) {
  if (at_.recorder != nullptr) at_.recorder->OnChampionLoaded();
  if (loaded.source == store::ImageSource::kNewestCheckpoint ||
      loaded.source == store::ImageSource::kOlderCheckpoint) {
    saved_[0] = {loaded.package, at_.clock.MonotonicNs()};
  }
  Send({.kind = schema::EventKind::Restored,
        .package = {.digest = loaded.package},
        .count = loaded.samples,
        .detail = SourceText(loaded.source)});
}

void ModelRunner::OnRung(store::Rung rung, schema::Reason reason) {
  Send({.kind = schema::EventKind::Rung,
        .reason = reason,
        .count = static_cast<uint64_t>(rung),
        .detail = RungText(rung)});
  // At the start the storage is still being read: OnStarted says it then.
  if (rung == store::Rung::kNone && started_) {
    Send({.kind = schema::EventKind::SafeMode, .detail = kSafeModeText});
  }
}

/// Whoever froze it: a command, the operator at the device, or a checkpoint of a frozen model.
void ModelRunner::ReportFrozen() {
  const learn::Model* champion = updater_->champion();
  const bool frozen = champion != nullptr && champion->frozen();
  if (frozen == frozen_) return;
  frozen_ = frozen;
  update_due_ = true;
  const update::UpdateStatus status = updater_->Status();
  Send({.kind = frozen ? schema::EventKind::Frozen : schema::EventKind::Unfrozen,
        .package = {.digest = status.champion,
                    .name = status.champion_name.view(),
                    .version = status.champion_version.view()}});
}

/// Checkpoints lie on the model's own partitions, which may be writable or not whatever `data` is.
void ModelRunner::ReportStorage(const update::UpdateStatus& status) {
  const auto news = checkpoint_watch_.Look(status.checkpoint_failures, status.checkpoints);
  if (news == StorageWatch::News::kTrouble) {
    Send({.kind = schema::EventKind::StorageError,
          .package = {.digest = status.champion},
          .detail = "a checkpoint was not written: storage, or a model unfit to keep; learning goes on"});
  } else if (news == StorageWatch::News::kRecovered) {
    Send({.kind = schema::EventKind::StorageRecovered,
          .package = {.digest = status.champion},
          .count = checkpoint_watch_.failed()});
  }
}

base::Digest ModelRunner::OnCommandDone(std::string_view command, uint64_t number, schema::Reason reason) {
  if (at_.recorder != nullptr) at_.recorder->OnCommand(command, number, reason);
  base::Digest image;
  if (learn::Model* champion = updater_->champion(); champion != nullptr) {
    image = served_image_ = champion->ImageDigest();
  }
  Send({.kind = schema::EventKind::CommandDone,
        .reason = reason,
        .image = image,
        .count = number,
        .detail = command});
  update_due_ = true;
  return image;
}

void ModelRunner::SendDueStates() {
  if (update_due_) update_due_ = !SendUpdateStatus();
  if (uncertain_asked_ != 0 && SendUncertain()) uncertain_asked_ = 0;
}

telemetry::ModelInfo ModelRunner::Describe(std::span<telemetry::FeatureInfo> features) {
  telemetry::ModelInfo model{
      .id = config_.id, .max_image_bytes = config_.max_image_bytes, .slot_bytes = config_.slot_bytes};
  const learn::Spec* spec = updater_->champion_spec();
  if (spec == nullptr) return model;
  const schema::Spec& table = spec->table();
  const size_t count = std::min<size_t>(spec->feature_count(), features.size());
  for (uint32_t i = 0; i < count; ++i) {
    const schema::Feature& feature = *table.features()->Get(i);
    features[i] = {.name = feature.name()->string_view(),
                   .unit = feature.unit() != nullptr ? feature.unit()->string_view() : std::string_view{},
                   .categorical = feature.type() == schema::FeatureType::Categorical};
  }
  model.features = features.first(count);
  model.task = schema::EnumNameTask(table.task());
  model.learner = schema::EnumNameLearnerParams(table.learner_type());
  const schema::Target& target = *table.target();
  if (target.kind() == schema::TargetKind::FeatureAhead) {
    model.target = spec->feature_name(target.feature());
  } else if (target.name() != nullptr) {
    model.target = target.name()->string_view();
  }
  described_ = updater_->Status();
  model.serving = {.digest = described_.champion,
                   .name = described_.champion_name.view(),
                   .version = described_.champion_version.view(),
                   .security_version = described_.floor};
  model.slot = SlotName(described_.champion_slot);
  model.image_bytes = spec->state_bytes();
  return model;
}

bool ModelRunner::SendUpdateStatus() {
  const update::UpdateStatus status = updater_->Status();
  const auto gate = updater_->ReadGate();
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
  if (learn::Model* champion = updater_->champion(); champion != nullptr) message.frozen = champion->frozen();
  message.target = {.digest = status.challenger.IsZero() ? status.offered : status.challenger,
                    .name = status.challenger_name.view(),
                    .version = status.challenger_version.view()};
  return at_.reporter.SendNow(message, config_.id);
}

void ModelRunner::AddChampionMetrics(MetricBatch* batch) {
  const learn::Model* champion = updater_->champion();
  if (champion == nullptr) return;
  AddModelMetrics(*champion, *updater_->champion_spec(), feed_.counters().skipped, batch);
  batch->Add(MetricId::kLatencyP50Seconds, static_cast<double>(latency_.QuantileNs(0.5)) * 1e-9);
  batch->Add(MetricId::kLatencyP99Seconds, static_cast<double>(latency_.QuantileNs(0.99)) * 1e-9);
  batch->Add(MetricId::kLatencyMaxSeconds, static_cast<double>(latency_.MaxNs()) * 1e-9);
  if (scored_) batch->Add(MetricId::kAnomalyAuc, scorer_->Auc());
  batch->Count(MetricId::kLabelsLimitedTotal, feed_.counters().limited_labels);
  batch->Count(MetricId::kAnomalySeverity, static_cast<uint64_t>(alarm_.severity()));
  batch->Count(MetricId::kAnomaliesLeftOutTotal, alarm_.left_out_total());
}

void ModelRunner::SendMetrics(int64_t wall_ns) {
  const update::UpdateStatus status = updater_->Status();
  ReportStorage(status);
  // Progress of a transfer or a trial is worth telling between its steps.
  update_due_ = update_due_ || status.state == schema::UpdateState::Transferring ||
                status.state == schema::UpdateState::Trial;
  MetricBatch batch(wall_ns);
  AddChampionMetrics(&batch);
  for (const Saved& saved : saved_) {
    if (saved.package.IsZero() || saved.package != status.champion) continue;
    const int64_t age_ns = at_.clock.MonotonicNs() - saved.at_ns;
    batch.Add(MetricId::kCheckpointAgeSeconds, static_cast<double>(age_ns) * 1e-9);
  }
  AddUpdateMetrics(status, &batch);
  if (at_.recorder != nullptr) at_.recorder->AddMetrics(&batch);
  at_.reporter.Send(batch, config_.id);
}

void ModelRunner::AddUpdateMetrics(const update::UpdateStatus& status, MetricBatch* batch) {
  batch->Count(MetricId::kUpdateState, static_cast<uint64_t>(status.state));
  batch->Count(MetricId::kUpdateReason, static_cast<uint64_t>(status.reason));
  batch->Count(MetricId::kServingSlot, static_cast<uint64_t>(status.champion_slot));
  batch->Count(MetricId::kTriesLeft, status.tries_left);
  batch->Count(MetricId::kFloorEpoch, status.floor.epoch);
  batch->Count(MetricId::kFloorVersion, status.floor.version);
  batch->Count(MetricId::kRung, static_cast<uint64_t>(status.rung));
  batch->Count(MetricId::kCheckpointsTotal, status.checkpoints);
  batch->Count(MetricId::kCheckpointFailuresTotal, status.checkpoint_failures);
  batch->Count(MetricId::kUndoSlot, static_cast<uint64_t>(status.undo_target));
  batch->Count(MetricId::kConfirmsTotal, confirms_);
  batch->Count(MetricId::kFallBacksTotal, fall_backs_);
  batch->Count(MetricId::kRejectsTotal, rejects_);
  batch->Count(MetricId::kTransferBlocksTotal, status.transfer.blocks);
  batch->Count(MetricId::kTransferBytesTotal, status.transfer.bytes);
  batch->Count(MetricId::kTransferReusedBlocksTotal, status.transfer.reused);
  batch->Count(MetricId::kTransferReusedBytesTotal, status.transfer.reused_bytes);
  if (const auto gate = updater_->ReadGate(); gate.ok()) {
    const telemetry::GateReport report = WireReport(*gate);
    batch->Count(MetricId::kGateSamples, report.samples);
    batch->Add(MetricId::kGateLower, report.lower);
    batch->Add(MetricId::kGateUpper, report.upper);
    const auto samples = static_cast<double>(report.observed);
    batch->Add(MetricId::kGateLabelCoverage,
               samples > 0 ? static_cast<double>(report.labelled) / samples : 0);
    batch->Add(MetricId::kGateAlarmExcess, report.challenger_alarm_rate - report.champion_alarm_rate);
    batch->Add(MetricId::kGateScoreShift, report.score_shift);
  }
}

}  // namespace dipper::runtime
