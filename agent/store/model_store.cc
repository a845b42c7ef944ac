// ModelStore: slots and records, the repair steps that several rules share, checkpoints and reading.
#include "agent/store/model_store.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

ModelStore::ModelStore(const ModelStoreConfig& config, SlotVerifier& verifier)
    : config_(config), verifier_(verifier) {
  DIPPER_CHECK(config.boot != nullptr && config.slot_a != nullptr && config.slot_b != nullptr);
}

Slot* ModelStore::SlotOf(SlotId id) {
  if (id == SlotId::kNone) return nullptr;
  Slot& slot = slots_[static_cast<size_t>(id)];
  return slot.is_open() ? &slot : nullptr;
}

base::Result<SlotFacts> ModelStore::VerifySlot(SlotId id) {
  Slot* slot = SlotOf(id);
  if (slot == nullptr) return Status::kDataLoss;
  return slot->Verify(verifier_);
}

uint64_t ModelStore::MarkSequence(SlotId id) {
  Slot* slot = id == SlotId::kFactory ? nullptr : SlotOf(id);
  if (slot == nullptr) return 0;
  const auto mark = slot->NewestMark();
  return mark.ok() ? mark->sequence : 0;
}

Status ModelStore::ReadRecord(uint32_t copy, BootRecord* record) {
  DIPPER_RETURN_IF_ERROR(records_.ReadCopy(copy, page_));
  const auto decoded = DecodeBootRecord(base::ByteView(page_).first(kBootRecordBytes));
  if (!decoded.ok()) return decoded.status();
  *record = *decoded;
  return Status::kOk;
}

/// Rule 1: the valid record with the higher sequence is current. A record whose CRC is good but whose fields
/// make no sense is as lost as a torn one.
Status ModelStore::LoadRecords(bool* found) {
  *found = false;
  const Status loaded = records_.Load(page_);
  if (loaded == Status::kNotFound) return Status::kOk;
  DIPPER_RETURN_IF_ERROR(loaded);
  if (base::Ok(ReadRecord(records_.current(), &record_))) {
    *found = true;
    return Status::kOk;
  }
  if (base::Ok(ReadRecord(1 - records_.current(), &record_))) {
    *found = true;
    records_.SwapCurrent();
  }
  return Status::kOk;
}

/// Rule 1: only ever the other copy, one write, barrier, read back.
Status ModelStore::WriteRecord(BootRecord next, bool sync) {
  if (Mutated(Mutation::kWriteSameCopy)) records_.SwapCurrent();
  next.sequence = records_.sequence() + 1;
  std::fill(page_.begin(), page_.end(), uint8_t{0});
  EncodeBootRecord(next, base::MutableBytes(page_).first(kBootRecordBytes));
  const bool barrier = sync && !Mutated(Mutation::kRecordNotSynced);
  DIPPER_RETURN_IF_ERROR(records_.WriteOther(page_, kBootRecordBytes, barrier));
  record_ = next;
  return Status::kOk;
}

/// Both copies valid and agreeing on LKG, rung and denied ring. The media are asked, not the memory: a copy
/// can be lost at rest while the agent runs, and then the lost one is written, never the one that is left.
Status ModelStore::EnsureDuplicated() {
  BootRecord copy;
  if (!base::Ok(ReadRecord(records_.current(), &copy)) || copy != record_) {
    records_.SwapCurrent();
    DIPPER_RETURN_IF_ERROR(WriteRecord(record_));
  }
  const bool valid = base::Ok(ReadRecord(1 - records_.current(), &copy));
  const bool same_lkg = (copy.lkg_slot == record_.lkg_slot && copy.lkg_digest == record_.lkg_digest &&
                         copy.reset_pending == record_.reset_pending) ||
                        Mutated(Mutation::kDuplicateIgnoresLkg);
  const bool same_rung = copy.rung == record_.rung || Mutated(Mutation::kRungNotDuplicated);
  const bool same_denied = copy.denied == record_.denied || Mutated(Mutation::kDuplicateIgnoresDenied);
  if (valid && same_lkg && same_rung && same_denied) return Status::kOk;
  return WriteRecord(record_, !Mutated(Mutation::kDuplicateNotSynced));
}

/// The LKG's mark exists, names its package and is the newest of all marks.
Status ModelStore::CompleteMark() {
  const SlotId lkg = record_.lkg_slot;
  Slot* slot = lkg == SlotId::kA || lkg == SlotId::kB ? SlotOf(lkg) : nullptr;
  if (slot == nullptr) return Status::kOk;
  const uint64_t other = MarkSequence(lkg == SlotId::kA ? SlotId::kB : SlotId::kA);
  const auto mark = slot->NewestMark();
  const bool newest = mark.ok() && (mark->sequence > other || Mutated(Mutation::kMarkNeedNotBeNewest));
  if (newest && mark->digest == record_.lkg_digest) return Status::kOk;
  const uint64_t highest = std::max(other, mark.ok() ? mark->sequence : 0);
  if (record_.sequence <= highest && !Mutated(Mutation::kSequenceNotRaised)) {
    records_.RaiseSequence(highest);
    DIPPER_RETURN_IF_ERROR(WriteRecord(record_));
  }
  return slot->AppendMark({record_.lkg_digest, record_.floor, record_.sequence});
}

/// What must be durable before a new LKG is reported or the former one's slot is touched.
Status ModelStore::FinishLkg(bool duplicate, bool mark) {
  if (duplicate) DIPPER_RETURN_IF_ERROR(EnsureDuplicated());
  if (mark) DIPPER_RETURN_IF_ERROR(CompleteMark());
  unfinished_ = Unfinished::kNothing;
  return Status::kOk;
}

Status ModelStore::HealthyMark() {
  if (!started_) return Status::kFailedPrecondition;
  BootRecord next = record_;
  if (!Mutated(Mutation::kHealthKeepsCounts)) {
    next.own_failures = 0;
    next.unexplained_starts = 0;
  }
  if (Mutated(Mutation::kHealthResetsRung) && next.lkg_slot != SlotId::kNone)
    next.rung = Rung::kNewestCheckpoint;
  const bool returned =
      next.HasTrial() && trial_running_ && (!try_returned_ || Mutated(Mutation::kGiveBackTwice));
  if (returned) GiveBack(&next);
  if (next != record_) DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  try_returned_ = try_returned_ || returned;
  start_counted_ = false;
  healthy_ = true;
  HealthyPeriod();
  return Status::kOk;
}

void ModelStore::HealthyPeriod() { checkpoint_due_ = {true, true}; }

Status ModelStore::PlannedStop() {
  if (!started_) return Status::kFailedPrecondition;
  BootRecord next = record_;
  const bool take_back = start_counted_ && !Mutated(Mutation::kPlannedStopCounts);
  if (take_back && next.unexplained_starts > 0) --next.unexplained_starts;
  const bool returned =
      next.HasTrial() && trial_running_ && (!try_returned_ || Mutated(Mutation::kGiveBackTwice));
  if (returned) GiveBack(&next);
  if (next != record_) DIPPER_RETURN_IF_ERROR(WriteRecord(next));
  try_returned_ = try_returned_ || returned;
  start_counted_ = false;
  return Status::kOk;
}

namespace {

/// The area that rule 7 lets be overwritten: an invalid one, the failed newest on a lower rung, else the
/// older.
uint32_t AreaToReplace(const CheckpointScan& scan, bool failed_newest) {
  for (uint32_t area = 0; area < 2; ++area) {
    if (!scan.valid[area]) return area;
  }
  if (Mutated(Mutation::kCheckpointReplacesOlder)) failed_newest = false;
  if (Mutated(Mutation::kCheckpointOverNewest)) failed_newest = true;
  return failed_newest ? scan.Newest() : scan.Oldest();
}

}  // namespace

bool ModelStore::CheckpointAllowed(SlotId slot) {
  if (!started_ || (slot != SlotId::kA && slot != SlotId::kB)) return false;
  const bool champion = slot == record_.lkg_slot;
  if (!champion && slot != record_.trial_slot) return false;
  if (checkpoint_due_[static_cast<size_t>(slot)] || Mutated(Mutation::kNoCheckpointWait)) return true;
  return SlotOf(slot)->ScanCheckpoints(champion ? record_.lkg_digest : record_.trial_digest).count() == 0;
}

Status ModelStore::WriteCheckpoint(SlotId slot, uint64_t samples, base::ByteView image,
                                   base::ByteView gate_state) {
  if (!CheckpointAllowed(slot)) return Status::kFailedPrecondition;
  const bool champion = slot == record_.lkg_slot;
  Slot& to = *SlotOf(slot);
  if (image.size() > to.layout().MaxImageBytes() || gate_state.size() > kMaxGateStateBytes) {
    return Status::kResourceExhausted;
  }
  CheckpointInfo info;
  info.package_digest = champion ? record_.lkg_digest : record_.trial_digest;
  const CheckpointScan scan = to.ScanCheckpoints(info.package_digest);
  info.sequence = scan.count() == 0 ? 1 : scan.info[scan.Newest()].sequence + 1;
  info.samples = samples;
  info.image_bytes = image.size();
  info.image_digest = base::Sha256Of(image);
  info.gate_bytes = static_cast<uint32_t>(gate_state.size());
  info.gate_crc = base::Crc32c(gate_state);
  const bool failed_newest =
      champion && (record_.rung == Rung::kOlderCheckpoint || record_.rung == Rung::kPackageImage);
  if (Mutated(Mutation::kRungResetFirst) && failed_newest) {
    BootRecord early = record_;
    early.rung = Rung::kNewestCheckpoint;
    DIPPER_RETURN_IF_ERROR(WriteRecord(early));
  }
  DIPPER_RETURN_IF_ERROR(to.WriteCheckpoint(AreaToReplace(scan, failed_newest), info, image, gate_state));
  if (!Mutated(Mutation::kCheckpointWaitFromStart)) checkpoint_due_[static_cast<size_t>(slot)] = false;
  if (champion && record_.rung != Rung::kNewestCheckpoint && !Mutated(Mutation::kRungStays)) {
    BootRecord next = record_;
    next.rung = Rung::kNewestCheckpoint;
    DIPPER_RETURN_IF_ERROR(WriteRecord(next));
    return EnsureDuplicated();
  }
  return Status::kOk;
}

base::Result<CheckpointInfo> ModelStore::ReadCheckpoint(SlotId slot, ImageSource which,
                                                        base::MutableBytes image,
                                                        base::MutableBytes gate_state) {
  Slot* from = slot == SlotId::kFactory ? nullptr : SlotOf(slot);
  const bool champion = slot == record_.lkg_slot;
  if (from == nullptr || (!champion && slot != record_.trial_slot)) return Status::kNotFound;
  const CheckpointScan scan = from->ScanCheckpoints(champion ? record_.lkg_digest : record_.trial_digest);
  if (scan.count() == 0) return Status::kNotFound;
  const uint32_t area = which == ImageSource::kOlderCheckpoint ? scan.Oldest() : scan.Newest();
  const CheckpointInfo& info = scan.info[area];
  if (info.image_bytes > image.size()) return Status::kResourceExhausted;
  if (!gate_state.empty() && info.gate_bytes > gate_state.size()) return Status::kResourceExhausted;
  const auto image_part = image.first(info.image_bytes);
  const auto gate_part = gate_state.empty() ? gate_state : gate_state.first(info.gate_bytes);
  DIPPER_RETURN_IF_ERROR(from->ReadCheckpoint(area, info, image_part, gate_part));
  // The bytes handed out are the bytes that were checked: they may have changed since the scan.
  if (base::Sha256Of(image_part) != info.image_digest) return Status::kNotFound;
  if (!gate_state.empty() && base::Crc32c(gate_part) != info.gate_crc) return Status::kNotFound;
  return info;
}

uint64_t ModelStore::PackageCapacity() const {
  return std::min(slots_[0].layout().package_capacity, slots_[1].layout().package_capacity);
}

base::Result<uint64_t> ModelStore::PackageBytes(SlotId slot) {
  Slot* from = SlotOf(slot);
  if (from == nullptr) return Status::kNotFound;
  const auto header = from->ReadHeader();
  if (!header.ok()) return header.status();
  return header->package_bytes;
}

Status ModelStore::ReadPackage(SlotId slot, uint64_t offset, base::MutableBytes to) {
  Slot* from = SlotOf(slot);
  if (from == nullptr) return Status::kNotFound;
  const uint64_t capacity = from->layout().package_capacity;
  if (offset > capacity || to.size() > capacity - offset) return Status::kOutOfRange;
  return ReadRetrying(from->partition(), from->layout().package_offset + offset, to);
}

}  // namespace dipper::store
