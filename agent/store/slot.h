// Slot: one slot (or factory) partition: header, package, confirm marks, checkpoints. It knows the places and
// their barriers, not the rules; ModelStore decides. Byte layout: docs/reference/storage.md. Not thread-safe.
// No heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/store/page.h"
#include "agent/store/slot_layout.h"
#include "agent/store/slot_verifier.h"
#include "hal/api/partition.h"

namespace dipper::store {

/// The valid checkpoints of one package in a slot.
struct CheckpointScan {
  std::array<CheckpointInfo, 2> info{};
  std::array<bool, 2> valid{};
  uint32_t count() const { return static_cast<uint32_t>(valid[0]) + static_cast<uint32_t>(valid[1]); }
  /// Area with the highest (lowest) sequence among the valid ones; count() > 0.
  uint32_t Newest() const { return !valid[1] || (valid[0] && info[0].sequence > info[1].sequence) ? 0 : 1; }
  uint32_t Oldest() const { return count() == 2 ? 1 - Newest() : Newest(); }
};

class Slot {
 public:
  /// kResourceExhausted or kInvalidArgument as ComputeSlotLayout. A factory partition needs header and
  /// package only.
  base::Status Open(hal::Partition* partition, bool factory);
  bool is_open() const { return partition_ != nullptr; }
  hal::Partition& partition() { return *partition_; }
  const SlotLayout& layout() const { return layout_; }

  /// kNotFound: no valid header.
  base::Result<SlotHeader> ReadHeader();
  base::Status WriteHeader(const SlotHeader& header);
  /// Whole package against its digest. kDataLoss: no header, or bytes that do not match it.
  base::Result<SlotFacts> Verify(SlotVerifier& verifier);

  /// Erases header, marks and checkpoints; durable after the next Sync.
  base::Status EraseForStage();
  /// Erases every byte; durable on kOk.
  base::Status EraseAll();
  /// A header, mark or checkpoint with a good CRC and a layout of a newer agent. Reads about 20 headers.
  bool HoldsUnknownLayout() const;

  /// The valid mark with the highest sequence. kNotFound: none.
  base::Result<ConfirmMark> NewestMark() const;
  /// Appends behind the newest one, or in the other bank after emptying it; barrier; read back.
  base::Status AppendMark(const ConfirmMark& mark);

  /// Checks both areas to the last byte: reads and hashes both images.
  CheckpointScan ScanCheckpoints(const base::Digest& package_digest);
  /// Image, gate state and header in `area`, one barrier, read back.
  base::Status WriteCheckpoint(uint32_t area, const CheckpointInfo& info, base::ByteView image,
                               base::ByteView gate);
  base::Status ReadCheckpoint(uint32_t area, const CheckpointInfo& info, base::MutableBytes image,
                              base::MutableBytes gate);

 private:
  uint64_t MarkOffset(uint32_t bank, uint32_t place) const;
  uint64_t AreaOffset(uint32_t area) const {
    return layout_.checkpoint_offset + area * layout_.checkpoint_bytes;
  }
  uint64_t GateOffset(uint32_t area, uint64_t image_bytes) const;
  bool CheckpointValid(uint32_t area, const base::Digest& package_digest, CheckpointInfo* info);
  base::Status WritePadded(uint64_t offset, base::ByteView bytes);

  hal::Partition* partition_ = nullptr;
  SlotLayout layout_;
  alignas(16) std::array<uint8_t, kMaxWriteUnit> scratch_{};
};

}  // namespace dipper::store
