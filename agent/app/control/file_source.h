// FileSource: an open file as a package's bytes, by its descriptor and size at the start. A file that is
// pulled away, cut or changed meanwhile shows as a failed read or a wrong hash. Not thread-safe. No heap.
#pragma once

#include <cstdint>

#include "agent/package/byte_source.h"

namespace dipper::app {

class FileSource final : public package::ByteSource {
 public:
  /// Takes `fd` over. It must be a regular file (see Check).
  explicit FileSource(int fd);
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  /// Null: usable. Otherwise what is wrong with the descriptor.
  const char* Check() const;
  base::Status ReadAt(uint64_t offset, base::MutableBytes to) override;
  uint64_t size() const override { return size_; }

 private:
  int fd_;
  uint64_t size_ = 0;
  const char* problem_ = nullptr;
};

}  // namespace dipper::app
