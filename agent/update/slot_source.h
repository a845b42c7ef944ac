// Slots as package sources, and what the store asks about packages. Not thread-safe. Heap: as
// package::VerifyWhole.
#pragma once

#include "agent/package/verify.h"
#include "agent/store/model_store.h"
#include "agent/store/slot_verifier.h"

namespace dipper::update {

/// The package in a slot with a header.
class SlotSource final : public package::ByteSource {
 public:
  SlotSource(store::ModelStore& store, store::SlotId slot, uint64_t bytes)
      : store_(store), slot_(slot), bytes_(bytes) {}
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override;
  uint64_t size() const override { return bytes_; }

 private:
  store::ModelStore& store_;
  store::SlotId slot_;
  uint64_t bytes_;
};

/// The package that is being staged.
class StageSource final : public package::ByteSource {
 public:
  StageSource(store::ModelStore& store, uint64_t bytes) : store_(store), bytes_(bytes) {}
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override {
    return store_.ReadStage(offset, to);
  }
  uint64_t size() const override { return bytes_; }

 private:
  store::ModelStore& store_;
  uint64_t bytes_;
};

/// Every byte of a slot against the package's own hashes, without signatures (docs/reference/storage.md, rule
/// 9).
class PackageVerifier final : public store::SlotVerifier {
 public:
  /// `memory`: 16-aligned, kWholeMemoryBytes; used inside Verify only. `model`: whose packages belong here,
  /// empty: anybody's; outlives this. Another model's package is as good as none (kDataLoss), whatever its
  /// bytes are: slots may have been exchanged.
  explicit PackageVerifier(base::MutableBytes memory, std::string_view model = {})
      : memory_(memory), model_(model) {}
  base::Result<store::SlotFacts> Verify(hal::Partition& partition, uint64_t package_offset,
                                        uint64_t package_bytes) override;

 private:
  base::MutableBytes memory_;
  std::string_view model_;
};

}  // namespace dipper::update
