// A digest that a test can tell from others.
#pragma once

#include "agent/base/bytes.h"

namespace dipper::app {

inline base::Digest DigestOf(uint8_t first) {
  base::Digest digest{};
  digest.bytes[0] = first;
  return digest;
}

}  // namespace dipper::app
