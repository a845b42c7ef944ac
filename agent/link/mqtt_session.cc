// The caller's side of a session: requests in, events out. Its thread and Paho's are in
// mqtt_session_wire.cc.
#include <signal.h>

#include <utility>

#include "agent/link/lost_write.h"
#include "agent/link/mqtt_session_impl.h"
#include "agent/link/paho_options.h"
#include "agent/link/paho_process.h"

namespace dipper::link {

using telemetry::Qos;
using telemetry::TransportEvent;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

MqttSession::Impl::Impl(MqttConfig config)
    : config_(std::move(config)),
      address_(ParseBrokerUrl(config_.url).value_or(BrokerAddress{})),
      events_(config_.incoming_messages, config_.incoming_bytes),
      may_connect_(!config_.wait_for_connect),
      ops_(config_.max_in_flight + kMaxSubscribeRequests),
      backoff_(config_.min_backoff_ms, config_.max_backoff_ms),
      files_(config_) {
  IgnoreSigpipe();
  PreparePaho();
  DIPPER_CHECK(UseLostWrites());
  pending_.reserve(ops_.size());
  client_ =
      std::make_unique<mqtt::async_client>(address_.paho_url, config_.client_id, MakeCreateOptions(config_));
  client_->set_callback(*this);
  // A broker that says why it closes tells it here; connection_lost does not always follow.
  client_->set_disconnected_handler([this](const mqtt::properties&, mqtt::ReasonCode reason) {
    Lost(ReasonText(static_cast<int>(reason)), static_cast<int>(reason));
  });
  thread_ = std::thread([this] { Run(); });
}

MqttSession::Impl::~Impl() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  CloseWire();
  client_.reset();  // before the rest of this object: its callbacks end here
}

void MqttSession::Impl::CloseWire() {
  {
    const std::lock_guard lock(mutex_);
    if (wire_ != Wire::kUp) return;
    wire_ = Wire::kDown;
  }
  try {
    client_->disconnect(1000)->wait_for(milliseconds(2000));
  } catch (const std::exception&) {
    // Already gone: nothing left to do.
  }
}

// ---- caller ----

base::Status MqttSession::Impl::Enqueue(OpKind kind, std::string_view topic, base::ByteView payload, Qos qos,
                                        bool retain, uint32_t* token) {
  if (!caller_connected_) return base::Status::kUnavailable;
  const bool publish = kind == OpKind::kPublish;
  if (topic.empty() || topic.size() > kMaxTopicBytes || topic.find('\0') != std::string_view::npos ||
      (publish && topic.find_first_of("+#") != std::string_view::npos) ||
      payload.size() > config_.max_message_bytes) {
    return base::Status::kInvalidArgument;
  }
  if (publish ? caller_window_ >= config_.max_in_flight : caller_subscribes_ >= kMaxSubscribeRequests) {
    return base::Status::kResourceExhausted;
  }
  ++(publish ? caller_window_ : caller_subscribes_);
  {
    const std::lock_guard lock(mutex_);
    DIPPER_CHECK(ops_count_ < ops_.size());
    Op& op = ops_[(ops_head_ + ops_count_++) % ops_.size()];
    op.kind = kind;
    op.qos = qos;
    op.retain = retain;
    op.token = ++last_token_ == 0 ? ++last_token_ : last_token_;  // 0 names nothing
    op.topic.assign(topic);
    op.payload.assign(payload.begin(), payload.end());
    if (token != nullptr) *token = op.token;
  }
  wake_.notify_all();
  return base::Status::kOk;
}

base::Status MqttSession::Impl::Poll(TransportEvent* event) {
  *event = {};
  if (!events_.Pop(&current_)) return base::Status::kNotFound;
  event->kind = current_.kind;
  event->session_present = current_.session_present;
  event->retained = current_.retained;
  event->acknowledged = current_.acknowledged;
  event->token = current_.token;
  event->reason = current_.reason;
  event->topic = current_.topic;
  event->payload = current_.payload;
  event->detail = current_.detail;
  switch (current_.kind) {
    case TransportEvent::Kind::kConnected:
      caller_connected_ = true;
      break;
    case TransportEvent::Kind::kDisconnected: {
      caller_connected_ = false;
      caller_window_ = 0;
      caller_subscribes_ = 0;
      {
        const std::lock_guard lock(mutex_);
        ops_count_ = 0;
        down_polled_ = true;
      }
      wake_.notify_all();
      break;
    }
    case TransportEvent::Kind::kPublished:
      --caller_window_;
      break;
    case TransportEvent::Kind::kSubscribed:
      --caller_subscribes_;
      break;
    default:
      break;
  }
  return base::Status::kOk;
}

telemetry::TransportStats MqttSession::Impl::Stats() {
  const uint32_t queued = events_.messages();
  const std::lock_guard lock(mutex_);
  telemetry::TransportStats stats = stats_;
  stats.in_flight = caller_window_;
  stats.incoming_queued = queued;
  return stats;
}

std::string MqttSession::Impl::LastError() {
  const std::lock_guard lock(mutex_);
  return last_error_;
}

void MqttSession::Impl::Connect() {
  {
    const std::lock_guard lock(mutex_);
    may_connect_ = true;
  }
  wake_.notify_all();
}

// ---- the public class ----

void IgnoreSigpipe() { signal(SIGPIPE, SIG_IGN); }

MqttSession::MqttSession(MqttConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
MqttSession::~MqttSession() = default;

bool MqttSession::connected() { return impl_->IsConnected(); }
base::Status MqttSession::Publish(std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                                  uint32_t* token) {
  return impl_->Enqueue(Impl::OpKind::kPublish, topic, payload, qos, retain, token);
}
base::Status MqttSession::Subscribe(std::string_view filter, Qos qos) {
  return impl_->Enqueue(Impl::OpKind::kSubscribe, filter, {}, qos, false, nullptr);
}
base::Status MqttSession::Unsubscribe(std::string_view filter) {
  return impl_->Enqueue(Impl::OpKind::kUnsubscribe, filter, {}, Qos::kAtMostOnce, false, nullptr);
}
base::Status MqttSession::Poll(TransportEvent* event) { return impl_->Poll(event); }
telemetry::TransportStats MqttSession::stats() { return impl_->Stats(); }
void MqttSession::Connect() { impl_->Connect(); }
uint64_t MqttSession::beats() { return impl_->Beats(); }
std::string MqttSession::last_error() { return impl_->LastError(); }
int MqttSession::event_fd() const { return impl_->event_fd(); }

}  // namespace dipper::link
