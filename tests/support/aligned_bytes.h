// AlignedBytes: zeroed memory at a multiple of 16, as images, packages and messages want it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "agent/base/bytes.h"

namespace dipper::test {

class AlignedBytes {
 public:
  explicit AlignedBytes(uint64_t size) : words_((size + 15) / 16), size_(size) {}
  base::MutableBytes bytes() { return {reinterpret_cast<uint8_t*>(words_.data()), size_}; }
  base::ByteView bytes() const { return {reinterpret_cast<const uint8_t*>(words_.data()), size_}; }
  bool operator==(const AlignedBytes& other) const { return std::ranges::equal(bytes(), other.bytes()); }

 private:
  struct alignas(16) Word {
    uint8_t bytes[16] = {};
  };
  std::vector<Word> words_;
  uint64_t size_;
};

}  // namespace dipper::test
