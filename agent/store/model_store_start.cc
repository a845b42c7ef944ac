// ModelStore: start, recovery and the champion's ladder (rules 1, 3, 5 and 7 of docs/reference/storage.md).
#include <algorithm>

#include "agent/store/model_store.h"
#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

Status ModelStore::OpenPartitions() {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout boot, ComputeBootLayout(config_.boot->geometry()));
  if (config_.record_index >= boot.models) return Status::kResourceExhausted;
  records_.Configure(*config_.boot, boot.Record(config_.record_index));
  DIPPER_RETURN_IF_ERROR(slots_[0].Open(config_.slot_a, false));
  DIPPER_RETURN_IF_ERROR(slots_[1].Open(config_.slot_b, false));
  if (config_.factory != nullptr) DIPPER_RETURN_IF_ERROR(slots_[2].Open(config_.factory, true));
  for (size_t i = 0; i < 2; ++i) {
    if (slots_[i].layout().MaxImageBytes() < config_.max_image_bytes) return Status::kResourceExhausted;
  }
  return Status::kOk;
}

base::Result<StartDecision> ModelStore::Start(const LastRun& last) {
  DIPPER_CHECK(!started_);
  DIPPER_RETURN_IF_ERROR(OpenPartitions());
  if (HoldsUnknownLayout()) return Status::kUnimplemented;
  bool found = false;
  DIPPER_RETURN_IF_ERROR(LoadRecords(&found));
  decision_ = {};
  Note(RepairAndChoose(found));
  Note(CountStart(last));
  started_ = true;
  return Decide();
}

/// A failed write does not stop the champion from serving; it stops reports.
void ModelStore::Note(Status status) {
  if (!base::Ok(status) && base::Ok(decision_.storage)) decision_.storage = status;
}

/// Rule 1 and, without a usable LKG, rule 5.
Status ModelStore::RepairAndChoose(bool found) {
  if (found && !Mutated(Mutation::kNoDuplicateAtStart)) Note(EnsureDuplicated());
  if (record_.reset_pending && !Mutated(Mutation::kResetNotFinished)) Note(FinishReset());
  // A device that came up without any model looks again at each start; a ladder that ended in safe mode does
  // not.
  const bool looking = record_.lkg_slot == SlotId::kNone && record_.rung != Rung::kNone;
  bool good = found && record_.lkg_slot == SlotId::kNone && !looking;
  if (found && record_.lkg_slot != SlotId::kNone) {
    const auto facts = VerifySlot(record_.lkg_slot);
    good = facts.ok() && facts->digest == record_.lkg_digest;
    good = good || Mutated(Mutation::kLkgUnverified);
  }
  if (!good) Note(Recover(found));
  return Mutated(Mutation::kNoMarkAtStart) ? Status::kOk : CompleteMark();
}

ModelStore::Candidate ModelStore::BestMarked(SlotId except, SlotId also_except, base::SecurityVersion floor) {
  Candidate best;
  for (const SlotId id : {SlotId::kA, SlotId::kB}) {
    if (id == except || id == also_except) continue;
    auto mark = SlotOf(id)->NewestMark();
    if (!mark.ok() && Mutated(Mutation::kServeUnmarked)) mark = ConfirmMark{DigestIn(id), {}, 1};
    const bool older = best.slot != SlotId::kNone && mark.ok() && mark->sequence <= best.mark_sequence;
    if (!mark.ok() || older != Mutated(Mutation::kOldestMark)) continue;
    const auto facts = VerifySlot(id);
    if (!facts.ok() || facts->digest != mark->digest) continue;
    const bool any = Mutated(Mutation::kRecoverDenied) || Mutated(Mutation::kLadderDenied);
    if (IsDenied(facts->digest) && !any) continue;
    if (facts->version < floor && !Mutated(Mutation::kRecoverBelowFloor)) continue;
    best = {id, *facts, mark->sequence};
  }
  return best;
}

bool ModelStore::FactoryEligible(const BootRecord& next, SlotFacts* facts) {
  const auto verified = VerifySlot(SlotId::kFactory);
  if (!verified.ok() || next.IsDenied(verified->digest) || verified->version < next.floor) return false;
  *facts = *verified;
  return true;
}

/// Rule 5: the marked slot with the highest mark, then factory, then none; recorded twice before it is
/// served.
Status ModelStore::Recover(bool found) {
  decision_.recovered = true;
  if (!found) record_ = {};
  BootRecord next = record_;
  if (Mutated(Mutation::kFloorFromMarksOnly)) next.floor = {};
  for (uint32_t copy = 0; copy < 2; ++copy) {
    BootRecord other;
    if (base::Ok(ReadRecord(copy, &other)) && !Mutated(Mutation::kFloorFromMarksOnly)) {
      next.floor = std::max(next.floor, other.floor);
    }
  }
  for (const SlotId id : {SlotId::kA, SlotId::kB}) {
    const auto mark = SlotOf(id)->NewestMark();
    if (!mark.ok()) continue;
    if (!Mutated(Mutation::kFloorFromRecordsOnly)) next.floor = std::max(next.floor, mark->floor);
    if (!Mutated(Mutation::kSequenceNotRaised)) records_.RaiseSequence(mark->sequence);
  }
  next.lkg_slot = SlotId::kNone;
  next.lkg_digest = {};
  next.lkg_version = {};
  next.rung = Rung::kNewestCheckpoint;
  next.own_failures = 0;
  next.unexplained_starts = 0;
  SlotFacts facts;
  const Candidate best = BestMarked(record_.trial_slot, SlotId::kNone, next.floor);
  if (best.slot != SlotId::kNone) {
    next.lkg_slot = best.slot;
    facts = best.facts;
  } else if (FactoryEligible(next, &facts)) {
    next.lkg_slot = SlotId::kFactory;
    next.rung = Rung::kFactory;
  }
  next.lkg_digest = facts.digest;
  next.lkg_version = facts.version;
  if (found && next == record_) return Status::kOk;
  // Served even if the medium refuses the record: a device without any model is the worse outcome.
  if (Mutated(Mutation::kRecoverDropsTrial)) next.ClearTrial();
  record_ = next;
  record_.sequence = records_.sequence();
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  return EnsureDuplicated();
}

/// Rule 3 for the trial pending in `at`, a record that may not be written yet: None when it may run,
/// otherwise why it ends.
schema::Reason ModelStore::JudgeTrial(const BootRecord& at, bool own_failure, schema::Reason reason) {
  const auto facts = VerifySlot(at.trial_slot);
  const bool whole = facts.ok() && facts->digest == at.trial_digest;
  if (Mutated(Mutation::kTrialUnverified) && at.tries_left > 0) return schema::Reason::None;
  const bool allowed = whole && facts->version >= at.floor && !at.IsDenied(at.trial_digest);
  if (allowed && at.tries_left > 0) {
    trial_version_ = facts->version;
    return schema::Reason::None;
  }
  if (own_failure) return reason;
  if (Mutated(Mutation::kDenyOutOfTries)) return schema::Reason::Crash;
  if (allowed) return schema::Reason::OutOfTries;
  // The bytes were right when they were staged; what is wrong now is the medium's.
  if (!whole) return schema::Reason::StorageError;
  return facts->version < at.floor ? schema::Reason::BelowFloor : schema::Reason::Denied;
}

/// Rules 3, 7 and 8: charges the previous run's end to whom the note names, takes a try of the pending trial
/// or counts the champion's start, steps down the ladder; one record write when nothing special happened.
Status ModelStore::CountStart(const LastRun& last) {
  BootRecord next = record_;
  const bool named = last.own_failure && !last.digest.IsZero() && IsOwnFailure(last.reason);
  const bool blamed = last.digest == next.trial_digest || Mutated(Mutation::kBlameTheTrial);
  const bool trial_failed = named && next.HasTrial() && blamed;
  if (named && !trial_failed && last.digest == next.lkg_digest) {
    if (!next.HasTrial() && next.unexplained_starts > 0) --next.unexplained_starts;
    if (next.own_failures < kMaxOwnFailures) ++next.own_failures;
  }
  // Ended by another model of the device: as a planned stop, neither a start nor a try is used up.
  if (last.another && next.HasTrial()) {
    if (!Mutated(Mutation::kAnotherTakesTry)) GiveBack(&next);
  } else if (last.another && next.unexplained_starts > 0 && !Mutated(Mutation::kAnotherCountsStart)) {
    --next.unexplained_starts;
  }
  bool run_trial = false;
  if (next.HasTrial()) {
    const schema::Reason end = JudgeTrial(next, trial_failed, last.reason);
    run_trial = end == schema::Reason::None;
    if (run_trial) {
      if (!Mutated(Mutation::kTryNotTaken)) --next.tries_left;
    } else {
      decision_.trial_ended = true;
      decision_.ended_digest = next.trial_digest;
      decision_.trial_end_reason = end;
      decision_.denied = IsOwnFailure(end);
      if (decision_.denied) next.Deny(next.trial_digest, end);
      next.ClearTrial();
    }
  }
  if (MustStepDown(next)) StepDown(&next, last.reason);
  if (run_trial && Mutated(Mutation::kCountTrialStarts)) ++next.unexplained_starts;
  const bool count_start = next.lkg_slot != SlotId::kNone && !run_trial &&
                           !Mutated(Mutation::kStartNotCounted) &&
                           next.unexplained_starts <= kMaxUnexplainedStarts;
  if (count_start) ++next.unexplained_starts;
  if (next == record_) {  // Counted in the place of the one that another model ended.
    start_counted_ = count_start;
    return Status::kOk;
  }
  const bool new_rung = next.rung != record_.rung && !Mutated(Mutation::kRungNotDuplicated);
  const bool duplicate =
      decision_.trial_ended || next.lkg_slot != record_.lkg_slot || new_rung || next.denied != record_.denied;
  DIPPER_RETURN_IF_ERROR(WriteRecord(next, !(run_trial && Mutated(Mutation::kTryNotSynced))));
  trial_running_ = run_trial;
  start_counted_ = count_start;
  if (!duplicate || Mutated(Mutation::kTrialEndNotDuplicated)) return Status::kOk;
  DIPPER_RETURN_IF_ERROR(WriteRecord(record_));
  return CompleteMark();
}

bool ModelStore::MustStepDown(const BootRecord& next) const {
  return next.lkg_slot != SlotId::kNone && !Mutated(Mutation::kNoLadder) &&
         (next.own_failures >= kMaxOwnFailures || next.unexplained_starts >= kMaxUnexplainedStarts);
}

ImageSource ModelStore::Source(const BootRecord& record) {
  if (record.lkg_slot == SlotId::kNone) return ImageSource::kNone;
  if (record.lkg_slot == SlotId::kFactory || record.rung == Rung::kPackageImage) return ImageSource::kPackage;
  if (SlotOf(record.lkg_slot)->ScanCheckpoints(record.lkg_digest).count() == 0) return ImageSource::kPackage;
  return record.rung == Rung::kOlderCheckpoint ? ImageSource::kOlderCheckpoint
                                               : ImageSource::kNewestCheckpoint;
}

/// One rung down (rule 7); a rung that would load the same bytes again is skipped.
void ModelStore::StepDown(BootRecord* next, schema::Reason reason) {
  decision_.stepped_down = true;
  const ImageSource source = Source(*next);
  const bool own_slot = next->rung < Rung::kOtherSlot;
  if (own_slot && source == ImageSource::kNewestCheckpoint &&
      SlotOf(next->lkg_slot)->ScanCheckpoints(next->lkg_digest).count() == 2) {
    next->rung = Rung::kOlderCheckpoint;
  } else if (own_slot && source != ImageSource::kPackage) {
    next->rung = Rung::kPackageImage;
  } else {
    LeaveSlot(next, reason);
  }
  next->own_failures = 0;
  next->unexplained_starts = 0;
}

/// Leaving a slot by own failures denies its digest, before choosing; the other slot by rule 6's conditions.
void ModelStore::LeaveSlot(BootRecord* next, schema::Reason reason) {
  if (next->own_failures >= kMaxOwnFailures && !Mutated(Mutation::kLeaveWithoutDenial)) {
    next->Deny(next->lkg_digest, reason);
    decision_.denied = true;
  }
  const SlotId left = next->lkg_slot;
  next->lkg_slot = SlotId::kNone;
  SlotFacts facts;
  const bool other_allowed = left != SlotId::kFactory && next->rung < Rung::kOtherSlot;
  const auto floor = Mutated(Mutation::kLadderBelowFloor) ? base::SecurityVersion{} : next->floor;
  const Candidate other = other_allowed ? BestMarked(left, next->trial_slot, floor) : Candidate{};
  if (other.slot != SlotId::kNone &&
      (!next->IsDenied(other.facts.digest) || Mutated(Mutation::kLadderDenied))) {
    next->lkg_slot = other.slot;
    next->rung = Rung::kOtherSlot;
    facts = other.facts;
  } else if (left != SlotId::kFactory && FactoryEligible(*next, &facts)) {
    next->lkg_slot = SlotId::kFactory;
    next->rung = Rung::kFactory;
  } else {
    next->rung = Rung::kNone;
  }
  next->lkg_digest = facts.digest;
  next->lkg_version = facts.version;
}

Status ModelStore::ApplyStep(BootRecord next) {
  const bool new_rung = next.rung != record_.rung && !Mutated(Mutation::kRungNotDuplicated);
  const bool left = next.lkg_slot != record_.lkg_slot || next.denied != record_.denied || new_rung;
  if (next == record_) return Status::kOk;
  DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  start_counted_ = start_counted_ && next.unexplained_starts > 0;
  if (!left) return Status::kOk;
  checkpoint_due_ = {};
  return Mutated(Mutation::kLadderNotDuplicated) ? Status::kOk : FinishLkg();
}

base::Result<StartDecision> ModelStore::ChampionFailed(schema::Reason reason) {
  if (!IsOwnFailure(reason)) return Status::kInvalidArgument;
  if (!started_ || record_.lkg_slot == SlotId::kNone) return Status::kFailedPrecondition;
  decision_ = {};
  BootRecord next = record_;
  if (next.own_failures < kMaxOwnFailures) ++next.own_failures;
  if (MustStepDown(next)) StepDown(&next, reason);
  Note(ApplyStep(next));
  return Decide();
}

base::Result<StartDecision> ModelStore::ChampionUnloadable(schema::Reason reason) {
  if (!started_ || record_.lkg_slot == SlotId::kNone) return Status::kFailedPrecondition;
  decision_ = {};
  BootRecord next = record_;
  next.own_failures = IsOwnFailure(reason) ? kMaxOwnFailures : uint8_t{0};
  StepDown(&next, reason);
  Note(ApplyStep(next));
  return Decide();
}

StartDecision ModelStore::Decide() {
  decision_.serve = record_.lkg_slot;
  decision_.digest = record_.lkg_digest;
  decision_.version = record_.lkg_version;
  decision_.rung = record_.lkg_slot == SlotId::kNone ? Rung::kNone : record_.rung;
  decision_.source = Source(record_);
  decision_.trial = trial_running_;
  decision_.trial_slot = record_.trial_slot;
  decision_.trial_digest = record_.trial_digest;
  return decision_;
}

}  // namespace dipper::store
