// Imputer: gives a missing input its last value, its running mean, or a constant, and on request appends a
// 0/1 input per selected one that says whether it was missing. A view over caller memory; state is a pure
// function of the calls. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>

#include "agent/base/bytes.h"
#include "agent/learn/stages/mode.h"

namespace dipper::learn {

enum class ImputerMode : uint8_t { kLast = 0, kMean = 1, kConstant = 2 };

struct ImputerConfig {
  uint32_t width = 0;                      ///< inputs in
  std::span<const uint16_t> inputs{};      ///< which are completed, ascending; the others pass
  std::span<const uint16_t> categories{};  ///< of each: 0 numeric, n nominal 0 .. n; empty: all numeric
  ImputerMode mode = ImputerMode::kLast;   ///< categorical inputs: kLast or kConstant
  double constant = 0;                     ///< for kConstant, and for the others until there was a value
  double decay = 0;            ///< kMean: weight of the past per value, in (0, 1); 0: all count alike
  bool missing_flags = false;  ///< append one 0/1 input per selected input
};

class Imputer {
 public:
  static base::Result<uint64_t> StateBytes(const ImputerConfig& config);
  static base::Status Create(const ImputerConfig& config, base::MutableBytes memory);
  static base::Status Validate(const ImputerConfig& config, base::ByteView memory);
  Imputer(const ImputerConfig& config, base::MutableBytes memory) : config_(config), memory_(memory.data()) {}

  /// Inputs out: width, then with missing_flags one flag per selected input in their order.
  static uint32_t OutWidth(const ImputerConfig& config);

  /// Completes `row` (room for OutWidth values) in place. The last value advances also with kFrozen, the mean
  /// does not. Cost: O(inputs), one division each for the mean.
  void Apply(StageMode mode, float* row) const;

  /// Forgets the last values; means stay.
  void Reset() const;

 private:
  ImputerConfig config_;
  uint8_t* memory_;
};

}  // namespace dipper::learn
