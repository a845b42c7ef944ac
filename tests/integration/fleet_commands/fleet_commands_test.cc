// publish, watch and command over a real broker: what arrives is what a device verifies; errors have their
// exit codes.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/link/mqtt_session.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tests/integration/support/mosquitto.h"
#include "tests/unit/agent/package/fixture.h"
#include "tools/cli/command.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using nlohmann::json;
using package::test::TestKeys;
using telemetry::Qos;
using telemetry::TransportEvent;

std::string Text(base::ByteView bytes) { return std::string(base::AsText(bytes)); }

package::Bytes TheRoot() {
  const std::vector<package::PrivateKey> keys = {TestKeys().root};
  return package::BuildRoot(package::test::PlainRoot(), keys).value();
}

class FleetCommands : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(broker_.Start());
    testing::WriteFile(folder_ / "root", Text(TheRoot()));
    package_ = package::test::TestPackage();
    testing::WriteFile(folder_ / "p.dpkg", Text(package_));
    testing::WriteFile(folder_ / "rollout.pem", package::PrivateKeyPem(TestKeys().rollout).value());
    testing::WriteFile(folder_ / "command.pem", package::PrivateKeyPem(TestKeys().command).value());
  }
  // Runs the command line as main does; stdout goes to out_.
  int Dipper(const std::vector<std::string>& arguments) {
    int exit_code = 0;
    CLI::App app("test", "dipper");
    RegisterPublish(app, exit_code);
    RegisterWatch(app, exit_code);
    RegisterCommand(app, exit_code);
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    ::testing::internal::CaptureStdout();
    try {
      app.parse(reversed);
    } catch (const lab::Error& error) {
      error_ = error.what();
      exit_code = static_cast<int>(error.code());
    } catch (const CLI::ParseError& error) {
      error_ = error.what();
      exit_code = 2;
    }
    fflush(stdout);
    out_ = ::testing::internal::GetCapturedStdout();
    return exit_code;
  }
  std::vector<std::string> Publish(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"publish", folder_ / "p.dpkg", "--broker",      broker_.Url(),
                                    "--root",  folder_ / "root",   "--rollout-key", folder_ / "rollout.pem",
                                    "--json"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  // Everything that is retained below the fleet.
  std::map<std::string, std::vector<uint8_t>> Retained(size_t expected, int patience_s = 10) {
    std::map<std::string, std::vector<uint8_t>> found;
    link::MqttConfig config;
    config.url = broker_.Url();
    config.client_id = "reader";
    config.persistent_session = false;
    link::MqttSession session(config);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(patience_s);
    while (std::chrono::steady_clock::now() < end && found.size() < expected) {
      TransportEvent event;
      if (session.Poll(&event) != base::Status::kOk) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      } else if (event.kind == TransportEvent::Kind::kConnected) {
        EXPECT_EQ(session.Subscribe("dipper/1/demo/#", Qos::kAtLeastOnce), base::Status::kOk);
      } else if (event.kind == TransportEvent::Kind::kMessage) {
        found[std::string(event.topic)].assign(event.payload.begin(), event.payload.end());
      }
    }
    return found;
  }
  // Publishes retained, acknowledged.
  bool Say(const std::string& topic, base::ByteView payload) {
    link::MqttConfig config;
    config.url = broker_.Url();
    config.client_id = "sayer";
    config.persistent_session = false;
    link::MqttSession session(config);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      TransportEvent event;
      if (session.Poll(&event) != base::Status::kOk) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      } else if (event.kind == TransportEvent::Kind::kConnected) {
        EXPECT_EQ(session.Publish(topic, payload, Qos::kAtLeastOnce, true, nullptr), base::Status::kOk);
      } else if (event.kind == TransportEvent::Kind::kPublished) {
        return event.reason == 0;
      }
    }
    return false;
  }
  bool Say(const std::string& topic, const std::string& text) { return Say(topic, base::AsBytes(text)); }
  void SayEnded(const std::string& device, uint64_t number) {
    alignas(16) std::array<uint8_t, telemetry::kMessageBufferBytes> buffer;
    telemetry::UpdateStatus status;
    status.envelope = {"boot", 1, 1, 0, "main"};
    status.state = schema::UpdateState::Confirmed;
    status.offer_number = number;
    const auto bytes = telemetry::Encode(status, buffer);
    ASSERT_TRUE(bytes.ok());
    EXPECT_TRUE(Say("dipper/1/demo/" + device + "/m/main/update", *bytes));
  }
  testing::TemporaryFolder folder_;
  testing::Mosquitto broker_{folder_.path()};
  package::Bytes package_;
  std::string out_;
  std::string error_;
};

TEST_F(FleetCommands, PublishedPackagesVerifyOnTheOtherSide) {
  ASSERT_EQ(Dipper(Publish({"--to", "group:canary"})), 0) << error_;
  const json out = json::parse(out_);
  EXPECT_EQ(out["blocks"], 3);
  EXPECT_EQ(out["topics"], json::parse(R"(["dipper/1/demo/offer/canary"])"));
  const auto retained = Retained(5);
  ASSERT_EQ(retained.size(), 5u);  // three blocks, manifest, offer
  const package::TrustRoot root = package::test::TestRoot();
  package::test::AlignedBytes memory(package::kHeadMemoryBytes);
  package::Manifest manifest;
  std::map<uint32_t, std::vector<uint8_t>> blocks;
  for (const auto& [topic, payload] : retained) {
    const auto parsed = telemetry::ParseTopic(topic);
    ASSERT_TRUE(parsed.ok()) << topic;
    if (parsed.value().kind == telemetry::TopicKind::kPkgManifest) {
      EXPECT_EQ(package::VerifyHead(payload, root, memory.bytes(), &manifest), schema::Reason::None);
      EXPECT_EQ(manifest.package_digest(), parsed.value().digest);
    } else if (parsed.value().kind == telemetry::TopicKind::kPkgBlock) {
      blocks[parsed.value().block] = payload;
    } else {
      package::OfferFacts offer;
      const std::vector<std::string_view> groups = {"canary"};
      EXPECT_EQ(package::VerifyOffer(payload, root, {"demo", "mote-1", groups}, {}, &offer),
                schema::Reason::None);
      EXPECT_EQ(offer.number, out["number"].get<uint64_t>());
      EXPECT_EQ(offer.package_bytes, package_.size());
      EXPECT_EQ(package::VerifyOffer(payload, root, {"demo", "mote-1", {}}, {}, &offer),
                schema::Reason::WrongTarget);
    }
  }
  ASSERT_EQ(blocks.size(), 3u);
  for (const auto& [index, payload] : blocks) {
    EXPECT_EQ(package::VerifyBlock(manifest, index, payload), schema::Reason::None) << index;
  }
}

TEST_F(FleetCommands, NumbersRise) {
  ASSERT_EQ(Dipper(Publish({"--to", "device:mote-1", "--to", "device:mote-2", "--number", "99999999999999"})),
            0)
      << error_;
  ASSERT_EQ(Dipper(Publish({"--to", "device:mote-1", "--cancel"})), 0) << error_;
  EXPECT_EQ(json::parse(out_)["number"], 100000000000000);
}

TEST_F(FleetCommands, BadPackagesAndArgumentsAreRefused) {
  package::Bytes tampered = package_;
  tampered.back() ^= 1;
  testing::WriteFile(folder_ / "p.dpkg", Text(tampered));
  EXPECT_EQ(Dipper(Publish({"--to", "fleet"})), 5);
  EXPECT_NE(error_.find("bad_block"), std::string::npos) << error_;
  EXPECT_EQ(Dipper(Publish({"--to", "fleet", "--no-verify"})), 0) << error_;
  EXPECT_EQ(Dipper(Publish({"--to", "nobody"})), 2);
  EXPECT_EQ(Dipper(Publish({"--to", "device:a/b"})), 2);
  EXPECT_EQ(Dipper(Publish({"--to", "fleet", "--to", "device:mote-1"})), 2);
  testing::WriteFile(folder_ / "p.dpkg", Text(package_));
  broker_.Kill();
  EXPECT_EQ(Dipper(Publish({"--to", "fleet"})), 6);
  EXPECT_NE(error_.find("refused"), std::string::npos) << error_;
}

TEST_F(FleetCommands, KeepRestoresWhatTheBrokerLosesAndClearsWhenEveryDeviceIsDone) {
  std::promise<void> finished;
  std::thread world([&] {
    EXPECT_EQ(Retained(5).size(), 5u);  // three blocks, manifest, offer
    broker_.Kill();                     // it keeps nothing on its disk
    ASSERT_TRUE(broker_.Start());
    const auto restored = Retained(5, 60);  // the publisher waits up to 8 s before it connects again
    EXPECT_EQ(restored.size(), 5u) << "blocks, manifest and offer are there again";
    for (const auto& [topic, payload] : restored) {
      const auto parsed = telemetry::ParseTopic(topic);
      if (!parsed.ok() || parsed->kind != telemetry::TopicKind::kOffer) continue;
      package::OfferFacts offer;
      EXPECT_EQ(package::InspectOffer(payload, &offer), schema::Reason::None);
      SayEnded("mote-1", offer.number);
    }
    finished.get_future().wait();  // the broker ends with the thread that started it
  });
  const int code = Dipper(Publish({"--to", "device:mote-1", "--keep", "0.03"}));
  const auto left = code == 0 ? Retained(2) : std::map<std::string, std::vector<uint8_t>>{};
  finished.set_value();
  world.join();
  ASSERT_EQ(code, 0) << error_;
  ASSERT_EQ(left.size(), 1u) << "only the device's own update status";
  EXPECT_EQ(left.begin()->first, "dipper/1/demo/mote-1/m/main/update");
}

TEST_F(FleetCommands, KeepTellsWhoHasNotFinished) {
  EXPECT_EQ(Dipper(Publish({"--to", "device:mote-1", "--to", "device:mote-2", "--keep", "0.0005"})), 7);
  EXPECT_NE(error_.find("2 of 2 devices have not finished: mote-1 mote-2"), std::string::npos) << error_;
  EXPECT_EQ(Retained(6).size(), 6u) << "the package and both offers stay";
}

TEST_F(FleetCommands, KeepForTheFleetClearsWhenTheDevicesOfAFileAreDone) {
  testing::WriteFile(folder_ / "devices", "# the pilot\nmote-1\n\n  mote-2\r\nmote-1\n");
  const std::vector<std::string> list = {
      "--to", "fleet", "--number", "5", "--until-devices", folder_ / "devices", "--keep"};
  const auto with = [&](const std::string& hours) {
    std::vector<std::string> arguments = list;
    arguments.push_back(hours);
    return Publish(arguments);
  };
  SayEnded("mote-1", 5);
  SayEnded("mote-2", 4);  // an earlier offer
  SayEnded("mote-3", 5);  // not of the list
  EXPECT_EQ(Dipper(with("0.0005")), 7);
  EXPECT_NE(error_.find("1 of 2 devices have not finished: mote-2;"), std::string::npos) << error_;
  EXPECT_EQ(Retained(8).size(), 8u) << "the package stays: five messages, and three states";
  SayEnded("mote-2", 5);
  ::testing::internal::CaptureStderr();
  const int code = Dipper(with("0.03"));
  const std::string said = ::testing::internal::GetCapturedStderr();
  ASSERT_EQ(code, 0) << error_;
  EXPECT_NE(said.find("every device has finished (2 confirmed)"), std::string::npos) << said;
  EXPECT_EQ(Retained(3).size(), 3u) << "only the devices' own states";
}

TEST_F(FleetCommands, KeepForAGroupClearsWhenSoManyAreDone) {
  SayEnded("mote-1", 9);
  SayEnded("mote-2", 8);
  EXPECT_EQ(
      Dipper(Publish({"--to", "group:pilot", "--number", "9", "--until-count", "2", "--keep", "0.0005"})), 7);
  EXPECT_NE(error_.find("1 of 2 devices have finished (1 confirmed); the package stays"), std::string::npos)
      << error_;
  SayEnded("mote-2", 9);
  ASSERT_EQ(Dipper(Publish({"--to", "group:pilot", "--number", "9", "--until-count", "2", "--keep", "0.03"})),
            0)
      << error_;
  EXPECT_EQ(Retained(2).size(), 2u);
}

TEST_F(FleetCommands, WhoseEndIsWaitedForIsCheckedBeforeAnythingIsPublished) {
  testing::WriteFile(folder_ / "none", "# nobody\n\n");
  testing::WriteFile(folder_ / "bad", "mote-1\nmote/2\n");
  testing::WriteFile(folder_ / "good", "mote-1\n");
  const auto refused = [&](const std::vector<std::string>& more, int code, const std::string& why) {
    EXPECT_EQ(Dipper(Publish(more)), code) << why;
    EXPECT_NE(error_.find(why), std::string::npos) << error_;
  };
  refused({"--to", "fleet", "--keep", "1", "--until-devices", folder_ / "none"}, 2, "names no device");
  refused({"--to", "fleet", "--keep", "1", "--until-devices", folder_ / "bad"}, 2,
          ":2: \"mote/2\" is not a device");
  refused({"--to", "fleet", "--keep", "1", "--until-devices", folder_ / "missing"}, 3, "missing");
  refused({"--to", "fleet", "--until-devices", folder_ / "good"}, 2, "give --keep too");
  refused({"--to", "fleet", "--until-count", "3"}, 2, "give --keep too");
  refused({"--to", "device:mote-1", "--keep", "1", "--until-count", "3"}, 2, "--to device:ID says already");
  refused({"--to", "fleet", "--keep", "1", "--until-count", "0"}, 2, "--until-count");
  refused({"--to", "fleet", "--keep", "1", "--until-count", "1", "--until-devices", folder_ / "good"}, 2,
          "excludes");
  EXPECT_EQ(Retained(1).size(), 0u) << "nothing was published";
}

TEST_F(FleetCommands, ClearTakesThePackageItsOffersAndJunkBesideItAway) {
  ASSERT_EQ(Dipper(Publish({"--to", "fleet"})), 0) << error_;
  const std::string package = json::parse(out_)["package"].get<std::string>();
  ASSERT_TRUE(Say("dipper/1/demo/pkg/" + package + "/0/9", "junk"));
  ASSERT_TRUE(Say("dipper/1/demo/other", "not ours"));
  ASSERT_EQ(Dipper(Publish({"--to", "fleet", "--clear"})), 0) << error_;
  const auto left = Retained(2);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left.begin()->first, "dipper/1/demo/other");
  EXPECT_EQ(Dipper(Publish({"--to", "fleet", "--clear", "--keep", "1"})), 2);
}

// A device that verifies commands and answers them.
class AnsweringDevice {
 public:
  AnsweringDevice(const std::string& url, schema::CommandStatus status) {
    link::MqttConfig config;
    config.url = url;
    config.client_id = "mote-1";
    thread_ = std::thread([this, config, status] {
      link::MqttSession session(config);
      while (!stop_) {
        TransportEvent event;
        if (session.Poll(&event) != base::Status::kOk) {
          std::this_thread::sleep_for(std::chrono::milliseconds(5));
        } else if (event.kind == TransportEvent::Kind::kConnected) {
          EXPECT_EQ(session.Subscribe("dipper/1/demo/mote-1/cmd", Qos::kAtLeastOnce), base::Status::kOk);
        } else if (event.kind == TransportEvent::Kind::kSubscribed) {
          ready = true;
        } else if (event.kind == TransportEvent::Kind::kMessage) {
          Answer(session, event.payload, status);
        }
      }
    });
    while (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ~AnsweringDevice() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<bool> ready{false};

 private:
  static void Answer(link::MqttSession& session, base::ByteView payload, schema::CommandStatus status) {
    package::CommandFacts command;
    EXPECT_EQ(
        package::VerifyCommand(payload, package::test::TestRoot(), {"demo", "mote-1", {}}, {}, &command),
        schema::Reason::None);
    telemetry::CommandResponse response;
    response.number = command.number;
    response.name = command.name.view();
    response.status = status;
    response.reason =
        status == schema::CommandStatus::Done ? schema::Reason::None : schema::Reason::NoPrevious;
    response.detail = command.argument("package");
    alignas(16) std::array<uint8_t, telemetry::kMessageBufferBytes> buffer;
    const auto bytes = telemetry::Encode(response, buffer);
    EXPECT_EQ(session.Publish("dipper/1/demo/mote-1/rsp", bytes.value(), Qos::kAtLeastOnce, false, nullptr),
              base::Status::kOk);
  }
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(FleetCommands, CommandsAreSignedAndAnswered) {
  const std::vector<std::string> undo = {"command",  "undo",   "--broker",      broker_.Url(),
                                         "--device", "mote-1", "--command-key", folder_ / "command.pem",
                                         "--wait",   "10"};
  {
    AnsweringDevice device(broker_.Url(), schema::CommandStatus::Done);
    ASSERT_EQ(Dipper(undo), 0) << error_;
    EXPECT_EQ(out_, "undo on mote-1: done\n");
    const std::string digest(64, 'a');
    ASSERT_EQ(Dipper({"command", "override_denied", "--broker", broker_.Url(), "--device", "mote-1",
                      "--command-key", folder_ / "command.pem", "--arg", "package=" + digest, "--json"}),
              0)
        << error_;
    EXPECT_EQ(json::parse(out_)["detail"], digest);
  }
  {
    AnsweringDevice device(broker_.Url(), schema::CommandStatus::Refused);
    EXPECT_EQ(Dipper(undo), 1);
    EXPECT_EQ(out_, "undo on mote-1: refused (no_previous)\n");
  }
  std::vector<std::string> silent = undo;
  silent.back() = "0.3";
  EXPECT_EQ(Dipper(silent), 6);
  EXPECT_NE(error_.find("did not answer"), std::string::npos) << error_;
  EXPECT_NE(error_.find("--root FILE checks that"), std::string::npos) << error_;
  EXPECT_NE(error_.find("in fleet demo"), std::string::npos) << error_;
  silent.insert(silent.end(), {"--root", folder_ / "root"});
  EXPECT_EQ(Dipper(silent), 6);
  EXPECT_NE(error_.find("may be another than --root"), std::string::npos) << error_;
  EXPECT_EQ(
      Dipper({"command", "explode", "--broker", broker_.Url(), "--device", "mote-1", "--command-key", "x"}),
      2);
}

TEST_F(FleetCommands, CommandsThatADeviceWouldNotUnderstandAreNotSent) {
  const auto refused = [&](const std::string& name, const std::vector<std::string>& more, int code,
                           const std::string& why) {
    // No broker is asked: nothing is sent.
    std::vector<std::string> all = {"command",  name,     "--broker",      "mqtt://127.0.0.1:1",
                                    "--device", "mote-1", "--command-key", folder_ / "command.pem"};
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(Dipper(all), code) << name;
    EXPECT_NE(error_.find(why), std::string::npos) << error_;
  };
  refused("override_denied", {"--arg", "digest=" + std::string(64, 'a')}, 2, "takes --arg package=VALUE");
  refused("override_denied", {}, 2, "--arg package is missing");
  refused("override_denied", {"--arg", "package=abc"}, 2, "64 hex digits");
  refused("predictions", {"--arg", "count=ten"}, 2, "count=ten cannot be read");
  refused("predictions", {"--arg", "count=100001"}, 2, "0 to 100000");
  refused("predictions", {"--arg", "count=1", "--arg", "count=2"}, 2, "given twice");
  refused("freeze", {"--arg", "hard=1"}, 2, "freeze takes no --arg");
  refused("freeze", {"--expires", "0"}, 2, "0 is not a number above 0");
  EXPECT_LT(error_.size(), 100u) << error_;
  refused("freeze", {"--root", folder_ / "root", "--fleet", "other"}, 6, "cannot reach the broker");
  testing::WriteFile(folder_ / "command.pem", package::PrivateKeyPem(TestKeys().rollout).value());
  refused("freeze", {"--root", folder_ / "root"}, 5, "no signature by a key of its role");
}

TEST_F(FleetCommands, OffersThatDevicesWouldRefuseLeaveNothingOnTheBroker) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& why) {
    EXPECT_EQ(Dipper(more), 5);
    EXPECT_NE(error_.find(why), std::string::npos) << error_;
  };
  std::vector<std::string> wrong = Publish({"--to", "fleet"});
  std::ranges::replace(wrong, folder_ / "rollout.pem", folder_ / "command.pem");
  refused(wrong, "0 of the 1 needed --rollout-key are of the rollout role");
  EXPECT_EQ(Retained(1, 1).size(), 0u) << "nothing was published";
  ASSERT_EQ(Dipper(Publish({"--to", "fleet", "--number", "10"})), 0) << error_;
  ASSERT_EQ(Dipper(Publish({"--to", "fleet", "--number", "10"})), 0) << "the same offer again: " << error_;
  refused(Publish({"--to", "fleet", "--number", "9"}), "offer/all holds offer 10 already");
  EXPECT_NE(error_.find("--number 11 or above"), std::string::npos) << error_;
  refused(Publish({"--to", "fleet", "--number", "10", "--cancel"}), "would ignore offer 10");
  EXPECT_EQ(Dipper(Publish({"--to", "fleet", "--number", "9", "--no-verify"})), 0) << error_;
}

TEST_F(FleetCommands, FilesAreNamedAsOptions) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& why) {
    std::vector<std::string> all = {"watch", "--broker", "mqtts" + broker_.Url().substr(4)};
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_NE(Dipper(all), 0);
    EXPECT_NE(error_.find(why), std::string::npos) << error_;
    EXPECT_EQ(error_.find("_file"), std::string::npos) << error_;
  };
  refused({}, "--ca");
  testing::WriteFile(folder_ / "no.pem", "not a certificate");
  refused({"--ca", folder_ / "no.pem"}, "--ca");
}

TEST_F(FleetCommands, WatchPrintsALineAMessage) {
  AnsweringDevice device(broker_.Url(), schema::CommandStatus::Done);
  std::thread other([&] {
    // Well after the watcher has subscribed, also on a busy machine.
    std::this_thread::sleep_for(std::chrono::milliseconds(3000));
    link::MqttConfig config;
    config.url = broker_.Url();
    config.client_id = "mote-2";
    link::MqttSession session(config);
    TransportEvent event;
    while (session.Poll(&event) != base::Status::kOk)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    alignas(16) std::array<uint8_t, telemetry::kMessageBufferBytes> buffer;
    telemetry::Event drift;
    drift.envelope = {"boot", 1, 1, 0, "main"};
    drift.kind = schema::EventKind::DriftAlarm;
    const auto bytes = telemetry::Encode(drift, buffer);
    const std::string state = R"({"state":"online","session":"1"})";
    EXPECT_EQ(session.Publish("dipper/1/demo/mote-2/m/main/event", bytes.value(), Qos::kAtLeastOnce, false,
                              nullptr),
              base::Status::kOk);
    EXPECT_EQ(
        session.Publish("dipper/1/demo/mote-2/state", base::AsBytes(state), Qos::kAtLeastOnce, true, nullptr),
        base::Status::kOk);
    for (int answered = 0; answered < 2;) {
      if (session.Poll(&event) == base::Status::kOk && event.kind == TransportEvent::Kind::kPublished)
        ++answered;
    }
  });
  EXPECT_EQ(
      Dipper({"watch", "--broker", broker_.Url(), "--for", "8", "--json", "--devices", "mote-2,mote-3"}), 0)
      << error_;
  other.join();
  std::istringstream lines(out_);
  std::vector<json> messages;
  for (std::string line; std::getline(lines, line);) messages.push_back(json::parse(line));
  ASSERT_EQ(messages.size(), 2u) << out_;
  EXPECT_EQ(messages[0]["kind"], "event");
  EXPECT_EQ(messages[0]["device"], "mote-2");
  EXPECT_EQ(messages[0]["message"]["kind"], "drift_alarm");
  EXPECT_EQ(messages[1]["message"]["state"], "online");
}

}  // namespace
}  // namespace dipper::cli

int main(int argc, char** argv) {
  if (const int skip = dipper::testing::SkipWithoutMosquitto(); skip != 0) return skip;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
