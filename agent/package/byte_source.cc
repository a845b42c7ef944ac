// Implementation of byte_source.h.
#include "agent/package/byte_source.h"

namespace dipper::package {

base::Status MemorySource::ReadAt(uint64_t offset, base::MutableBytes to) {
  if (offset > bytes_.size() || to.size() > bytes_.size() - offset) return base::Status::kOutOfRange;
  if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
  return base::Status::kOk;
}

}  // namespace dipper::package
