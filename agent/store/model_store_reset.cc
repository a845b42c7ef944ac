// ModelStore: factory reset, and what keeps an older agent's hands off.
#include <algorithm>

#include "agent/store/model_store.h"
#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

namespace {

/// Names no package: what the marks of a reset without a factory model carry.
base::Digest NoPackage() {
  base::Digest digest;
  digest.bytes.fill(0xFF);
  return digest;
}

}  // namespace

/// Whatever a newer agent left must not be taken for absent.
bool ModelStore::HoldsUnknownLayout() const {
  if (Mutated(Mutation::kUnknownLayoutIsAbsent)) return false;
  return std::any_of(slots_.begin(), slots_.end(),
                     [](const Slot& slot) { return slot.is_open() && slot.HoldsUnknownLayout(); });
}

base::Digest ModelStore::DigestIn(SlotId id) {
  const auto header = SlotOf(id)->ReadHeader();
  return header.ok() ? header->digest : base::Digest{};
}

base::Result<schema::Reason> ModelStore::FactoryReset(StartDecision* decision) {
  if (!started_) return Status::kFailedPrecondition;
  if (unfinished_ != Unfinished::kReset) {
    BootRecord next = record_;
    next.ClearTrial();
    next.lkg_slot = SlotId::kNone;
    next.lkg_digest = {};
    next.lkg_version = {};
    next.own_failures = 0;
    next.unexplained_starts = 0;
    next.rung = Rung::kNewestCheckpoint;
    next.reset_pending = true;
    if (SlotOf(SlotId::kFactory) != nullptr) {
      const auto facts = VerifySlot(SlotId::kFactory);
      if (!facts.ok() && facts.status() == Status::kUnavailable) return Status::kUnavailable;
      if (!facts.ok()) return schema::Reason::NoPrevious;
      if (IsDenied(facts->digest)) return schema::Reason::RefusedDenied;
      if (facts->version < record_.floor) return schema::Reason::RefusedFloor;
      next.lkg_slot = SlotId::kFactory;
      next.lkg_digest = facts->digest;
      next.lkg_version = facts->version;
      next.rung = Rung::kFactory;
    }
    if (Mutated(Mutation::kResetForgetsDenied)) next.denied = {};
    if (Mutated(Mutation::kResetLowersFloor)) next.floor = {};
    DIPPER_RETURN_IF_ERROR(WriteRecord(next));
    trial_running_ = false;
    start_counted_ = false;
    stage_open_ = false;
    checkpoint_due_ = {};
    unfinished_ = Unfinished::kReset;
  }
  if (!Mutated(Mutation::kResetNotDuplicated)) DIPPER_RETURN_IF_ERROR(EnsureDuplicated());
  DIPPER_RETURN_IF_ERROR(FinishReset());
  unfinished_ = Unfinished::kNothing;
  decision_ = {};
  *decision = Decide();
  return schema::Reason::None;
}

/// Erases both slots, each then with a mark that names no package of its own, so that the floor and the end
/// of what was confirmed before outlive the loss of both records; then the record without the flag. The slot
/// with the newest mark comes last: until the other one is marked, the floor is nowhere else but in records.
/// That record needs no duplicate: a start that is left with the other copy alone erases what is empty
/// already, and the next stage, start or healthy mark makes the copies agree before anything new is in a
/// slot.
Status ModelStore::FinishReset() {
  const bool none = record_.lkg_digest.IsZero();
  const ConfirmMark mark{none ? NoPackage() : record_.lkg_digest, record_.floor, record_.sequence};
  const bool b_is_newer = MarkSequence(SlotId::kB) > MarkSequence(SlotId::kA);
  const SlotId last = b_is_newer != Mutated(Mutation::kResetNewestFirst) ? SlotId::kB : SlotId::kA;
  for (const SlotId id : {last == SlotId::kA ? SlotId::kB : SlotId::kA, last}) {
    if (!Mutated(Mutation::kResetKeepsSlots)) DIPPER_RETURN_IF_ERROR(SlotOf(id)->EraseAll());
    if (!Mutated(Mutation::kResetWithoutMark)) DIPPER_RETURN_IF_ERROR(SlotOf(id)->AppendMark(mark));
  }
  BootRecord next = record_;
  next.reset_pending = false;
  return WriteRecord(next);
}

}  // namespace dipper::store
