// What a session's wire brings and takes: packets in, packets out. Writes never raise SIGPIPE.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tools/epoll_mqtt/session.h"

namespace dipper::epoll_mqtt {
namespace {

using Kind = telemetry::TransportEvent::Kind;

// Head, topic and properties around the largest payload.

}  // namespace

void Session::OnWire(uint32_t events) {
  if (wire_ == Wire::kDown) return;
  if (wire_ == Wire::kTcp) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      Lost(std::strerror(error), -1);
      return;
    }
    wire_ = Wire::kConnack;
    AppendConnect(config_, &out_);
    out_end_ += out_.size();
    Flush();
    return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) Receive();
  if (wire_ != Wire::kDown && (events & EPOLLOUT) != 0) Flush();
}

void Session::Receive() {
  Buffer& buffer = loop_.read_buffer_;
  const ssize_t got = recv(fd_, buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    Lost(got == 0 ? "the broker closed the connection" : std::strerror(errno), -1);
    return;
  }
  base::ByteView bytes(buffer.data(), static_cast<size_t>(got));
  if (!in_.empty()) {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    bytes = in_;
  }
  const size_t used = Consume(bytes);
  if (wire_ == Wire::kDown) return;
  const base::ByteView rest = bytes.subspan(used);
  if (rest.empty()) {
    in_ = {};
  } else if (in_.empty()) {
    in_.assign(rest.begin(), rest.end());
  } else {
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(used));
  }
  Flush();  // acknowledgements
  if (QueueFull()) Rewatch();
}

/// Handles whole packets; returns how many bytes they were.
size_t Session::Consume(base::ByteView bytes) {
  size_t used = 0;
  while (used < bytes.size()) {
    const base::ByteView rest = bytes.subspan(used);
    if (skip_bytes_ > 0) {
      const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip_bytes_, rest.size()));
      skip_bytes_ -= skipped;
      used += skipped;
      continue;
    }
    PacketHead head;
    const Taken taken = ReadHead(rest, &head);
    if (taken == Taken::kMore) break;
    const uint64_t size = uint64_t{head.head_bytes} + head.body_bytes;
    if (taken == Taken::kOk && head.type == PacketType::kPublish &&
        head.body_bytes > uint64_t{config_.max_message_bytes} + kPacketOverhead) {
      const size_t begun = SkipLarge(head, rest);
      if (begun == 0) break;
      used += begun;
      continue;
    }
    const bool small = head.type == PacketType::kPublish || head.body_bytes <= kPacketOverhead * 32;
    if (taken == Taken::kOk && small && rest.size() < size) break;
    if (taken == Taken::kBad || !small || !OnPacket(head, rest.subspan(head.head_bytes, head.body_bytes))) {
      if (wire_ != Wire::kDown) Lost("not MQTT, or not the MQTT that was agreed upon", -1);
      return used;
    }
    if (wire_ == Wire::kDown) return used;
    used += static_cast<size_t>(size);
  }
  return used;
}

/// A message too large to keep: acknowledged, counted and not kept, or the broker would bring it again for
/// ever. Returns how many bytes of it were used; 0: more are needed.
size_t Session::SkipLarge(const PacketHead& head, base::ByteView bytes) {
  Message message;
  size_t begin = 0;
  const Taken taken = ParsePublishBegin(head.flags, bytes.subspan(head.head_bytes), &message, &begin);
  if (taken == Taken::kMore) return 0;
  if (message.qos == 1) {
    AppendPuback(message.id, &out_);
    out_end_ += 4;
  }
  ++stats_.received_messages;
  ++stats_.received_dropped;
  skip_bytes_ = head.body_bytes;
  return head.head_bytes;
}

bool Session::OnPacket(const PacketHead& head, base::ByteView body) {
  if ((wire_ == Wire::kConnack) != (head.type == PacketType::kConnack)) return false;
  switch (head.type) {
    case PacketType::kConnack:
      return OnConnack(body);
    case PacketType::kPublish:
      return OnPublish(head, body);
    case PacketType::kPuback:
    case PacketType::kSuback:
    case PacketType::kUnsuback:
      return OnAck(head, body);
    case PacketType::kPingresp:
      pinged_at_ns_ = 0;
      return true;
    case PacketType::kDisconnect:
      Lost("the broker says goodbye", body.empty() ? 0 : body[0]);
      return true;
    default:
      return false;
  }
}

bool Session::OnConnack(base::ByteView body) {
  Connack connack;
  if (!ParseConnack(config_.version, body, &connack)) return false;
  if (connack.reason != 0) {
    Lost("refused with reason code " + std::to_string(connack.reason), connack.reason);
    return true;
  }
  --loop_.connecting_;
  wire_ = Wire::kUp;
  up_at_ns_ = sent_at_ns_ = Loop::NowNs();
  window_ = std::min(config_.max_in_flight, connack.receive_maximum);
  keepalive_s_ = connack.keepalive_s != 0 ? connack.keepalive_s : config_.keepalive_s;
  last_error_.clear();
  ++stats_.connects;
  link::OwnedEvent event;
  event.kind = Kind::kConnected;
  event.session_present = connack.session_present;
  Push(std::move(event));
  return true;
}

bool Session::OnPublish(const PacketHead& head, base::ByteView body) {
  Message message;
  if (!ParsePublish(config_.version, head.flags, body, &message)) return false;
  ++stats_.received_messages;
  stats_.received_bytes += message.topic.size() + message.payload.size();
  if (message.payload.size() > config_.max_message_bytes) {
    ++stats_.received_dropped;
  } else {
    link::OwnedEvent event;
    event.kind = Kind::kMessage;
    event.retained = message.retained;
    event.topic = message.topic;
    event.payload.assign(message.payload.begin(), message.payload.end());
    Push(std::move(event));
  }
  if (message.qos == 1) {
    AppendPuback(message.id, &out_);
    out_end_ += 4;
  }
  return true;
}

bool Session::OnAck(const PacketHead& head, base::ByteView body) {
  Ack ack;
  if (!ParseAck(config_.version, head.type, body, &ack)) return false;
  const bool publish = head.type == PacketType::kPuback;
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&](const Pending& p) { return p.id == ack.id && p.publish == publish; });
  if (found == pending_.end()) return true;  // of an earlier connection
  link::OwnedEvent event;
  event.kind = publish ? Kind::kPublished : Kind::kSubscribed;
  event.token = found->token;
  event.acknowledged = publish;
  event.topic = std::move(found->filter);
  // 16 and 17, no subscribers and no subscription, are no refusals.
  if (ack.reason > 127) {
    event.reason = ack.reason;
    event.detail = "refused with reason code " + std::to_string(ack.reason);
  }
  pending_.erase(found);
  Push(std::move(event));
  return true;
}

void Session::Flush() {
  bool wrote = false;
  while (out_begin_ < out_.size()) {
    const ssize_t sent = send(fd_, out_.data() + out_begin_, out_.size() - out_begin_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) break;  // full, or gone: reading tells
    out_begin_ += static_cast<size_t>(sent);
    wrote = true;
  }
  if (wrote) sent_at_ns_ = Loop::NowNs();
  if (out_begin_ == out_.size()) {
    out_.clear();
    if (out_.capacity() > 4096) out_.shrink_to_fit();
    out_begin_ = 0;
  }
  const uint64_t written = out_end_ - (out_.size() - out_begin_);
  while (!unwritten_.empty() && unwritten_.front().end <= written) {
    link::OwnedEvent event;
    event.kind = Kind::kPublished;
    event.token = unwritten_.front().token;
    unwritten_.pop_front();
    Push(std::move(event));
  }
  Rewatch();
}

/// Reads while there is room for what it brings, writes while there is something to write.
void Session::Rewatch() {
  if (fd_ < 0 || wire_ == Wire::kTcp) return;
  const uint32_t want = (QueueFull() ? 0U : uint32_t{EPOLLIN}) | (out_.empty() ? 0U : uint32_t{EPOLLOUT});
  if (want == watched_) return;
  watched_ = want;
  if (!loop_.Watch(fd_, this, want, true)) Lost(std::strerror(errno), -1);
}

}  // namespace dipper::epoll_mqtt
