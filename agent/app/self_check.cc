// Pieces are page-aligned in what is mapped from a file, so that they can be given back one by one.
#include "agent/app/self_check.h"

#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "agent/base/crc32c.h"

namespace dipper::app {
namespace {

[[maybe_unused]] int WatchSegments(dl_phdr_info* object, size_t, void* to) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const uintptr_t begin = (object->dlpi_addr + segment.p_vaddr) / page * page;
    const uintptr_t end = object->dlpi_addr + segment.p_vaddr + segment.p_filesz;
    const char* name = (segment.p_flags & PF_X) != 0 ? "the program's code" : "the program's constants";
    static_cast<SelfCheck*>(to)->Watch(name, {reinterpret_cast<const uint8_t*>(begin), end - begin}, true);
  }
  return 1;  // the first object is the program
}

}  // namespace

void SelfCheck::Watch(std::string name, base::ByteView bytes, bool give_back) {
  if (bytes.empty()) return;
  regions_.push_back({.name = std::move(name), .bytes = bytes, .give_back = give_back, .sums = {}});
  regions_.back().sums.reserve((bytes.size() + kStepBytes - 1) / kStepBytes);
}

void SelfCheck::WatchProgram() {
#if !defined(__SANITIZE_ADDRESS__)  // which puts forbidden gaps between constants
  ::dl_iterate_phdr(WatchSegments, this);
#endif
}

uint64_t SelfCheck::watched_bytes() const {
  uint64_t bytes = 0;
  for (const Region& region : regions_) bytes += region.bytes.size();
  return bytes;
}

bool SelfCheck::Step() {
  if (regions_.empty()) return true;
  Region& region = regions_[region_];
  const size_t at = piece_ * kStepBytes;
  const base::ByteView piece = region.bytes.subspan(at, std::min(kStepBytes, region.bytes.size() - at));
  const uint32_t sum = base::Crc32c(piece);
  if (piece_ == region.sums.size()) region.sums.push_back(sum);
  const bool good = region.sums[piece_] == sum;
  if (!good) trouble_ = region.name + " changed in memory, " + std::to_string(at) + " bytes in";
  if (region.give_back) {
    // A failure leaves the pages where they are, which is no harm.
    (void)::madvise(const_cast<uint8_t*>(piece.data()), piece.size(), MADV_DONTNEED);
  }
  if (at + piece.size() < region.bytes.size()) {
    ++piece_;
    return good;
  }
  piece_ = 0;
  region_ = (region_ + 1) % regions_.size();
  passes_ += region_ == 0 ? 1 : 0;
  return good;
}

}  // namespace dipper::app
