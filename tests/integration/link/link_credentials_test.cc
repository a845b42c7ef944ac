// Certificates that are out of date, passwords and certificates that change while the session runs: against a
// real Mosquitto, with MQTT 5 and 3.1.1.
#include <signal.h>

#include <filesystem>

#include "tests/integration/link/dated_certificates.h"
#include "tests/integration/link/link_client.h"

namespace dipper::link {
namespace {

using testing::Authority;
using testing::Certificates;
using testing::Mosquitto;
using testing::MosquittoOptions;
using testing::TemporaryFolder;
using Kind = telemetry::TransportEvent::Kind;

constexpr long kDay = 86400;
constexpr const char* kHost = "127.0.0.1";

class Credentials : public ::testing::TestWithParam<MqttVersion> {
 protected:
  MqttConfig Config(const Mosquitto& broker) const {
    MqttConfig config = QuickConfig(broker.Url(kHost), GetParam());
    config.ca_file = authority_.ca();
    return config;
  }
  // Under another name first, so that nobody reads half of it.
  void Put(const std::string& name, const std::string& text) {
    testing::WriteFile(folder_ / (name + ".new"), text);
    std::filesystem::rename(folder_ / (name + ".new"), folder_ / name);
  }
  void Exchange(const Certificates& from, const std::string& to) {
    std::filesystem::rename(from.cert, folder_ / (to + ".pem"));
    std::filesystem::rename(from.key, folder_ / (to + ".key"));
  }
  TemporaryFolder folder_;
  Authority authority_{folder_.path()};
};

INSTANTIATE_TEST_SUITE_P(Versions, Credentials, ::testing::Values(MqttVersion::k5, MqttVersion::k311),
                         [](const auto& test) { return test.param == MqttVersion::k5 ? "5" : "311"; });

TEST_P(Credentials, AnExpiredCertificateIsRefused) {
  const Certificates old = authority_.Sign("old", kHost, -2 * kDay, -kDay);
  Mosquitto broker(folder_.path(), {.ca = old.ca, .cert = old.cert, .key = old.key});
  ASSERT_TRUE(broker.Start());
  LinkClient client(Config(broker));
  EXPECT_TRUE(client.WaitForError("not trusted (certificate has expired)")) << client.session.last_error();
  EXPECT_FALSE(client.Wait(Kind::kConnected, seconds(1)));
}

TEST_P(Credentials, ACertificateOfTheFutureIsRefused) {
  const Certificates early = authority_.Sign("early", kHost, kDay, 2 * kDay);
  Mosquitto broker(folder_.path(), {.ca = early.ca, .cert = early.cert, .key = early.key});
  ASSERT_TRUE(broker.Start());
  LinkClient client(Config(broker));
  EXPECT_TRUE(client.WaitForError("not trusted (certificate is not yet valid)"))
      << client.session.last_error();
  EXPECT_FALSE(client.Wait(Kind::kConnected, seconds(1)));
}

TEST_P(Credentials, AnExpiredCertificateOfOursIsRefusedByTheBroker) {
  const Certificates server = authority_.Sign("server", kHost, -kDay, kDay);
  const Certificates ours = authority_.Sign("ours", "", -2 * kDay, -kDay);
  MosquittoOptions options{.ca = server.ca, .cert = server.cert, .key = server.key};
  options.client_certificates = true;
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker);
  config.cert_file = ours.cert;
  config.key_file = ours.key;
  LinkClient client(config);
  EXPECT_TRUE(client.WaitForError("certificate expired")) << client.session.last_error();
}

TEST_P(Credentials, ARenewedCertificateIsUsedWithoutARestart) {
  const Certificates server = authority_.Sign("server", kHost, -kDay, kDay);
  const Certificates first = authority_.Sign("gw-1-of-may", "", -kDay, kDay);
  Exchange(first, "ours");
  MosquittoOptions options{.ca = server.ca, .cert = server.cert, .key = server.key};
  options.client_certificates = true;
  options.more = {"log_type all"};
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker);
  config.cert_file = folder_ / "ours.pem";
  config.key_file = folder_ / "ours.key";
  LinkClient client(config);
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  ASSERT_TRUE(Soon([&] { return Contains(broker.log(), "u'gw-1-of-may'"); })) << broker.log();

  Exchange(authority_.Sign("gw-1-of-june", "", -kDay, kDay), "ours");
  ASSERT_TRUE(client.Wait(Kind::kDisconnected));
  EXPECT_TRUE(Contains(client.detail, "exchanged")) << client.detail;
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  EXPECT_TRUE(Soon([&] { return Contains(broker.log(), "u'gw-1-of-june'"); })) << broker.log();
  EXPECT_EQ(client.session.stats().failed_connects, 0u);
}

TEST_P(Credentials, ACertificateWithoutItsKeyIsNotUsedYet) {
  const Certificates server = authority_.Sign("server", kHost, -kDay, kDay);
  Exchange(authority_.Sign("one", "", -kDay, kDay), "ours");
  MosquittoOptions options{.ca = server.ca, .cert = server.cert, .key = server.key};
  options.client_certificates = true;
  options.more = {"log_type all"};
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  MqttConfig config = Config(broker);
  config.cert_file = folder_ / "ours.pem";
  config.key_file = folder_ / "ours.key";
  LinkClient client(config);
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();

  const Certificates two = authority_.Sign("two", "", -kDay, kDay);
  std::filesystem::rename(two.cert, folder_ / "ours.pem");
  ASSERT_TRUE(Soon([&] { return Contains(client.session.last_error(), "is not the key of"); }))
      << client.session.last_error();
  EXPECT_FALSE(client.Wait(Kind::kDisconnected, seconds(1))) << "the connection that is up stays";
  Put("ours.pem", "-----BEGIN CERTIFICATE-----\nhalf a certif");
  ASSERT_TRUE(Soon([&] { return Contains(client.session.last_error(), "cannot be used"); }))
      << client.session.last_error();

  Exchange(authority_.Sign("three", "", -kDay, kDay), "ours");
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
  EXPECT_TRUE(Soon([&] { return Contains(broker.log(), "u'three'"); })) << broker.log();
  EXPECT_EQ(client.session.last_error(), "");
}

TEST_P(Credentials, ARenewedAuthorityIsUsedForTheNextConnection) {
  const Certificates server = authority_.Sign("server", kHost, -kDay, kDay);
  Mosquitto broker(folder_.path(), {.ca = server.ca, .cert = server.cert, .key = server.key});
  ASSERT_TRUE(broker.Start());
  Put("trusted.pem", testing::ReadFile(server.ca));
  MqttConfig config = Config(broker);
  config.ca_file = folder_ / "trusted.pem";
  LinkClient client(config);
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();

  std::filesystem::create_directory(folder_ / "next");
  Authority next(folder_ / "next");
  const Certificates renewed = next.Sign("server", kHost, -kDay, kDay);
  std::filesystem::rename(renewed.cert, server.cert);
  std::filesystem::rename(renewed.key, server.key);
  broker.Kill();
  ASSERT_TRUE(broker.Start());
  EXPECT_TRUE(client.WaitForError("not trusted")) << client.session.last_error();
  Put("trusted.pem", testing::ReadFile(next.ca()));
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
}

TEST_P(Credentials, AChangedPasswordIsTakenFromItsFile) {
  MosquittoOptions options;
  options.password_file = folder_ / "passwords";
  ASSERT_TRUE(testing::MakePasswordFile(options.password_file, "mote-1", "winter"));
  Mosquitto broker(folder_.path(), options);
  ASSERT_TRUE(broker.Start());
  Put("password", "winter\n");
  MqttConfig config = QuickConfig(broker.Url(), GetParam());
  config.username = "mote-1";
  config.password_file = folder_ / "password";
  LinkClient client(config);
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();

  // On the broker first: the next connection is refused until the device's file follows.
  ASSERT_TRUE(testing::MakePasswordFile(options.password_file, "mote-1", "summer"));
  broker.Kill();
  ASSERT_TRUE(broker.Start());
  ASSERT_TRUE(client.WaitForError("wrong user name")) << client.session.last_error();
  Put("password", "summer\r\n");
  ASSERT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();

  // On the device while it is connected: it comes back with the new one at once.
  ASSERT_TRUE(testing::MakePasswordFile(options.password_file, "mote-1", "autumn"));
  kill(broker.pid(), SIGHUP);
  std::this_thread::sleep_for(milliseconds(300));
  Put("password", "autumn\n");
  ASSERT_TRUE(client.Wait(Kind::kDisconnected));
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
}

TEST_P(Credentials, NothingIsConnectedBeforeItIsTold) {
  Mosquitto broker(folder_.path());
  ASSERT_TRUE(broker.Start());
  MqttConfig config = QuickConfig(broker.Url(), GetParam());
  config.wait_for_connect = true;
  LinkClient client(config);
  EXPECT_FALSE(client.Wait(Kind::kConnected, seconds(1)));
  EXPECT_EQ(client.session.stats().failed_connects, 0u);
  client.session.Connect();
  EXPECT_TRUE(client.Wait(Kind::kConnected)) << client.session.last_error();
}

}  // namespace
}  // namespace dipper::link

int main(int argc, char** argv) {
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
