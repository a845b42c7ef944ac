// SlotVerifier: what the store needs to know about a package without knowing packages. agent/update
// implements it.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "hal/api/partition.h"

namespace dipper::store {

struct SlotFacts {
  base::Digest digest;            ///< Package digest.
  base::SecurityVersion version;  ///< Signed security version with its role epoch.
  uint64_t image_bytes = 0;
};

class SlotVerifier {
 public:
  /// Reads a whole package and checks every byte of it against its digest. Signatures are not asked for
  /// again: what is in a slot was verified when it was staged (rule 9: expiry and revocation never stop a
  /// start). kDataLoss: not a whole, matching package. kUnavailable: the partition could not be read.
  virtual base::Result<SlotFacts> Verify(hal::Partition& partition, uint64_t package_offset,
                                         uint64_t package_bytes) = 0;

 protected:
  ~SlotVerifier() = default;
};

}  // namespace dipper::store
