// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4 has test vectors).
// Thread-safe: pure function. Cost: one table look-up a byte.
#pragma once

#include "agent/base/bytes.h"

namespace dipper::base {

/// CRC of `bytes`, continuing from `seed` (the CRC of what came before, 0 at the start).
uint32_t Crc32c(ByteView bytes, uint32_t seed = 0);

}  // namespace dipper::base
