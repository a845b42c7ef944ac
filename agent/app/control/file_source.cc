// Implementation of file_source.h. pread and no mapping: a stick that is pulled out must not be a SIGBUS.
#include "agent/app/control/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace dipper::app {

using base::Status;

FileSource::FileSource(int fd) : fd_(fd) {
  struct stat about {};
  const int flags = ::fcntl(fd_, F_GETFL);
  if (flags < 0 || ::fstat(fd_, &about) != 0) {
    problem_ = "no file came with the request";
  } else if (!S_ISREG(about.st_mode)) {
    problem_ = "it is not a file: copy the package to one";
  } else if ((flags & O_ACCMODE) == O_WRONLY) {
    problem_ = "it is not open for reading";
  } else {
    size_ = static_cast<uint64_t>(about.st_size);
  }
}

FileSource::~FileSource() {
  if (fd_ >= 0) ::close(fd_);
}

const char* FileSource::Check() const { return problem_; }

Status FileSource::ReadAt(uint64_t offset, base::MutableBytes to) {
  if (offset > size_ || to.size() > size_ - offset) return Status::kOutOfRange;
  for (size_t done = 0; done < to.size();) {
    const ssize_t got = ::pread(fd_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Status::kUnavailable;  // 0: the file became shorter
    done += static_cast<size_t>(got);
  }
  return Status::kOk;
}

}  // namespace dipper::app
