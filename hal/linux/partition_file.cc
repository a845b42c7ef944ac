// Files and block devices as partitions: whole transfers in spite of signals and short calls, fdatasync as
// barrier.
#include "hal/linux/partition_file.h"

#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dipper::hal {
namespace {

using base::Status;

constexpr size_t kEraseChunk = 16 * 1024;

constexpr std::array<uint8_t, kEraseChunk> ErasedBytes() {
  std::array<uint8_t, kEraseChunk> bytes{};
  bytes.fill(0xFF);
  return bytes;
}
constexpr std::array<uint8_t, kEraseChunk> kErased = ErasedBytes();

int SyncDirectoryOf(const char* path) {
  std::array<char, PATH_MAX> copy;
  if (std::strlen(path) >= copy.size()) return ENAMETOOLONG;
  std::memcpy(copy.data(), path, std::strlen(path) + 1);
  const int fd = ::open(::dirname(copy.data()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  return error;
}

}  // namespace

PartitionFile::~PartitionFile() { Close(); }

void PartitionFile::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  geometry_ = {};
}

Status PartitionFile::Fail(int error) {
  last_error_ = error;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
      return Status::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return Status::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Status::kResourceExhausted;
    case EBUSY:
    case EWOULDBLOCK:
      return Status::kFailedPrecondition;
    case ELOOP:
    case EISDIR:
    case ENOTBLK:
    case ENAMETOOLONG:
    case EINVAL:
      return Status::kInvalidArgument;
    default:
      return Status::kUnavailable;
  }
}

Status PartitionFile::OpenNode(const char* path, bool read_only) {
  struct stat about;
  if (::lstat(path, &about) != 0) return Fail(errno);
  if (S_ISLNK(about.st_mode)) return Fail(ELOOP);
  if (S_ISDIR(about.st_mode)) return Fail(EISDIR);
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode)) return Fail(ENOTBLK);
  // On a block device O_EXCL refuses what is mounted or open elsewhere; the lock does it for files.
  const int exclusive = S_ISBLK(about.st_mode) && !read_only ? O_EXCL : 0;
  fd_ = ::open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | exclusive);
  if (fd_ < 0) return Fail(errno);
  if (::flock(fd_, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) return Fail(errno);
  return Status::kOk;
}

/// Makes the file under another name and renames it when its size is durable: a cut leaves no half-made
/// partition.
Status PartitionFile::CreateFile(const char* path, uint64_t bytes) {
  std::array<char, PATH_MAX> temporary;
  const int length = std::snprintf(temporary.data(), temporary.size(), "%s.new", path);
  if (length < 0 || static_cast<size_t>(length) >= temporary.size()) return Fail(ENAMETOOLONG);
  fd_ = ::open(temporary.data(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) return Fail(errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) return Fail(errno);
  if (::ftruncate(fd_, 0) != 0) return Fail(errno);
  // Space is taken now, so that a full disk shows here and not in the middle of an update.
  int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (error == EINVAL || error == EOPNOTSUPP)
    error = ::ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  if (error == 0 && ::fsync(fd_) != 0) error = errno;
  // Under the lock nobody else can have made it since it was found missing, except another `create` that won.
  if (error == 0 && ::access(path, F_OK) == 0) error = EBUSY;
  if (error == 0 && ::rename(temporary.data(), path) != 0) error = errno;
  if (error == 0) error = SyncDirectoryOf(path);
  if (error == 0) return Status::kOk;
  ::unlink(temporary.data());
  return Fail(error);
}

Status PartitionFile::Measure(const PartitionFileOptions& options) {
  struct stat about;
  if (::fstat(fd_, &about) != 0) return Fail(errno);
  uint64_t bytes = 0;
  if (S_ISREG(about.st_mode)) {
    bytes = static_cast<uint64_t>(about.st_size);
  } else if (S_ISBLK(about.st_mode)) {
    if (::ioctl(fd_, BLKGETSIZE64, &bytes) != 0) return Fail(errno);
  } else {
    return Fail(ENOTBLK);
  }
  if (bytes == 0 || bytes < options.min_bytes) {
    last_error_ = 0;
    return Status::kResourceExhausted;
  }
  if (options.erase_unit_bytes == 0 || bytes % options.erase_unit_bytes != 0) return Fail(EINVAL);
  geometry_ = {bytes, 1, options.erase_unit_bytes};
  return Status::kOk;
}

Status PartitionFile::Open(const PartitionFileOptions& options) {
  if (fd_ >= 0) return Status::kFailedPrecondition;
  if (options.path == nullptr || options.path[0] == '\0') return Fail(EINVAL);
  last_error_ = 0;
  read_only_ = options.read_only;
  std::array<char, PATH_MAX> resolved;
  const char* path = options.path;
  if (options.by_name) {
    std::array<char, PATH_MAX> link;
    if (std::strchr(options.path, '/') != nullptr) return Fail(EINVAL);
    const int length = std::snprintf(link.data(), link.size(), "/dev/disk/by-partlabel/%s", options.path);
    if (length < 0 || static_cast<size_t>(length) >= link.size()) return Fail(ENAMETOOLONG);
    if (::realpath(link.data(), resolved.data()) == nullptr) return Fail(errno);
    path = resolved.data();
  }
  Status status = OpenNode(path, options.read_only);
  if (status == Status::kNotFound && options.create_bytes != 0 && !options.by_name && !options.read_only) {
    status = CreateFile(path, options.create_bytes);
  }
  if (base::Ok(status)) status = Measure(options);
  if (!base::Ok(status)) {
    const int error = last_error_;
    Close();
    last_error_ = error;
  }
  return status;
}

bool PartitionFile::InRange(uint64_t offset, uint64_t length) const {
  return fd_ >= 0 && offset <= geometry_.size_bytes && length <= geometry_.size_bytes - offset;
}

Status PartitionFile::Read(uint64_t offset, base::MutableBytes to) {
  if (!InRange(offset, to.size())) return Status::kOutOfRange;
  for (size_t done = 0; done < to.size();) {
    const ssize_t got = ::pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {  // End of file inside the range: somebody cut the file short.
      last_error_ = got < 0 ? errno : EIO;
      return Status::kUnavailable;
    }
    done += static_cast<size_t>(got);
  }
  return Status::kOk;
}

Status PartitionFile::Write(uint64_t offset, base::ByteView from) {
  if (!InRange(offset, from.size())) return Status::kOutOfRange;
  if (read_only_) return Fail(EROFS);
  for (size_t done = 0; done < from.size();) {
    const ssize_t put =
        ::pwrite(fd_, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      last_error_ = put < 0 ? errno : EIO;
      return last_error_ == ENOSPC || last_error_ == EDQUOT ? Status::kResourceExhausted
                                                            : Status::kUnavailable;
    }
    done += static_cast<size_t>(put);
  }
  return Status::kOk;
}

Status PartitionFile::Erase(uint64_t offset, uint64_t length) {
  if (!InRange(offset, length)) return Status::kOutOfRange;
  if (offset % geometry_.erase_unit_bytes != 0 || length % geometry_.erase_unit_bytes != 0) {
    return Status::kInvalidArgument;
  }
  for (uint64_t done = 0; done < length;) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(kErased.size(), length - done));
    DIPPER_RETURN_IF_ERROR(Write(offset + done, base::ByteView(kErased).first(count)));
    done += count;
  }
  return Status::kOk;
}

Status PartitionFile::Sync() {
  if (fd_ < 0) return Status::kUnavailable;
  if (read_only_) return Status::kOk;
  int result = 0;
  do {
    result = ::fdatasync(fd_);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return Status::kOk;
  last_error_ = errno;
  return Status::kUnavailable;
}

}  // namespace dipper::hal
