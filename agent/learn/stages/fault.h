// Fault stage: misbehaves on purpose at a given sample, so that crash and hang models are real packages on
// the real path. Exists only in builds with DIPPER_TEST_FAULTS; others refuse such a spec. Not thread-safe.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

enum class FaultAction : uint8_t { kHang = 0, kAbort = 1, kNotANumber = 2, kSlow = 3, kLeak = 4 };

struct FaultConfig {
  FaultAction action = FaultAction::kHang;
  uint64_t at_sample = 0;  ///< 0 = the first; slow and leak go on from there at every sample
  uint32_t value = 0;      ///< slow: thousand rounds of idle work; leak: bytes
};

/// State: u64 samples so far, f64 that kNotANumber poisons.
class Fault {
 public:
  static base::Result<uint64_t> StateBytes(const FaultConfig& config);
  static base::Status Create(const FaultConfig&, base::MutableBytes) { return base::Status::kOk; }
  static base::Status Validate(const FaultConfig& config, base::ByteView memory);
  Fault(const FaultConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  void Apply(StageMode mode, float* row) const;

 private:
  FaultConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
