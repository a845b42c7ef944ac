// The heap's calls, counted, for tests of "no heap". Linking counted_heap.cc replaces the program's operator
// new; a library's own malloc is not seen.
#pragma once

#include <cstdint>

namespace dipper::test {

/// Calls of operator new by this thread so far.
uint64_t HeapAllocations();

/// True: the counter counts. A test that asks for no allocations asks this too.
bool HeapCounterCounts();

}  // namespace dipper::test
