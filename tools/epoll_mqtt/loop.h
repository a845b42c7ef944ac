// Loop: one epoll for thousands of sessions, their timers, and the list of those with events to poll. One
// thread calls it and every session on it. Linux.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace dipper::epoll_mqtt {

class Session;

class Loop {
 public:
  /// @param max_connecting  Connections begun at once, so that a broker's listen queue does not overflow.
  explicit Loop(uint32_t max_connecting = 64);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  /// Waits up to `timeout_ms` for a wire, handles what came, runs the timers that are due.
  void Turn(int timeout_ms);
  /// A session with events waiting, each once until it has new ones; null: none. Poll it empty.
  Session* TakeReady();

  static int64_t NowNs();

 private:
  friend class Session;
  void Add(Session* session);
  void Remove(Session* session);
  void Ready(Session* session);
  bool Watch(int fd, Session* session, uint32_t events, bool added) const;

  const int epoll_;
  const uint32_t max_connecting_;
  uint32_t connecting_ = 0;
  int64_t next_tick_ns_ = 0;
  std::vector<Session*> sessions_;
  std::deque<Session*> ready_;
  std::vector<uint8_t> read_buffer_;  ///< What a wire has brought, while its session looks at it.
};

}  // namespace dipper::epoll_mqtt
