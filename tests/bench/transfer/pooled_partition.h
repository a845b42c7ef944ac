// PooledPartition: a simulated partition whose equal pages are kept once for all partitions of a pool, so
// that the slots of ten thousand devices with the same package fit in memory. What is written is durable at
// once. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "hal/api/partition.h"

namespace dipper::bench {

class PagePool {
 public:
  static constexpr uint32_t kPageBytes = 4096;
  using Page = std::array<uint8_t, kPageBytes>;
  /// Number of the erased page, which is always there.
  static constexpr uint32_t kErased = 0;

  PagePool();
  const Page& page(uint32_t id) const { return pages_[id].bytes; }
  /// The page with these bytes, one use more of it.
  uint32_t Take(const Page& bytes);
  void Release(uint32_t id);
  size_t distinct() const { return pages_.size() - free_.size(); }

 private:
  struct Entry {
    Page bytes;
    uint64_t hash = 0;
    uint32_t uses = 0;
  };
  static uint64_t Hash(const Page& bytes);

  std::vector<Entry> pages_;
  std::vector<uint32_t> free_;
  std::unordered_multimap<uint64_t, uint32_t> by_hash_;
};

class PooledPartition final : public hal::Partition {
 public:
  /// All 0xFF. `pool` must outlive this. @param bytes  A multiple of the page.
  PooledPartition(PagePool& pool, uint64_t bytes);
  ~PooledPartition();
  PooledPartition(const PooledPartition&) = delete;
  PooledPartition& operator=(const PooledPartition&) = delete;

  hal::Geometry geometry() const override;
  base::Status Read(uint64_t offset, base::MutableBytes to) override;
  base::Status Write(uint64_t offset, base::ByteView from) override;
  base::Status Erase(uint64_t offset, uint64_t length) override;
  base::Status Sync() override { return base::Status::kOk; }

 private:
  bool InRange(uint64_t offset, uint64_t length) const;

  PagePool& pool_;
  std::vector<uint32_t> pages_;
};

}  // namespace dipper::bench
