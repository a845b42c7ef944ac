// Updater: start, models, checkpoints, commands and events. Offers are in updater_offer.cc, trials in
// updater_trial.cc.
#include "agent/update/updater.h"

#include <algorithm>
#include <utility>

#include "agent/base/time.h"
#include "agent/update/checkpoint.h"

namespace dipper::update {

using base::Status;
using schema::Reason;
using schema::UpdateState;

namespace {

constexpr int kRungs = 8;  // more than the ladder has

store::ModelStoreConfig StoreConfig(const UpdaterConfig& config, store::ModelStoreConfig store) {
  store.max_image_bytes = config.max_image_bytes;
  store.record_index = config.model_index;
  return store;
}

uint32_t WriteUnit(const store::ModelStoreConfig& store) {
  return std::max(store.slot_a->geometry().write_unit_bytes, store.slot_b->geometry().write_unit_bytes);
}

}  // namespace

Updater::Updater(const UpdaterConfig& config, const UpdaterMemory& memory, const UpdaterDeps& deps)
    : config_(config),
      deps_(deps),
      verifier_(whole_memory_.bytes(), config_.model_id.view()),
      store_(StoreConfig(config, deps.store), verifier_),
      transfer_(config.transfer, store_, deps.trust->counters(), config.model_index, *deps.transport,
                head_memory_.bytes(), WriteUnit(deps.store), Fit(config_), whole_memory_.bytes()),
      writer_(store_, WriteUnit(deps.store)),
      champion_(memory.first_image),
      challenger_(memory.second_image) {
  champion_.group_keys = challenger_.group_keys = config.group_keys;
  DIPPER_CHECK(config.max_image_bytes % 16 == 0 && memory.first_image.size() == config.max_image_bytes &&
               memory.second_image.size() == config.max_image_bytes);
}

Updater::~Updater() = default;

Status Updater::Start(const store::LastRun& last) {
  DIPPER_ASSIGN_OR_RETURN(const store::StartDecision decision, store_.Start(last));
  LoadChampion(decision);
  const store::OfferState offer = deps_.trust->counters().offer(config_.model_index);
  offer_.number = offer.number;
  offer_.package = offer.digest;
  // A trial that no offer began leaves the stored offer alone.
  const base::Digest& trial = decision.trial_ended ? decision.ended_digest : store_.record().trial_digest;
  if (!trial.IsZero() && trial != offer.digest) {
    offer_ = {};
    offer_.package = trial;
  }
  if (decision.stepped_down) {
    deps_.observer->OnRung(decision.rung, last.own_failure ? last.reason : Reason::Unknown);
    const base::Digest& failed = last.own_failure ? last.digest : champion_.package;
    Emit(UpdateState::Idle, last.own_failure ? last.reason : Reason::Unknown, false, store_.IsDenied(failed),
         failed);
  }
  if (decision.trial_ended) {
    end_reason_ = decision.trial_end_reason;
    end_event_ = store::IsOwnFailure(end_reason_) ? Event::kFallBack : Event::kFail;
    end_package_ = decision.ended_digest;
    // What is not durable in both copies is not reported: Poll ends it once more.
    end_unfinished_ = !base::Ok(decision.storage);
    state_ = end_unfinished_ ? UpdateState::Trial : Next(UpdateState::Trial, end_event_).next;
    if (end_unfinished_) return Status::kOk;
    StoreOffer(end_reason_);
    Emit(UpdateState::Trial, end_reason_, false, decision.denied, end_package_);
    return Status::kOk;
  }
  if (store_.record().HasTrial()) {
    const Reason reason = decision.trial ? LoadChallenger(decision.trial_slot) : Reason::StorageError;
    state_ = UpdateState::Trial;
    if (reason == Reason::None) {
      Emit(UpdateState::Staged, Reason::None, true, false, challenger_.package);
    } else if (decision.trial) {
      OnChallengerUnloadable(reason);
    } else {
      state_ =
          UpdateState::Staged;  // the try could not be counted: begun by Poll when the medium works again
    }
    return Status::kOk;
  }
  if (base::Ok(decision.storage) && TellLostEnd(offer)) return Status::kOk;
  if (!decision.recovered && !decision.stepped_down && BlameLastRun(last)) return Status::kOk;
  // What was being transferred goes on when its retained offer comes again. A package whose checks ended the
  // process twice is not tried a third time; once may have been the power.
  if (offer.state == UpdateState::Verifying) {
    if (offer.reason == Reason::PowerLoss) {
      state_ = UpdateState::Failed;
      StoreOffer(Reason::Unknown);
      Emit(UpdateState::Verifying, Reason::Unknown, false, false, offer_.package);
      return Status::kOk;
    }
    interrupted_ = offer_.package;
  }
  Emit(UpdateState::Idle, Reason::None, false, false, champion_.package);
  return Status::kOk;
}

LoadedModel* Updater::loaded(bool on_trial) {
  if (on_trial) return challenger() != nullptr ? &challenger_ : nullptr;
  return champion() != nullptr ? &champion_ : nullptr;
}

void Updater::LoadChampion(store::StartDecision decision) {
  for (int rung = 0; rung < kRungs && decision.serve != store::SlotId::kNone; ++rung) {
    bool of_another_agent = false;
    const Reason reason = LoadFrom(decision, &of_another_agent);
    if (reason == Reason::None) {
      deps_.observer->OnModelsChanged();
      deps_.observer->OnRestored(
          {.source = decision.source, .package = champion_.package, .samples = champion_.model->samples()});
      return;
    }
    if (of_another_agent) {
      // A newer agent's model under an older one: nothing is written, so that it is there again when the
      // agent is.
      Forget(&champion_);
      Emit(state_, reason, false, false, decision.digest);
      return;
    }
    const auto next = store_.ChampionUnloadable(reason);
    if (!next.ok()) break;
    decision = *next;
    deps_.observer->OnRung(decision.rung, reason);
  }
  Forget(&champion_);
}

/// None: loaded. Otherwise why not; an own failure only where the bytes are as they were made.
Reason Updater::LoadFrom(const store::StartDecision& decision, bool* of_another_agent) {
  champion_.Unload();
  const auto bytes = store_.PackageBytes(decision.serve);
  if (!bytes.ok()) return Reason::StorageError;
  SlotSource source(store_, decision.serve, *bytes);
  package::PackageFacts facts;
  // The start has just verified it: what is wrong now is the medium's.
  if (package::VerifyWhole(source, nullptr, whole_memory_.bytes(), &facts) != Reason::None) {
    return Reason::StorageError;
  }
  Reason reason = CheckVersions(facts.manifest);
  if (reason == Reason::None) reason = TakeSpec(facts.manifest, &champion_);
  *of_another_agent = IsOfAnotherAgent(reason);
  if (reason != Reason::None) return reason;
  champion_.slot = decision.serve;
  deps_.observer->OnModelCode(champion_.package);
  reason = LoadImage(decision, source, facts.manifest);
  deps_.observer->OnModelCodeEnd();
  return reason;
}

Reason Updater::LoadImage(const store::StartDecision& decision, package::ByteSource& source,
                          const package::Manifest& manifest) {
  if (decision.source == store::ImageSource::kPackage) {
    return LoadPayload(source, manifest, scratch_.bytes(), &champion_);
  }
  if (!ReadCheckpoint(store_, decision.serve, decision.source, &champion_, {}).ok()) {
    return Reason::StorageError;
  }
  const auto model = learn::Model::Attach(*champion_.spec, champion_.image_memory());
  if (model.ok()) champion_.model.emplace(*model);
  if (model.ok()) return Reason::None;
  return model.status() == Status::kUnimplemented ? Reason::UnknownLayout : Reason::NotFinite;
}

void Updater::Forget(LoadedModel* model) {
  model->Unload();
  deps_.observer->OnModelsChanged();
}

Status Updater::Save(LoadedModel* model, base::ByteView gate_state) {
  if (!model->model || model->slot == store::SlotId::kFactory) return Status::kFailedPrecondition;
  if (!store_.CheckpointAllowed(model->slot)) return Status::kFailedPrecondition;
  if (!FitForCheckpoint(*model->model)) {
    ++checkpoint_failures_;
    return Status::kDataLoss;
  }
  // Written from where it lives: learning goes on in this thread, so not before the write has ended.
  const base::Status status = WriteCheckpoint(store_, model, gate_state);
  ++(base::Ok(status) ? checkpoints_ : checkpoint_failures_);
  if (base::Ok(status)) {
    deps_.observer->OnCheckpoint({.of_champion = model == &champion_,
                                  .package = model->package,
                                  .image = model->model->ImageDigest(),
                                  .samples = model->model->samples()});
  }
  return status;
}

void Updater::SaveWhenDue() {
  if (champion_.model && now_ns_ >= next_champion_save_ns_) {
    next_champion_save_ns_ = now_ns_ + config_.checkpoint_seconds * base::kSecondNs;
    static_cast<void>(Save(&champion_, {}));  // counted; the next one is tried at its time
  }
  if (state_ == UpdateState::Trial && challenger() != nullptr && now_ns_ >= next_trial_save_ns_) {
    next_trial_save_ns_ = now_ns_ + config_.trial_checkpoint_seconds * base::kSecondNs;
    SaveChallenger();
  }
}

/// With the gate's state and whether the broker was reached; counted, the next one is tried at its time.
void Updater::SaveChallenger() {
  const uint32_t link = (link_asked_ ? kLinkAsked : 0) | (link_in_trial_ ? kLinkReached : 0);
  const auto saved = gate_.Save(gate_bytes_, link);
  DIPPER_CHECK(saved.ok());
  static_cast<void>(Save(&challenger_, base::ByteView(gate_bytes_).first(*saved)));
}

void Updater::Poll(int64_t now_ns) {
  const int64_t passed_ns = polled_ ? std::max<int64_t>(now_ns - now_ns_, 0) : 0;
  if (!polled_) {
    next_champion_save_ns_ = now_ns + config_.checkpoint_seconds * base::kSecondNs;
    next_trial_save_ns_ = now_ns + config_.trial_checkpoint_seconds * base::kSecondNs;
    begin_at_ns_ += now_ns;  // of an offer that came before the time was known
  }
  polled_ = true;
  now_ns_ = now_ns;
  if (store_.healthy() && now_ns >= next_period_ns_) {
    next_period_ns_ = now_ns + config_.healthy_seconds * base::kSecondNs;
    store_.HealthyPeriod();
  }
  switch (state_) {
    case UpdateState::Offered:
      if (now_ns >= begin_at_ns_ && store_.healthy()) {
        if (const Reason reason = JudgeAgain(offer_, offer_signers_); reason != Reason::None) {
          DropOffer(reason);
          break;
        }
        Move(Event::kStart, Reason::None);
        transfer_.Begin(offer_, now_ns);
      }
      break;
    case UpdateState::Transferring:
      OnTransfer(transfer_.Poll(now_ns));
      break;
    case UpdateState::Verifying:
      if (installing()) {
        CopyBlocks();
      } else {
        Verify();
      }
      break;
    case UpdateState::Staged:
      StartTrial();
      break;
    case UpdateState::Trial:
      gate_.AddPoweredTime(static_cast<uint64_t>(passed_ns));
      Decide();
      break;
    default:
      if (has_queued_) TakeQueued();
      break;
  }
  SaveWhenDue();
}

// ---- events
// -----------------------------------------------------------------------------------------------------

void Updater::SetState(UpdateState next) {
  if (next != state_) deps_.observer->OnLeaving(state_);
  state_ = next;
  if (state_ != UpdateState::Verifying) install_.source = nullptr;
}

void Updater::Move(Event event, Reason reason) {
  const UpdateState from = state_;
  SetState(Next(state_, event).next);
  undo_known_ = false;
  // The second look at a package whose first one a power cut may have ended says so, and remembers it.
  if (state_ == UpdateState::Verifying && interrupted_ == offer_.package) reason = Reason::PowerLoss;
  StoreOffer(reason);
  const bool denied = store::IsOwnFailure(reason) && store_.IsDenied(offer_.package);
  Emit(from, reason, false, denied, offer_.package);
}

void Updater::StoreOffer(Reason reason) {
  reason_ = reason;
  KeepOffer(offer_, state_, reason);
}

/// Keeps where an offer stands; one that cannot be stored comes again after a restart and is judged again.
void Updater::KeepOffer(const package::OfferFacts& offer, UpdateState state, Reason reason) {
  if (offer.number == 0) return;
  static_cast<void>(deps_.trust->counters().SetOffer(
      config_.model_index,
      {.number = offer.number, .digest = offer.package, .state = state, .reason = reason}));
}

void Updater::Emit(UpdateState from, Reason reason, bool gate, bool denied, const base::Digest& package) {
  UpdateEvent event;
  event.from = from;
  event.to = state_;
  event.reason = reason;
  event.package = package;
  if (package == offer_.package) event.offer_number = offer_.number;
  Describe(&event);
  const bool around_trial =
      from == UpdateState::Trial || state_ == UpdateState::Trial || from == UpdateState::Idle;
  if (around_trial && champion_.model) event.champion_image = champion_.model->ImageDigest();
  if (around_trial && challenger_.model) event.challenger_image = challenger_.model->ImageDigest();
  event.has_gate = gate;
  if (gate) event.gate = gate_.Report();
  event.denied = denied;
  deps_.observer->OnUpdateEvent(event);
}

/// An offer that cannot be trusted moves no state: what is under way goes on.
void Updater::EmitRefusal(const package::OfferFacts& offer, Reason reason) {
  UpdateEvent event;
  event.from = state_;
  event.to = UpdateState::Rejected;
  event.reason = reason;
  event.package = offer.package;
  event.offer_number = offer.number;
  Describe(&event);
  deps_.observer->OnUpdateEvent(event);
}

/// The manifest of the transfer or of the package at hand, when it is that package's.
const package::Manifest* Updater::Received(const base::Digest& package) const {
  const package::Manifest* manifest = install_.total != 0 ? &install_.manifest : transfer_.manifest();
  return manifest != nullptr && manifest->package_digest() == package ? manifest : nullptr;
}

/// What is known of the event's package, and who serves.
void Updater::Describe(UpdateEvent* event) const {
  event->champion_package = champion_.package;
  if (event->package.IsZero()) return;
  const package::Manifest* manifest = Received(event->package);
  const bool received = manifest != nullptr;
  if (received) {
    event->blocks_have = install_.total != 0 ? install_.have : transfer_.blocks_have();
    event->blocks_total = manifest->block_count();
    event->blocks_reused = transfer_.blocks_reused();
  }
  const LoadedModel* about = event->package == challenger_.package ? &challenger_ : nullptr;
  if (about == nullptr && event->package == champion_.package) about = &champion_;
  if (about != nullptr) {
    event->name = about->name;
    event->version = about->version;
    event->security_version = about->security_version;
  } else if (received) {
    event->name.AssignTruncated(manifest->name());
    event->version.AssignTruncated(manifest->version());
    event->security_version = manifest->security_version();
  }
}

// ---- health and commands
// ----------------------------------------------------------------------------------------

Status Updater::HealthyMark() {
  DIPPER_RETURN_IF_ERROR(store_.HealthyMark());
  next_period_ns_ = now_ns_ + config_.healthy_seconds * base::kSecondNs;
  return Status::kOk;
}

Status Updater::PlannedStop() {
  static_cast<void>(Save(&champion_, {}));
  if (state_ == UpdateState::Trial && challenger() != nullptr) SaveChallenger();
  return store_.PlannedStop();
}

void Updater::OnChampionFailed() {
  // The record already names its successor, who must not be charged for it; the next Poll unloads it.
  if (confirm_unfinished_ && !store_.record().HasTrial()) return;
  const base::Digest failed = champion_.package;
  const auto decision = store_.ChampionFailed(Reason::NotFinite);
  if (!decision.ok()) return;
  if (decision->stepped_down) deps_.observer->OnRung(decision->rung, Reason::NotFinite);
  LoadChampion(*decision);
  undo_known_ = false;
  Emit(state_, Reason::NotFinite, false, decision->denied, failed);
}

Reason Updater::FallBack() {
  if (state_ != UpdateState::Trial && state_ != UpdateState::Staged) return Reason::NoTrial;
  return base::Ok(EndTrial(Event::kFallBack, Reason::Command)) ? Reason::None : Reason::StorageError;
}

Reason Updater::Undo() {
  // The record may name the challenger already: going back now would leave a confirm that never ends.
  if (confirm_unfinished_) return Reason::Busy;
  // A further undo comes back to the model that is left here, with all that it knows by now.
  if (store_.UndoTarget() != store::SlotId::kNone) static_cast<void>(Save(&champion_, {}));
  store::StartDecision decision;
  const auto refused = store_.Undo(&decision);
  if (!refused.ok()) return Reason::StorageError;
  if (*refused != Reason::None) return *refused;
  LoadChampion(decision);
  undo_known_ = false;
  const UpdateState from = state_;
  if (IsResting(state_)) state_ = UpdateState::Idle;
  Emit(from, Reason::Command, false, false, champion_.package);
  return Reason::None;
}

Reason Updater::Freeze(bool frozen) {
  if (!champion_.model) return Reason::NoModel;
  champion_.model->SetFrozen(frozen);
  return Reason::None;
}

Reason Updater::Checkpoint() {
  if (!champion_.model) return Reason::NoModel;
  switch (Save(&champion_, {})) {
    case Status::kOk:
      return Reason::None;
    case Status::kFailedPrecondition:
      return Reason::TooSoon;
    case Status::kDataLoss:
      return Reason::NotFinite;
    default:
      return Reason::StorageError;
  }
}

Reason Updater::OverrideDenied(const base::Digest& package) {
  switch (store_.OverrideDenied(package)) {
    case Status::kOk:
      return Reason::None;
    case Status::kNotFound:
      return Reason::NotDenied;
    default:
      return Reason::StorageError;
  }
}

UpdateStatus Updater::Status() {
  if (!undo_known_) {
    undo_known_ = true;
    undo_target_ = store_.UndoTarget(&undo_package_);
  }
  const store::BootRecord& record = store_.record();
  return {.state = state_,
          .reason = reason_,
          .champion = champion_.package,
          .challenger = challenger_.package,
          .offered = offer_.package,
          .champion_name = champion_.name,
          .champion_version = champion_.version,
          .challenger_name = challenger_.name,
          .challenger_version = challenger_.version,
          .offer_number = offer_.number,
          .blocks_have = install_.total != 0 ? install_.have : transfer_.blocks_have(),
          .blocks_total = install_.total != 0 ? install_.total : transfer_.blocks_total(),
          .transfer = transfer_.counts(),
          .tries_left = record.tries_left,
          .floor = record.floor,
          .champion_slot = champion_.slot,
          .undo_target = undo_target_,
          .undo_package = undo_package_,
          .rung = record.rung,
          .checkpoints = checkpoints_,
          .checkpoint_failures = checkpoint_failures_};
}

base::Result<GateReport> Updater::ReadGate() const {
  if (state_ != UpdateState::Trial) return base::Status::kNotFound;
  return gate_.Report();
}

}  // namespace dipper::update
