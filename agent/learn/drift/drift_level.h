// What a drift detector answers to one value. Thread-safe: plain value.
#pragma once

#include <cstdint>

namespace dipper::learn {

enum class DriftLevel : uint8_t { kStable = 0, kWarning = 1, kAlarm = 2 };

}  // namespace dipper::learn
