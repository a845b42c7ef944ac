// A broker that is not there any more without anybody having said so: packets are dropped, connections stay.
// In a network namespace of its own, where nftables drops what the test wants.
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "tests/integration/link/link_client.h"
#include "tests/integration/support/mosquitto.h"

namespace dipper::link {
namespace {

using base::Status;
using telemetry::Qos;
using testing::Mosquitto;
using testing::TemporaryFolder;
using Kind = telemetry::TransportEvent::Kind;
using SteadyClock = std::chrono::steady_clock;

constexpr uint16_t kKeepaliveS = 2;
// Paho asks after one keep-alive and gives up after another; its timer is a coarse one.
constexpr seconds kNoticed(4 * kKeepaliveS);

std::string folder_of_logs;

bool Nft(const std::string& rule) {
  return testing::RunProgram({"nft", rule}, folder_of_logs + "/nft.log") == 0;
}

bool BringLoopbackUp() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  bool up = ioctl(fd, SIOCGIFFLAGS, &request) == 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  up = up && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return up;
}

class HalfOpen : public ::testing::TestWithParam<MqttVersion> {
 protected:
  static MqttConfig Config(const Mosquitto& broker) {
    MqttConfig config = QuickConfig(broker.Url(), GetParam());
    config.keepalive_s = kKeepaliveS;
    config.connect_timeout_s = 2;
    return config;
  }
  // Whatever the caller asks, it is answered at once.
  static void AskWithoutWaiting(LinkClient& client) {
    const auto before = SteadyClock::now();
    for (int i = 0; i < 40; ++i) {
      const Status status =
          client.session.Publish("x", base::AsBytes("into the void"), Qos::kAtLeastOnce, false, nullptr);
      EXPECT_TRUE(status == Status::kOk || status == Status::kResourceExhausted ||
                  status == Status::kUnavailable);
    }
    EXPECT_LT(SteadyClock::now() - before, milliseconds(500));
    EXPECT_LE(client.session.stats().in_flight, 16u) << "bounded, however long it lasts";
  }
  void SurviveResets(const testing::MosquittoOptions& options) {
    constexpr int kRounds = 3;
    Mosquitto broker(folder_.path(), options);
    ASSERT_TRUE(broker.Start());
    MqttConfig config = Config(broker);
    config.ca_file = options.ca;
    LinkClient client(config);
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
      ASSERT_TRUE(
          Nft("add table inet dark; add chain inet dark in { type filter hook input priority 0; };"
              "add rule inet dark in tcp dport " +
              std::to_string(broker.port()) + " reject with tcp reset"));
      AskWithoutWaiting(client);
      EXPECT_TRUE(client.Wait(Kind::kDisconnected, kNoticed + seconds(8)));
      EXPECT_TRUE(client.WaitForError("Connection refused")) << client.session.last_error();
      ASSERT_TRUE(Nft("delete table inet dark"));
    }
    ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
    EXPECT_EQ(client.session.Publish("x", base::AsBytes("after"), Qos::kAtLeastOnce, false, nullptr),
              Status::kOk);
    EXPECT_TRUE(client.Wait(Kind::kPublished));
  }
  TemporaryFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(Versions, HalfOpen, ::testing::Values(MqttVersion::k5, MqttVersion::k311),
                         [](const auto& test) { return test.param == MqttVersion::k5 ? "5" : "311"; });

TEST_P(HalfOpen, DroppedPacketsAreNoticedAndSurvived) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  LinkClient client(Config(broker));
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  ASSERT_TRUE(
      Nft("add table inet dark; add chain inet dark in { type filter hook input priority 0; };"
          "add rule inet dark in tcp dport " +
          std::to_string(broker.port()) +
          " drop;"
          "add rule inet dark in tcp sport " +
          std::to_string(broker.port()) + " drop"))
      << testing::ReadFile(folder_of_logs + "/nft.log");
  const auto dark = SteadyClock::now();
  const uint64_t beats = client.session.beats();
  AskWithoutWaiting(client);
  EXPECT_TRUE(client.Wait(Kind::kDisconnected, kNoticed + seconds(8))) << "nobody noticed";
  const auto took = std::chrono::duration_cast<milliseconds>(SteadyClock::now() - dark);
  std::printf("  noticed after %lld ms at a keep-alive of %d s\n", static_cast<long long>(took.count()),
              kKeepaliveS);
  EXPECT_TRUE(client.WaitForError("no answer from")) << client.session.last_error();
  AskWithoutWaiting(client);
  EXPECT_GT(client.session.beats(), beats) << "its thread lives";
  ASSERT_TRUE(Nft("delete table inet dark"));
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  EXPECT_EQ(client.session.Publish("x", {}, Qos::kAtLeastOnce, false, nullptr), Status::kOk);
  EXPECT_TRUE(client.Wait(Kind::kPublished));
}

TEST_P(HalfOpen, AFrozenBrokerIsNoticedAndSurvived) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  LinkClient client(Config(broker));
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  kill(broker.pid(), SIGSTOP);
  AskWithoutWaiting(client);
  EXPECT_TRUE(client.Wait(Kind::kDisconnected, kNoticed + seconds(8)));
  EXPECT_TRUE(client.WaitForError("answers, but not as an MQTT broker")) << client.session.last_error();
  kill(broker.pid(), SIGCONT);
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
}

// Messages that are handed over to a connection that is gone already. Paho frees such messages and sends them
// again later (see agent/link/lost_write.h): the sanitizer watches.
TEST_P(HalfOpen, AResetConnectionIsMadeAnew) { SurviveResets({}); }

TEST_P(HalfOpen, AResetTlsConnectionIsMadeAnew) {
  const testing::Certificates server = testing::MakeCertificates(folder_.path(), "server", "127.0.0.1");
  SurviveResets({.ca = server.ca, .cert = server.cert, .key = server.key});
}

int Skip(const char* why) {
  std::fprintf(stderr, "skipped: %s\n", why);
  return 77;
}

}  // namespace
}  // namespace dipper::link

int main(int argc, char** argv) {
  using namespace dipper::link;
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  // Before any thread: a process moves into another user namespace as one.
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return Skip("this machine permits no network namespaces");
  }
  if (!BringLoopbackUp()) return Skip("the namespace's loopback cannot be switched on");
  const dipper::testing::TemporaryFolder logs;
  folder_of_logs = logs.path();
  if (dipper::testing::RunProgram({"nft", "add table inet probe"}, folder_of_logs + "/nft.log") != 0) {
    return Skip("no nftables: apt-get install nftables, and a kernel that has it");
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
