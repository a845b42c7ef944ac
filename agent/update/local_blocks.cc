// Implementation of local_blocks.h.
#include "agent/update/local_blocks.h"

#include "agent/package/verify.h"

namespace dipper::update {

using store::SlotId;

bool LocalBlocks::Open() {
  const SlotId slot = store_.record().lkg_slot;
  slot_ = SlotId::kNone;
  if (memory_.size() < package::kWholeMemoryBytes || slot == SlotId::kNone || slot == store_.StageTarget()) {
    return false;
  }
  const auto bytes = store_.PackageBytes(slot);
  package::Header header;
  const base::MutableBytes first = memory_.first(package::kHeaderBytes);
  if (!bytes.ok() || *bytes < package::kHeaderBytes || !base::Ok(store_.ReadPackage(slot, 0, first)) ||
      package::ParseHeader(first, &header) != schema::Reason::None || header.package_bytes() != *bytes) {
    return false;
  }
  const base::MutableBytes head = memory_.first(header.head_bytes());
  // The header stays as it was parsed.
  const base::MutableBytes rest = head.subspan(package::kHeaderBytes);
  if (!base::Ok(store_.ReadPackage(slot, package::kHeaderBytes, rest)) ||
      package::Manifest::Parse(header, head, &manifest_) != schema::Reason::None) {
    return false;
  }
  block_ = memory_.subspan(package::kHeadMemoryBytes);
  slot_ = slot;
  return true;
}

/// Most blocks that did not change are where they were.
uint32_t LocalBlocks::Find(const package::BlockInfo& wanted) const {
  const uint32_t same_place = wanted.image_offset / package::kBlockBytes;
  const uint32_t count = manifest_.block_count();
  if (same_place < count && manifest_.IsBlock(same_place, wanted.sha256, wanted.stored_bytes))
    return same_place;
  uint32_t index = 0;
  while (index < count && !manifest_.IsBlock(index, wanted.sha256, wanted.stored_bytes)) ++index;
  return index;
}

std::optional<base::ByteView> LocalBlocks::Read(const package::BlockInfo& wanted) {
  if (slot_ == SlotId::kNone) return std::nullopt;
  const uint32_t index = Find(wanted);
  if (index == manifest_.block_count()) return std::nullopt;
  const base::MutableBytes to = block_.first(wanted.stored_bytes);
  if (!base::Ok(store_.ReadPackage(slot_, manifest_.block(index).package_offset, to))) {
    return base::ByteView{};
  }
  return to;
}

}  // namespace dipper::update
