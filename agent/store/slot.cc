// Slot: reading, verifying, marks and checkpoints.
#include "agent/store/slot.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/store/mutation.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr int kVerifyAttempts = 3;
/// Bytes that do not match are read once more: a bit may have flipped on the way and not on the medium.
constexpr int kMismatchAttempts = 2;

bool IsBlank(base::ByteView bytes) {
  const uint8_t first = bytes[0];
  if (first != 0 && first != 0xFF) return false;
  return std::all_of(bytes.begin(), bytes.end(), [first](uint8_t byte) { return byte == first; });
}

}  // namespace

Status Slot::Open(hal::Partition* partition, bool factory) {
  DIPPER_CHECK(partition != nullptr);
  const hal::Geometry geometry = partition->geometry();
  if (factory) {
    DIPPER_RETURN_IF_ERROR(CheckGeometry(geometry));
    if (geometry.size_bytes <= geometry.erase_unit_bytes) return Status::kResourceExhausted;
    layout_ = SlotLayout{};
    layout_.package_offset = geometry.erase_unit_bytes;
    layout_.package_capacity = geometry.size_bytes - geometry.erase_unit_bytes;
  } else {
    DIPPER_ASSIGN_OR_RETURN(layout_, ComputeSlotLayout(geometry));
  }
  partition_ = partition;
  return Status::kOk;
}

base::Result<SlotHeader> Slot::ReadHeader() {
  std::array<uint8_t, kSlotHeaderBytes> bytes;
  DIPPER_RETURN_IF_ERROR(ReadRetrying(*partition_, layout_.header_offset, bytes));
  const auto header = DecodeSlotHeader(bytes);
  if (!header.ok() || header->package_bytes == 0 || header->package_bytes > layout_.package_capacity) {
    return Status::kNotFound;
  }
  return *header;
}

Status Slot::WriteHeader(const SlotHeader& header) {
  std::array<uint8_t, kSlotHeaderBytes> bytes{};
  EncodeSlotHeader(header, bytes);
  return WritePadded(layout_.header_offset, bytes);
}

base::Result<SlotFacts> Slot::Verify(SlotVerifier& verifier) {
  const auto header = ReadHeader();
  if (!header.ok()) return header.status() == Status::kNotFound ? Status::kDataLoss : header.status();
  for (int attempt = 1;; ++attempt) {
    auto facts = verifier.Verify(*partition_, layout_.package_offset, header->package_bytes);
    if (!facts.ok() && facts.status() == Status::kUnavailable && attempt < kVerifyAttempts) continue;
    const bool matches = facts.ok() && facts->digest == header->digest;
    if (!matches && facts.status() != Status::kUnavailable && attempt < kMismatchAttempts) continue;
    if (facts.ok() && !matches) return Status::kDataLoss;
    return facts;
  }
}

Status Slot::EraseForStage() {
  DIPPER_RETURN_IF_ERROR(partition_->Erase(layout_.header_offset, layout_.package_offset));
  if (Mutated(Mutation::kStageKeepsMark)) return Status::kOk;
  return partition_->Erase(layout_.mark_offset, 2 * layout_.mark_bank_bytes + 2 * layout_.checkpoint_bytes);
}

Status Slot::EraseAll() {
  DIPPER_RETURN_IF_ERROR(partition_->Erase(0, partition_->geometry().size_bytes));
  return partition_->Sync();
}

bool Slot::HoldsUnknownLayout() const {
  std::array<uint8_t, kCheckpointInfoBytes> bytes;
  const auto unknown = [&](uint64_t offset, uint32_t length, const auto& decode) {
    const auto head = base::MutableBytes(bytes).first(length);
    if (!base::Ok(ReadRetrying(*partition_, offset, head))) return false;
    return decode(head).status() == Status::kUnimplemented;
  };
  bool found = unknown(layout_.header_offset, kSlotHeaderBytes, DecodeSlotHeader);
  if (layout_.checkpoint_bytes == 0) return found;  // a factory partition
  for (uint32_t place = 0; place < 2 * kMarksPerBank; ++place) {
    const uint64_t offset = MarkOffset(place / kMarksPerBank, place % kMarksPerBank);
    found = found || unknown(offset, kConfirmMarkBytes, DecodeConfirmMark);
  }
  for (uint32_t area = 0; area < 2; ++area) {
    found = found || unknown(AreaOffset(area), kCheckpointInfoBytes, DecodeCheckpointInfo);
  }
  return found;
}

uint64_t Slot::MarkOffset(uint32_t bank, uint32_t place) const {
  return layout_.mark_offset + bank * layout_.mark_bank_bytes + uint64_t{place} * layout_.mark_stride;
}

base::Result<ConfirmMark> Slot::NewestMark() const {
  ConfirmMark newest;
  for (uint32_t bank = 0; bank < 2; ++bank) {
    for (uint32_t place = 0; place < kMarksPerBank; ++place) {
      std::array<uint8_t, kConfirmMarkBytes> bytes;
      if (!base::Ok(ReadRetrying(*partition_, MarkOffset(bank, place), bytes))) continue;
      const auto mark = DecodeConfirmMark(bytes);
      if (mark.ok() && Mutated(Mutation::kFirstMarkCounts)) return *mark;
      if (mark.ok() && mark->sequence > newest.sequence) newest = *mark;
    }
  }
  if (newest.digest.IsZero()) return Status::kNotFound;
  return newest;
}

Status Slot::AppendMark(const ConfirmMark& mark) {
  uint32_t bank = 0;
  uint64_t newest = 0;
  std::array<uint32_t, 2> free{};  // First place behind everything that was ever written.
  for (uint32_t b = 0; b < 2; ++b) {
    for (uint32_t place = 0; place < kMarksPerBank; ++place) {
      std::array<uint8_t, kConfirmMarkBytes> bytes;
      DIPPER_RETURN_IF_ERROR(ReadRetrying(*partition_, MarkOffset(b, place), bytes));
      if (!IsBlank(bytes)) free[b] = place + 1;
      const auto found = DecodeConfirmMark(bytes);
      if (!found.ok() || found->sequence <= newest) continue;
      newest = found->sequence;
      bank = b;
    }
  }
  if (Mutated(Mutation::kMarkInPlace) && free[bank] > 0) --free[bank];
  std::array<uint8_t, kConfirmMarkBytes> bytes{};
  EncodeConfirmMark(mark, bytes);
  Status status = Status::kUnavailable;
  for (int attempt = 0; attempt < kWriteAttempts && !base::Ok(status); ++attempt) {
    if (free[bank] == kMarksPerBank) {
      // The full bank keeps the newest mark until the new one is durable; a bank without any valid mark is
      // not kept.
      if (newest != 0) bank = 1 - bank;
      DIPPER_RETURN_IF_ERROR(partition_->Erase(MarkOffset(bank, 0), layout_.mark_bank_bytes));
      DIPPER_RETURN_IF_ERROR(partition_->Sync());
      free[bank] = 0;
    }
    const uint64_t offset = MarkOffset(bank, free[bank]);
    status = WritePadded(offset, bytes);
    if (base::Ok(status) && !Mutated(Mutation::kMarkNotSynced)) status = partition_->Sync();
    std::array<uint8_t, kConfirmMarkBytes> back{};
    if (base::Ok(status)) status = ReadRetrying(*partition_, offset, back);
    if (base::Ok(status) && back != bytes) {
      status = Status::kUnavailable;
      ++free[bank];
    }
  }
  return status;
}

uint64_t Slot::GateOffset(uint32_t area, uint64_t image_bytes) const {
  return AreaOffset(area) + layout_.checkpoint_header + base::AlignUp(image_bytes, layout_.checkpoint_header);
}

bool Slot::CheckpointValid(uint32_t area, const base::Digest& package_digest, CheckpointInfo* info) {
  std::array<uint8_t, kCheckpointInfoBytes> header;
  if (!base::Ok(ReadRetrying(*partition_, AreaOffset(area), header))) return false;
  const auto decoded = DecodeCheckpointInfo(header);
  if (!decoded.ok() || decoded->package_digest != package_digest ||
      decoded->image_bytes > layout_.MaxImageBytes()) {
    return false;
  }
  *info = *decoded;
  base::Sha256 sha;
  uint64_t offset = AreaOffset(area) + layout_.checkpoint_header;
  for (uint64_t left = info->image_bytes; left > 0;) {
    const auto chunk = base::MutableBytes(scratch_).first(std::min<uint64_t>(left, scratch_.size()));
    if (!base::Ok(ReadRetrying(*partition_, offset, chunk))) return false;
    sha.Update(chunk);
    offset += chunk.size();
    left -= chunk.size();
  }
  if (sha.Finish() != info->image_digest) return false;
  uint32_t crc = 0;
  offset = GateOffset(area, info->image_bytes);
  for (uint64_t left = info->gate_bytes; left > 0;) {
    const auto chunk = base::MutableBytes(scratch_).first(std::min<uint64_t>(left, scratch_.size()));
    if (!base::Ok(ReadRetrying(*partition_, offset, chunk))) return false;
    crc = base::Crc32c(chunk, crc);
    offset += chunk.size();
    left -= chunk.size();
  }
  return crc == info->gate_crc;
}

CheckpointScan Slot::ScanCheckpoints(const base::Digest& package_digest) {
  CheckpointScan scan;
  for (uint32_t area = 0; area < 2; ++area) {
    scan.valid[area] = CheckpointValid(area, package_digest, &scan.info[area]);
  }
  return scan;
}

Status Slot::WritePadded(uint64_t offset, base::ByteView bytes) {
  const uint32_t unit = partition_->geometry().write_unit_bytes;
  const size_t whole = bytes.size() / unit * unit;
  if (whole > 0) DIPPER_RETURN_IF_ERROR(partition_->Write(offset, bytes.first(whole)));
  const base::ByteView tail = bytes.subspan(whole);
  if (tail.empty()) return Status::kOk;
  const auto padded = base::MutableBytes(scratch_).first(unit);
  std::fill(padded.begin(), padded.end(), uint8_t{0});
  std::copy(tail.begin(), tail.end(), padded.begin());
  return partition_->Write(offset + whole, padded);
}

Status Slot::WriteCheckpoint(uint32_t area, const CheckpointInfo& info, base::ByteView image,
                             base::ByteView gate) {
  std::array<uint8_t, kCheckpointInfoBytes> header{};
  EncodeCheckpointInfo(info, header);
  Status status = Status::kUnavailable;
  for (int attempt = 0; attempt < kWriteAttempts && !base::Ok(status); ++attempt) {
    status = WritePadded(AreaOffset(area) + layout_.checkpoint_header, image);
    if (base::Ok(status) && !gate.empty()) status = WritePadded(GateOffset(area, image.size()), gate);
    if (base::Ok(status)) status = WritePadded(AreaOffset(area), header);
    if (base::Ok(status) && !Mutated(Mutation::kCheckpointNotSynced)) status = partition_->Sync();
    CheckpointInfo back;
    if (base::Ok(status) &&
        (!CheckpointValid(area, info.package_digest, &back) || back.sequence != info.sequence))
      status = Status::kUnavailable;
  }
  return status;
}

Status Slot::ReadCheckpoint(uint32_t area, const CheckpointInfo& info, base::MutableBytes image,
                            base::MutableBytes gate) {
  DIPPER_RETURN_IF_ERROR(ReadRetrying(*partition_, AreaOffset(area) + layout_.checkpoint_header, image));
  if (gate.empty()) return Status::kOk;
  return ReadRetrying(*partition_, GateOffset(area, info.image_bytes), gate);
}

}  // namespace dipper::store
