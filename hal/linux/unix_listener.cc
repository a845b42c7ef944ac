// Implementation of unix_listener.h.
#include "hal/linux/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dipper::hal {
namespace {

using base::Status;

const sockaddr* Plain(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

bool Answers(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // A full queue (EAGAIN) is somebody too.
  const bool answers = fd >= 0 && (::connect(fd, Plain(address), sizeof address) == 0 || errno == EAGAIN);
  if (fd >= 0) ::close(fd);
  return answers;
}

}  // namespace

Status ListenUnix(const std::string& path, uint32_t mode, int queue, int* fd) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return Status::kInvalidArgument;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return Status::kInvalidArgument;
    if (Answers(address)) return Status::kAlreadyExists;
    ::unlink(path.c_str());
  }
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return Status::kUnavailable;
  const mode_t before = ::umask(static_cast<mode_t>(~mode & 0777U));
  const bool bound = ::bind(listener, Plain(address), sizeof address) == 0;
  const int bind_error = errno;
  ::umask(before);
  if (bound && ::listen(listener, queue) == 0) {
    *fd = listener;
    return Status::kOk;
  }
  const int error = bound ? errno : bind_error;
  ::close(listener);
  if (bound) ::unlink(path.c_str());
  errno = error;
  return Status::kUnavailable;
}

}  // namespace dipper::hal
