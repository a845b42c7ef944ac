// SHA-256 over bytes. Learned images, slots, logs and packages all name their bytes by it, so it lives in
// base; the implementation is mbedTLS (docs/decisions.md says why base may use it). Thread-safe: one object
// per thread.
#pragma once

#include "agent/base/bytes.h"

namespace dipper::base {

/// Incremental SHA-256 (FIPS 180-4). No heap; 128 bytes of state.
class Sha256 {
 public:
  Sha256();
  void Update(ByteView bytes);
  /// Ends the message. The object may not be used again.
  Digest Finish();

 private:
  alignas(8) std::array<uint8_t, 128> state_;
};

/// Digest of one block of bytes.
Digest Sha256Of(ByteView bytes);

}  // namespace dipper::base
