// Places in a slot, and the encodings of its headers.
#include "agent/store/slot_layout.h"

#include <algorithm>

#include "agent/store/page.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint16_t kSlotLayout = 1;
constexpr uint32_t kHeaderMagic = 0x544C5344;      // "DSLT"
constexpr uint32_t kMarkMagic = 0x4B524D44;        // "DMRK"
constexpr uint32_t kCheckpointMagic = 0x50434B44;  // "DKCP"

}  // namespace

base::Result<SlotLayout> ComputeSlotLayout(const hal::Geometry& geometry) {
  DIPPER_RETURN_IF_ERROR(CheckGeometry(geometry));
  const uint64_t unit = geometry.erase_unit_bytes;
  const uint32_t sector = std::max(kSectorBytes, geometry.write_unit_bytes);
  SlotLayout layout;
  layout.package_offset = unit;
  layout.mark_stride = sector;
  layout.mark_bank_bytes = base::AlignUp(uint64_t{kMarksPerBank} * sector, unit);
  const uint64_t fixed = layout.package_offset + 2 * layout.mark_bank_bytes;
  if (geometry.size_bytes < fixed) return Status::kResourceExhausted;
  const uint64_t third = (geometry.size_bytes - fixed) / unit / 3 * unit;
  layout.checkpoint_header = sector;
  if (third <= uint64_t{layout.checkpoint_header} + kMaxGateStateBytes) return Status::kResourceExhausted;
  layout.checkpoint_bytes = third;
  layout.checkpoint_offset = geometry.size_bytes / unit * unit - 2 * third;
  layout.mark_offset = layout.checkpoint_offset - 2 * layout.mark_bank_bytes;
  layout.package_capacity = layout.mark_offset - layout.package_offset;
  return layout;
}

void EncodeSlotHeader(const SlotHeader& header, base::MutableBytes out) {
  base::ByteWriter writer = BodyWriter(out, kSlotHeaderBytes);
  writer.PutDigest(header.digest);
  writer.Put(header.package_bytes);
  SealFilled(out, writer, kHeaderMagic, kSlotLayout);
}

base::Result<SlotHeader> DecodeSlotHeader(base::ByteView bytes) {
  DIPPER_ASSIGN_OR_RETURN(base::ByteReader reader,
                          UnsealBody(bytes, kHeaderMagic, kSlotLayout, kSlotHeaderBytes));
  SlotHeader header;
  header.digest = reader.GetDigest();
  header.package_bytes = reader.Get<uint64_t>();
  return header;
}

void EncodeConfirmMark(const ConfirmMark& mark, base::MutableBytes out) {
  base::ByteWriter writer = BodyWriter(out, kConfirmMarkBytes);
  writer.PutDigest(mark.digest);
  PutVersion(writer, mark.floor);
  writer.Put(mark.sequence);
  SealFilled(out, writer, kMarkMagic, kSlotLayout);
}

base::Result<ConfirmMark> DecodeConfirmMark(base::ByteView bytes) {
  DIPPER_ASSIGN_OR_RETURN(base::ByteReader reader,
                          UnsealBody(bytes, kMarkMagic, kSlotLayout, kConfirmMarkBytes));
  ConfirmMark mark;
  mark.digest = reader.GetDigest();
  mark.floor = GetVersion(reader);
  mark.sequence = reader.Get<uint64_t>();
  if (mark.digest.IsZero() || mark.sequence > kMaxSequence) return Status::kDataLoss;
  return mark;
}

void EncodeCheckpointInfo(const CheckpointInfo& info, base::MutableBytes out) {
  base::ByteWriter writer = BodyWriter(out, kCheckpointInfoBytes);
  writer.PutDigest(info.package_digest);
  writer.Put(info.sequence);
  writer.Put(info.samples);
  writer.Put(info.image_bytes);
  writer.PutDigest(info.image_digest);
  writer.Put(info.gate_bytes);
  writer.Put(info.gate_crc);
  SealFilled(out, writer, kCheckpointMagic, kSlotLayout);
}

base::Result<CheckpointInfo> DecodeCheckpointInfo(base::ByteView bytes) {
  DIPPER_ASSIGN_OR_RETURN(base::ByteReader reader,
                          UnsealBody(bytes, kCheckpointMagic, kSlotLayout, kCheckpointInfoBytes));
  CheckpointInfo info;
  info.package_digest = reader.GetDigest();
  info.sequence = reader.Get<uint64_t>();
  info.samples = reader.Get<uint64_t>();
  info.image_bytes = reader.Get<uint64_t>();
  info.image_digest = reader.GetDigest();
  info.gate_bytes = reader.Get<uint32_t>();
  info.gate_crc = reader.Get<uint32_t>();
  const bool good =
      !info.package_digest.IsZero() && info.gate_bytes <= kMaxGateStateBytes && info.sequence <= kMaxSequence;
  if (!good) return Status::kDataLoss;
  return info;
}

}  // namespace dipper::store
