// What a pass of a sample through the stages may change. Thread-safe: plain values.
#pragma once

#include <cstdint>

namespace dipper::learn {

enum class StageMode : uint8_t {
  kLearn,   ///< a new sample: advance, and learn statistics
  kFrozen,  ///< a new sample: advance, statistics stay
  kPeek     ///< nothing changes
};

}  // namespace dipper::learn
