// Updater: a package that lies at hand, the operator's own confirm, and the factory reset. From verifying on
// the path is the offer's.
#include "agent/update/updater.h"

namespace dipper::update {

using schema::Reason;
using schema::UpdateState;

namespace {

// Blocks copied a call: 32 KiB, so that samples wait no longer than for a checkpoint's write.
constexpr uint32_t kBlocksACall = 2;
// Blocks between two barriers: the medium's own cache stays small, and no barrier takes long.
constexpr uint32_t kBlocksABarrier = 16;

}  // namespace

/// The store first: what it refuses changes nothing. Then what was under way is over; an offer's number
/// stays, so that the same offer does not come again by itself.
Reason Updater::FactoryReset() {
  if (confirm_unfinished_) return Reason::Busy;  // the next Poll goes on with it
  store::StartDecision decision;
  const auto refused = store_.FactoryReset(&decision);
  if (!refused.ok()) return Reason::StorageError;
  if (*refused != Reason::None) return *refused;
  transfer_.Stop();
  has_queued_ = false;
  install_ = {};
  // A bitmap that could not be cleared promises blocks of a slot that takes no such stage: it begins anew.
  static_cast<void>(deps_.trust->counters().ClearTransfer(config_.model_index));
  const bool resting = IsResting(state_);
  if (state_ == UpdateState::Trial || state_ == UpdateState::Staged) {
    static_cast<void>(EndTrial(Event::kFail, Reason::Command));  // the store has ended it
  } else if (!resting) {
    Move(Event::kFail, Reason::Command);
  }
  LoadChampion(decision);
  undo_known_ = false;
  const UpdateState from = state_;
  if (resting) state_ = UpdateState::Idle;
  Emit(from, Reason::Command, false, false, champion_.package);
  return Reason::None;
}

Reason Updater::BeginInstall(package::ByteSource& source) {
  if (Next(state_, Event::kInstall).action != Action::kVerify) {
    return state_ == UpdateState::Trial || state_ == UpdateState::Staged ? Reason::TrialPending
                                                                         : Reason::Busy;
  }
  if (store_.record().HasTrial()) return Reason::TrialPending;
  if (!store_.healthy()) return Reason::TooSoon;
  base::ByteView head;
  package::Manifest manifest;
  Reason reason = ReadHead(source, &head, &manifest);
  package::OfferFacts facts;  // number 0: nobody offered it
  if (reason == Reason::None) {
    install_ = {.source = nullptr, .manifest = manifest, .have = 0, .total = manifest.block_count()};
    facts.package = manifest.package_digest();
    facts.package_bytes = manifest.header().package_bytes();
    reason = JudgeInstall(manifest);
  }
  // Behind the barrier of ClearTransfer no bitmap speaks of the bytes that are overwritten now.
  if (reason == Reason::None && !base::Ok(deps_.trust->counters().ClearTransfer(config_.model_index))) {
    reason = Reason::StorageError;
  }
  if (reason == Reason::None) {
    reason = StageRefusal(store_.BeginStage(facts.package, manifest.security_version(), facts.package_bytes));
  }
  if (reason == Reason::None) {
    writer_.SetPackageBytes(facts.package_bytes);
    if (!base::Ok(writer_.Write(0, head))) reason = Reason::StorageError;
  }
  if (reason != Reason::None) {
    store_.AbandonStage();
    EmitRefusal(facts, reason);
    return reason;
  }
  offer_ = facts;
  install_.source = &source;
  Move(Event::kInstall, Reason::None);
  return Reason::None;
}

/// Size caps first, then one copy of the head, which is verified and then used: a file may change meanwhile.
Reason Updater::ReadHead(package::ByteSource& source, base::ByteView* head, package::Manifest* manifest) {
  const base::MutableBytes memory = whole_memory_.bytes();
  if (source.size() < package::kHeaderBytes) return Reason::BadFormat;
  const base::MutableBytes first = memory.first(package::kHeaderBytes);
  if (!base::Ok(source.ReadAt(0, first))) return Reason::SourceLost;
  package::Header header;
  const Reason reason = package::ParseHeader(first, &header);
  if (reason != Reason::None) return reason;
  if (source.size() != header.package_bytes()) return Reason::BadFormat;
  const base::MutableBytes rest =
      memory.subspan(package::kHeaderBytes, header.head_bytes() - package::kHeaderBytes);
  if (!base::Ok(source.ReadAt(package::kHeaderBytes, rest))) return Reason::SourceLost;
  *head = memory.first(header.head_bytes());
  transfer_.Forget();
  install_ = {};
  return package::VerifyHead(*head, deps_.trust->root(), head_memory_.bytes(), manifest);
}

/// What an offer is asked, and what a manifest is: all of it before the slot is touched.
Reason Updater::JudgeInstall(const package::Manifest& manifest) {
  if (manifest.package_digest() == champion_.package) return Reason::AlreadyInstalled;
  // Who signed it may have been revoked since: only a newer root says so. What runs goes on all the same.
  if (deps_.trust->root().ExpiredAt(deps_.trust->Now())) return Reason::Expired;
  if (store_.IsDenied(manifest.package_digest())) return Reason::Denied;
  if (manifest.header().package_bytes() > store_.PackageCapacity()) return Reason::TooLarge;
  return CheckFit(manifest, Fit(config_));
}

void Updater::CopyBlocks() {
  const base::MutableBytes block = scratch_.bytes();
  for (uint32_t i = 0; i < kBlocksACall && install_.have < install_.total; ++i) {
    const package::BlockInfo info = install_.manifest.block(install_.have);
    const base::MutableBytes stored = block.first(info.stored_bytes);
    Reason reason = Reason::None;
    if (!base::Ok(install_.source->ReadAt(info.package_offset, stored))) {
      reason = Reason::SourceLost;
    } else if (package::VerifyBlock(install_.manifest, install_.have, stored) != Reason::None) {
      Refuse(Reason::BadBlock);
      return;
    } else if (!base::Ok(writer_.Write(info.package_offset, stored)) ||
               (++install_.have % kBlocksABarrier == 0 && !base::Ok(store_.SyncStage()))) {
      reason = Reason::StorageError;
    }
    if (reason != Reason::None) {
      store_.AbandonStage();
      Move(Event::kFail, reason);
      return;
    }
  }
  if (install_.have < install_.total) return;
  install_.source = nullptr;  // the next Poll verifies what the slot holds
  if (base::Ok(store_.SyncStage())) return;
  store_.AbandonStage();
  Move(Event::kFail, Reason::StorageError);
}

Reason Updater::Confirm() {
  if (state_ != UpdateState::Trial || challenger() == nullptr) return Reason::NoTrial;
  if (!confirm_unfinished_) {
    if (LinkMissing()) return Reason::LinkRequired;
    if (!latency_.within()) return latency_.urgent() ? Reason::TooSoon : Reason::OverBudget;
  }
  ConfirmTrial(Reason::OperatorConfirmed);
  if (state_ == UpdateState::Confirmed) return Reason::None;
  return state_ == UpdateState::Trial ? Reason::StorageError : reason_;
}

}  // namespace dipper::update
