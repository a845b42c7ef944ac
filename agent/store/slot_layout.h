// SlotLayout: where header, package, confirm marks and checkpoints of a slot lie, computed from the
// partition's geometry alone, and the encodings of those headers. Byte layout: docs/reference/storage.md.
// Thread-safe: pure functions.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "hal/api/partition.h"

namespace dipper::store {

/// Room for the gate's state beside a checkpoint's image.
inline constexpr uint32_t kMaxGateStateBytes = 16 * 1024;
inline constexpr uint32_t kCheckpointHeaderBytes = 512;  ///< Or one write unit, when that is larger.
inline constexpr uint32_t kMarksPerBank = 8;

struct SlotLayout {
  uint64_t header_offset = 0;
  uint64_t package_offset = 0;
  uint64_t package_capacity = 0;
  uint64_t mark_offset = 0;  ///< Two banks of mark_bank_bytes; a full bank makes way for the other.
  uint64_t mark_bank_bytes = 0;
  uint32_t mark_stride = 0;        ///< One mark per stride, so that a torn append touches no other mark.
  uint64_t checkpoint_offset = 0;  ///< Two areas of checkpoint_bytes.
  uint64_t checkpoint_bytes = 0;
  uint32_t checkpoint_header = 0;  ///< The image begins that far into its area.

  /// Largest image that a checkpoint area takes.
  uint64_t MaxImageBytes() const { return checkpoint_bytes - checkpoint_header - kMaxGateStateBytes; }
};

/// kResourceExhausted: the partition is too small for a header, marks and three areas.
/// kInvalidArgument: a write unit above 4096 bytes or an erase unit that is not a multiple of it.
base::Result<SlotLayout> ComputeSlotLayout(const hal::Geometry& geometry);

/// First bytes of a slot or factory partition.
struct SlotHeader {
  base::Digest digest;  ///< Package digest.
  uint64_t package_bytes = 0;
};
inline constexpr uint32_t kSlotHeaderBytes = 56;

/// "This slot held a confirmed model": what survives the loss of both records.
struct ConfirmMark {
  base::Digest digest;
  base::SecurityVersion floor;
  uint64_t sequence = 0;
};
inline constexpr uint32_t kConfirmMarkBytes = 64;

struct CheckpointInfo {
  base::Digest package_digest;
  uint64_t sequence = 0;  ///< Counts up within the slot.
  uint64_t samples = 0;   ///< Observed by the image.
  uint64_t image_bytes = 0;
  base::Digest image_digest;
  uint32_t gate_bytes = 0;  ///< Gate state saved with it; 0: none.
  uint32_t gate_crc = 0;
};
inline constexpr uint32_t kCheckpointInfoBytes = 112;

// Encoders write exactly the bytes named above. Decoders: kDataLoss: damaged or out of range; kUnimplemented:
// good CRC, unknown layout.
void EncodeSlotHeader(const SlotHeader& header, base::MutableBytes out);
base::Result<SlotHeader> DecodeSlotHeader(base::ByteView bytes);
void EncodeConfirmMark(const ConfirmMark& mark, base::MutableBytes out);
base::Result<ConfirmMark> DecodeConfirmMark(base::ByteView bytes);
void EncodeCheckpointInfo(const CheckpointInfo& info, base::MutableBytes out);
base::Result<CheckpointInfo> DecodeCheckpointInfo(base::ByteView bytes);

}  // namespace dipper::store
