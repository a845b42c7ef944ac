// StageWriter: any range of a staged package over media that only take whole write units: the units at the
// edges are read, patched and written back. Not thread-safe. No heap.
#pragma once

#include <array>

#include "agent/store/model_store.h"

namespace dipper::update {

class StageWriter {
 public:
  /// @param write_unit_bytes  Of the slots, at most 4096.
  StageWriter(store::ModelStore& store, uint32_t write_unit_bytes);

  /// For the package that BeginStage announced.
  void SetPackageBytes(uint64_t bytes) { package_bytes_ = bytes; }
  /// Writes `bytes` at `offset` of the package. Errors as ModelStore::WriteStage and ReadStage.
  base::Status Write(uint64_t offset, base::ByteView bytes);

 private:
  base::Status WriteInUnit(uint64_t offset, base::ByteView bytes);

  store::ModelStore& store_;
  uint32_t unit_;
  uint64_t package_bytes_ = 0;
  std::array<uint8_t, 4096> buffer_{};
};

}  // namespace dipper::update
