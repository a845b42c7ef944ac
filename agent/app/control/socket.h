// ControlSocket: the Unix socket of the control side as bytes: who may connect, how many, how long; nothing a
// client does or leaves undone blocks the caller. Not thread-safe: the agent's loop. Heap: a few KiB a
// client.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace dipper::app {

inline constexpr size_t kMaxControlClients = 4;
inline constexpr size_t kMaxWaitingBytes = 64 * 1024;     ///< Unread output from which a producer waits.
inline constexpr int64_t kRequestTimeNs = 5'000'000'000;  ///< For the whole request line.
inline constexpr int64_t kDrainTimeNs = 30'000'000'000;   ///< Without one byte read by the client.

/// One client. `serial` 0: the place is free.
struct ControlClient {
  uint64_t serial = 0;
  int fd = -1;
  uint32_t uid = 0;
  std::string in;   ///< What came so far, until `request_taken`.
  int file = -1;    ///< Descriptor that came with it.
  std::string out;  ///< Not yet read by the client.
  bool request_taken = false;
  bool ended = false;  ///< Close when `out` is empty.
  bool watches_write = false;
  int64_t deadline_ns = 0;

  bool in_use() const { return serial != 0; }
};

class ControlSocket {
 public:
  ControlSocket() = default;
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  enum class Opened : uint8_t {
    kOk,
    kInUse,   ///< Another agent answers there.
    kFailed,  ///< Not usable; an agent can do without.
  };
  /// Listens at `path`, mode 0600; a socket file that nobody answers at is replaced, anything else is not.
  Opened Open(const std::string& path, std::string* message);

  /// Readable when there is something to do; -1: not open.
  int fd() const { return epoll_; }

  /// Accepts, reads and writes what can be without waiting; drops who is too slow.
  void Turn(int64_t now_ns);
  std::array<ControlClient, kMaxControlClients>& clients() { return clients_; }
  bool busy() const;
  /// The client with that serial, null when it is gone.
  ControlClient* Find(uint64_t serial);
  /// Connections by users who may not, since the last call.
  uint64_t TakeRefused();

 private:
  bool Watch(std::string* message);
  void Accept(int64_t now_ns);
  void Receive(ControlClient* client);
  void Send(ControlClient* client, int64_t now_ns);
  void Close(ControlClient* client);

  int listener_ = -1;
  int epoll_ = -1;
  std::string path_;
  uint64_t next_serial_ = 1;
  uint64_t refused_ = 0;
  std::array<ControlClient, kMaxControlClients> clients_{};
};

/// Why a path cannot name a Unix socket; empty: it can.
std::string CheckSocketPath(std::string_view path);

}  // namespace dipper::app
