// Updater: the trial of a staged package, and how it ends.
#include <algorithm>
#include <utility>

#include "agent/base/time.h"
#include "agent/update/checkpoint.h"
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
  // The store has just verified it: what is wrong now is the medium's.
  if (package::VerifyWhole(source, nullptr, whole_memory_.bytes(), &facts) != Reason::None) {
    return Reason::StorageError;
  }
  Reason reason = CheckVersions(facts.manifest);
  if (reason == Reason::None) reason = TakeSpec(facts.manifest, &challenger_);
  if (reason != Reason::None) return reason;
  challenger_.slot = slot;
  reason = CheckChallenger(source, facts.manifest);
  if (reason != Reason::None) return reason;
  GateConfig gate = GateConfigOf(facts.manifest, *challenger_.spec);
  AskOnlyWhatBothAnswer(champion_, challenger_, &gate);
  gate_ = Gate(gate, challenger_.package);
  // Asked for only where the champion could: it has reached the broker in this run, or the package came by
  // it.
  link_asked_ = facts.manifest.gate().link_required() && (link_in_run_ || offer_.number != 0);
  link_in_trial_ = false;
  const uint64_t limit_ns = facts.manifest.gate().max_latency_ns();
  latency_ = LatencyGuard(limit_ns != 0 ? limit_ns : config_.max_latency_ns);
  bool resumed = false;
  const auto saved =
      ReadCheckpoint(store_, slot, store::ImageSource::kNewestCheckpoint, &challenger_, gate_bytes_);
  if (saved.ok()) {
    const auto model = learn::Model::Attach(*challenger_.spec, challenger_.image_memory());
    uint32_t link = 0;
    resumed =
        model.ok() && base::Ok(gate_.Restore(base::ByteView(gate_bytes_).first(saved->gate_bytes), &link));
    if (resumed) challenger_.model.emplace(*model);
    link_asked_ = facts.manifest.gate().link_required() && (link_asked_ || (link & kLinkAsked) != 0);
    link_in_trial_ = resumed && (link & kLinkReached) != 0;
  }
  // The self-test has used the payload up.
  if (!resumed) reason = LoadPayload(source, facts.manifest, scratch_.bytes(), &challenger_);
  const bool inherits = facts.manifest.gate().start_from_champion() && champion_.model &&
                        champion_.spec->digest() == challenger_.spec->digest() &&
                        // What only a group may read does not go on in a plain package's checkpoints.
                        (challenger_.encrypted || !champion_.encrypted);
  if (!resumed && reason == Reason::None && inherits) {
    std::ranges::copy(champion_.image_memory(), challenger_.image_memory().begin());
  }
  if (reason == Reason::None) deps_.observer->OnModelsChanged();
  return reason;
}

/// A newer agent's trial under an older one, or one whose key is missing, stays pending for them; the
/// champion serves. Any other ends.
void Updater::OnChallengerUnloadable(Reason reason) {
  if (!IsOfAnotherAgent(reason)) {
    // What the medium does not take now, Poll tries again.
    static_cast<void>(EndTrial(reason == Reason::StorageError ? Event::kFail : Event::kFallBack, reason));
    return;
  }
  static_cast<void>(store_.PostponeTrial());  // a try that stays taken is given back by the healthy mark
  trial_waits_ = true;
  state_ = UpdateState::Staged;
  reason_ = reason;
  Emit(state_, reason, false, false, store_.record().trial_digest);
  Forget(&challenger_);
}

/// Payload and self-test, under the model's name: a crash here is its own failure.
Reason Updater::CheckChallenger(package::ByteSource& source, const package::Manifest& manifest) {
  deps_.observer->OnModelCode(challenger_.package);
  Reason reason = LoadPayload(source, manifest, scratch_.bytes(), &challenger_);
  if (reason == Reason::None) reason = RunSelfTest(manifest, &challenger_);
  deps_.observer->OnModelCodeEnd();
  return reason;
}

void Updater::StartTrial() {
  if (end_unfinished_) {
    static_cast<void>(EndTrial(end_event_, end_reason_));
    return;
  }
  if (trial_waits_) return;
  // So that a fall back after a crash finds what the champion knows now; rule 7 may say that it is too early.
  static_cast<void>(Save(&champion_, {}));
  // The try is counted before any of the challenger's code runs.
  switch (store_.BeginTrial()) {
    case base::Status::kOk:
    case base::Status::kFailedPrecondition:
      break;  // running: its try was counted at the start of this run
    case base::Status::kUnavailable:
      return;  // tried again by the next Poll
    case base::Status::kResourceExhausted:
      Move(Event::kFail, Reason::OutOfTries);
      return;
    default:  // the bytes were right when they were staged
      Move(Event::kFail, Reason::StorageError);
      return;
  }
  const Reason reason = LoadChallenger(store_.record().trial_slot);
  if (reason != Reason::None) {
    OnChallengerUnloadable(reason);
    return;
  }
  next_trial_save_ns_ = now_ns_ + config_.trial_checkpoint_seconds * base::kSecondNs;
  const UpdateState from = state_;
  SetState(Next(state_, Event::kTrialStarted).next);
  undo_known_ = false;
  StoreOffer(Reason::None);
  Emit(from, Reason::None, true, false, challenger_.package);
}

void Updater::OnAnswers(const learn::Output* champion, const learn::Output& challenger) {
  if (!Testing() || confirm_unfinished_) return;
  CountSample(champion_.model ? &*champion_.spec : nullptr, champion, *challenger_.spec, challenger, &gate_);
  if (gate_.JudgeVeto() != GateVerdict::kContinue) Decide();
}

void Updater::OnOutcomes(const learn::Outcome& champion, const learn::Outcome& challenger) {
  if (state_ != UpdateState::Trial || this->challenger() == nullptr || !challenger.valid ||
      confirm_unfinished_)
    return;
  if (champion_.model && (!champion.valid || champion.id != challenger.id)) return;
  // Without a champion the rival is the trivial predictor.
  gate_.Add(challenger.loss, champion_.model ? champion.loss : challenger.trivial_loss);
  Decide();
}

void Updater::Decide() {
  if (end_unfinished_) {
    static_cast<void>(EndTrial(end_event_, end_reason_));
    return;
  }
  if (confirm_unfinished_) {
    ConfirmTrial(confirm_reason_);
    return;
  }
  if (!challenger_.model) return;
  const GateVerdict verdict = gate_.Verdict();
  if (verdict == GateVerdict::kContinue) return;
  if (Confirms(verdict)) {
    ConfirmTrial(ReasonOf(verdict));
  } else {
    static_cast<void>(EndTrial(Event::kFallBack, ReasonOf(verdict)));
  }
}

/// What forbids a confirm whatever the losses say; None: nothing.
Reason Updater::ConfirmObstacle(Reason by) const {
  if (LinkMissing()) return Reason::LinkRequired;
  // An operator decides what the vetoes would have to find out.
  const bool permitted = by == Reason::OperatorConfirmed || gate_.Permits();
  return latency_.within() && permitted ? Reason::None : Reason::Deadline;
}

void Updater::ConfirmTrial(Reason reason) {
  if (!confirm_unfinished_) {
    const Reason obstacle = ConfirmObstacle(reason);
    if (obstacle != Reason::None) {
      if (gate_.AtDeadline()) static_cast<void>(EndTrial(Event::kFallBack, obstacle));
      return;
    }
    if (!challenger_.model->AllFinite()) {
      static_cast<void>(EndTrial(Event::kFallBack, Reason::NotFinite));
      return;
    }
    // An undo comes back to the champion that is left here, with all that it knows by now.
    static_cast<void>(Save(&champion_, {}));
  }
  confirm_unfinished_ = !base::Ok(store_.Confirm());
  confirm_reason_ = reason;
  if (confirm_unfinished_) return;  // not to be reported yet; the next Poll goes on with it
  std::swap(champion_, challenger_);
  challenger_.Unload();
  deps_.observer->OnModelsChanged();
  static_cast<void>(Save(&champion_, {}));
  const UpdateState from = state_;
  SetState(Next(state_, Event::kConfirm).next);
  undo_known_ = false;
  StoreOffer(reason);
  Emit(from, reason, true, false, champion_.package);
}

/// What a repeated call finds done is not done again; a denial is in both copies before it is reported.
base::Status Updater::StoreTrialEnd(Reason reason) {
  if (store_.record().HasTrial()) return store_.EndTrial(reason);
  return store::IsOwnFailure(reason) ? store_.Deny(end_package_, reason) : base::Status::kOk;
}

base::Status Updater::EndTrial(Event event, Reason reason) {
  // The record already names the challenger as champion: only Confirm may go on.
  if (confirm_unfinished_ && !store_.record().HasTrial()) return base::Status::kFailedPrecondition;
  if (!end_unfinished_) {
    end_event_ = event;
    end_reason_ = reason;
    end_package_ = store_.record().trial_digest;
  }
  const base::Status stored = StoreTrialEnd(end_reason_);
  if (!base::Ok(stored)) {
    const bool first = !end_unfinished_;
    end_unfinished_ = true;
    if (first) deps_.observer->OnModelsChanged();
    return stored;
  }
  const bool denied = store_.IsDenied(end_package_);
  const UpdateState from = state_;
  SetState(Next(state_, end_event_).next);
  undo_known_ = false;
  confirm_unfinished_ = end_unfinished_ = trial_waits_ = false;
  StoreOffer(end_reason_);
  Emit(from, end_reason_, from == UpdateState::Trial, denied, end_package_);
  Forget(&challenger_);
  return base::Status::kOk;
}

/// The note names a package that was being checked: neither champion nor on trial, so the store charged
/// nobody.
bool Updater::BlameLastRun(const store::LastRun& last) {
  if (!last.own_failure || last.digest.IsZero() || last.digest == champion_.package) return false;
  if (store_.IsDenied(last.digest) || !base::Ok(store_.Deny(last.digest, last.reason))) return false;
  if (last.digest != offer_.package) offer_ = {};
  offer_.package = last.digest;
  state_ = UpdateState::Rejected;
  StoreOffer(last.reason);
  Emit(UpdateState::Verifying, last.reason, false, true, last.digest);
  return true;
}

/// A cut between the record of a trial's end and the offer's leaves the end untold. The record knows it, but
/// for why an undenied trial ended: `staged` is stored behind the trial's record, so that without one it is
/// over.
bool Updater::TellLostEnd(const store::OfferState& offer) {
  if (offer.digest.IsZero() || IsResting(offer.state)) return false;
  const store::BootRecord& record = store_.record();
  const auto denied = std::ranges::find(record.denied, offer.digest, &store::DeniedEntry::digest);
  const bool is_denied = denied != record.denied.end();
  const bool had_trial = offer.state == UpdateState::Staged || offer.state == UpdateState::Trial;
  if (record.lkg_digest == offer.digest) {
    state_ = UpdateState::Confirmed;
    StoreOffer(Reason::None);
  } else if (is_denied) {
    state_ = offer.state == UpdateState::Trial ? UpdateState::FellBack : UpdateState::Rejected;
    StoreOffer(denied->reason);
  } else if (had_trial) {
    state_ = UpdateState::Failed;
    StoreOffer(Reason::Unknown);
  } else {
    return false;
  }
  Emit(offer.state, reason_, false, is_denied && state_ != UpdateState::Confirmed, offer.digest);
  return true;
}

void Updater::OnLinkReached() {
  link_in_run_ = true;
  if (!LinkMissing()) return;
  link_in_trial_ = true;
  next_trial_save_ns_ = now_ns_;  // so that a restart in an outage knows it
}

void Updater::OnChallengerLatency(int64_t ns) {
  if (!Testing()) return;
  latency_.Add(ns);
  if (latency_.condemned()) OnChallengerFailed(Reason::OverBudget);
}

void Updater::OnChallengerFailed(Reason reason) {
  if (state_ == UpdateState::Trial && !end_unfinished_) static_cast<void>(EndTrial(Event::kFallBack, reason));
}

}  // namespace dipper::update
