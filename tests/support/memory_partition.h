// MemoryPartition: plain memory as a partition, for tests that count the heap's calls. The simulated one
// (hal/sim) keeps books, and those are on the heap. Any byte may be written, as on a file. No heap.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "hal/api/partition.h"

namespace dipper::test {

template <size_t kBytes, uint32_t kEraseUnit>
class MemoryPartition final : public hal::Partition {
 public:
  MemoryPartition() { bytes_.fill(0xFF); }
  ~MemoryPartition() = default;
  hal::Geometry geometry() const override { return {kBytes, 1, kEraseUnit}; }
  base::Status Read(uint64_t offset, base::MutableBytes to) override {
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), to.size(), to.begin());
    return base::Status::kOk;
  }
  base::Status Write(uint64_t offset, base::ByteView from) override {
    std::ranges::copy(from, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
    return base::Status::kOk;
  }
  base::Status Erase(uint64_t offset, uint64_t length) override {
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), length, uint8_t{0xFF});
    return base::Status::kOk;
  }
  base::Status Sync() override { return base::Status::kOk; }

 private:
  std::array<uint8_t, kBytes> bytes_;
};

}  // namespace dipper::test
