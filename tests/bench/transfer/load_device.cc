// Implementation of load_device.h.
#include "tests/bench/transfer/load_device.h"

#include <sys/mman.h>

#include <algorithm>

#include "agent/base/crc32c.h"

namespace dipper::bench {

using base::Status;
using telemetry::Qos;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;

namespace {

constexpr uint64_t kBootBytes = 64 * 1024;
constexpr uint64_t kStoreImageBytes =
    64 * 1024;  // what the store keeps room for in checkpoints; none is written

}  // namespace

LoadDevice::HeadMemory::HeadMemory() {
  void* memory =
      mmap(nullptr, package::kHeadMemoryBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  DIPPER_CHECK(memory != MAP_FAILED);
  bytes = {static_cast<uint8_t*>(memory), package::kHeadMemoryBytes};
}

LoadDevice::HeadMemory::~HeadMemory() { munmap(bytes.data(), bytes.size()); }

LoadDevice::LoadDevice(LoadShared& shared, const link::MqttConfig& mqtt, const std::string& source)
    : shared_(shared),
      id_(mqtt.client_id),
      ask_topic_("dipper-load/" + id_ + "/ask"),
      chunk_filter_("dipper-load/" + id_ + "/chunk/+"),
      boot_(*shared.pool, kBootBytes),
      slot_a_(*shared.pool, shared.slot_bytes),
      slot_b_(*shared.pool, shared.slot_bytes),
      verifier_(shared.verify_memory),
      store_({.boot = &boot_, .slot_a = &slot_a_, .slot_b = &slot_b_, .max_image_bytes = kStoreImageBytes},
             verifier_),
      counters_(boot_),
      transfer_({.jitter = base::Crc32c(base::AsBytes(id_)) | 1}, store_, counters_, 0, *this, head_.bytes, 1,
                {.model_id = "main",
                 .hardware = "generic-linux",
                 .agent_minor = 1,
                 .max_image_bytes = shared.image_bytes}),
      session_(*shared.loop, mqtt, source) {
  session_.owner = this;
  DIPPER_CHECK(base::Ok(counters_.Load()) && store_.Start({}).ok() && base::Ok(store_.HealthyMark()));
}

LoadDevice::~LoadDevice() = default;

int64_t LoadDevice::Now() const { return released_ ? epoll_mqtt::Loop::NowNs() - released_ns_ : 0; }

void LoadDevice::Begin() { transfer_.Begin(shared_.offer, Now()); }

void LoadDevice::Release(int64_t now_ns) {
  if (released_) return;
  released_ = true;
  released_ns_ = now_ns;
  if (shared_.way == Way::kChunks) {
    Ask();
  } else {
    Subscribe();
  }
}

void LoadDevice::Poll(int64_t now_ns) {
  if (released_ && !ended() && session_.connected()) Take(transfer_.Poll(now_ns - released_ns_));
}

void LoadDevice::OnReady() {
  TransportEvent event;
  while (session_.Poll(&event) == Status::kOk) {
    if (event.kind == Kind::kSubscribed && unanswered_ > 0) --unanswered_;
    if (event.kind == Kind::kDisconnected) unanswered_ = 0;
    if (event.kind == Kind::kConnected) {
      if (shared_.way == Way::kChunks)
        unanswered_ += base::Ok(session_.Subscribe(chunk_filter_, Qos::kAtLeastOnce)) ? 1U : 0U;
      Subscribe();
    } else if (event.kind == Kind::kMessage) {
      OnMessage(event);
    } else if (event.kind == Kind::kPublished) {
      Ask();
    }
  }
}

void LoadDevice::OnMessage(const TransportEvent& event) {
  if (ended()) return;
  uint32_t index = 0;
  if (shared_.way == Way::kChunks && event.topic.starts_with("dipper-load/")) {
    for (const char digit : event.topic.substr(event.topic.rfind('/') + 1)) {
      index = index * 10 + static_cast<uint32_t>(digit - '0');
    }
    if (asked_ > 0) --asked_;
    const uint64_t before = transfer_.counts().blocks;
    Take(transfer_.OnBlock(shared_.offer.package, index, event.payload, Now()));
    if (transfer_.counts().blocks > before) got_[index] = true;
    Ask();
    return;
  }
  const auto topic = telemetry::ParseTopic(event.topic);
  if (!topic.ok()) return;
  if (topic->kind == telemetry::TopicKind::kPkgManifest) {
    Take(transfer_.OnManifest(topic->digest, event.payload, shared_.root, Now()));
  } else if (topic->kind == telemetry::TopicKind::kPkgBlock) {
    Take(transfer_.OnBlock(topic->digest, topic->block, event.payload, Now()));
  }
}

void LoadDevice::Take(const update::TransferResult& result) {
  if (first_block_ns_ == 0 && transfer_.counts().blocks > 0) first_block_ns_ = epoll_mqtt::Loop::NowNs();
  if (ended() || result.kind == update::TransferResult::kGoingOn) return;
  result_ = result;
  ended_ns_ = epoll_mqtt::Loop::NowNs();
}

/// As the agent does it: one filter at a time.
void LoadDevice::Want(const telemetry::Topic& filter) {
  if (!wanted_.empty() && base::Ok(session_.Unsubscribe(wanted_.view()))) ++unanswered_;
  wanted_ = filter;
  Subscribe();
}

void LoadDevice::Subscribe() {
  const bool head = transfer_.manifest() == nullptr;
  if (wanted_.empty() || !(head || released_)) return;
  if (base::Ok(session_.Subscribe(wanted_.view(), Qos::kAtLeastOnce))) ++unanswered_;
}

void LoadDevice::WantManifest(const base::Digest& package) {
  Want(telemetry::ManifestTopic(kFleet, package));
}

void LoadDevice::WantGroup(const base::Digest& package, uint32_t group) {
  if (shared_.way == Way::kRetained) {
    Want(telemetry::BlockGroupFilter(kFleet, package, group));
    return;
  }
  Want({});
  const uint32_t begin = group * package::kBlocksPerGroup;
  const uint32_t end = std::min(begin + package::kBlocksPerGroup, transfer_.blocks_total());
  got_.resize(transfer_.blocks_total());
  to_ask_.clear();
  asked_ = 0;
  for (uint32_t i = end; i-- > begin;) {
    if (!got_[i]) to_ask_.push_back(i);
  }
  Ask();
}

void LoadDevice::WantBlock(const base::Digest& package, uint32_t index) {
  if (shared_.way == Way::kRetained) {
    Want(telemetry::BlockTopic(kFleet, package, index));
  } else {
    WantGroup(package, index / package::kBlocksPerGroup);
  }
}

void LoadDevice::Done(const base::Digest&) {
  Want({});
  to_ask_.clear();
}

void LoadDevice::Ask() {
  while (released_ && !ended() && !to_ask_.empty() && asked_ < shared_.ask_window) {
    std::array<uint8_t, kChunkIndexBytes> index;
    base::Store(index.data(), to_ask_.back());
    if (session_.Publish(ask_topic_, index, Qos::kAtLeastOnce, false, nullptr) != Status::kOk) return;
    to_ask_.pop_back();
    ++asked_;
  }
}

}  // namespace dipper::bench
