// ModelStore: stage, trial, confirm and undo (rules 2, 3, 4, 6 and 8 of docs/reference/storage.md).
#include <algorithm>

#include "agent/store/model_store.h"
#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

SlotId ModelStore::StageTarget() {
  if (Mutated(Mutation::kStageIntoLkg) && record_.lkg_slot <= SlotId::kB) return record_.lkg_slot;
  if (record_.lkg_slot == SlotId::kA) return SlotId::kB;
  if (record_.lkg_slot == SlotId::kB) return SlotId::kA;
  const bool b_is_older = MarkSequence(SlotId::kB) < MarkSequence(SlotId::kA);
  return b_is_older != Mutated(Mutation::kStageOverNewestMark) ? SlotId::kB : SlotId::kA;
}

Status ModelStore::CheckStage(const base::Digest& digest, base::SecurityVersion version,
                              uint64_t package_bytes) {
  if (!started_ || !(healthy_ || Mutated(Mutation::kStageBeforeHealthy))) return Status::kFailedPrecondition;
  if (record_.HasTrial() && !Mutated(Mutation::kStageInTrial)) return Status::kFailedPrecondition;
  if (record_.reset_pending)
    return Status::kFailedPrecondition;  // what is staged would be erased with the rest
  if (digest.IsZero() || package_bytes == 0) return Status::kInvalidArgument;
  if (digest == record_.lkg_digest) return Status::kAlreadyExists;
  if (IsDenied(digest) && !Mutated(Mutation::kStageDenied)) return Status::kPermissionDenied;
  if (version < record_.floor && !Mutated(Mutation::kStageBelowFloor)) return Status::kPermissionDenied;
  return package_bytes > PackageCapacity() ? Status::kResourceExhausted : Status::kOk;
}

Status ModelStore::EmptyStageSlot() {
  // While a copy still names the former LKG, losing the other one would lead into the slot that is about to
  // go.
  if (!Mutated(Mutation::kStageWithoutDuplicate)) DIPPER_RETURN_IF_ERROR(FinishLkg());
  stage_slot_ = StageTarget();
  Slot& slot = *SlotOf(stage_slot_);
  DIPPER_RETURN_IF_ERROR(slot.EraseForStage());
  return Mutated(Mutation::kStageEraseNotSynced) ? Status::kOk : slot.partition().Sync();
}

Status ModelStore::BeginStage(const base::Digest& digest, base::SecurityVersion version,
                              uint64_t package_bytes) {
  stage_open_ = false;
  DIPPER_RETURN_IF_ERROR(CheckStage(digest, version, package_bytes));
  // A medium that is full or read-only is no fault of the package.
  if (!base::Ok(EmptyStageSlot())) return Status::kUnavailable;
  stage_ = {digest, package_bytes};
  stage_version_ = version;
  stage_open_ = true;
  return Status::kOk;
}

Status ModelStore::ResumeStage(const base::Digest& digest, base::SecurityVersion version,
                               uint64_t package_bytes, SlotId slot) {
  stage_open_ = false;
  DIPPER_RETURN_IF_ERROR(CheckStage(digest, version, package_bytes));
  if (slot != StageTarget() || MarkSequence(slot) != 0) return Status::kFailedPrecondition;
  DIPPER_RETURN_IF_ERROR(FinishLkg());
  stage_slot_ = slot;
  stage_ = {digest, package_bytes};
  stage_version_ = version;
  stage_open_ = true;
  return Status::kOk;
}

Status ModelStore::WriteStage(uint64_t offset, base::ByteView bytes) {
  // The LKG can have moved into this slot by now (a step down the ladder): it is never written again then.
  if (!stage_open_ || stage_slot_ == record_.lkg_slot) return Status::kFailedPrecondition;
  Slot& slot = *SlotOf(stage_slot_);
  // The last write unit is written whole; what is behind the package in it means nothing.
  const uint64_t end = base::AlignUp(stage_.package_bytes, slot.partition().geometry().write_unit_bytes);
  if (offset > end || bytes.size() > end - offset) return Status::kOutOfRange;
  return slot.partition().Write(slot.layout().package_offset + offset, bytes);
}

Status ModelStore::ReadStage(uint64_t offset, base::MutableBytes to) {
  if (!stage_open_) return Status::kFailedPrecondition;
  if (offset > stage_.package_bytes || to.size() > stage_.package_bytes - offset) return Status::kOutOfRange;
  return ReadPackage(stage_slot_, offset, to);
}

Status ModelStore::SyncStage() {
  if (!stage_open_) return Status::kFailedPrecondition;
  return SlotOf(stage_slot_)->partition().Sync();
}

Status ModelStore::CommitStage() {
  if (!stage_open_ || stage_slot_ == record_.lkg_slot || record_.HasTrial())
    return Status::kFailedPrecondition;
  Slot& slot = *SlotOf(stage_slot_);
  DIPPER_RETURN_IF_ERROR(slot.WriteHeader(stage_));
  if (!Mutated(Mutation::kStageNotSynced)) DIPPER_RETURN_IF_ERROR(slot.partition().Sync());
  const auto facts = slot.Verify(verifier_);
  if (!facts.ok() && facts.status() == Status::kUnavailable) return Status::kUnavailable;
  const bool whole = facts.ok() && facts->digest == stage_.digest && facts->version == stage_version_;
  if (!whole && !Mutated(Mutation::kCommitUnverified)) {
    stage_open_ = false;
    return Status::kDataLoss;
  }
  if (whole && !Mutated(Mutation::kStageBelowFloor) && !Mutated(Mutation::kStageDenied) &&
      (facts->version < record_.floor || IsDenied(facts->digest))) {
    stage_open_ = false;
    return Status::kPermissionDenied;
  }
  BootRecord next = record_;
  next.trial_slot = stage_slot_;
  next.trial_digest = stage_.digest;
  next.tries_left = kTriesPerTrial;
  next.tries_given_back = 0;
  if (Mutated(Mutation::kFloorRaisedAtStage)) next.floor = std::max(next.floor, stage_version_);
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  stage_open_ = false;
  return Status::kOk;
}

Status ModelStore::BeginTrial() {
  if (!started_ || !record_.HasTrial()) return Status::kNotFound;
  if (trial_running_) return Status::kFailedPrecondition;
  const schema::Reason end = JudgeTrial(record_, false, schema::Reason::None);
  if (end != schema::Reason::None) {
    DIPPER_RETURN_IF_ERROR(EndTrial(end));
    return end == schema::Reason::OutOfTries ? Status::kResourceExhausted : Status::kDataLoss;
  }
  BootRecord next = record_;
  if (!Mutated(Mutation::kTryNotTaken)) --next.tries_left;
  DIPPER_RETURN_IF_ERROR(WriteRecord(next, !Mutated(Mutation::kTryNotSynced)));
  trial_running_ = true;
  try_returned_ = false;
  checkpoint_due_[static_cast<size_t>(next.trial_slot)] = false;
  return Status::kOk;
}

Status ModelStore::PostponeTrial() {
  if (!started_ || !trial_running_) return Status::kFailedPrecondition;
  BootRecord next = record_;
  if (!try_returned_ && next.tries_left < kTriesPerTrial) ++next.tries_left;
  // Otherwise a champion that never becomes healthy would keep its rung as long as the trial waits.
  const bool count = next.lkg_slot != SlotId::kNone && !healthy_ && !start_counted_ &&
                     next.unexplained_starts <= kMaxUnexplainedStarts;
  if (count) ++next.unexplained_starts;
  if (next != record_) DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  start_counted_ = start_counted_ || count;
  trial_running_ = false;
  return Status::kOk;
}

void ModelStore::GiveBack(BootRecord* next) {
  if (Mutated(Mutation::kNeverGiveBack)) return;
  if (next->tries_given_back >= kMaxTriesGivenBack || next->tries_left >= kTriesPerTrial) return;
  ++next->tries_left;
  if (!Mutated(Mutation::kGiveBackUncounted)) ++next->tries_given_back;
}

Status ModelStore::EndTrial(schema::Reason reason) {
  if (!record_.HasTrial()) return Status::kNotFound;
  BootRecord next = record_;
  if (IsOwnFailure(reason) || Mutated(Mutation::kDenyAnyEnd)) next.Deny(next.trial_digest, reason);
  next.ClearTrial();
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  trial_running_ = false;
  return Mutated(Mutation::kTrialEndNotDuplicated) ? Status::kOk : WriteRecord(record_);
}

Status ModelStore::Confirm() {
  if (unfinished_ != Unfinished::kConfirm) {
    if (!trial_running_) return Status::kFailedPrecondition;
    BootRecord next = record_;
    next.lkg_slot = next.trial_slot;
    next.lkg_digest = next.trial_digest;
    next.lkg_version = trial_version_;
    if (!Mutated(Mutation::kFloorNotRaised)) next.floor = std::max(next.floor, trial_version_);
    if (!Mutated(Mutation::kConfirmKeepsCounts)) {
      next.own_failures = 0;
      next.unexplained_starts = 0;
      next.rung = Rung::kNewestCheckpoint;
    }
    next.ClearTrial();
    DIPPER_RETURN_IF_ERROR(WriteRecord(next, !Mutated(Mutation::kConfirmNotSynced)));
    trial_running_ = false;
    start_counted_ = false;
    unfinished_ = Unfinished::kConfirm;
  }
  return FinishLkg(!Mutated(Mutation::kConfirmNotDuplicated), !Mutated(Mutation::kConfirmNotMarked));
}

Status ModelStore::Deny(const base::Digest& digest, schema::Reason reason) {
  if (!started_ || digest.IsZero() || !IsOwnFailure(reason) || digest == record_.lkg_digest) {
    return Status::kInvalidArgument;
  }
  BootRecord next = record_;
  next.Deny(digest, reason);
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  return Mutated(Mutation::kDenialNotDuplicated) ? Status::kOk : EnsureDuplicated();
}

Status ModelStore::OverrideDenied(const base::Digest& digest) {
  BootRecord next = record_;
  DIPPER_RETURN_IF_ERROR(next.RemoveDenied(digest));
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  return Mutated(Mutation::kOverrideNotDuplicated) ? Status::kOk : EnsureDuplicated();
}

schema::Reason ModelStore::FindUndo(Candidate* target) {
  if (record_.HasTrial() && !Mutated(Mutation::kUndoInTrial)) return schema::Reason::TrialPending;
  schema::Reason refusal = schema::Reason::NoPrevious;
  for (const SlotId id : {SlotId::kA, SlotId::kB}) {
    if (id == record_.lkg_slot) continue;
    auto mark = SlotOf(id)->NewestMark();
    if (!mark.ok() && Mutated(Mutation::kUndoUnmarked)) mark = ConfirmMark{DigestIn(id), {}, 1};
    if (!mark.ok() || mark->sequence <= target->mark_sequence) continue;
    auto facts = VerifySlot(id);
    if (!facts.ok() && Mutated(Mutation::kUndoUnverified)) facts = SlotFacts{mark->digest, record_.floor, 0};
    if (!facts.ok() || facts->digest != mark->digest) continue;
    if (IsDenied(facts->digest) && !Mutated(Mutation::kUndoDenied)) {
      refusal = schema::Reason::RefusedDenied;
    } else if (facts->version < record_.floor && !Mutated(Mutation::kUndoBelowFloor)) {
      refusal = schema::Reason::RefusedFloor;
    } else {
      *target = {id, *facts, mark->sequence};
    }
  }
  return target->slot == SlotId::kNone ? refusal : schema::Reason::None;
}

SlotId ModelStore::UndoTarget(base::Digest* package) {
  Candidate target;
  if (!started_ || FindUndo(&target) != schema::Reason::None) target = {};
  if (package != nullptr) *package = target.facts.digest;
  return target.slot;
}

base::Result<schema::Reason> ModelStore::Undo(StartDecision* decision) {
  if (!started_) return Status::kFailedPrecondition;
  if (unfinished_ != Unfinished::kUndo) {
    Candidate target;
    const schema::Reason refusal = FindUndo(&target);
    if (refusal != schema::Reason::None) return refusal;
    BootRecord next = record_;
    next.lkg_slot = target.slot;
    next.lkg_digest = target.facts.digest;
    next.lkg_version = target.facts.version;
    next.rung = Rung::kNewestCheckpoint;
    next.own_failures = 0;
    next.unexplained_starts = 0;
    DIPPER_RETURN_IF_ERROR(WriteRecord(next));
    start_counted_ = false;
    stage_open_ = false;
    checkpoint_due_ = {};
    unfinished_ = Unfinished::kUndo;
  }
  DIPPER_RETURN_IF_ERROR(
      FinishLkg(!Mutated(Mutation::kUndoNotDuplicated), !Mutated(Mutation::kUndoNotMarked)));
  decision_ = {};
  *decision = Decide();
  return schema::Reason::None;
}

}  // namespace dipper::store
