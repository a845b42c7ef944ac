// The session's own thread, its bookkeeping of requests, and the callbacks that Paho runs on its threads.
//
// Locks: `mutex_` guards what the caller, the session thread and the callbacks share. No call into Paho is
// made while it is held, because Paho holds a lock of its own when it calls back.
#include "agent/link/mqtt_session.h"

#include <mqtt/async_client.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/link/broker_address.h"
#include "agent/link/event_queue.h"
#include "agent/link/paho_options.h"

namespace dipper::link {
namespace {

using telemetry::Qos;
using telemetry::TransportEvent;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint32_t kMaxSubscribeRequests = 64;
constexpr size_t kMaxTopicBytes = 1024;

enum class OpKind : uint8_t { kPublish, kSubscribe, kUnsubscribe };

// A request on its way to Paho. Slots are swapped, not copied, so that their memory is reused.
struct Op {
  OpKind kind = OpKind::kPublish;
  Qos qos = Qos::kAtMostOnce;
  bool retain = false;
  uint32_t token = 0;
  std::string topic;
  std::vector<uint8_t> payload;
};

// A request that Paho has and has not answered.
struct Pending {
  uint32_t token = 0;
  OpKind kind = OpKind::kPublish;
  std::string topic;
};

uint32_t RandomBelow(uint32_t limit) {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    value = static_cast<uint32_t>(SteadyClock::now().time_since_epoch().count());
  }
  return limit == 0 ? 0 : value % limit;
}

}  // namespace

class MqttSession::Impl final : public mqtt::callback, public mqtt::iaction_listener {
 public:
  explicit Impl(MqttConfig config);
  ~Impl() override;

  // The caller's side.
  bool IsConnected() const { return caller_connected_; }
  base::Status Enqueue(OpKind kind, std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                       uint32_t* token);
  base::Status Poll(TransportEvent* event);
  telemetry::TransportStats Stats();
  std::string LastError();
  int event_fd() const { return events_.fd(); }

 private:
  enum class Wire : uint8_t { kDown, kConnecting, kUp };

  // Callbacks of Paho: copy and return.
  void connection_lost(const std::string& cause) override;
  void message_arrived(mqtt::const_message_ptr message) override;
  void on_success(const mqtt::token& token) override;
  void on_failure(const mqtt::token& token) override;

  void Run();
  bool Attempt();
  void Serve();
  void HandOver(const Op& op);
  void Answer(uint32_t token, int reason);
  void Lost(const std::string& why, int reason);
  void Fail(const std::string& why);
  void OnConnected(bool session_present);
  milliseconds NextDelay();
  void CloseWire();

  const MqttConfig config_;
  const BrokerAddress address_;
  EventQueue events_;
  OwnedEvent current_;  // what the views of the last Poll point into
  bool caller_connected_ = false;
  uint32_t caller_window_ = 0;      // publications whose answer was not polled yet
  uint32_t caller_subscribes_ = 0;  // likewise

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stop_{false};
  Wire wire_ = Wire::kDown;
  bool down_polled_ = true;  // the caller knows that the connection is down; only then is a new one made
  int connect_reason_ = 0;
  std::vector<Op> ops_;  // ring
  size_t ops_head_ = 0;
  size_t ops_count_ = 0;
  std::vector<Pending> pending_;
  uint32_t last_token_ = 0;
  uint32_t attempts_ = 0;  // since the last connection that held
  SteadyClock::time_point connected_at_;
  telemetry::TransportStats stats_;
  std::string last_error_;

  std::unique_ptr<mqtt::async_client> client_;
  std::thread thread_;
};

MqttSession::Impl::Impl(MqttConfig config)
    : config_(std::move(config)),
      address_(ParseBrokerUrl(config_.url).value_or(BrokerAddress{})),
      events_(config_.incoming_messages, config_.incoming_bytes),
      ops_(config_.max_in_flight + kMaxSubscribeRequests) {
  IgnoreSigpipe();
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

// ---- session thread ----

void MqttSession::Impl::Run() {
  while (!stop_) {
    if (Attempt()) Serve();
    std::unique_lock lock(mutex_);
    const auto next = SteadyClock::now() + NextDelay();
    wake_.wait_until(lock, next, [this] { return stop_.load(); });
    wake_.wait(lock, [this] { return stop_ || down_polled_; });
  }
}

// Called with the lock held. Uniform in [half, whole] of a doubling time, so that a fleet does not come back
// at once.
milliseconds MqttSession::Impl::NextDelay() {
  const uint32_t doublings = std::min<uint32_t>(attempts_, 16) + 1;
  const uint64_t whole =
      std::min<uint64_t>(uint64_t{config_.min_backoff_ms} << doublings, config_.max_backoff_ms);
  ++attempts_;
  const auto half = static_cast<uint32_t>(whole / 2);
  return milliseconds(half + RandomBelow(half + 1));
}

// One try to connect. True: the wire is up.
bool MqttSession::Impl::Attempt() {
  {
    const std::lock_guard lock(mutex_);
    wire_ = Wire::kConnecting;
    connect_reason_ = 0;
  }
  const milliseconds limit(config_.connect_timeout_s * 1000 + 2000);
  try {
    const mqtt::token_ptr token = client_->connect(MakeConnectOptions(config_, address_), nullptr, *this);
    std::unique_lock lock(mutex_);
    if (!wake_.wait_for(lock, limit, [this] { return stop_ || wire_ != Wire::kConnecting; }))
      connect_reason_ = -1;
    if (stop_) return wire_ == Wire::kUp;
    // Up and lost again counts as up: Serve returns at once and the event is in the queue.
    if (wire_ == Wire::kUp || !down_polled_) return true;
  } catch (const std::exception& error) {
    Fail(error.what());
    return false;
  }
  int reason = 0;
  {
    const std::lock_guard lock(mutex_);
    wire_ = Wire::kDown;
    reason = connect_reason_;
  }
  Fail(reason > 0 ? ReasonText(reason) : DiagnoseConnect(address_, config_, 3000, stop_));
  return false;
}

void MqttSession::Impl::Fail(const std::string& why) {
  const std::lock_guard lock(mutex_);
  wire_ = Wire::kDown;
  ++stats_.failed_connects;
  last_error_ = config_.url + ": " + why;
}

// Hands requests to Paho until the wire is down.
void MqttSession::Impl::Serve() {
  Op op;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || wire_ != Wire::kUp || ops_count_ > 0; });
      if (wire_ != Wire::kUp || (stop_ && ops_count_ == 0)) return;
      std::swap(op, ops_[ops_head_]);
      ops_head_ = (ops_head_ + 1) % ops_.size();
      --ops_count_;
      // Before Paho has it, because the answer may come before the call returns.
      pending_.push_back({op.token, op.kind, op.kind == OpKind::kPublish ? std::string() : op.topic});
    }
    HandOver(op);
  }
}

void MqttSession::Impl::HandOver(const Op& op) {
  void* context = reinterpret_cast<void*>(static_cast<uintptr_t>(op.token));
  try {
    switch (op.kind) {
      case OpKind::kPublish: {
        const auto message = mqtt::message::create(op.topic, op.payload.data(), op.payload.size(),
                                                   static_cast<int>(op.qos), op.retain);
        client_->publish(message, context, *this);
        const std::lock_guard lock(mutex_);
        ++stats_.sent_messages;
        stats_.sent_bytes += op.topic.size() + op.payload.size();
        break;
      }
      case OpKind::kSubscribe:
        client_->subscribe(op.topic, static_cast<int>(op.qos), context, *this);
        break;
      case OpKind::kUnsubscribe:
        client_->unsubscribe(op.topic, context, *this);
        break;
    }
  } catch (const mqtt::exception& error) {
    Answer(op.token, error.get_return_code() < 0 ? error.get_return_code() : -1);
  } catch (const std::exception&) {
    Answer(op.token, -1);
  }
}

// ---- Paho's threads ----

// Turns the answer to a request into its event. An answer from before a disconnect finds nothing and is
// dropped.
void MqttSession::Impl::Answer(uint32_t token, int reason) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.token == token; });
  if (found == pending_.end()) return;
  OwnedEvent event;
  event.kind =
      found->kind == OpKind::kPublish ? TransportEvent::Kind::kPublished : TransportEvent::Kind::kSubscribed;
  event.token = token;
  event.reason = reason;
  event.topic = std::move(found->topic);
  if (reason != 0) event.detail = ReasonText(reason);
  pending_.erase(found);
  events_.PushControl(std::move(event));
}

void MqttSession::Impl::OnConnected(bool session_present) {
  const std::lock_guard lock(mutex_);
  if (wire_ != Wire::kConnecting) return;  // Paho reports a connection twice
  wire_ = Wire::kUp;
  down_polled_ = false;
  connected_at_ = SteadyClock::now();
  last_error_.clear();
  ++stats_.connects;
  OwnedEvent event;
  event.kind = TransportEvent::Kind::kConnected;
  event.session_present = session_present;
  events_.PushControl(std::move(event));
  wake_.notify_all();
}

void MqttSession::Impl::Lost(const std::string& why, int reason) {
  const std::lock_guard lock(mutex_);
  if (wire_ != Wire::kUp) return;
  wire_ = Wire::kDown;
  pending_.clear();
  last_error_ = config_.url + ": " + why;
  if (SteadyClock::now() - connected_at_ > milliseconds(10 * config_.min_backoff_ms)) attempts_ = 0;
  OwnedEvent event;
  event.kind = TransportEvent::Kind::kDisconnected;
  event.reason = reason;
  event.detail = why;
  events_.PushControl(std::move(event));
  wake_.notify_all();
}

void MqttSession::Impl::connection_lost(const std::string& cause) {
  Lost(cause.empty() ? "the connection was lost" : "the connection was lost: " + cause, -1);
}

void MqttSession::Impl::message_arrived(mqtt::const_message_ptr message) {
  const mqtt::binary_ref& payload = message->get_payload_ref();
  const mqtt::string_ref& topic = message->get_topic_ref();
  OwnedEvent event;
  event.kind = TransportEvent::Kind::kMessage;
  event.retained = message->is_retained();
  bool kept = payload.size() <= config_.max_message_bytes && topic.size() <= kMaxTopicBytes;
  if (kept) {
    event.topic.assign(topic.data(), topic.size());
    event.payload.assign(payload.data(), payload.data() + payload.size());
    kept = events_.PushMessage(std::move(event));
  }
  const std::lock_guard lock(mutex_);
  ++stats_.received_messages;
  stats_.received_bytes += topic.size() + payload.size();
  if (!kept) ++stats_.received_dropped;
}

void MqttSession::Impl::on_success(const mqtt::token& token) {
  if (token.get_type() != mqtt::token::CONNECT) {
    Answer(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(token.get_user_context())), 0);
    return;
  }
  bool session_present = false;
  try {
    session_present = token.get_connect_response().is_session_present();
  } catch (const std::exception&) {
    // Without the answer's details the session counts as new.
  }
  OnConnected(session_present);
}

void MqttSession::Impl::on_failure(const mqtt::token& token) {
  // MQTT 5 brings a reason code (without a meaning otherwise); MQTT 3.1.1 and local failures a return code.
  const int code = config_.version == MqttVersion::k5 ? static_cast<int>(token.get_reason_code()) : 0;
  const int reason = code >= 0x80 && code < 0xFF    ? code
                     : token.get_return_code() == 0 ? -1
                                                    : token.get_return_code();
  if (token.get_type() != mqtt::token::CONNECT) {
    Answer(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(token.get_user_context())), reason);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (wire_ != Wire::kConnecting) return;
  wire_ = Wire::kDown;
  connect_reason_ = reason;
  wake_.notify_all();
}

// ---- the public class ----

void IgnoreSigpipe() { signal(SIGPIPE, SIG_IGN); }

MqttSession::MqttSession(MqttConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
MqttSession::~MqttSession() = default;

bool MqttSession::connected() { return impl_->IsConnected(); }
base::Status MqttSession::Publish(std::string_view topic, base::ByteView payload, Qos qos, bool retain,
                                  uint32_t* token) {
  return impl_->Enqueue(OpKind::kPublish, topic, payload, qos, retain, token);
}
base::Status MqttSession::Subscribe(std::string_view filter, Qos qos) {
  return impl_->Enqueue(OpKind::kSubscribe, filter, {}, qos, false, nullptr);
}
base::Status MqttSession::Unsubscribe(std::string_view filter) {
  return impl_->Enqueue(OpKind::kUnsubscribe, filter, {}, Qos::kAtMostOnce, false, nullptr);
}
base::Status MqttSession::Poll(TransportEvent* event) { return impl_->Poll(event); }
telemetry::TransportStats MqttSession::stats() { return impl_->Stats(); }
std::string MqttSession::last_error() { return impl_->LastError(); }
int MqttSession::event_fd() const { return impl_->event_fd(); }

}  // namespace dipper::link
