// ByteSource: bytes that may be read at any offset, for example a slot or a file. Not thread-safe.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::package {

struct ByteSource {
  /// Fills `to` from `offset`. kOutOfRange: past the end, nothing read. kUnavailable: I/O error.
  virtual base::Status ReadAt(uint64_t offset, base::MutableBytes to) = 0;
  /// All of it: for a package, exactly the package's bytes and no more.
  virtual uint64_t size() const = 0;

 protected:
  ~ByteSource() = default;
};

/// Bytes in memory as a source; they must outlive it.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(base::ByteView bytes) : bytes_(bytes) {}
  // Inline, so that no object file owns the class: rooms build without RTTI, tools and tests with it.
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override {
    if (offset > bytes_.size() || to.size() > bytes_.size() - offset) return base::Status::kOutOfRange;
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + offset, to.size());
    return base::Status::kOk;
  }
  uint64_t size() const override { return bytes_.size(); }

 private:
  base::ByteView bytes_;
};

}  // namespace dipper::package
