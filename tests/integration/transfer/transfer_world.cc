// Implementation of transfer_world.h.
#include "tests/integration/transfer/transfer_world.h"

#include <chrono>
#include <random>
#include <thread>

#include "agent/learn/image/model.h"
#include "agent/telemetry/topics.h"

namespace dipper::update::test {

using base::Status;
using telemetry::Qos;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;

namespace {

constexpr uint32_t kRandomBytes = 200;  // of each block; the rest is zero
constexpr uint64_t kSlotBytes = 2 << 20;

hal::Geometry Shape(uint64_t bytes) {
  return {.size_bytes = bytes, .write_unit_bytes = 1, .erase_unit_bytes = 4096};
}

}  // namespace

SmallBlocks::SmallBlocks(uint32_t count, uint32_t seed) {
  package::Bytes image(uint64_t{package::kBlockBytes} * count);
  std::mt19937 random(seed);
  for (uint64_t block = 0; block < count; ++block) {
    for (uint64_t i = 0; i < kRandomBytes; ++i) {
      image[block * package::kBlockBytes + i] = static_cast<uint8_t>(random());
    }
  }
  schema::ManifestT manifest = package::test::TestManifest();
  manifest.numerics_version = learn::kNumericsVersion;
  manifest.layouts[0]->version = learn::kImageLayoutVersion;
  const auto built = package::BuildPackage(manifest, image);
  DIPPER_CHECK(built.ok());
  const auto signed_package = package::SignPackage(*built, package::test::TestKeys().release);
  DIPPER_CHECK(signed_package.ok());
  package = *signed_package;
  package::Manifest parsed;
  package::test::AlignedBytes memory(package::kHeadMemoryBytes);
  DIPPER_CHECK(package::VerifyHead(head(), package::test::TestRoot(), memory.bytes(), &parsed) ==
               schema::Reason::None);
  offer.package = parsed.package_digest();
  offer.package_bytes = package.size();
  for (uint32_t i = 0; i < parsed.block_count(); ++i) {
    const package::BlockInfo block = parsed.block(i);
    blocks.push_back(base::ByteView(package).subspan(block.package_offset, block.stored_bytes));
  }
}

std::string SmallBlocks::BlockTopic(uint32_t index) const {
  return std::string(telemetry::BlockTopic(kFleet, offer.package, index).view());
}
std::string SmallBlocks::ManifestTopic() const {
  return std::string(telemetry::ManifestTopic(kFleet, offer.package).view());
}

link::MqttConfig MqttOf(const testing::Mosquitto& broker, const std::string& id, link::MqttVersion version) {
  link::MqttConfig config;
  config.url = broker.Url();
  config.client_id = id;
  config.version = version;
  config.min_backoff_ms = 25;
  config.max_backoff_ms = 200;
  return config;
}

Wire OpenWire(const link::MqttConfig& config, bool paho) {
  if (paho) {
    const auto session = std::make_shared<link::MqttSession>(config);
    return {session.get(), [] {}, session};
  }
  struct Small {
    explicit Small(const link::MqttConfig& mqtt) : session(loop, mqtt) {}
    epoll_mqtt::Loop loop;
    epoll_mqtt::Session session;
  };
  const auto small = std::make_shared<Small>(config);
  return {&small->session, [loop = &small->loop] { loop->Turn(0); }, small};
}

Wire OpenWire(dipper::testing::MemoryTransport& transport) {
  return {&transport, [] {}, nullptr};
}

Publisher::Publisher(const testing::Mosquitto& broker) {
  link::MqttConfig config = MqttOf(broker, "publisher", link::MqttVersion::k5);
  config.persistent_session = false;
  config.max_message_bytes = 256 << 20;
  wire_ = OpenWire(config, false);
}

bool Publisher::Drain(uint32_t most_waiting) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!wire_.transport->connected() || waiting_ > most_waiting) {
    if (std::chrono::steady_clock::now() > end) return false;
    wire_.turn();
    TransportEvent event;
    if (wire_.transport->Poll(&event) == Status::kNotFound) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    } else if (event.kind == Kind::kPublished) {
      --waiting_;
    } else if (event.kind == Kind::kDisconnected) {
      waiting_ = 0;
    }
  }
  return true;
}

bool Publisher::Put(const std::string& topic, base::ByteView payload, bool retain) {
  if (!Drain(10) ||
      wire_.transport->Publish(topic, payload, Qos::kAtLeastOnce, retain, nullptr) != Status::kOk) {
    return false;
  }
  ++waiting_;
  return Drain(0);
}

bool Publisher::PutBlocks(const SmallBlocks& release, uint32_t begin, uint32_t end) {
  for (uint32_t i = begin; i < end; ++i) {
    if (!Put(release.BlockTopic(i), release.block(i))) return false;
  }
  return true;
}

bool Publisher::PutAll(const SmallBlocks& release) {
  return PutBlocks(release, 0, static_cast<uint32_t>(release.blocks.size())) &&
         Put(release.ManifestTopic(), release.head());
}

Media::Media()
    : boot(Shape(64 * 1024), &power), slot_a(Shape(kSlotBytes), &power), slot_b(Shape(kSlotBytes), &power) {}

void Media::PowerCut() {
  for (hal::PartitionSim* partition : {&boot, &slot_a, &slot_b}) partition->Restart(0);
  power.Restore();
}

Receiver::Receiver(Media& media, Wire wire, const TransferConfig& config)
    : wire_(std::move(wire)),
      turns_(kFleet, *wire_.transport),
      store_({.boot = &media.boot,
              .slot_a = &media.slot_a,
              .slot_b = &media.slot_b,
              .max_image_bytes = 64 * 1024},
             verifier_),
      counters_(media.boot),
      transfer(
          config, store_, counters_, 0, turns_.Of(0), head_.bytes(), 1,
          {.model_id = "main", .hardware = "generic-linux", .agent_minor = 1, .max_image_bytes = 64 << 20}) {
  DIPPER_CHECK(Ok(counters_.Load()) && store_.Start({}).ok() && Ok(store_.HealthyMark()));
}

int64_t Receiver::Now() const { return std::chrono::steady_clock::now().time_since_epoch().count(); }

void Receiver::Begin(const SmallBlocks& release) {
  result = {};
  transfer.Begin(release.offer, Now());
}

bool Receiver::Run(const std::function<bool()>& done, double seconds) {
  const int64_t end = Now() + static_cast<int64_t>(seconds * 1e9);
  while (!done()) {
    if (Now() > end) return false;
    wire_.turn();
    TransportEvent event;
    if (wire_.transport->Poll(&event) == Status::kNotFound) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    } else {
      turns_.OnEvent(event);
      if (event.kind == Kind::kConnected) turns_.OnConnected();
      if (event.kind == Kind::kSubscribed) ++subscribed_;
      if (event.kind == Kind::kMessage) OnMessage(event);
    }
    turns_.Poll(Now());
    Take(transfer.Poll(Now()));
  }
  return true;
}

void Receiver::OnMessage(const TransportEvent& event) {
  const auto topic = telemetry::ParseTopic(event.topic);
  if (!topic.ok() || ended() || transfer.counts().blocks >= stop_after) return;
  if (topic->kind == telemetry::TopicKind::kPkgManifest) {
    Take(transfer.OnManifest(topic->digest, event.payload, root_, Now()));
  } else if (topic->kind == telemetry::TopicKind::kPkgBlock) {
    ++came[topic->block];
    Take(transfer.OnBlock(topic->digest, topic->block, event.payload, Now()));
  }
}

void Receiver::Take(const TransferResult& taken) {
  if (!ended()) result = taken;
}

bool Receiver::Holds(const SmallBlocks& release) {
  package::Bytes staged(release.package.size());
  return Ok(store_.ReadStage(0, staged)) && staged == release.package;
}

}  // namespace dipper::update::test
