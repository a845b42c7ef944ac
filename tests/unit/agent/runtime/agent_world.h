// A whole device around the real Agent: models with updater and store on simulated media, a broker in memory
// with a watcher, a sensor that makes lines, a clock that stands unless told otherwise. Single-threaded.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/time.h"
#include "agent/runtime/agent.h"
#include "agent/runtime/recording/recorder.h"
#include "agent/runtime/recording/snapshot.h"
#include "tests/fault/update/update_world.h"
#include "tests/support/memory_broker.h"

namespace dipper::runtime::test {

using nlohmann::json;
using update::test::Release;

class TestClock final : public hal::Clock {
 public:
  int64_t MonotonicNs() override { return now_ns += step_ns; }
  int64_t WallNs() override { return wall_ns + now_ns; }
  bool WallSynchronized() override { return synchronized; }

  int64_t now_ns = 1'000'000'000;
  int64_t wall_ns = 1'700'000'000'000'000'000;  ///< When `now_ns` was 0.
  bool synchronized = false;
  int64_t step_ns = 0;  ///< What every reading takes: so long a sample seems to take where it is timed.
};

constexpr int64_t kMs = base::kMillisecondNs;
/// The cell of a row: a sine with a little noise.
std::string Wave(uint64_t row);

/// A header, then as many lines as were asked for; without a header lines of JSON.
class LineSource final : public hal::SampleSource {
 public:
  using Line = std::function<std::string(uint64_t row)>;
  LineSource(std::string header, Line line) : header_(std::move(header)), line_(std::move(line)) {}
  base::Status Poll(hal::Record* record) override;
  int64_t NextDueNs() override { return 0; }

  uint64_t due = 0;

 private:
  std::string header_, text_;
  Line line_;
  bool told_header_ = false;
  uint64_t row_ = 0;
};

class NoSystem final : public hal::SystemMetrics {
 public:
  base::Status Read(hal::SystemReading*) override { return base::Status::kUnavailable; }
};

/// Remembers who ran last, and whether somebody runs.
class LastMarker final : public RunMarker {
 public:
  void Enter(uint32_t number, const base::Digest& of) override {
    model = number;
    package = of;
    running = true;
  }
  void Leave() override { running = false; }

  uint32_t model = 0;
  base::Digest package;
  bool running = false;
};

class NoRing final : public telemetry::BacklogRing {
 public:
  base::Status Append(base::ByteView) override { return base::Status::kUnavailable; }
  base::Result<Entry> Peek(uint64_t, base::MutableBytes) override { return base::Status::kNotFound; }
  base::Status Drop(uint64_t) override { return base::Status::kOk; }
  uint64_t oldest_position() override { return 0; }
  uint64_t entries() override { return 0; }
  uint64_t dropped_total() override { return 0; }
};

/// A package of `spec` that is confirmed without a test of its losses, after some seconds on trial.
/// @param gate  Edits its policy; null: nothing.
Release MakeRelease(schema::SpecT spec, const std::string& version, uint64_t max_latency_ns = 0,
                    const std::function<void(schema::GatePolicyT&)>& gate = nullptr);

/// One model of the device: its slots, memory, updater and runner.
struct ModelBox {
  static constexpr size_t kImageBytes = 64 * 1024;
  struct alignas(16) Image {
    uint8_t bytes[kImageBytes] = {};
  };

  explicit ModelBox(hal::SimPower* power);

  hal::PartitionSim slot_a, slot_b;
  std::unique_ptr<Image> first = std::make_unique<Image>(), second = std::make_unique<Image>();
  std::unique_ptr<store::RecorderRing> ring;  ///< And its recorder: null without one.
  std::unique_ptr<Recorder> recorder;
  std::unique_ptr<SnapshotSender> snapshot;  ///< Null: nothing may be fetched.
  std::unique_ptr<update::Updater> updater;
  std::unique_ptr<ModelRunner> runner;
};

class World {
 public:
  /// @param max_latency_ns  The device's own limit; 0: none.
  /// @param area            Size of the first model's recorder; without segments there is none.
  /// @param models          Their ids; the first one's is what the calls below mean when they name none.
  World(const std::string& header, LineSource::Line line, uint64_t max_latency_ns = 0,
        std::vector<std::string> models = {"main"}, const RecorderConfig& recorder = {},
        const store::RecorderArea& area = {});

  /// Puts package and offer on the broker; they come with the next connection.
  /// @param change  Edits the offer before it is signed; null: nothing.
  void Publish(const Release& release, uint64_t number, const std::string& model = "main",
               const std::function<void(schema::OfferT&)>& change = nullptr,
               const package::PrivateKey& key = update::test::TestKeys().rollout);
  /// Publishes a root, which stays on the broker; who is connected has it at once.
  void PublishRoot(uint32_t version, base::ByteView document);
  void Reconnect();
  void CutTheWire() { wire_.Disconnect(); }
  void Offer(const Release& release, uint64_t number, const std::string& model = "main") {
    Publish(release, number, model);
    Reconnect();
  }
  /// Puts it on the device's command topic, whatever it is.
  void Send(base::ByteView command);
  void Command(const std::string& name, uint64_t number, const std::string& model = "main");
  /// A hundredth of a second of it, with so many new lines.
  void Turn(uint64_t lines = 1);
  /// Turns until the update has reached that state; false: never.
  bool RunTo(schema::UpdateState state, size_t model = 0);
  /// Offers, and turns until it serves.
  bool Serve(const Release& release, uint64_t number, size_t model = 0);

  /// Messages of that kind so far, as the mirror prints them, oldest first.
  std::vector<json> Messages(telemetry::TopicKind kind) const;
  /// Of one model, or of the device (an empty name).
  std::vector<json> MessagesOf(telemetry::TopicKind kind, const std::string& model) const;
  std::vector<json> Events(const std::string& word) const;
  std::vector<json> EventsOf(const std::string& model, const std::string& word) const;
  /// The model's metrics, sent now.
  json Metrics(size_t model = 0);
  /// One of the device's, sent now or before: what has not changed is left out.
  uint64_t DeviceMetric(const char* name);

  /// For encrypted packages, of every device made from now on; outlives them.
  static inline const package::GroupKeys* group_keys = nullptr;
  /// The same: what may be fetched (null: nothing), and what the outbox is held to.
  static inline const SnapshotConfig* snapshot = nullptr;
  static inline telemetry::OutboxConfig outbox_config;

  TestClock clock;
  LineSource source;
  LastMarker marker;
  update::Updater& updater(size_t model = 0) { return *boxes_[model]->updater; }
  ModelBox& box(size_t model) { return *boxes_[model]; }
  hal::PartitionSim& data() { return data_; }
  hal::PartitionSim& boot() { return media_.boot; }
  store::EventLog& log() { return log_; }
  testing::MemoryBroker& broker() { return broker_; }
  Agent& agent() { return *agent_; }
  telemetry::Outbox& outbox() { return outbox_; }
  testing::MemoryTransport& wire() { return wire_; }

 private:
  void Watch();
  void MakeModel(const std::string& id, uint32_t number, uint64_t max_latency_ns,
                 const RecorderConfig& recorder, const store::RecorderArea& area);

  const std::vector<std::string> ids_;
  update::test::Media media_;
  hal::PartitionSim data_;
  store::RootStore roots_{media_.boot};
  store::Counters counters_{media_.boot};
  update::Trust trust_{roots_, counters_, clock, 0};
  store::EventLog log_{data_};
  store::Backlog backlog_{data_};
  testing::MemoryBroker broker_;
  testing::MemoryTransport wire_{broker_, 256}, watcher_{broker_};
  NoRing ring_;
  NoSystem system_;
  hal::DeviceIdentity identity_;
  telemetry::DeviceTopics topics_{"plant", "d1"};
  telemetry::Outbox outbox_{outbox_config, topics_, wire_, ring_};
  BlockTurns turns_{"plant", wire_};
  std::vector<std::unique_ptr<ModelBox>> boxes_;
  std::unique_ptr<Reporter> reporter_;
  std::unique_ptr<Agent> agent_;
  std::vector<std::pair<telemetry::TopicKind, json>> messages_;
};

}  // namespace dipper::runtime::test
