// Stands between Paho C and the functions it writes with; see lost_write.h.
#include "agent/link/lost_write.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>

namespace {

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool IsInternetSocket(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
         (domain == AF_INET || domain == AF_INET6);
}

// What a later try can mend is no loss. A connection that is not there yet is told by the connecting.
bool IsPassing(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == EINPROGRESS;
}

bool GiveUp(int fd) {
  if (!IsInternetSocket(fd)) return false;
  shutdown(fd, SHUT_RDWR);
  return true;
}

}  // namespace

// The names are the C library's and OpenSSL's: that is how a shared library's calls come here.
extern "C" {

ssize_t writev(int fd, const struct iovec* parts, int count) {
  static const auto real = Next<decltype(writev)>("writev");
  const ssize_t written = real(fd, parts, count);
  if (written >= 0) return written;
  const int error = errno;
  if (IsPassing(error) || !GiveUp(fd)) {
    errno = error;
    return written;
  }
  size_t all = 0;
  for (int i = 0; i < count; ++i) all += parts[i].iov_len;
  return static_cast<ssize_t>(all);
}

int SSL_write(SSL* ssl, const void* bytes, int size) {
  static const auto real = Next<decltype(SSL_write)>("SSL_write");
  const int written = real(ssl, bytes, size);
  if (written > 0) return written;
  const int error = SSL_get_error(ssl, written);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return written;
  if (!GiveUp(SSL_get_fd(ssl))) return written;
  ERR_clear_error();  // it would be taken for that of the next call on this thread
  return size;
}

}  // extern "C"

namespace dipper::link {

bool UseLostWrites() { return dlsym(RTLD_DEFAULT, "writev") == reinterpret_cast<void*>(&::writev); }

}  // namespace dipper::link
