// The session against real Mosquittos that are kind, gone, slow, suspicious or not brokers at all.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/link/mqtt_session.h"
#include "agent/telemetry/topics.h"
#include "tests/integration/support/mosquitto.h"

namespace dipper::link {
namespace {

using base::Status;
using telemetry::Qos;
using telemetry::TransportEvent;
using Kind = TransportEvent::Kind;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Certificates;
using testing::MakeCertificates;
using testing::Mosquitto;
using testing::MosquittoOptions;
using testing::TemporaryFolder;

struct Seen {
  Kind kind = Kind::kNone;
  std::string topic;
  std::string payload;
  bool retained = false;
  bool session_present = false;
  int reason = 0;
  std::string detail;
  bool from_broker = false;
};

// A session and what it saw.
class Client {
 public:
  explicit Client(const MqttConfig& config) {
    EXPECT_EQ(CheckMqttConfig(config), "");
    session = std::make_unique<MqttSession>(config);
  }
  bool Wait(Kind kind, int wait_s = 15) {
    const auto end = SteadyClock::now() + seconds(wait_s);
    while (SteadyClock::now() < end) {
      TransportEvent event;
      if (session->Poll(&event) == Status::kNotFound) {
        pollfd entry{session->event_fd(), POLLIN, 0};
        poll(&entry, 1, 50);
        continue;
      }
      last = {event.kind,
              std::string(event.topic),
              std::string(base::AsText(event.payload)),
              event.retained,
              event.session_present,
              event.reason,
              std::string(event.detail),
              event.FromBroker()};
      if (event.kind == kind) return true;
    }
    return false;
  }
  // Waits until an attempt has failed; the reason.
  std::string WaitForError(int wait_s = 15) {
    const auto end = SteadyClock::now() + seconds(wait_s);
    while (SteadyClock::now() < end && session->last_error().empty()) {
      TransportEvent event;
      if (session->Poll(&event) != Status::kNotFound) {
        EXPECT_NE(event.kind, Kind::kConnected);
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
    return session->last_error();
  }
  bool Say(std::string_view topic, const std::string& text, bool retain) {
    return session->Publish(topic, base::AsBytes(text), Qos::kAtLeastOnce, retain, nullptr) == Status::kOk &&
           Wait(Kind::kPublished) && last.from_broker;
  }
  /// Written, which says nothing about the broker.
  bool Mumble(std::string_view topic, const std::string& text) {
    return session->Publish(topic, base::AsBytes(text), Qos::kAtMostOnce, false, nullptr) == Status::kOk &&
           Wait(Kind::kPublished) && !last.from_broker;
  }
  std::unique_ptr<MqttSession> session;
  Seen last;
};

class LinkTest : public ::testing::Test {
 protected:
  MqttConfig Config(const std::string& url, const std::string& id = "device") const {
    MqttConfig config;
    config.url = url;
    config.client_id = id;
    config.min_backoff_ms = 50;
    config.max_backoff_ms = 400;
    return config;
  }
  TemporaryFolder folder_;
};

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(LinkTest, TlsWithPasswordAndWithClientCertificate) {
  const Certificates server = MakeCertificates(folder_.path(), "server", "127.0.0.1");
  MosquittoOptions options{.ca = server.ca, .cert = server.cert, .key = server.key};
  options.password_file = folder_ / "passwords";
  ASSERT_TRUE(testing::MakePasswordFile(options.password_file, "mote-1", "secret"));
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker.Url("127.0.0.1"));
  config.ca_file = server.ca;
  config.username = "mote-1";
  config.password = "secret";
  {
    Client client(config);
    ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session->last_error();
    EXPECT_TRUE(client.Say("x", "hello", false));
    EXPECT_TRUE(client.Mumble("x", "hello"));
  }
  broker.Stop();
  options.password_file.clear();
  options.client_certificates = true;
  Mosquitto strict(folder_.path(), options);
  ASSERT_TRUE(strict.Start());
  config = Config(strict.Url("127.0.0.1"));
  config.ca_file = server.ca;
  config.cert_file = server.cert;  // signed by the same authority
  config.key_file = server.key;
  Client with(config);
  EXPECT_TRUE(with.Wait(Kind::kConnected)) << with.session->last_error();
  config.cert_file.clear();
  config.key_file.clear();
  config.client_id = "other";
  Client without(config);
  EXPECT_TRUE(Contains(without.WaitForError(), "refused the TLS session")) << without.session->last_error();
}

TEST_F(LinkTest, WrongAuthorityIsRefused) {
  const Certificates server = MakeCertificates(folder_.path(), "server", "127.0.0.1");
  const Certificates other = MakeCertificates(folder_.path(), "other", "127.0.0.1");
  Mosquitto broker(folder_.path(), {.ca = server.ca, .cert = server.cert, .key = server.key});
  ASSERT_TRUE(broker.Start());
  for (const MqttVersion version : {MqttVersion::k5, MqttVersion::k311}) {
    MqttConfig config = Config(broker.Url("127.0.0.1"));
    config.version = version;
    config.ca_file = other.ca;
    Client client(config);
    EXPECT_TRUE(Contains(client.WaitForError(), "not trusted")) << client.session->last_error();
    EXPECT_FALSE(client.Wait(Kind::kConnected, 1));
  }
}

TEST_F(LinkTest, WrongHostNameIsRefused) {
  const Certificates server = MakeCertificates(folder_.path(), "server", "broker.example");
  Mosquitto broker(folder_.path(), {.ca = server.ca, .cert = server.cert, .key = server.key});
  ASSERT_TRUE(broker.Start());
  for (const char* host : {"localhost", "127.0.0.1"}) {
    // A bare root file system may not know any name.
    addrinfo* found = nullptr;
    if (getaddrinfo(host, nullptr, nullptr, &found) != 0) continue;
    freeaddrinfo(found);
    MqttConfig config = Config(broker.Url(host));
    config.ca_file = server.ca;
    Client client(config);
    EXPECT_TRUE(Contains(client.WaitForError(), "another host name")) << client.session->last_error();
    EXPECT_FALSE(client.Wait(Kind::kConnected, 1));
  }
}

TEST_F(LinkTest, NumericHostInTheCertificateIsAccepted) {
  const Certificates server = MakeCertificates(folder_.path(), "server", "127.0.0.1");
  Mosquitto broker(folder_.path(), {.ca = server.ca, .cert = server.cert, .key = server.key});
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker.Url("127.0.0.1"));
  config.ca_file = server.ca;
  Client client(config);
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session->last_error();
}

TEST_F(LinkTest, WrongPasswordSaysSo) {
  MosquittoOptions options;
  options.password_file = folder_ / "passwords";
  ASSERT_TRUE(testing::MakePasswordFile(options.password_file, "mote-1", "secret"));
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  for (const MqttVersion version : {MqttVersion::k5, MqttVersion::k311}) {
    MqttConfig config = Config(broker.Url());
    config.version = version;
    config.username = "mote-1";
    config.password = "guess";
    Client client(config);
    EXPECT_TRUE(Contains(client.WaitForError(), "wrong user name")) << client.session->last_error();
  }
}

TEST_F(LinkTest, UnreachableBrokersSayWhy) {
  Mosquitto broker(folder_.path());  // not started: nobody listens
  {
    Client client(Config(broker.Url()));
    EXPECT_TRUE(Contains(client.WaitForError(), "refused")) << client.session->last_error();
    EXPECT_EQ(client.session->Publish("x", {}, Qos::kAtLeastOnce, false, nullptr), Status::kUnavailable);
  }
  Client lost(Config("mqtt://no-such-host.invalid:1883"));
  EXPECT_TRUE(Contains(lost.WaitForError(30), "cannot be resolved")) << lost.session->last_error();
}

TEST_F(LinkTest, AccessListRefusalsHaveReasons) {
  testing::WriteFile(folder_ / "acl", "topic readwrite ok/#\n");
  MosquittoOptions options;
  options.acl_file = folder_ / "acl";
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  Client client(Config(broker.Url()));
  ASSERT_TRUE(client.Wait(Kind::kConnected));
  ASSERT_TRUE(client.Say("no/1", "x", false));
  EXPECT_GT(client.last.reason, 0) << "refused by the broker";
  ASSERT_TRUE(client.Say("ok/1", "x", false));
  EXPECT_EQ(client.last.reason, 0);
  MqttConfig old = Config(broker.Url(), "old");
  old.version = MqttVersion::k311;
  Client third(old);
  ASSERT_TRUE(third.Wait(Kind::kConnected));
  ASSERT_EQ(third.session->Subscribe("ok/#", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(third.Wait(Kind::kSubscribed));
  EXPECT_EQ(third.last.reason, 0);
}

TEST_F(LinkTest, ReconnectsAfterRestarts) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  Client client(Config(broker.Url()));
  ASSERT_TRUE(client.Wait(Kind::kConnected));
  for (int round = 0; round < 4; ++round) {
    if (round % 2 == 0) {
      broker.Kill();
    } else {
      broker.Stop();
    }
    ASSERT_TRUE(client.Wait(Kind::kDisconnected));
    EXPECT_FALSE(client.last.detail.empty());
    const uint64_t failed = client.session->stats().failed_connects;
    for (int look = 0; look < 1000 && client.session->stats().failed_connects == failed; ++look)
      std::this_thread::sleep_for(milliseconds(10));
    EXPECT_GT(client.session->stats().failed_connects, failed);
    ASSERT_TRUE(broker.Start());
    ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session->last_error();
    ASSERT_EQ(client.session->Subscribe("x", Qos::kAtLeastOnce), Status::kOk);
    ASSERT_TRUE(client.Wait(Kind::kSubscribed));
    ASSERT_EQ(client.session->Publish("x", base::AsBytes("again"), Qos::kAtLeastOnce, false, nullptr),
              Status::kOk);
    ASSERT_TRUE(client.Wait(Kind::kMessage));
    EXPECT_EQ(client.last.payload, "again");
  }
  EXPECT_EQ(client.session->stats().connects, 5u);
}

TEST_F(LinkTest, CommandsWaitInThePersistentSession) {
  for (const MqttVersion version : {MqttVersion::k5, MqttVersion::k311}) {
    Mosquitto broker(folder_.path());
    ASSERT_TRUE(broker.Start());
    MqttConfig config = Config(broker.Url());
    config.version = version;
    {
      Client device(config);
      ASSERT_TRUE(device.Wait(Kind::kConnected));
      EXPECT_FALSE(device.last.session_present);
      ASSERT_EQ(device.session->Subscribe("cmd", Qos::kAtLeastOnce), Status::kOk);
      ASSERT_TRUE(device.Wait(Kind::kSubscribed));
    }
    MqttConfig desk = Config(broker.Url(), "desk");
    desk.persistent_session = false;
    Client sender(desk);
    ASSERT_TRUE(sender.Wait(Kind::kConnected));
    ASSERT_TRUE(sender.Say("cmd", "undo", false));
    Client device(config);
    ASSERT_TRUE(device.Wait(Kind::kConnected));
    EXPECT_TRUE(device.last.session_present);
    ASSERT_TRUE(device.Wait(Kind::kMessage));
    EXPECT_EQ(device.last.payload, "undo");
  }
}

TEST_F(LinkTest, RetainedGroupsArriveWhole) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  MqttConfig desk = Config(broker.Url(), "desk");
  Client publisher(desk);
  ASSERT_TRUE(publisher.Wait(Kind::kConnected));
  const base::Digest digest{};
  const std::string filler(16 * 1024, 'b');
  for (uint32_t block = 0; block < 80; ++block) {
    const telemetry::Topic topic = telemetry::BlockTopic("demo", digest, block);
    ASSERT_TRUE(publisher.Say(topic.view(), filler + std::to_string(block), true));
  }
  Client device(Config(broker.Url()));
  ASSERT_TRUE(device.Wait(Kind::kConnected));
  for (uint32_t group = 0; group < 2; ++group) {
    const telemetry::Topic filter = telemetry::BlockGroupFilter("demo", digest, group);
    ASSERT_EQ(device.session->Subscribe(filter.view(), Qos::kAtLeastOnce), Status::kOk);
    std::map<uint32_t, int> blocks;
    while (blocks.size() < (group == 0 ? 64u : 16u)) {
      ASSERT_TRUE(device.Wait(Kind::kMessage)) << blocks.size() << " blocks of group " << group;
      const auto parsed = telemetry::ParseTopic(device.last.topic);
      ASSERT_TRUE(parsed.ok()) << device.last.topic;
      EXPECT_EQ(parsed.value().group, group);
      EXPECT_EQ(device.last.payload, filler + std::to_string(parsed.value().block));
      EXPECT_TRUE(device.last.retained);
      ++blocks[parsed.value().block];
    }
    ASSERT_EQ(device.session->Unsubscribe(filter.view()), Status::kOk);
  }
  EXPECT_EQ(device.session->stats().received_dropped, 0u);
}

// The will needs an unclean end: a child process is killed.
TEST_F(LinkTest, TheWillIsPublishedOnKillAndNotOnStop) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  Client watcher(Config(broker.Url(), "watcher"));
  ASSERT_TRUE(watcher.Wait(Kind::kConnected));
  ASSERT_EQ(watcher.session->Subscribe("state", Qos::kAtLeastOnce), Status::kOk);
  ASSERT_TRUE(watcher.Wait(Kind::kSubscribed));
  for (const MqttVersion version : {MqttVersion::k5, MqttVersion::k311}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::string self = "/proc/self/exe";
      const std::string name = version == MqttVersion::k5 ? "5" : "311";
      execl(self.c_str(), self.c_str(), "--be-a-device", broker.Url().c_str(), name.c_str(), nullptr);
      _exit(127);
    }
    ASSERT_TRUE(watcher.Wait(Kind::kMessage));
    EXPECT_EQ(watcher.last.payload, "online");
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ASSERT_TRUE(watcher.Wait(Kind::kMessage));
    EXPECT_EQ(watcher.last.payload, "offline");
  }
  MqttConfig config = Config(broker.Url());
  config.will_topic = "state";
  config.will_payload = {'o', 'f', 'f'};
  {
    Client device(config);
    ASSERT_TRUE(device.Wait(Kind::kConnected));
  }
  EXPECT_FALSE(watcher.Wait(Kind::kMessage, 1)) << "a planned stop says goodbye itself";
}

TEST_F(LinkTest, LargeMessagesAreWithheld) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  MqttConfig big = Config(broker.Url(), "big");
  big.max_message_bytes = 8 * 1024 * 1024;
  Client sender(big);
  ASSERT_TRUE(sender.Wait(Kind::kConnected));
  for (const MqttVersion version : {MqttVersion::k5, MqttVersion::k311}) {
    MqttConfig config = Config(broker.Url());
    config.version = version;
    config.persistent_session = false;
    config.max_message_bytes = 10000;
    Client device(config);
    ASSERT_TRUE(device.Wait(Kind::kConnected));
    ASSERT_EQ(device.session->Subscribe("x", Qos::kAtLeastOnce), Status::kOk);
    ASSERT_TRUE(device.Wait(Kind::kSubscribed));
    ASSERT_TRUE(sender.Say("x", std::string(4 * 1024 * 1024, 'x'), false));
    ASSERT_TRUE(sender.Say("x", "small", false));
    ASSERT_TRUE(device.Wait(Kind::kMessage));
    EXPECT_EQ(device.last.payload, "small");
    if (version == MqttVersion::k5) {
      EXPECT_LT(device.session->stats().received_bytes, 1000u) << "the broker itself must withhold it";
    } else {
      EXPECT_EQ(device.session->stats().received_dropped, 1u);
    }
  }
}

TEST_F(LinkTest, TheIncomingQueueIsBounded) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker.Url());
  config.incoming_messages = 10;
  Client device(config);
  ASSERT_TRUE(device.Wait(Kind::kConnected));
  ASSERT_EQ(device.session->Subscribe("x", Qos::kAtMostOnce), Status::kOk);
  ASSERT_TRUE(device.Wait(Kind::kSubscribed));
  Client sender(Config(broker.Url(), "sender"));
  ASSERT_TRUE(sender.Wait(Kind::kConnected));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(sender.Say("x", std::to_string(i), false));
  const auto end = SteadyClock::now() + seconds(10);
  while (device.session->stats().received_messages < 50 && SteadyClock::now() < end) {
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_EQ(device.session->stats().incoming_queued, 10u);
  EXPECT_EQ(device.session->stats().received_dropped, 40u);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(device.Wait(Kind::kMessage));
    EXPECT_EQ(device.last.payload, std::to_string(i)) << "the first ones are kept, in order";
  }
}

// A listener that accepts and says nothing: half-open. The session neither blocks its caller nor its
// destructor.
TEST_F(LinkTest, ASilentPeerBlocksNobody) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 8), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  for (const char* scheme : {"mqtt://", "mqtts://"}) {
    const Certificates any = MakeCertificates(folder_.path(), "any", "localhost");
    MqttConfig config = Config(scheme + std::string("127.0.0.1:") + std::to_string(ntohs(address.sin_port)));
    config.ca_file = any.ca;
    const auto start = SteadyClock::now();
    {
      Client client(config);
      for (int i = 0; i < 20; ++i) {
        TransportEvent event;
        const auto before = SteadyClock::now();
        EXPECT_EQ(client.session->Poll(&event), Status::kNotFound);
        EXPECT_EQ(client.session->Publish("x", {}, Qos::kAtLeastOnce, false, nullptr), Status::kUnavailable);
        EXPECT_LT(SteadyClock::now() - before, milliseconds(500));
        std::this_thread::sleep_for(milliseconds(50));
      }
    }
    EXPECT_LT(SteadyClock::now() - start, seconds(10)) << scheme;
  }
  close(listener);
}

TEST(MqttConfigCheck, SaysWhatIsWrong) {
  MqttConfig config;
  config.client_id = "x";
  for (const char* url : {"", "localhost", "tcp://x", "mqtt://", "mqtt://host:0", "mqtt://host:99999",
                          "mqtt://host:x", "mqtt://user@host", "mqtt://host/path"}) {
    config.url = url;
    EXPECT_TRUE(Contains(CheckMqttConfig(config), "broker address")) << url;
  }
  config.url = "mqtt://[::1]:1883";
  EXPECT_EQ(CheckMqttConfig(config), "");
  config.url = "mqtts://host";
  EXPECT_TRUE(Contains(CheckMqttConfig(config), "ca_file"));
  config.ca_file = "/nonexistent";
  EXPECT_TRUE(Contains(CheckMqttConfig(config), "cannot be read"));
  config.cert_file = "/nonexistent";
  EXPECT_TRUE(Contains(CheckMqttConfig(config), "both"));
}

// What the killed child of the will test runs.
int BeADevice(const char* url, bool v5) {
  MqttConfig config;
  config.url = url;
  config.client_id = "child";
  config.version = v5 ? MqttVersion::k5 : MqttVersion::k311;
  config.will_topic = "state";
  config.will_payload = {'o', 'f', 'f', 'l', 'i', 'n', 'e'};
  MqttSession session(config);
  while (true) {
    TransportEvent event;
    while (session.Poll(&event) == Status::kOk) {
      if (event.kind != Kind::kConnected) continue;
      const Status sent = session.Publish("state", base::AsBytes("online"), Qos::kAtLeastOnce, true, nullptr);
      if (!base::Ok(sent)) return 1;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
}

}  // namespace
}  // namespace dipper::link

int main(int argc, char** argv) {
  if (argc == 4 && std::string(argv[1]) == "--be-a-device") {
    return dipper::link::BeADevice(argv[2], std::string(argv[3]) == "5");
  }
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
