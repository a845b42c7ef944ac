// Fault stage: misbehaves on purpose at a given sample, so that crash and hang models are real packages on
// the real path. Exists only in builds with DIPPER_TEST_FAULTS; others refuse such a spec. Not thread-safe.
#pragma once

#include <cstdint>

namespace dipper::learn {

enum class FaultAction : uint8_t { kHang = 0, kAbort = 1, kNotANumber = 2, kSlow = 3, kLeak = 4 };

struct FaultConfig {
  FaultAction action = FaultAction::kHang;
  uint64_t at_sample = 0;  ///< 0 = the first; slow and leak go on from there at every sample
  uint32_t value = 0;      ///< slow: thousand rounds of idle work; leak: bytes
};

#ifdef DIPPER_TEST_FAULTS
/// Called with the number of samples before this one. Writes a NaN into `poison` for kNotANumber.
void ApplyFault(const FaultConfig& config, uint64_t sample, double* poison);
#endif

}  // namespace dipper::learn
