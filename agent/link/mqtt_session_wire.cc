// A session's own thread, which connects and hands over, and what Paho's threads bring.
#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "agent/link/mqtt_session_impl.h"
#include "agent/link/paho_options.h"

namespace dipper::link {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kBeat(1000);

uint32_t RandomBits() {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    value = static_cast<uint32_t>(SteadyClock::now().time_since_epoch().count());
  }
  return value;
}

}  // namespace

// ---- session thread ----

// Waits for `done` until `end`, and shows meanwhile that this thread lives.
template <typename Done>
bool MqttSession::Impl::WaitBeating(std::unique_lock<std::mutex>& lock, SteadyClock::time_point end,
                                    const Done& done) {
  while (true) {
    ++beats_;
    if (done()) return true;
    const auto now = SteadyClock::now();
    if (now >= end) return false;
    wake_.wait_until(lock, std::min(end, now + kBeat));
  }
}

void MqttSession::Impl::Run() {
  constexpr auto kForever = SteadyClock::time_point::max();
  {
    std::unique_lock lock(mutex_);
    WaitBeating(lock, kForever, [this] { return stop_ || may_connect_; });
  }
  while (!stop_) {
    if (Attempt()) Serve();
    std::unique_lock lock(mutex_);
    const auto next = SteadyClock::now() + milliseconds(backoff_.NextMs(RandomBits()));
    WaitBeating(lock, next, [this] { return stop_.load(); });
    WaitBeating(lock, kForever, [this] { return stop_ || down_polled_; });
  }
}

// One try to connect. True: the wire is up.
bool MqttSession::Impl::Attempt() {
  {
    const std::lock_guard lock(mutex_);
    wire_ = Wire::kConnecting;
    connect_reason_ = 0;
  }
  const auto end = SteadyClock::now() + milliseconds(config_.connect_timeout_s * 1000 + 2000);
  files_.Taken();  // before they are read: a change meanwhile shows at the next look
  try {
    const mqtt::token_ptr token = client_->connect(MakeConnectOptions(config_, address_), nullptr, *this);
    std::unique_lock lock(mutex_);
    if (!WaitBeating(lock, end, [this] { return stop_ || wire_ != Wire::kConnecting; })) connect_reason_ = -1;
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

// Above most batches of metrics, below births and blocks.
constexpr size_t kKeptPayloadBytes = 1024;

// Hands requests to Paho until the wire is down.
void MqttSession::Impl::Serve() {
  Op op;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      WaitBeating(lock, look_at_, [this] { return stop_ || wire_ != Wire::kUp || ops_count_ > 0; });
      if (wire_ != Wire::kUp || (stop_ && ops_count_ == 0)) return;
      if (SteadyClock::now() >= look_at_) {
        lock.unlock();
        if (MustRenew()) return Renew();
        continue;
      }
      std::swap(op, ops_[ops_head_]);
      ops_head_ = (ops_head_ + 1) % ops_.size();
      --ops_count_;
      // Before Paho has it, because the answer may come before the call returns.
      pending_.push_back({op.token, op.kind, op.qos, op.kind == OpKind::kPublish ? std::string() : op.topic});
    }
    HandOver(op);
    // Slots hand their buffers round: after one large message each, all of them would keep room for it.
    if (op.payload.capacity() > kKeptPayloadBytes) std::vector<uint8_t>().swap(op.payload);
  }
}

// Looks at the files. True: they were exchanged and can be used.
bool MqttSession::Impl::MustRenew() {
  look_at_ = SteadyClock::now() + milliseconds(config_.look_at_files_ms);
  if (!files_.Changed()) return false;
  const std::string trouble = CheckCredentialFiles(config_);
  const std::lock_guard lock(mutex_);
  // Half exchanged, or wrong: the connection that is up needs none of it. Looked at again until it is right.
  last_error_ = trouble.empty() ? "" : "changed credentials are not used yet: " + trouble;
  return trouble.empty();
}

// A planned reconnect, with whatever lies in the files now.
void MqttSession::Impl::Renew() {
  try {
    client_->disconnect(1000)->wait_for(milliseconds(2000));
  } catch (const std::exception&) {
    // Gone already: as good.
  }
  Lost("certificate or password were exchanged; connecting anew with them", 0);
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
  event.acknowledged = found->kind == OpKind::kPublish && found->qos == Qos::kAtLeastOnce && reason >= 0;
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
  if (SteadyClock::now() - connected_at_ > milliseconds(10 * config_.min_backoff_ms)) backoff_.Reset();
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

}  // namespace dipper::link
