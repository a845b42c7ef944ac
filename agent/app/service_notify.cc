// sd_notify(3)'s protocol: datagrams of "NAME=value" lines to a Unix socket. A dozen lines, where libsystemd
// would be one more library to load into every agent, on devices without systemd too.
#include "agent/app/service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace dipper::app {
namespace {

constexpr int64_t kMostMicroseconds = INT64_MAX / 1000;

int64_t Number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  return end != text && *end == 0 && value > 0 ? value : 0;
}

}  // namespace

ServiceNotify::ServiceNotify() {
  const char* path = std::getenv("NOTIFY_SOCKET");
  const size_t length = path == nullptr ? 0 : std::strlen(path);
  if (length < 2 || length > sizeof sockaddr_un{}.sun_path || (path[0] != '/' && path[0] != '@')) return;
  address_.assign(path, length);
  if (address_[0] == '@') address_[0] = '\0';
  fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return;
  // The period may be meant for another process of the service, say a shell around this one.
  const int64_t process = Number("WATCHDOG_PID");
  const int64_t microseconds = Number("WATCHDOG_USEC");
  if ((process == 0 || process == ::getpid()) && microseconds <= kMostMicroseconds) {
    watchdog_ns_ = microseconds * 1000;
  }
}

ServiceNotify::~ServiceNotify() {
  if (fd_ >= 0) ::close(fd_);
}

void ServiceNotify::Status(std::string_view text) {
  std::string line = "STATUS=" + std::string(text);
  for (char& letter : line) {
    if (letter == '\n') letter = ' ';  // a second line would be another message
  }
  Send(line);
}

void ServiceNotify::Send(std::string_view text) {
  if (fd_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  // A supervisor that does not take it now is told again with the next pat or status.
  (void)::sendto(fd_, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to), size);
}

}  // namespace dipper::app
