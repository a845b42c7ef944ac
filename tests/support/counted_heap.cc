// See counted_heap.h. operator new[] and the nothrow forms call these.
#include "tests/support/counted_heap.h"

#include <cstdlib>
#include <new>

namespace {
thread_local uint64_t allocations = 0;
}  // namespace

// GCC does not see that these belong together.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
void* operator new(size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#pragma GCC diagnostic pop

namespace dipper::test {

uint64_t HeapAllocations() { return allocations; }

bool HeapCounterCounts() {
  const uint64_t before = allocations;
  ::operator delete(::operator new(8));
  return allocations == before + 1;
}

}  // namespace dipper::test
