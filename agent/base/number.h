// Text to number and back without locale: std::from_chars and to_chars, one narrowing to float everywhere.
// Thread-safe: pure functions. No heap.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "agent/base/status.h"

namespace dipper::base {

/// Parses a whole text as double ("1", "-2.5e3", "+3"); surrounding blanks allowed. Accepts "nan" and "inf".
/// kInvalidArgument: empty, trailing characters or no number. kOutOfRange: does not fit a double.
Result<double> ParseDouble(std::string_view text);

/// Parses a whole text as unsigned decimal. Errors as ParseDouble.
Result<uint64_t> ParseUint(std::string_view text);

/// Parses a byte count with an optional unit: "65536", "64KiB", "2 MiB", "10kB". Errors as ParseDouble.
Result<uint64_t> ParseByteCount(std::string_view text);

/// Narrows a parsed double to the float32 that samples are made of; out of float range becomes +-infinity.
inline float NarrowToFloat(double value) { return static_cast<float>(value); }

/// A printed number, without terminating zero.
struct NumberText {
  std::array<char, 32> text{};
  uint32_t length = 0;
  std::string_view view() const { return {text.data(), length}; }
};

/// Shortest text that parses back to the same double; not-a-number and infinities print as "null" (JSON).
NumberText FormatJsonNumber(double value);
NumberText FormatUint(uint64_t value);
NumberText FormatInt(int64_t value);

}  // namespace dipper::base
