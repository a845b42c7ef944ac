// ServiceNotify: what systemd, or whoever stands in for it, wants to hear from a service: started, how it
// goes, still alive, stopping. Not thread-safe. Without a supervisor that listens every call does nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dipper::app {

class ServiceNotify {
 public:
  /// As the environment says: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.
  ServiceNotify();
  ~ServiceNotify();
  ServiceNotify(const ServiceNotify&) = delete;
  ServiceNotify& operator=(const ServiceNotify&) = delete;

  /// Somebody listens.
  bool listens() const { return fd_ >= 0; }
  /// Within which time a pat is wanted; 0: none is.
  int64_t watchdog_ns() const { return watchdog_ns_; }

  /// Started: what was started after this service may start now.
  void Ready() { Send("READY=1"); }
  /// One line for people, shown by `systemctl status`.
  void Status(std::string_view text);
  void Pat() { Send("WATCHDOG=1"); }
  void Stopping() { Send("STOPPING=1"); }

 private:
  void Send(std::string_view text);

  std::string address_;  ///< Bytes of sun_path: a path, or an abstract name behind a zero byte.
  int fd_ = -1;
  int64_t watchdog_ns_ = 0;
};

}  // namespace dipper::app
