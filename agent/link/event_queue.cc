// A deque and an eventfd under one lock.
#include "agent/link/event_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

namespace dipper::link {

using Kind = telemetry::TransportEvent::Kind;

EventQueue::EventQueue(uint32_t max_messages, uint32_t max_bytes)
    : max_messages_(max_messages), max_bytes_(max_bytes), fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  DIPPER_CHECK(fd_ >= 0);
}

EventQueue::~EventQueue() { close(fd_); }

void EventQueue::PushLocked(OwnedEvent event) {
  events_.push_back(std::move(event));
  if (events_.size() == 1) {
    const uint64_t one = 1;
    const ssize_t written = write(fd_, &one, sizeof one);
    static_cast<void>(written);  // an eventfd that holds 0 takes 1
  }
}

void EventQueue::PushControl(OwnedEvent event) {
  const std::lock_guard lock(mutex_);
  PushLocked(std::move(event));
}

bool EventQueue::PushMessage(OwnedEvent event) {
  const std::lock_guard lock(mutex_);
  const auto bytes = static_cast<uint32_t>(event.payload.size() + event.topic.size());
  if (messages_ >= max_messages_ || bytes > max_bytes_ - bytes_) return false;
  ++messages_;
  bytes_ += bytes;
  PushLocked(std::move(event));
  return true;
}

bool EventQueue::Pop(OwnedEvent* event) {
  const std::lock_guard lock(mutex_);
  if (events_.empty()) return false;
  *event = std::move(events_.front());
  events_.pop_front();
  if (event->kind == Kind::kMessage) {
    --messages_;
    bytes_ -= static_cast<uint32_t>(event->payload.size() + event->topic.size());
  }
  if (events_.empty()) {
    uint64_t count = 0;
    const ssize_t taken = read(fd_, &count, sizeof count);
    static_cast<void>(taken);  // nothing to take is fine
  }
  return true;
}

uint32_t EventQueue::messages() {
  const std::lock_guard lock(mutex_);
  return messages_;
}

}  // namespace dipper::link
