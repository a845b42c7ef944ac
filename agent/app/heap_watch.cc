// Asks the C library around some of the calls.
#include "agent/app/heap_watch.h"

#include <algorithm>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DIPPER_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define DIPPER_ADDRESS_SANITIZER
#endif
#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 33)
#define DIPPER_HAS_MALLINFO2
#endif
#endif

#if defined(DIPPER_ADDRESS_SANITIZER)
#include <cstddef>
// Of <sanitizer/allocator_interface.h>, which Debian's gcc does not bring.
extern "C" size_t __sanitizer_get_current_allocated_bytes();  // NOLINT(bugprone-reserved-identifier)
#elif defined(DIPPER_HAS_MALLINFO2)
#include <malloc.h>
#endif

namespace dipper::app {

uint64_t HeapBytesInUse() {
#if defined(DIPPER_ADDRESS_SANITIZER)
  return __sanitizer_get_current_allocated_bytes();
#elif defined(DIPPER_HAS_MALLINFO2)
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

HeapWatch::Entry& HeapWatch::Find(const base::Digest& package) {
  const auto found =
      std::ranges::find_if(entries_, [&](const Entry& entry) { return entry.package == package; });
  if (found != entries_.end()) return *found;
  Entry& entry = entries_[oldest_];
  oldest_ = (oldest_ + 1) % entries_.size();
  if (condemned_ == &entry) condemned_ = nullptr;
  entry = {.package = package, .judge = {}};
  return entry;
}

void HeapWatch::Enter(uint32_t model, const base::Digest& package) {
  Entry& entry = Find(package);
  measured_ = entry.judge.Due() ? &entry : nullptr;
  if (measured_ != nullptr) before_bytes_ = meter_();
  next_.Enter(model, package);
}

void HeapWatch::Leave() {
  next_.Leave();
  if (measured_ == nullptr) return;
  measured_->judge.Add(before_bytes_, meter_());
  if (measured_->judge.condemned()) condemned_ = measured_;
  measured_ = nullptr;
}

bool HeapWatch::TakeCondemned(base::Digest* package) {
  if (condemned_ == nullptr) return false;
  *package = condemned_->package;
  condemned_->judge = {};
  condemned_ = nullptr;
  return true;
}

}  // namespace dipper::app
