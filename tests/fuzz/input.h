// Takes a fuzzed input apart: fixed-width values and runs of bytes, from the front; zeros once it is used up.
// Not thread-safe.
#pragma once

#include <algorithm>

#include "agent/base/bytes.h"

namespace dipper::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}

  template <typename T>
  T Get() {
    T value{};
    const base::ByteView bytes = Take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  /// 0 .. bound - 1 from one byte, or two when the bound needs them.
  uint32_t Below(uint32_t bound) { return (bound > 256 ? Get<uint16_t>() : Get<uint8_t>()) % bound; }
  bool Flag() { return (Get<uint8_t>() & 1) != 0; }
  /// At most `count` bytes.
  base::ByteView Take(size_t count) {
    const base::ByteView taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  /// Copies what there is into `to`; the rest of it stays.
  void Fill(base::MutableBytes to) {
    const base::ByteView bytes = Take(to.size());
    std::copy(bytes.begin(), bytes.end(), to.begin());
  }
  bool empty() const { return rest_.empty(); }
  size_t size() const { return rest_.size(); }

 private:
  base::ByteView rest_;
};

}  // namespace dipper::fuzz
