// Implementation of loop.h.
#include "tools/epoll_mqtt/loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agent/base/status.h"
#include "agent/base/time.h"
#include "tools/epoll_mqtt/session.h"

namespace dipper::epoll_mqtt {
namespace {

constexpr int64_t kTickNs = 10'000'000;   // timers are at least 50 ms long
constexpr size_t kReadBytes = 64 * 1024;  // a wire that has more takes its turn again
constexpr size_t kWiresPerTurn = 256;

}  // namespace

Loop::Loop(uint32_t max_connecting)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)), max_connecting_(max_connecting), read_buffer_(kReadBytes) {
  DIPPER_CHECK(epoll_ >= 0);
}

Loop::~Loop() {
  DIPPER_CHECK(sessions_.empty());
  close(epoll_);
}

int64_t Loop::NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * base::kSecondNs + now.tv_nsec;
}

void Loop::Turn(int timeout_ms) {
  std::array<epoll_event, kWiresPerTurn> events;
  const int64_t left_ns = next_tick_ns_ - NowNs();
  const auto until_tick = static_cast<int>(std::max<int64_t>(0, left_ns / base::kMillisecondNs + 1));
  const int wait = ready_.empty() ? std::min(timeout_ms, until_tick) : 0;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait);
  for (int i = 0; i < count; ++i) {
    static_cast<Session*>(events[static_cast<size_t>(i)].data.ptr)
        ->OnWire(events[static_cast<size_t>(i)].events);
  }
  const int64_t now = NowNs();
  if (now < next_tick_ns_) return;
  next_tick_ns_ = now + kTickNs;
  for (Session* session : sessions_) session->OnTick(now);
}

Session* Loop::TakeReady() {
  if (ready_.empty()) return nullptr;
  Session* session = ready_.front();
  ready_.pop_front();
  session->ready_ = false;
  return session;
}

void Loop::Add(Session* session) {
  session->place_ = sessions_.size();
  sessions_.push_back(session);
}

void Loop::Remove(Session* session) {
  sessions_.back()->place_ = session->place_;
  std::swap(sessions_[session->place_], sessions_.back());
  sessions_.pop_back();
  if (session->ready_) std::erase(ready_, session);
}

void Loop::Ready(Session* session) {
  if (session->ready_) return;
  session->ready_ = true;
  ready_.push_back(session);
}

bool Loop::Watch(int fd, Session* session, uint32_t events, bool added) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = session;
  return epoll_ctl(epoll_, added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace dipper::epoll_mqtt
