// RootStore: the trust root in force, twice in `boot`; a new one replaces one copy behind a barrier, then the
// other, so that a cut leaves the old or the new one and a copy lost at rest never brings a former one back.
// Documents are verified by agent/package before they come here and after they are read. Not thread-safe. No
// heap.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/store/page.h"
#include "hal/api/partition.h"

namespace dipper::store {

class RootStore {
 public:
  explicit RootStore(hal::Partition& boot);

  /// Once, first: also repairs the other copy. kUnimplemented: written by a newer agent, nothing may be
  /// stored. Errors of the partition otherwise.
  base::Status Open();

  /// Reads the newest valid document into `buffer` (kMaxRootBytes is always enough) and returns its bytes.
  /// kNotFound: none stored yet: use the one from the config. kResourceExhausted: buffer too small.
  base::Result<base::ByteView> Load(base::MutableBytes buffer);

  /// Makes `document` (verified as a successor) the newest. Durable on kOk.
  /// kResourceExhausted: longer than kMaxRootBytes. kUnavailable: I/O; the former one is intact.
  base::Status Store(base::ByteView document);

  static constexpr uint32_t kMaxRootBytes = 8 * 1024 - 32;

 private:
  base::Status ReadNewest();
  base::Status Duplicate();

  hal::Partition& boot_;
  CopyPair pages_;
  bool open_ = false;
  alignas(16) std::array<uint8_t, 8 * 1024> page_{};
};

}  // namespace dipper::store
