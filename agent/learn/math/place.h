// Typed access to places in an image. Through void*, since armhf's compiler takes a direct cast from bytes
// for a possible misalignment; the caller's layout guarantees the alignment. Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <type_traits>

namespace dipper::learn {

/// The T at `at`, which is aligned for T.
template <typename T>
requires std::is_trivially_copyable_v<T> T* PlaceOf(uint8_t* at) {
  return static_cast<T*>(static_cast<void*>(at));
}
template <typename T>
requires std::is_trivially_copyable_v<T>
const T* PlaceOf(const uint8_t* at) { return static_cast<const T*>(static_cast<const void*>(at)); }

}  // namespace dipper::learn
