// The caller's side of a session, and its connection's life. What comes over the wire is in session_wire.cc.
#include "tools/epoll_mqtt/session.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "agent/base/time.h"

namespace dipper::epoll_mqtt {
namespace {

using base::Status;
using Kind = telemetry::TransportEvent::Kind;

constexpr uint32_t kMaxSubscribeRequests = 64;
constexpr size_t kMaxTopicBytes = 1024;

bool ParseAddress(const std::string& url, uint32_t* host, uint16_t* port) {
  constexpr std::string_view kScheme = "mqtt://";
  if (url.rfind(kScheme, 0) != 0) return false;
  const size_t colon = url.find(':', kScheme.size());
  const std::string name = url.substr(kScheme.size(), colon - kScheme.size());
  in_addr address{};
  if (inet_pton(AF_INET, name.c_str(), &address) != 1) return false;
  *host = address.s_addr;
  *port = 1883;
  if (colon == std::string::npos) return true;
  const char* begin = url.data() + colon + 1;
  const char* end = url.data() + url.size();
  const auto parsed = std::from_chars(begin, end, *port);
  return parsed.ec == std::errc() && parsed.ptr == end && *port != 0;
}

sockaddr_in Address(uint32_t host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = host;
  address.sin_port = htons(port);
  return address;
}

}  // namespace

std::string CheckConfig(const MqttConfig& config) {
  uint32_t host = 0;
  uint16_t port = 0;
  if (!ParseAddress(config.url, &host, &port)) {
    return "url \"" + config.url + "\" is not mqtt://A.B.C.D:PORT; neither names nor TLS are known here";
  }
  return config.client_id.empty() ? "client id is missing" : "";
}

Session::Session(Loop& loop, MqttConfig config, const std::string& source)
    : loop_(loop), config_(std::move(config)) {
  DIPPER_CHECK(ParseAddress(config_.url, &host_, &port_));
  if (!source.empty()) {
    in_addr address{};
    DIPPER_CHECK(inet_pton(AF_INET, source.c_str(), &address) == 1);
    source_ = address.s_addr;
  }
  if (getrandom(&random_, sizeof random_, 0) != static_cast<ssize_t>(sizeof random_) || random_ == 0)
    random_ = 1;
  loop_.Add(this);
}

Session::~Session() {
  if (wire_ == Wire::kUp) {
    AppendDisconnect(&out_);
    Flush();
  }
  Close();
  loop_.Remove(this);
}

Status Session::Publish(std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                        uint32_t* token) {
  if (!caller_connected_) return Status::kUnavailable;
  if (topic.empty() || topic.size() > kMaxTopicBytes || payload.size() > config_.max_message_bytes ||
      topic.find_first_of(std::string_view("+#\0", 3)) != std::string_view::npos) {
    return Status::kInvalidArgument;
  }
  if (caller_window_ >= window_) return Status::kResourceExhausted;
  ++caller_window_;
  if (++last_token_ == 0) ++last_token_;  // 0 names nothing
  if (token != nullptr) *token = last_token_;
  if (wire_ != Wire::kUp)
    return Status::kOk;  // lost already: the caller will learn it, and that this is void
  const bool acknowledged = qos == Qos::kAtLeastOnce;
  const uint16_t id = acknowledged ? NewId() : 0;
  const size_t before = out_.size();
  AppendPublish(config_.version, id, topic, payload, qos, retain, &out_);
  out_end_ += out_.size() - before;
  if (acknowledged) {
    pending_.push_back({id, true, last_token_, {}});
  } else {
    unwritten_.push_back({out_end_, last_token_});
  }
  ++stats_.sent_messages;
  stats_.sent_bytes += topic.size() + payload.size();
  Flush();
  return Status::kOk;
}

Status Session::Ask(std::string_view filter, Qos qos, bool subscribe) {
  if (!caller_connected_) return Status::kUnavailable;
  if (filter.empty() || filter.size() > kMaxTopicBytes || filter.find('\0') != std::string_view::npos) {
    return Status::kInvalidArgument;
  }
  if (caller_subscribes_ >= kMaxSubscribeRequests) return Status::kResourceExhausted;
  ++caller_subscribes_;
  if (wire_ != Wire::kUp) return Status::kOk;
  const uint16_t id = NewId();
  const size_t before = out_.size();
  if (subscribe) {
    AppendSubscribe(config_.version, id, filter, qos, &out_);
  } else {
    AppendUnsubscribe(config_.version, id, filter, &out_);
  }
  out_end_ += out_.size() - before;
  pending_.push_back({id, false, 0, std::string(filter)});
  Flush();
  return Status::kOk;
}

Status Session::Subscribe(std::string_view filter, Qos qos) { return Ask(filter, qos, true); }
Status Session::Unsubscribe(std::string_view filter) { return Ask(filter, Qos::kAtMostOnce, false); }

uint16_t Session::NewId() {
  const auto used = [this](uint16_t id) {
    return std::any_of(pending_.begin(), pending_.end(), [id](const Pending& p) { return p.id == id; });
  };
  do {
    if (++last_id_ == 0) last_id_ = 1;
  } while (used(last_id_));
  return last_id_;
}

Status Session::Poll(telemetry::TransportEvent* event) {
  *event = {};
  if (events_.empty()) return Status::kNotFound;
  const bool was_full = QueueFull();
  current_ = std::move(events_.front());
  events_.pop_front();
  queued_bytes_ -= current_.topic.size() + current_.payload.size();
  if (was_full && !QueueFull()) Rewatch();
  event->kind = current_.kind;
  event->session_present = current_.session_present;
  event->retained = current_.retained;
  event->token = current_.token;
  event->reason = current_.reason;
  event->topic = current_.topic;
  event->payload = current_.payload;
  event->detail = current_.detail;
  switch (current_.kind) {
    case Kind::kConnected:
      caller_connected_ = true;
      break;
    case Kind::kDisconnected:
      caller_connected_ = false;
      caller_window_ = caller_subscribes_ = 0;
      down_polled_ = true;
      break;
    case Kind::kPublished:
      --caller_window_;
      break;
    case Kind::kSubscribed:
      --caller_subscribes_;
      break;
    default:
      break;
  }
  return Status::kOk;
}

telemetry::TransportStats Session::stats() {
  telemetry::TransportStats stats = stats_;
  stats.in_flight = caller_window_;
  stats.incoming_queued = static_cast<uint32_t>(std::count_if(
      events_.begin(), events_.end(), [](const auto& event) { return event.kind == Kind::kMessage; }));
  return stats;
}

void Session::Push(link::OwnedEvent event) {
  queued_bytes_ += event.topic.size() + event.payload.size();
  events_.push_back(std::move(event));
  loop_.Ready(this);
}

// ---- the connection's life ----

void Session::OnTick(int64_t now_ns) {
  switch (wire_) {
    case Wire::kDown:
      if (now_ns >= due_ns_ && down_polled_ && loop_.connecting_ < loop_.max_connecting_) Connect(now_ns);
      return;
    case Wire::kTcp:
    case Wire::kConnack:
      if (now_ns >= due_ns_) Lost("no answer", -1);
      return;
    case Wire::kUp:
      break;
  }
  const int64_t keepalive_ns = keepalive_s_ * base::kSecondNs;
  if (keepalive_ns == 0) return;
  if (pinged_at_ns_ != 0 && now_ns - pinged_at_ns_ > keepalive_ns) {
    Lost("the broker does not answer", -1);
  } else if (pinged_at_ns_ == 0 && now_ns - sent_at_ns_ > keepalive_ns * 3 / 4) {
    AppendPingreq(&out_);
    out_end_ += 2;
    pinged_at_ns_ = now_ns;
    Flush();
  }
}

void Session::Connect(int64_t now_ns) {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    last_error_ = std::string("no socket: ") + std::strerror(errno);
    ++stats_.failed_connects;
    Retry(now_ns);
    return;
  }
  wire_ = Wire::kTcp;
  ++loop_.connecting_;
  due_ns_ = now_ns + config_.connect_timeout_s * base::kSecondNs;
  const int one = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  bool good = true;
  if (source_ != 0) {
    setsockopt(fd_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    const sockaddr_in source = Address(source_, 0);
    good = bind(fd_, reinterpret_cast<const sockaddr*>(&source), sizeof source) == 0;
  }
  const sockaddr_in to = Address(host_, port_);
  good =
      good && (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 || errno == EINPROGRESS);
  watched_ = EPOLLOUT;
  good = good && loop_.Watch(fd_, this, watched_, false);
  if (!good) Lost(std::strerror(errno), -1);
}

void Session::Close() {
  if (wire_ == Wire::kTcp || wire_ == Wire::kConnack) --loop_.connecting_;
  wire_ = Wire::kDown;
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  pending_.clear();
  unwritten_.clear();
  out_ = {};
  in_ = {};
  out_begin_ = 0;
  out_end_ = 0;
  skip_bytes_ = 0;
  pinged_at_ns_ = 0;
}

/// The same back-off as the agent's session: uniform in the upper half of a doubling time.
void Session::Retry(int64_t now_ns) {
  const uint32_t doublings = std::min<uint32_t>(attempts_, 16) + 1;
  ++attempts_;
  const uint64_t whole =
      std::min<uint64_t>(uint64_t{config_.min_backoff_ms} << doublings, config_.max_backoff_ms);
  random_ ^= random_ << 13;
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  due_ns_ = now_ns + static_cast<int64_t>(whole / 2 + random_ % (whole / 2 + 1)) * base::kMillisecondNs;
}

void Session::Lost(const std::string& why, int reason) {
  const bool was_up = wire_ == Wire::kUp;
  const int64_t now_ns = Loop::NowNs();
  Close();
  last_error_ = config_.url + ": " + why;
  if (was_up) {
    if (now_ns - up_at_ns_ > int64_t{config_.min_backoff_ms} * 10 * base::kMillisecondNs) attempts_ = 0;
    down_polled_ = false;
    link::OwnedEvent event;
    event.kind = Kind::kDisconnected;
    event.reason = reason;
    event.detail = why;
    Push(std::move(event));
  } else {
    ++stats_.failed_connects;
  }
  Retry(now_ns);
}

}  // namespace dipper::epoll_mqtt
