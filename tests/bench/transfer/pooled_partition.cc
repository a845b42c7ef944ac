// Implementation of pooled_partition.h.
#include "tests/bench/transfer/pooled_partition.h"

#include <algorithm>

namespace dipper::bench {

using base::Status;

PagePool::PagePool() {
  pages_.emplace_back();
  pages_[kErased].bytes.fill(0xFF);
}

uint64_t PagePool::Hash(const Page& bytes) {
  uint64_t hash = 0xCBF29CE484222325;
  for (uint32_t i = 0; i < kPageBytes; i += 8) {
    hash = (hash ^ base::Load<uint64_t>(bytes.data() + i)) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  }
  return hash;
}

uint32_t PagePool::Take(const Page& bytes) {
  if (bytes == pages_[kErased].bytes) return kErased;
  const uint64_t hash = Hash(bytes);
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto found = begin; found != end; ++found) {
    if (pages_[found->second].bytes != bytes) continue;
    ++pages_[found->second].uses;
    return found->second;
  }
  uint32_t id = static_cast<uint32_t>(pages_.size());
  if (free_.empty()) {
    pages_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  pages_[id] = {bytes, hash, 1};
  by_hash_.emplace(hash, id);
  return id;
}

void PagePool::Release(uint32_t id) {
  if (id == kErased || --pages_[id].uses > 0) return;
  const auto [begin, end] = by_hash_.equal_range(pages_[id].hash);
  by_hash_.erase(std::find_if(begin, end, [id](const auto& entry) { return entry.second == id; }));
  free_.push_back(id);
}

PooledPartition::PooledPartition(PagePool& pool, uint64_t bytes)
    : pool_(pool), pages_(bytes / PagePool::kPageBytes, PagePool::kErased) {
  DIPPER_CHECK(bytes % PagePool::kPageBytes == 0);
}

PooledPartition::~PooledPartition() {
  for (const uint32_t id : pages_) pool_.Release(id);
}

hal::Geometry PooledPartition::geometry() const {
  return {.size_bytes = pages_.size() * PagePool::kPageBytes,
          .write_unit_bytes = 1,
          .erase_unit_bytes = PagePool::kPageBytes};
}

bool PooledPartition::InRange(uint64_t offset, uint64_t length) const {
  const uint64_t size = pages_.size() * PagePool::kPageBytes;
  return offset <= size && length <= size - offset;
}

Status PooledPartition::Read(uint64_t offset, base::MutableBytes to) {
  if (!InRange(offset, to.size())) return Status::kOutOfRange;
  for (size_t done = 0; done < to.size();) {
    const uint64_t into = (offset + done) % PagePool::kPageBytes;
    const size_t count = std::min<size_t>(PagePool::kPageBytes - into, to.size() - done);
    const auto& page = pool_.page(pages_[(offset + done) / PagePool::kPageBytes]);
    std::copy_n(page.begin() + static_cast<std::ptrdiff_t>(into), count,
                to.begin() + static_cast<std::ptrdiff_t>(done));
    done += count;
  }
  return Status::kOk;
}

Status PooledPartition::Write(uint64_t offset, base::ByteView from) {
  if (!InRange(offset, from.size())) return Status::kOutOfRange;
  for (size_t done = 0; done < from.size();) {
    const uint64_t into = (offset + done) % PagePool::kPageBytes;
    const size_t count = std::min<size_t>(PagePool::kPageBytes - into, from.size() - done);
    uint32_t& id = pages_[(offset + done) / PagePool::kPageBytes];
    PagePool::Page page = pool_.page(id);
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(done), count,
                page.begin() + static_cast<std::ptrdiff_t>(into));
    const uint32_t next = pool_.Take(page);
    pool_.Release(id);
    id = next;
    done += count;
  }
  return Status::kOk;
}

Status PooledPartition::Erase(uint64_t offset, uint64_t length) {
  if (!InRange(offset, length)) return Status::kOutOfRange;
  if (offset % PagePool::kPageBytes != 0 || length % PagePool::kPageBytes != 0)
    return Status::kInvalidArgument;
  for (uint64_t at = offset / PagePool::kPageBytes; at < (offset + length) / PagePool::kPageBytes; ++at) {
    pool_.Release(pages_[at]);
    pages_[at] = PagePool::kErased;
  }
  return Status::kOk;
}

}  // namespace dipper::bench
