// LocalBlocks: the blocks of a new package that lie on the device already, in the champion's package or in
// the new package itself, so that what differs little transfers little. Not thread-safe. No heap.
#pragma once

#include <optional>

#include "agent/package/manifest.h"
#include "agent/store/model_store.h"

namespace dipper::update {

class LocalBlocks {
 public:
  /// @param memory  16-aligned, kWholeMemoryBytes, used between an Open and the last Read after it; others
  /// may use it in between. Empty: there never is a local block.
  LocalBlocks(store::ModelStore& store, base::MutableBytes memory) : store_(store), memory_(memory) {}

  /// Looks up the champion's package. The champion's slot is the one that no stage overwrites, and a read of
  /// it costs what a verification of a head costs without its signatures: none of its bytes is believed,
  /// each block is held against the new package's own signed hash. False: there is none.
  bool Open();

  /// The stored bytes of the block that should have this hash; the caller checks that it has. None: there is
  /// no such block; empty: it cannot be read.
  ///
  /// Cost: at most one pass over the champion's block table, and one read.
  /// @returns a view that the next Read overwrites.
  std::optional<base::ByteView> Read(const package::BlockInfo& wanted);

 private:
  /// Index of the champion's block with that hash, or the block count.
  uint32_t Find(const package::BlockInfo& wanted) const;

  store::ModelStore& store_;
  base::MutableBytes memory_;
  store::SlotId slot_ = store::SlotId::kNone;
  package::Manifest manifest_;
  base::MutableBytes block_;
};

}  // namespace dipper::update
