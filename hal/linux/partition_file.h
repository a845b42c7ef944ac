// PartitionFile: a Partition over a regular file or a block device. Not thread-safe: one thread at a time.
#pragma once

#include <cstdint>

#include "hal/api/partition.h"

namespace dipper::hal {

struct PartitionFileOptions {
  const char* path = nullptr;        ///< File, device node, or with `by_name` a GPT partition name.
  bool by_name = false;              ///< Looks in /dev/disk/by-partlabel.
  bool read_only = false;            ///< A factory partition.
  uint64_t create_bytes = 0;         ///< Not 0: a missing file is made with that size, zero-filled.
  uint64_t min_bytes = 0;            ///< A smaller partition is refused.
  uint32_t erase_unit_bytes = 4096;  ///< A whole number of them is the partition's size.
};

class PartitionFile final : public Partition {
 public:
  PartitionFile() = default;
  PartitionFile(const PartitionFile&) = delete;
  PartitionFile& operator=(const PartitionFile&) = delete;
  ~PartitionFile();

  /// Opens and locks for this object alone, until it is destroyed.
  /// kNotFound: no such file, device or name. kInvalidArgument: a symbolic link, or neither file nor block
  /// device, or not a whole number of erase units. kResourceExhausted: smaller than min_bytes, or no space to
  /// create it. kFailedPrecondition: open already, here or in another process. kPermissionDenied: no access.
  /// kUnavailable: I/O.
  base::Status Open(const PartitionFileOptions& options);
  void Close();

  /// errno of the last failed call, for messages. Of kInvalidArgument: ELOOP a link, EISDIR a folder, ENOTBLK
  /// what is neither file nor block device, EINVAL a wrong size.
  int last_error() const { return last_error_; }

  Geometry geometry() const override { return geometry_; }
  base::Status Read(uint64_t offset, base::MutableBytes to) override;
  base::Status Write(uint64_t offset, base::ByteView from) override;
  base::Status Erase(uint64_t offset, uint64_t length) override;
  base::Status Sync() override;

 private:
  base::Status Fail(int error);
  base::Status OpenNode(const char* path, bool read_only);
  base::Status CreateFile(const char* path, uint64_t bytes);
  base::Status Measure(const PartitionFileOptions& options);
  bool InRange(uint64_t offset, uint64_t length) const;

  int fd_ = -1;
  bool read_only_ = false;
  int last_error_ = 0;
  Geometry geometry_;
};

}  // namespace dipper::hal
