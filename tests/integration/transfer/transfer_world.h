// What the transfer tests share: a package of many small blocks, a publisher, and receivers: the real
// transfer and the agent's real wishes (BlockTurns) over a real session, on media that outlive it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/runtime/block_turns.h"
#include "agent/update/slot_source.h"
#include "agent/update/transfer.h"
#include "hal/sim/partition_sim.h"
#include "tests/integration/support/mosquitto.h"
#include "tests/support/memory_broker.h"
#include "tests/unit/agent/package/fixture.h"
#include "tools/epoll_mqtt/session.h"

namespace dipper::update::test {

inline constexpr std::string_view kFleet = "demo";

/// A signed package whose blocks are some hundred bytes each.
struct SmallBlocks {
  explicit SmallBlocks(uint32_t blocks, uint32_t seed = 1);
  base::ByteView head() const { return package::test::Head(package); }
  base::ByteView block(uint32_t index) const { return blocks[index]; }
  std::string BlockTopic(uint32_t index) const;
  std::string ManifestTopic() const;

  package::Bytes package;
  package::OfferFacts offer;
  std::vector<base::ByteView> blocks;
};

/// How a device speaks MQTT.
struct Dialect {
  const char* name;
  link::MqttVersion version;
  bool paho;  ///< The agent's session; otherwise the small one.
};
inline constexpr Dialect kDialects[] = {{"Mqtt5", link::MqttVersion::k5, true},
                                        {"Mqtt311", link::MqttVersion::k311, true},
                                        {"Epoll5", link::MqttVersion::k5, false},
                                        {"Epoll311", link::MqttVersion::k311, false}};

link::MqttConfig MqttOf(const testing::Mosquitto& broker, const std::string& id, link::MqttVersion version);

/// A transport and what drives it.
struct Wire {
  telemetry::Transport* transport = nullptr;
  std::function<void()> turn;
  std::shared_ptr<void> owner;
};
Wire OpenWire(const link::MqttConfig& config, bool paho);
Wire OpenWire(dipper::testing::MemoryTransport& transport);

class Publisher {
 public:
  explicit Publisher(const testing::Mosquitto& broker);
  /// Retained unless told otherwise, each acknowledged before it returns. False: it was not within 30 s.
  bool Put(const std::string& topic, base::ByteView payload, bool retain = true);
  bool PutBlocks(const SmallBlocks& release, uint32_t begin, uint32_t end);
  bool PutAll(const SmallBlocks& release);

 private:
  bool Drain(uint32_t most_waiting);
  Wire wire_;
  uint32_t waiting_ = 0;
};

struct Media {
  Media();
  /// Power returns: nothing that was not synced is there.
  void PowerCut();
  hal::SimPower power;
  hal::PartitionSim boot, slot_a, slot_b;
};

/// One run of a device.
class Receiver {
 public:
  Receiver(Media& media, Wire wire, const TransferConfig& config = {});
  void Begin(const SmallBlocks& release);
  /// Turns until `done` or so long. False: not done.
  bool Run(const std::function<bool()>& done, double seconds = 30);
  bool RunToEnd(double seconds = 30) {
    return Run([this] { return ended(); }, seconds);
  }
  bool ended() const { return result.kind != TransferResult::kGoingOn; }
  bool Holds(const SmallBlocks& release);
  telemetry::Transport& transport() { return *wire_.transport; }
  bool wishing() const { return subscribed_ > 0; }

  TransferResult result;
  std::map<uint32_t, uint32_t> came;  ///< Messages by block index, good or bad.
  uint32_t stop_after = UINT32_MAX;   ///< The power goes when so many new blocks were written.

 private:
  void OnMessage(const telemetry::TransportEvent& event);
  void Take(const TransferResult& taken);
  int64_t Now() const;

  Wire wire_;
  runtime::BlockTurns turns_;
  package::test::AlignedBytes whole_{package::kWholeMemoryBytes}, head_{package::kHeadMemoryBytes};
  package::TrustRoot root_ = package::test::TestRoot();
  PackageVerifier verifier_{whole_.bytes()};
  store::ModelStore store_;
  store::Counters counters_;
  uint32_t subscribed_ = 0;

 public:
  Transfer transfer;
};

}  // namespace dipper::update::test
