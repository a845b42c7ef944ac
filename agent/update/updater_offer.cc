// Updater: from a signed offer to a verified, staged package.
#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/base/time.h"
#include "agent/update/updater.h"

namespace dipper::update {

using schema::Reason;
using schema::UpdateState;

namespace {

/// Number and package are those of the stored offer. Its document is not kept, but how it ended tells some
/// apart: only a cancel is `cancelled`, and only an offer without the override is refused as `denied`.
bool IsOtherDocument(const store::OfferState& stored, const package::OfferFacts& offer) {
  const bool was_cancel = stored.state == UpdateState::Failed && stored.reason == Reason::Cancelled;
  const bool was_denied = stored.state == UpdateState::Rejected && stored.reason == Reason::Denied;
  return offer.cancel != was_cancel || (offer.override_denied && was_denied);
}

/// Changes with who may sign offers: keys, threshold and epoch of the role.
base::Digest OfferSigners(const package::TrustRoot& root) {
  const package::RoleKeys& role = root.role(schema::RoleName::Rollout);
  base::Sha256 hash;
  for (const uint8_t key : role.keys) hash.Update(root.key_id(key).bytes);
  const std::array<uint32_t, 2> rest = {role.threshold, role.epoch};
  hash.Update({reinterpret_cast<const uint8_t*>(rest.data()), sizeof rest});
  return hash.Finish();
}

}  // namespace

DeviceFit Updater::Fit(const UpdaterConfig& config) {
  return {.model_id = config.model_id.view(),
          .hardware = config.hardware.view(),
          .agent_major = config.agent_major,
          .agent_minor = config.agent_minor,
          .agent_patch = config.agent_patch,
          .max_image_bytes = config.max_image_bytes,
          .group_keys = config.group_keys};
}

Reason Updater::OnOffer(base::ByteView document) {
  std::array<std::string_view, 16> groups;
  for (size_t i = 0; i < config_.groups.size(); ++i) groups[i] = config_.groups[i].view();
  const package::DeviceNames names{.fleet = config_.fleet.view(),
                                   .device = config_.device_id.view(),
                                   .groups = std::span(groups).first(config_.groups.size())};
  package::OfferFacts offer;
  const Reason reason =
      package::VerifyOffer(document, deps_.trust->root(), names, deps_.trust->Now(), &offer);
  if (reason == Reason::WrongTarget || (reason == Reason::None && offer.model != config_.model_id)) {
    return Reason::WrongTarget;
  }
  const store::Counters& counters = deps_.trust->counters();
  if (reason != Reason::None) {
    // Retained offers come again with every connection; each is reported once. What cannot be trusted moves
    // no state.
    const base::Digest digest = base::Sha256Of(document);
    if (digest != refused_document_ && offer.number > counters.offer(config_.model_index).number) {
      refused_document_ = digest;
      if (refusals_.TrySpend(now_ns_)) EmitRefusal(offer, reason);
    }
    return reason;
  }
  deps_.trust->RaiseTime(offer.issued);
  switch (counters.CheckOffer(config_.model_index, offer.number, offer.package)) {
    case base::Status::kOk:
      break;
    case base::Status::kAlreadyExists: {
      const store::OfferState& stored = counters.offer(config_.model_index);
      if (IsOtherDocument(stored, offer)) return Reason::OldNumber;
      // Known: it has ended, or it is being worked on now, or a restart interrupted it and it goes on here.
      if (IsResting(stored.state) && stored.state != UpdateState::Idle) return Reason::None;
      if ((!IsResting(state_) || store_.record().HasTrial()) && offer_.number == offer.number) {
        offer_signers_ = OfferSigners(deps_.trust->root());  // it has just been verified again
        return Reason::None;
      }
      break;  // it waits for what is under way from a file
    }
    default:
      return Reason::OldNumber;
  }
  if (offer.cancel) return Cancel(offer);
  switch (Next(state_, Event::kOffer).action) {
    case Action::kQueue:
      // A trial that cannot run here would hold up every later package.
      if (trial_waits_ && offer.package != store_.record().trial_digest &&
          base::Ok(EndTrial(Event::kFail, Reason::Superseded))) {
        return Accept(offer);
      }
      Queue(offer);
      return Reason::None;
    case Action::kSupersede:
      if (offer.number == offer_.number && offer.package == offer_.package) return Reason::None;
      transfer_.Stop();
      Move(Event::kFail, Reason::Superseded);
      return Accept(offer);
    case Action::kIgnore:
      return Reason::None;
    default:
      return Accept(offer);
  }
}

void Updater::Queue(const package::OfferFacts& offer) {
  if (!has_queued_ || offer.number > queued_.number) queued_ = offer;
  has_queued_ = true;
  if (queued_.digest == offer.digest) queued_signers_ = OfferSigners(deps_.trust->root());
}

void Updater::TakeQueued() {
  has_queued_ = false;
  if (const Reason reason = JudgeAgain(queued_, queued_signers_); reason != Reason::None) {
    EmitRefusal(queued_, reason);
    return;
  }
  static_cast<void>(queued_.cancel ? Cancel(queued_) : Accept(queued_));  // reported by its event
}

/// What may have changed since an offer was verified, while it waited: the time, the root, the highest
/// number.
Reason Updater::JudgeAgain(const package::OfferFacts& offer, const base::Digest& signers) {
  const package::TrustRoot& root = deps_.trust->root();
  const package::TrustedTime now = deps_.trust->Now();
  const bool late = root.ExpiredAt(now) || (now.synchronized && now.unix_seconds >= offer.not_after);
  // A cancel came in time, and it is the device that let it wait.
  if (late && !offer.cancel) return Reason::Expired;
  if (package::EpochOfNumber(offer.number) < root.epoch(schema::RoleName::Rollout)) return Reason::OldNumber;
  // Its document is gone, so nobody can ask whether its keys still count; a retained one comes again.
  if (OfferSigners(root) != signers) return Reason::UnknownKey;
  const store::Counters& counters = deps_.trust->counters();
  const base::Status number = counters.CheckOffer(config_.model_index, offer.number, offer.package);
  return number == base::Status::kPermissionDenied ? Reason::OldNumber : Reason::None;
}

/// The offer that waits for its turn is not to be trusted any more. Where it stands stays stored: when it
/// comes again and verifies, it is taken again.
void Updater::DropOffer(Reason reason) {
  const UpdateState from = state_;
  SetState(Next(state_, Event::kRefuse).next);
  reason_ = reason;
  Emit(from, reason, false, false, offer_.package);
}

/// The fleet takes the package back: whatever is under way with it ends, and it will not be retried.
Reason Updater::Cancel(const package::OfferFacts& offer) {
  const bool ours = offer.package == offer_.package && !IsResting(state_);
  const bool in_trial = state_ == UpdateState::Trial || state_ == UpdateState::Staged;
  if (has_queued_ && queued_.package == offer.package) has_queued_ = false;
  if (!ours && !IsResting(state_)) {
    // Kept until what is under way has ended: until then the stored offer is that one's. An offer that waits
    // instead has a number that guards as well against the cancelled one's return.
    if (!has_queued_) Queue(offer);
    return Reason::None;
  }
  if (ours) {
    offer_.number = offer.number;
    transfer_.Stop();
    if (in_trial) {
      return base::Ok(EndTrial(Event::kFail, Reason::Cancelled)) ? Reason::None : Reason::StorageError;
    } else {
      Move(Event::kFail, Reason::Cancelled);
    }
    return Reason::None;
  }
  KeepOffer(offer, UpdateState::Failed, Reason::Cancelled);
  return Reason::None;
}

Reason Updater::JudgeOffer(const package::OfferFacts& offer) {
  if (offer.package == champion_.package) return Reason::AlreadyInstalled;
  if (store_.IsDenied(offer.package)) {
    if (!offer.override_denied) return Reason::Denied;
    if (!base::Ok(store_.OverrideDenied(offer.package))) return Reason::StorageError;
  }
  if (offer.image_bytes > config_.max_image_bytes || offer.package_bytes > store_.PackageCapacity()) {
    return Reason::TooLarge;
  }
  return Reason::None;
}

Reason Updater::Accept(const package::OfferFacts& offer) {
  offer_ = offer;
  offer_signers_ = OfferSigners(deps_.trust->root());
  install_ = {};
  const Reason reason = JudgeOffer(offer);
  Move(Event::kOffer, Reason::None);
  if (reason != Reason::None) {
    Move(Event::kRefuse, reason);
    return reason;
  }
  const uint32_t delay_s = package::SpreadDelaySeconds(offer, config_.device_id.view());
  begin_at_ns_ = now_ns_ + static_cast<int64_t>(delay_s) * base::kSecondNs;
  return Reason::None;
}

void Updater::OnManifest(const base::Digest& package, base::ByteView head) {
  if (state_ != UpdateState::Transferring) return;
  OnTransfer(transfer_.OnManifest(package, head, deps_.trust->root(), now_ns_));
}

void Updater::OnBlock(const base::Digest& package, uint32_t index, base::ByteView stored) {
  if (state_ == UpdateState::Transferring) OnTransfer(transfer_.OnBlock(package, index, stored, now_ns_));
}

void Updater::OnTransfer(const TransferResult& result) {
  switch (result.kind) {
    case TransferResult::kGoingOn:
      return;
    case TransferResult::kComplete:
      Move(Event::kReceived, Reason::None);
      return;
    case TransferResult::kRefused:
      Refuse(result.reason);
      return;
    case TransferResult::kFailed:
      Move(Event::kFail, result.reason);
      return;
  }
}

/// A refused package will not be better next time: what was received of it is forgotten.
void Updater::Refuse(Reason reason) {
  store_.AbandonStage();
  static_cast<void>(deps_.trust->counters().ClearTransfer(config_.model_index));
  Forget(&challenger_);
  Move(Event::kRefuse, reason);
}

void Updater::Verify() {
  if (const Reason reason = CheckStaged(); reason != Reason::None) {
    if (store::IsOwnFailure(reason)) static_cast<void>(store_.Deny(offer_.package, reason));
    if (reason == Reason::StorageError) {
      store_.AbandonStage();
      static_cast<void>(deps_.trust->counters().ClearTransfer(config_.model_index));
      Forget(&challenger_);
      Move(Event::kFail, reason);
    } else {
      Refuse(reason);
    }
    return;
  }
  const base::Status committed = store_.CommitStage();
  static_cast<void>(deps_.trust->counters().ClearTransfer(config_.model_index));
  if (base::Ok(committed)) {
    Move(Event::kVerified, Reason::None);
    return;
  }
  Forget(&challenger_);
  if (committed == base::Status::kPermissionDenied) {
    Move(Event::kRefuse, Reason::BelowFloor);
  } else {
    Move(Event::kFail, Reason::StorageError);
  }
}

/// Every byte again, from the slot, then the model itself: spec, payload and self-test.
Reason Updater::CheckStaged() {
  const uint64_t bytes = offer_.package_bytes;
  StageSource source(store_, bytes);
  package::PackageFacts facts;
  Reason reason = package::VerifyWhole(source, &deps_.trust->root(), whole_memory_.bytes(), &facts);
  // Each block was right when it came: what is wrong now was lost on the way through the medium (a torn write
  // beside it, a bit flip), which says nothing about the package.
  if (reason == Reason::BadBlock || reason == Reason::BadFormat) return Reason::StorageError;
  if (reason != Reason::None) return reason;
  if (facts.digest != offer_.package) return Reason::StorageError;
  reason = CheckFit(facts.manifest, Fit(config_));
  if (reason == Reason::None) reason = TakeSpec(facts.manifest, &challenger_);
  if (reason == Reason::None) reason = CheckChallenger(source, facts.manifest);
  // Until its trial starts there is no challenger: the self-test has used the image up.
  challenger_.model.reset();
  return reason;
}

}  // namespace dipper::update
