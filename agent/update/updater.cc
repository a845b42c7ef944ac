// Updater: start, models, checkpoints, commands and events. Offers are in updater_offer.cc, trials in
// updater_trial.cc.
#include "agent/update/updater.h"

#include <algorithm>
#include <utility>

namespace dipper::update {

using base::Status;
using schema::Reason;
using schema::UpdateState;

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
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
      verifier_(whole_memory_.bytes()),
      store_(StoreConfig(config, deps.store), verifier_),
      transfer_(config.transfer, store_, deps.trust->counters(), config.model_index, *deps.transport,
                head_memory_.bytes(), WriteUnit(deps.store), Fit(config_)),
      champion_(memory.first_image),
      challenger_(memory.second_image) {
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
  if (decision.trial_ended) {
    const bool own = store::IsOwnFailure(decision.trial_end_reason);
    state_ = own ? UpdateState::FellBack : UpdateState::Failed;
    StoreOffer(decision.trial_end_reason);
    Emit(UpdateState::Trial, decision.trial_end_reason, false, decision.denied, decision.ended_digest);
    return Status::kOk;
  }
  if (store_.record().HasTrial()) {
    const Reason reason = decision.trial ? LoadChallenger(decision.trial_slot) : Reason::StorageError;
    state_ = UpdateState::Trial;
    if (reason == Reason::None) {
      Emit(UpdateState::Staged, Reason::None, true, false, challenger_.package);
    } else if (decision.trial) {
      static_cast<void>(EndTrial(Event::kFallBack, reason));  // Poll tries again
    } else {
      state_ =
          UpdateState::Staged;  // the try could not be counted: begun by Poll when the medium works again
    }
    return Status::kOk;
  }
  if (TellLostEnd(offer)) return Status::kOk;
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

bool Updater::LoadChampion(store::StartDecision decision) {
  for (int rung = 0; rung < kRungs && decision.serve != store::SlotId::kNone; ++rung) {
    if (LoadFrom(decision)) {
      deps_.observer->OnModelsChanged();
      return true;
    }
    const auto next = store_.ChampionUnloadable();
    if (!next.ok()) break;
    decision = *next;
  }
  Forget(&champion_);
  return false;
}

bool Updater::LoadFrom(const store::StartDecision& decision) {
  champion_.Unload();
  const auto bytes = store_.PackageBytes(decision.serve);
  if (!bytes.ok()) return false;
  SlotSource source(store_, decision.serve, *bytes);
  package::PackageFacts facts;
  if (package::VerifyWhole(source, nullptr, whole_memory_.bytes(), &facts) != Reason::None) return false;
  if (TakeSpec(facts.manifest, &champion_) != Reason::None) return false;
  champion_.slot = decision.serve;
  if (decision.source == store::ImageSource::kPackage) {
    return LoadPayload(source, facts.manifest, scratch_.bytes(), &champion_) == Reason::None;
  }
  if (!store_.ReadCheckpoint(decision.serve, decision.source, champion_.image_memory()).ok()) return false;
  const auto model = learn::Model::Attach(*champion_.spec, champion_.image_memory());
  if (model.ok()) champion_.model.emplace(*model);
  return model.ok();
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
  const base::Status status =
      store_.WriteCheckpoint(model->slot, model->model->samples(), model->image_memory(), gate_state);
  ++(base::Ok(status) ? checkpoints_ : checkpoint_failures_);
  return status;
}

void Updater::SaveWhenDue() {
  if (champion_.model && now_ns_ >= next_champion_save_ns_) {
    next_champion_save_ns_ = now_ns_ + config_.checkpoint_seconds * kSecondNs;
    static_cast<void>(Save(&champion_, {}));  // counted; the next one is tried at its time
  }
  if (state_ == UpdateState::Trial && challenger() != nullptr && now_ns_ >= next_trial_save_ns_) {
    next_trial_save_ns_ = now_ns_ + config_.trial_checkpoint_seconds * kSecondNs;
    const auto saved = gate_.Save(gate_bytes_);
    DIPPER_CHECK(saved.ok());
    static_cast<void>(Save(&challenger_, base::ByteView(gate_bytes_).first(*saved)));
  }
}

void Updater::Poll(int64_t now_ns) {
  const int64_t passed_ns = polled_ ? std::max<int64_t>(now_ns - now_ns_, 0) : 0;
  if (!polled_) {
    next_champion_save_ns_ = now_ns + config_.checkpoint_seconds * kSecondNs;
    next_trial_save_ns_ = now_ns + config_.trial_checkpoint_seconds * kSecondNs;
    begin_at_ns_ += now_ns;  // of an offer that came before the time was known
  }
  polled_ = true;
  now_ns_ = now_ns;
  if (store_.healthy() && now_ns >= next_period_ns_) {
    next_period_ns_ = now_ns + config_.healthy_seconds * kSecondNs;
    store_.HealthyPeriod();
  }
  switch (state_) {
    case UpdateState::Offered:
      if (now_ns >= begin_at_ns_ && store_.healthy()) {
        Move(Event::kStart, Reason::None);
        transfer_.Begin(offer_, now_ns);
      }
      break;
    case UpdateState::Transferring:
      OnTransfer(transfer_.Poll(now_ns));
      break;
    case UpdateState::Verifying:
      Verify();
      break;
    case UpdateState::Staged:
      StartTrial();
      break;
    case UpdateState::Trial:
      gate_.AddPoweredTime(static_cast<uint64_t>(passed_ns));
      Decide();
      break;
    default:
      if (has_queued_) {
        has_queued_ = false;
        static_cast<void>(Accept(queued_));  // reported by its event
      }
      break;
  }
  SaveWhenDue();
}

// ---- events
// -----------------------------------------------------------------------------------------------------

void Updater::Move(Event event, Reason reason) {
  const UpdateState from = state_;
  state_ = Next(state_, event).next;
  undo_known_ = false;
  const bool again = state_ == UpdateState::Verifying && interrupted_ == offer_.package;
  StoreOffer(again ? Reason::PowerLoss : reason);
  Emit(from, reason, false, false, offer_.package);
}

/// Keeps where the offer stands; one that cannot be stored comes again after a restart and is judged again.
void Updater::StoreOffer(Reason reason) {
  reason_ = reason;
  if (offer_.number == 0) return;
  static_cast<void>(deps_.trust->counters().SetOffer(
      config_.model_index,
      {.number = offer_.number, .digest = offer_.package, .state = state_, .reason = reason}));
}

void Updater::Emit(UpdateState from, Reason reason, bool gate, bool denied, const base::Digest& package) {
  UpdateEvent event;
  event.from = from;
  event.to = state_;
  event.reason = reason;
  event.package = package;
  event.offer_number = offer_.number;
  event.blocks_have = transfer_.blocks_have();
  event.blocks_total = transfer_.blocks_total();
  event.champion_package = champion_.package;
  const LoadedModel* about = package == challenger_.package ? &challenger_ : nullptr;
  if (about == nullptr && package == champion_.package) about = &champion_;
  const package::Manifest* manifest = transfer_.manifest();
  if (about != nullptr && !package.IsZero()) {
    event.name = about->name;
    event.version = about->version;
    event.security_version = about->security_version;
  } else if (manifest != nullptr && manifest->package_digest() == package) {
    event.name.AssignTruncated(manifest->name());
    event.version.AssignTruncated(manifest->version());
    event.security_version = manifest->security_version();
  }
  const bool around_trial =
      from == UpdateState::Trial || state_ == UpdateState::Trial || from == UpdateState::Idle;
  if (around_trial && champion_.model) event.champion_image = champion_.model->ImageDigest();
  if (around_trial && challenger_.model) event.challenger_image = challenger_.model->ImageDigest();
  event.has_gate = gate;
  if (gate) event.gate = gate_.Report();
  event.denied = denied;
  deps_.observer->OnUpdateEvent(event);
}

// ---- health and commands
// ----------------------------------------------------------------------------------------

Status Updater::HealthyMark() {
  DIPPER_RETURN_IF_ERROR(store_.HealthyMark());
  next_period_ns_ = now_ns_ + config_.healthy_seconds * kSecondNs;
  return Status::kOk;
}

Status Updater::PlannedStop() {
  static_cast<void>(Save(&champion_, {}));
  if (state_ == UpdateState::Trial && challenger() != nullptr) {
    const auto saved = gate_.Save(gate_bytes_);
    DIPPER_CHECK(saved.ok());
    static_cast<void>(Save(&challenger_, base::ByteView(gate_bytes_).first(*saved)));
  }
  return store_.PlannedStop();
}

void Updater::OnChampionFailed() {
  const auto decision = store_.ChampionFailed(Reason::NotFinite);
  if (!decision.ok()) return;
  LoadChampion(*decision);
  undo_known_ = false;
  Emit(state_, Reason::NotFinite, false, decision->denied, champion_.package);
}

Reason Updater::FallBack() {
  if (state_ != UpdateState::Trial && state_ != UpdateState::Staged) return Reason::NoTrial;
  return base::Ok(EndTrial(Event::kFallBack, Reason::Command)) ? Reason::None : Reason::StorageError;
}

Reason Updater::Undo() {
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
    undo_package_ = {};
    undo_target_ = store_.UndoTarget();
    const auto bytes = undo_target_ != store::SlotId::kNone ? store_.PackageBytes(undo_target_)
                                                            : base::Result<uint64_t>(base::Status::kNotFound);
    package::PackageFacts facts;
    if (bytes.ok()) {
      SlotSource source(store_, undo_target_, *bytes);
      if (package::VerifyWhole(source, nullptr, whole_memory_.bytes(), &facts) == Reason::None) {
        undo_package_ = facts.digest;
      }
    }
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
          .blocks_have = transfer_.blocks_have(),
          .blocks_total = transfer_.blocks_total(),
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
