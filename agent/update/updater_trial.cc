// Updater: the trial of a staged package, and how it ends.
#include <algorithm>
#include <utility>

#include "agent/update/updater.h"

namespace dipper::update {

using schema::Reason;
using schema::UpdateState;

/// Loads the package of the trial slot as challenger, self-test first; goes on from its checkpoint when there
/// is one.
Reason Updater::LoadChallenger(store::SlotId slot) {
  challenger_.Unload();
  const auto bytes = store_.PackageBytes(slot);
  if (!bytes.ok()) return Reason::StorageError;
  SlotSource source(store_, slot, *bytes);
  package::PackageFacts facts;
  Reason reason = package::VerifyWhole(source, nullptr, whole_memory_.bytes(), &facts);
  if (reason != Reason::None) return reason;
  reason = TakeSpec(facts.manifest, &challenger_);
  if (reason != Reason::None) return reason;
  challenger_.slot = slot;
  reason = LoadPayload(source, facts.manifest, scratch_.bytes(), &challenger_);
  if (reason == Reason::None) reason = RunSelfTest(facts.manifest, &challenger_);
  if (reason != Reason::None) return reason;
  gate_ = Gate(GateConfigOf(facts.manifest, *challenger_.spec), challenger_.package);
  link_required_ = facts.manifest.gate().link_required();
  bool resumed = false;
  const auto saved = store_.ReadCheckpoint(slot, store::ImageSource::kNewestCheckpoint,
                                           challenger_.image_memory(), gate_bytes_);
  if (saved.ok()) {
    const auto model = learn::Model::Attach(*challenger_.spec, challenger_.image_memory());
    resumed = model.ok() && base::Ok(gate_.Restore(base::ByteView(gate_bytes_).first(saved->gate_bytes)));
    if (resumed) challenger_.model.emplace(*model);
  }
  // The self-test has used the payload up.
  if (!resumed) reason = LoadPayload(source, facts.manifest, scratch_.bytes(), &challenger_);
  if (reason == Reason::None) deps_.observer->OnModelsChanged();
  return reason;
}

void Updater::StartTrial() {
  // So that a fall back after a crash finds what the champion knows now; rule 7 may say that it is too early.
  static_cast<void>(Save(&champion_, {}));
  // The try is counted before any of the challenger's code runs.
  switch (store_.BeginTrial()) {
    case base::Status::kOk:
    case base::Status::kFailedPrecondition:
      break;  // running: its try was counted at the start of this run
    case base::Status::kUnavailable:
      return;  // tried again by the next Poll
    default:
      Move(Event::kFail, Reason::OutOfTries);
      return;
  }
  const Reason reason = LoadChallenger(store_.record().trial_slot);
  if (reason != Reason::None) {
    EndTrial(reason == Reason::StorageError ? Event::kFail : Event::kFallBack, reason);
    return;
  }
  next_trial_save_ns_ = now_ns_ + int64_t{config_.trial_checkpoint_seconds} * 1'000'000'000;
  const UpdateState from = state_;
  state_ = Next(state_, Event::kTrialStarted).next;
  undo_known_ = false;
  StoreOffer(Reason::None);
  Emit(from, Reason::None, true, false, challenger_.package);
}

void Updater::OnOutcomes(const learn::Outcome& champion, const learn::Outcome& challenger) {
  if (state_ != UpdateState::Trial || !challenger_.model || !challenger.valid || confirm_unfinished_) return;
  if (champion_.model && (!champion.valid || champion.id != challenger.id)) return;
  // Without a champion the rival is the trivial predictor.
  gate_.Add(challenger.loss, champion_.model ? champion.loss : challenger.trivial_loss);
  Decide();
}

void Updater::Decide() {
  if (confirm_unfinished_) {
    ConfirmTrial(confirm_reason_);
    return;
  }
  if (!challenger_.model) return;
  switch (gate_.Verdict()) {
    case GateVerdict::kContinue:
      return;
    case GateVerdict::kConfirm:
      ConfirmTrial(Reason::ShownNotWorse);
      return;
    case GateVerdict::kDeadlineConfirm:
      ConfirmTrial(Reason::PolicyAtDeadline);
      return;
    case GateVerdict::kFallBack:
      EndTrial(Event::kFallBack, Reason::ShownWorse);
      return;
    case GateVerdict::kDeadlineFallBack:
      EndTrial(Event::kFallBack, Reason::Deadline);
      return;
  }
}

void Updater::ConfirmTrial(Reason reason) {
  if (link_required_ && !link_reached_) {
    if (reason == Reason::PolicyAtDeadline) EndTrial(Event::kFallBack, Reason::LinkRequired);
    return;
  }
  if (!confirm_unfinished_ && !challenger_.model->AllFinite()) {
    EndTrial(Event::kFallBack, Reason::NotFinite);
    return;
  }
  confirm_unfinished_ = !base::Ok(store_.Confirm());
  confirm_reason_ = reason;
  if (confirm_unfinished_) return;  // not to be reported yet; the next Poll goes on with it
  std::swap(champion_, challenger_);
  challenger_.Unload();
  deps_.observer->OnModelsChanged();
  static_cast<void>(Save(&champion_, {}));
  const UpdateState from = state_;
  state_ = Next(state_, Event::kConfirm).next;
  undo_known_ = false;
  StoreOffer(reason);
  Emit(from, reason, true, false, champion_.package);
}

void Updater::EndTrial(Event event, Reason reason) {
  const base::Digest package = store_.record().trial_digest;
  if (!base::Ok(store_.EndTrial(reason)))
    return;  // not durable: the trial goes on, and ends with the next verdict
  const bool denied = store_.IsDenied(package);
  const UpdateState from = state_;
  state_ = Next(state_, event).next;
  undo_known_ = false;
  confirm_unfinished_ = false;
  StoreOffer(reason);
  Emit(from, reason, from == UpdateState::Trial, denied, package);
  Forget(&challenger_);
}

void Updater::OnChallengerFailed(Reason reason) {
  if (state_ == UpdateState::Trial) EndTrial(Event::kFallBack, reason);
}

}  // namespace dipper::update
