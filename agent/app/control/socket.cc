// Implementation of socket.h: one epoll descriptor over the listener and at most four clients.
#include "agent/app/control/socket.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "agent/app/control/protocol.h"
#include "hal/linux/unix_listener.h"

namespace dipper::app {
namespace {

constexpr uint64_t kListenerKey = 0;  // clients have their serial, from 1
constexpr int kAcceptsATurn = 8;
constexpr int kQueue = 8;
constexpr uint32_t kMode = 0600;

/// Keeps the first descriptor of a message and closes any other.
void TakeDescriptors(msghdr* message, int* file) {
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      if (*file < 0) {
        *file = fd;
      } else {
        ::close(fd);
      }
    }
  }
}

}  // namespace

std::string CheckSocketPath(std::string_view path) {
  constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty()) return "an empty path";
  if (path.size() > kLongest) {
    return "the path has " + std::to_string(path.size()) + " bytes, a socket's may have " +
           std::to_string(kLongest) + "; set control.socket to a shorter one";
  }
  return {};
}

ControlSocket::~ControlSocket() {
  for (ControlClient& client : clients_) Close(&client);
  if (listener_ >= 0) {
    ::close(listener_);
    ::unlink(path_.c_str());
  }
  if (epoll_ >= 0) ::close(epoll_);
}

ControlSocket::Opened ControlSocket::Open(const std::string& path, std::string* message) {
  *message = CheckSocketPath(path);
  if (!message->empty()) return Opened::kFailed;
  std::error_code ignored;  // the system says what is wrong with the folder
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  switch (hal::ListenUnix(path, kMode, kQueue, &listener_)) {
    case base::Status::kOk:
      path_ = path;
      return Watch(message) ? Opened::kOk : Opened::kFailed;
    case base::Status::kInvalidArgument:
      *message = path + " is there and is no socket; remove it or set control.socket to another path";
      return Opened::kFailed;
    case base::Status::kAlreadyExists:
      *message =
          "another agent answers at " + path + "; set control.socket to another path, or stop that agent";
      return Opened::kInUse;
    default:
      *message = "cannot listen at " + path + ": " + std::strerror(errno);
      return Opened::kFailed;
  }
}

bool ControlSocket::Watch(std::string* message) {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kListenerKey}};
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event) == 0) return true;
  *message = "cannot listen at " + path_ + ": " + std::strerror(errno);
  ::close(listener_);
  ::unlink(path_.c_str());
  if (epoll_ >= 0) ::close(epoll_);
  listener_ = epoll_ = -1;
  return false;
}

bool ControlSocket::busy() const {
  for (const ControlClient& client : clients_) {
    if (client.in_use()) return true;
  }
  return false;
}

ControlClient* ControlSocket::Find(uint64_t serial) {
  for (ControlClient& client : clients_) {
    if (serial != 0 && client.serial == serial) return &client;
  }
  return nullptr;
}

uint64_t ControlSocket::TakeRefused() {
  const uint64_t refused = refused_;
  refused_ = 0;
  return refused;
}

void ControlSocket::Turn(int64_t now_ns) {
  if (epoll_ < 0) return;
  std::array<epoll_event, kMaxControlClients + 1> events{};
  const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kListenerKey) {
      Accept(now_ns);
      continue;
    }
    ControlClient* client = Find(event.data.u64);
    if (client == nullptr) continue;
    if ((event.events & EPOLLIN) != 0) Receive(client);
    if (client->in_use() && (event.events & (EPOLLHUP | EPOLLERR)) != 0) Close(client);
  }
  for (ControlClient& client : clients_) {
    if (client.in_use()) Send(&client, now_ns);
  }
}

void ControlSocket::Accept(int64_t now_ns) {
  for (int i = 0; i < kAcceptsATurn; ++i) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    ucred who{};
    socklen_t size = sizeof who;
    const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    const bool allowed = known && (who.uid == 0 || who.uid == ::geteuid());
    ControlClient* place = nullptr;
    for (ControlClient& client : clients_) {
      if (!client.in_use() && place == nullptr) place = &client;
    }
    if (!allowed || place == nullptr) {
      const std::string_view why =
          allowed ? "X1 too many clients at once; try again\n"
                  : "X1 refused: only root and the agent's own user may use the control socket\n";
      refused_ += allowed ? 0 : 1;
      // A new connection's buffer takes a line; who does not read it misses it.
      if (::send(fd, why.data(), why.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) errno = 0;
      ::close(fd);
      continue;
    }
    *place = {};
    place->serial = next_serial_++;
    place->fd = fd;
    place->uid = who.uid;
    place->deadline_ns = now_ns + kRequestTimeNs;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = place->serial}};
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) Close(place);
  }
}

void ControlSocket::Receive(ControlClient* client) {
  std::array<char, kMaxRequestBytes> bytes;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) Close(client);
    return;
  }
  TakeDescriptors(&message, &client->file);
  if (got == 0) {
    if (!client->request_taken && client->in.find('\n') == std::string::npos) {
      Close(client);
      return;
    }
    // It has said everything and still reads: nothing more to watch for but its end.
    epoll_event event{.events = client->watches_write ? EPOLLOUT : 0U, .data = {.u64 = client->serial}};
    if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, client->fd, &event) != 0) Close(client);
    return;
  }
  // What comes behind the request means nothing and is thrown away.
  if (!client->request_taken && client->in.size() <= kMaxRequestBytes) {
    client->in.append(bytes.data(), static_cast<size_t>(got));
  }
}

void ControlSocket::Send(ControlClient* client, int64_t now_ns) {
  while (!client->out.empty()) {
    const ssize_t sent =
        ::send(client->fd, client->out.data(), client->out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      Close(client);
      return;
    }
    if (sent < 0) break;
    client->out.erase(0, static_cast<size_t>(sent));
    client->deadline_ns = now_ns + kDrainTimeNs;
  }
  const bool wants = !client->out.empty();
  if (!wants && client->ended) {
    Close(client);
    return;
  }
  const bool waiting = !client->request_taken || wants;
  if (waiting && now_ns >= client->deadline_ns) {
    Close(client);
    return;
  }
  if (wants == client->watches_write) return;
  client->watches_write = wants;
  epoll_event event{.events = wants ? EPOLLIN | EPOLLOUT : 0U | EPOLLIN, .data = {.u64 = client->serial}};
  if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, client->fd, &event) != 0) Close(client);
}

void ControlSocket::Close(ControlClient* client) {
  if (client->fd >= 0) ::close(client->fd);
  if (client->file >= 0) ::close(client->file);
  *client = {};
}

}  // namespace dipper::app
