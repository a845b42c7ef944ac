// What every Transport must do: the agent's session and the one of the load programs, each with MQTT 5
// and 3.1.1 over a real Mosquitto, and the one in memory.
#include "agent/telemetry/transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "agent/link/mqtt_session.h"
#include "tests/integration/support/mosquitto.h"
#include "tests/support/memory_broker.h"
#include "tools/epoll_mqtt/session.h"

namespace dipper::telemetry {
namespace {

using base::Status;
using Kind = TransportEvent::Kind;

// An event that outlives the next poll.
struct Seen {
  Kind kind;
  std::string topic;
  std::string payload;
  bool retained;
  uint32_t token;
  int reason;
};

// A broker and two clients of it.
class World {
 public:
  virtual ~World() = default;
  virtual void Begin() = 0;
  virtual Transport& a() = 0;
  virtual Transport& b() = 0;
  virtual void BrokerGone() = 0;
  virtual void BrokerBack() = 0;
  /// Drives transports that have no thread of their own.
  virtual void Turn() {}
};

class MemoryWorld final : public World {
 public:
  void Begin() override { BrokerBack(); }
  Transport& a() override { return a_; }
  Transport& b() override { return b_; }
  void BrokerGone() override {
    a_.Disconnect();
    b_.Disconnect();
  }
  void BrokerBack() override {
    a_.Connect();
    b_.Connect();
  }

 private:
  testing::MemoryBroker broker_;
  testing::MemoryTransport a_{broker_};
  testing::MemoryTransport b_{broker_};
};

link::MqttConfig Config(const testing::Mosquitto& broker, const char* id, link::MqttVersion version) {
  link::MqttConfig config;
  config.url = broker.Url();
  config.client_id = id;
  config.version = version;
  config.min_backoff_ms = 50;
  config.max_backoff_ms = 200;
  EXPECT_EQ(link::CheckMqttConfig(config), "");
  return config;
}

class MosquittoWorld : public World {
 public:
  explicit MosquittoWorld(link::MqttVersion version) : version_(version) {}
  void Begin() override {
    ASSERT_TRUE(broker_.Start());
    a_ = std::make_unique<link::MqttSession>(Config(broker_, "a", version_));
    b_ = std::make_unique<link::MqttSession>(Config(broker_, "b", version_));
  }
  Transport& a() override { return *a_; }
  Transport& b() override { return *b_; }
  void BrokerGone() override { broker_.Kill(); }
  void BrokerBack() override { ASSERT_TRUE(broker_.Start()); }

 protected:
  link::MqttVersion version_;
  testing::TemporaryFolder folder_;
  testing::Mosquitto broker_{folder_.path()};

 private:
  std::unique_ptr<link::MqttSession> a_, b_;
};

class EpollWorld final : public MosquittoWorld {
 public:
  using MosquittoWorld::MosquittoWorld;
  void Begin() override {
    ASSERT_TRUE(broker_.Start());
    a_ = std::make_unique<epoll_mqtt::Session>(loop_, Config(broker_, "a", version_));
    b_ = std::make_unique<epoll_mqtt::Session>(loop_, Config(broker_, "b", version_), "127.0.0.2");
  }
  Transport& a() override { return *a_; }
  Transport& b() override { return *b_; }
  void Turn() override { loop_.Turn(0); }

 private:
  epoll_mqtt::Loop loop_;
  std::unique_ptr<epoll_mqtt::Session> a_, b_;
};

struct Factory {
  const char* name;
  std::function<std::unique_ptr<World>()> make;
};

class TransportContract : public ::testing::TestWithParam<Factory> {
 protected:
  void SetUp() override {
    world_ = GetParam().make();
    world_->Begin();
    ASSERT_TRUE(WaitFor(world_->a(), Kind::kConnected));
    ASSERT_TRUE(WaitFor(world_->b(), Kind::kConnected));
  }
  // Polls until an event of this kind, which is then the last of seen_.
  bool WaitFor(Transport& transport, Kind kind, int seconds = 15) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < end) {
      TransportEvent event;
      world_->Turn();
      if (transport.Poll(&event) == Status::kNotFound) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        continue;
      }
      seen_.push_back({event.kind, std::string(event.topic), std::string(base::AsText(event.payload)),
                       event.retained, event.token, event.reason});
      if (event.kind == Kind::kMessage) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(event.payload.data()) % 8, 0u);
      }
      if (event.kind == kind) return true;
    }
    return false;
  }
  Status Say(Transport& transport, const std::string& topic, const std::string& text, bool retain = false,
             uint32_t* token = nullptr) {
    return transport.Publish(topic, base::AsBytes(text), Qos::kAtLeastOnce, retain, token);
  }
  std::unique_ptr<World> world_;
  std::vector<Seen> seen_;
};

TEST_P(TransportContract, DeliversAndAcknowledges) {
  ASSERT_EQ(world_->b().Subscribe("x/+", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  EXPECT_EQ(seen_.back().topic, "x/+");
  EXPECT_EQ(seen_.back().reason, 0);
  uint32_t token = 0;
  ASSERT_EQ(Say(world_->a(), "x/1", "hello", false, &token), Status::kOk);
  EXPECT_NE(token, 0u);
  ASSERT_TRUE(WaitFor(world_->a(), Kind::kPublished));
  EXPECT_EQ(seen_.back().token, token);
  EXPECT_EQ(seen_.back().reason, 0);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
  EXPECT_EQ(seen_.back().topic, "x/1");
  EXPECT_EQ(seen_.back().payload, "hello");
  EXPECT_FALSE(seen_.back().retained);
}

TEST_P(TransportContract, QosZeroIsReportedToo) {
  uint32_t token = 0;
  ASSERT_EQ(world_->a().Publish("x", {}, Qos::kAtMostOnce, false, &token), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->a(), Kind::kPublished));
  EXPECT_EQ(seen_.back().token, token);
}

TEST_P(TransportContract, EmptyPayloadsAndBinaryOnes) {
  ASSERT_EQ(world_->b().Subscribe("x", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  const std::string binary("\0\xFF\n\0", 4);
  ASSERT_EQ(Say(world_->a(), "x", ""), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
  EXPECT_EQ(seen_.back().payload, "");
  ASSERT_EQ(Say(world_->a(), "x", binary), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
  EXPECT_EQ(seen_.back().payload, binary);
}

TEST_P(TransportContract, RetainedMessagesComeOnEverySubscribe) {
  ASSERT_EQ(Say(world_->a(), "r/1", "kept", true), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->a(), Kind::kPublished));
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(world_->b().Subscribe("r/#", Qos::kAtLeastOnce), Status::kOk);
    ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
    EXPECT_EQ(seen_.back().payload, "kept");
    EXPECT_TRUE(seen_.back().retained);
  }
}

TEST_P(TransportContract, UnsubscribeEndsIt) {
  ASSERT_EQ(world_->b().Subscribe("x/+", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  ASSERT_EQ(world_->b().Unsubscribe("x/+"), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  ASSERT_EQ(world_->b().Subscribe("y", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  ASSERT_EQ(Say(world_->a(), "x/1", "no"), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->a(), Kind::kPublished));
  ASSERT_EQ(Say(world_->a(), "y", "yes"), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
  EXPECT_EQ(seen_.back().topic, "y");
}

TEST_P(TransportContract, TheWindowIsBounded) {
  Transport& a = world_->a();
  std::set<uint32_t> tokens;
  Status status = Status::kOk;
  for (int i = 0; i < 100 && base::Ok(status); ++i) {
    uint32_t token = 0;
    status = Say(a, "x", "y", false, &token);
    if (base::Ok(status)) {
      EXPECT_TRUE(tokens.insert(token).second);
    }
  }
  EXPECT_EQ(status, Status::kResourceExhausted) << "answers count only when they were polled";
  EXPECT_EQ(tokens.size(), 16u);
  while (!tokens.empty()) {
    ASSERT_TRUE(WaitFor(a, Kind::kPublished));
    EXPECT_EQ(tokens.erase(seen_.back().token), 1u);
  }
  EXPECT_EQ(Say(a, "x", "y"), Status::kOk);
}

TEST_P(TransportContract, OrderIsKept) {
  ASSERT_EQ(world_->b().Subscribe("x", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(WaitFor(world_->b(), Kind::kSubscribed));
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(Say(world_->a(), "x", std::to_string(i)), Status::kOk);
    ASSERT_TRUE(WaitFor(world_->a(), Kind::kPublished));
  }
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(WaitFor(world_->b(), Kind::kMessage));
    EXPECT_EQ(seen_.back().payload, std::to_string(i));
  }
}

TEST_P(TransportContract, BadArgumentsAreRefused) {
  EXPECT_EQ(Say(world_->a(), "", "x"), Status::kInvalidArgument);
  EXPECT_EQ(Say(world_->a(), "x/+", "x"), Status::kInvalidArgument);
  EXPECT_EQ(Say(world_->a(), "x/#", "x"), Status::kInvalidArgument);
  EXPECT_EQ(world_->a().Subscribe("", Qos::kAtLeastOnce), Status::kInvalidArgument);
}

TEST_P(TransportContract, ALostBrokerVoidsTheWindowAndComesBack) {
  Transport& a = world_->a();
  world_->BrokerGone();
  Status status = Status::kOk;
  for (int i = 0; i < 100 && base::Ok(status); ++i) status = Say(a, "x", "y");
  ASSERT_TRUE(WaitFor(a, Kind::kDisconnected));
  EXPECT_FALSE(a.connected());
  EXPECT_EQ(Say(a, "x", "y"), Status::kUnavailable);
  EXPECT_EQ(a.Subscribe("x", Qos::kAtLeastOnce), Status::kUnavailable);
  EXPECT_EQ(a.stats().in_flight, 0u);
  seen_.clear();
  world_->BrokerBack();
  ASSERT_TRUE(WaitFor(a, Kind::kConnected));
  for (const Seen& seen : seen_)
    EXPECT_NE(seen.kind, Kind::kPublished) << "void publications are never reported";
  EXPECT_EQ(
      std::count_if(seen_.begin(), seen_.end(), [](const Seen& s) { return s.kind == Kind::kConnected; }), 1);
  EXPECT_TRUE(a.connected());
  uint32_t token = 0;
  ASSERT_EQ(Say(a, "x", "y", false, &token), Status::kOk);
  ASSERT_TRUE(WaitFor(a, Kind::kPublished));
  EXPECT_EQ(seen_.back().token, token);
  EXPECT_EQ(a.stats().connects, 2u);
}

INSTANTIATE_TEST_SUITE_P(
    All, TransportContract,
    ::testing::Values(
        Factory{"Memory", [] { return std::make_unique<MemoryWorld>(); }},
        Factory{"Mqtt5", [] { return std::make_unique<MosquittoWorld>(link::MqttVersion::k5); }},
        Factory{"Mqtt311", [] { return std::make_unique<MosquittoWorld>(link::MqttVersion::k311); }},
        Factory{"Epoll5", [] { return std::make_unique<EpollWorld>(link::MqttVersion::k5); }},
        Factory{"Epoll311", [] { return std::make_unique<EpollWorld>(link::MqttVersion::k311); }}),
    [](const auto& parameter) { return std::string(parameter.param.name); });

}  // namespace
}  // namespace dipper::telemetry

int main(int argc, char** argv) {
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
