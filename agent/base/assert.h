// DIPPER_CHECK: programmer errors only, on in every build. It ends the process, which leads to a restart and
// so to the fall-back path; input, files and network never reach it.
#pragma once

namespace dipper::base {

/// Prints where and what to stderr and aborts. Async-signal-safe, no heap.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace dipper::base

#define DIPPER_CHECK(condition)                                                    \
  do {                                                                             \
    if (!(condition)) ::dipper::base::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)
