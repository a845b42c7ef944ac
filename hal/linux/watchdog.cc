// Every written byte is a pat; a last 'V' before the close stops the device (Documentation/watchdog in the
// kernel).
#include "hal/linux/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "agent/base/time.h"

namespace dipper::hal {
namespace {

using base::Status;

constexpr char kPat = 'p';
constexpr char kMagicClose = 'V';

bool WriteByte(int fd, char byte) {
  ssize_t put = 0;
  do {
    put = ::write(fd, &byte, 1);
  } while (put < 0 && errno == EINTR);
  return put == 1;
}

Status StatusOfOpen() {
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Status::kNotFound;
    case EACCES:
    case EPERM:
      return Status::kPermissionDenied;
    case EBUSY:
      return Status::kFailedPrecondition;
    default:
      return Status::kUnavailable;
  }
}

}  // namespace

DeviceWatchdog::~DeviceWatchdog() {
  if (fd_ >= 0) ::close(fd_);
}

Status DeviceWatchdog::Open(const char* path, uint32_t timeout_s) {
  if (armed()) return Status::kFailedPrecondition;
  fd_ = ::open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (fd_ < 0) return StatusOfOpen();
  // What is no watchdog driver (a pipe of a test, a supervisor's) answers no ioctl and keeps the wanted time.
  int seconds = static_cast<int>(timeout_s);
  if (::ioctl(fd_, WDIOC_SETTIMEOUT, &seconds) != 0 && ::ioctl(fd_, WDIOC_GETTIMEOUT, &seconds) != 0) {
    seconds = static_cast<int>(timeout_s);
  }
  timeout_ns_ = seconds * base::kSecondNs;
  watchdog_info info{};
  if (::ioctl(fd_, WDIOC_GETSUPPORT, &info) == 0) stoppable_ = (info.options & WDIOF_MAGICCLOSE) != 0;
  int boot = 0;
  reset_the_machine_ = ::ioctl(fd_, WDIOC_GETBOOTSTATUS, &boot) == 0 && (boot & WDIOF_CARDRESET) != 0;
  return Status::kOk;
}

Status DeviceWatchdog::Pat() {
  if (!armed()) return Status::kFailedPrecondition;
  return WriteByte(fd_, kPat) ? Status::kOk : Status::kUnavailable;
}

Status DeviceWatchdog::Disarm() {
  if (!armed()) return Status::kFailedPrecondition;
  const bool told = stoppable_ && WriteByte(fd_, kMagicClose);
  ::close(fd_);
  fd_ = -1;
  return told ? Status::kOk : Status::kUnavailable;
}

}  // namespace dipper::hal
