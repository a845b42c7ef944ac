// agent/app/config over several files and the environment: what wins, what is refused, what --print-config
// says.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/app/config/config.h"

namespace dipper::app {
namespace {

class Layers : public testing::Test {
 protected:
  Layers() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-layers-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directory(folder_ + "/agent.d");
    Write("agent.toml", kMain);
  }
  ~Layers() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
  }
  const ConfigReading& Read(std::vector<std::string> environment = {}, bool check_only = false) {
    reading_ = ReadConfig(
        {.path = folder_ + "/agent.toml", .environment = std::move(environment), .check_only = check_only});
    return reading_;
  }
  std::string Problems() const {
    std::string text;
    for (const std::string& problem : reading_.problems) text += problem + "\n";
    return text;
  }
  bool Complains(const std::string& text) const { return Problems().find(text) != std::string::npos; }
  std::string Origin(const std::string& key) const {
    const auto found = reading_.origins.find(key);
    return found != reading_.origins.end() ? found->second : "default";
  }

  static constexpr const char* kMain = R"([device]
id = "gw-1"
fleet = "plant"
groups = ["canary", "hall-1"]
[mqtt]
url = "mqtt://localhost:1883"
keepalive_s = 20
[storage]
boot = "boot.img"
data = "data.img"
[[model]]
slot_a = "a.img"
slot_b = "b.img"
[trust]
root = "root.dproot"
[[source]]
kind = "system"
rate_hz = 5
)";

  std::string folder_;
  ConfigReading reading_;
};

TEST_F(Layers, LaterFilesWinByName) {
  Write("agent.d/20-site.toml", "[mqtt]\nurl = \"mqtt://site:1883\"\n[device]\ngroups = [\"hall-2\"]\n");
  Write("agent.d/10-site.toml", "[mqtt]\nurl = \"mqtt://other:1883\"\nkeepalive_s = 40\n");
  Write("agent.d/.hidden.toml", "nonsense");
  Write("agent.d/note.txt", "nonsense");
  const Config& config = Read().config;
  ASSERT_EQ(Problems(), "");
  EXPECT_EQ(config.mqtt.url, "mqtt://site:1883");
  EXPECT_EQ(config.mqtt.keepalive_s, 40);
  EXPECT_EQ(config.device.groups, std::vector<std::string>{"hall-2"});  // replaced, not appended
  EXPECT_EQ(config.device.id, "gw-1");
  EXPECT_EQ(Origin("mqtt.url"), folder_ + "/agent.d/20-site.toml:2");
  EXPECT_EQ(Origin("mqtt.keepalive_s"), folder_ + "/agent.d/10-site.toml:3");
  EXPECT_EQ(Origin("device.id"), folder_ + "/agent.toml:2");
  EXPECT_EQ(Origin("mqtt.version"), "default");
  EXPECT_EQ(reading_.files.size(), 3U);
}

TEST_F(Layers, ProblemsNameTheFileTheyAreIn) {
  Write("agent.d/50.toml", "[mqtt]\nkeepalive_s = 3\nurll = 1\n[brocken\n");
  Read();
  EXPECT_TRUE(Complains("agent.d/50.toml:4: not TOML at column")) << Problems();
  Write("agent.d/50.toml", "[mqtt]\nkeepalive_s = 3\nurll = 1\n");
  Read();
  EXPECT_TRUE(
      Complains("/agent.d/50.toml:2: mqtt.keepalive_s must be a whole number from 5 to 3600; it is 3"));
  EXPECT_TRUE(Complains("/agent.d/50.toml:3: unknown key mqtt.urll; did you mean url?"));
}

TEST_F(Layers, AModelIsKnownByItsId) {
  Write("agent.d/10.toml",
        "[[model]]\nmax_image_bytes = \"64KiB\"\n"
        "[[model]]\nid = \"fan\"\nslot_a = \"fa\"\nslot_b = \"fb\"\n");
  Write("agent.d/20.toml", "[[model]]\nid = \"fan\"\nslot_b = \"fc\"\n");
  const Config& config = Read().config;
  ASSERT_EQ(Problems(), "");
  ASSERT_EQ(config.models.size(), 2U);
  EXPECT_EQ(config.models[0].id, "main");
  EXPECT_EQ(config.models[0].max_image_bytes, 65536U);
  EXPECT_EQ(config.models[0].slot_a, folder_ + "/a.img");  // of the main file's folder
  EXPECT_EQ(config.models[1].slot_a, folder_ + "/fa");
  EXPECT_EQ(config.models[1].slot_b, folder_ + "/fc");
  EXPECT_EQ(Origin("model[1].slot_b"), folder_ + "/agent.d/20.toml:3");
  // The same id twice in one file is no change but a mistake.
  Write("agent.d/20.toml",
        "[[model]]\nid = \"oil\"\nslot_a = \"o1\"\nslot_b = \"o2\"\n"
        "[[model]]\nid = \"oil\"\nslot_a = \"o3\"\nslot_b = \"o4\"\n");
  Read();
  EXPECT_TRUE(Complains("agent.d/20.toml:5: two models have the id \"oil\"")) << Problems();
}

TEST_F(Layers, ASourceReplacesTheSources) {
  Write("agent.d/10.toml", "[[source]]\nkind = \"stdin\"\n");
  const Config& config = Read().config;
  ASSERT_EQ(Problems(), "");
  EXPECT_EQ(config.sources[0].kind, "stdin");
  EXPECT_EQ(config.sources[0].rate_hz, 1.0);
  EXPECT_EQ(Origin("source[0].rate_hz"), "default");
}

TEST_F(Layers, TheEnvironmentHasTheLastWord) {
  Write("agent.d/10.toml", "[mqtt]\nkeepalive_s = 40\n");
  const Config& config =
      Read({"DIPPER_MQTT__KEEPALIVE_S=50", "DIPPER_DEVICE__GROUPS=a, b", "DIPPER_STORAGE__BOOT_BYTES=128KiB",
            "DIPPER_SOURCE__1__RATE_HZ=0.5", "DIPPER_MQTT__JSON_MIRROR=true", "DIPPER_MODEL__SLOT_A=/x/a",
            "DIPPER_MODEL__MAIN__SLOT_B=bb", "DIPPER_TEST_KILL=1", "DIPPER_PKCS11_PIN=1", "HOME=/root"})
          .config;
  ASSERT_EQ(Problems(), "");
  EXPECT_EQ(config.mqtt.keepalive_s, 50);
  EXPECT_EQ(config.device.groups, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.storage.boot_bytes, 128U * 1024);
  EXPECT_EQ(config.sources[0].rate_hz, 0.5);
  EXPECT_TRUE(config.mqtt.json_mirror);
  EXPECT_EQ(config.models[0].slot_a, "/x/a");
  EXPECT_EQ(config.models[0].slot_b, folder_ + "/bb");
  EXPECT_EQ(Origin("mqtt.keepalive_s"), "environment DIPPER_MQTT__KEEPALIVE_S");
}

TEST_F(Layers, UnknownVariablesAreErrors) {
  Read({"DIPPER_MQTT__KEEPALIVES=50", "DIPPER_COLOUR=blue", "DIPPER_MQTT__PASSWORD=hush",
        "DIPPER_MQTT__KEEPALIVE_S=often", "DIPPER_MQTT__JSON_MIRROR=yes", "DIPPER_DEVICE__HARDWARE="});
  EXPECT_TRUE(
      Complains("environment DIPPER_MQTT__KEEPALIVES: no key of the configuration has this name; did "
                "you mean DIPPER_MQTT__KEEPALIVE_S?"))
      << Problems();
  EXPECT_TRUE(
      Complains("environment DIPPER_COLOUR: no key of the configuration has this name; write DIPPER_"));
  EXPECT_TRUE(Complains("environment DIPPER_MQTT__PASSWORD: mqtt.password: secrets are never"));
  EXPECT_FALSE(Complains("hush"));
  EXPECT_TRUE(Complains("environment DIPPER_MQTT__KEEPALIVE_S: mqtt.keepalive_s must be a whole number"));
  EXPECT_TRUE(Complains("environment DIPPER_MQTT__JSON_MIRROR: mqtt.json_mirror must be true or false"));
  EXPECT_TRUE(Complains("environment DIPPER_DEVICE__HARDWARE: device.hardware must be a text"));
  EXPECT_EQ(reading_.problems.size(), 6U) << Problems();
}

TEST_F(Layers, AVariableMeansOneEntry) {
  Write("agent.d/10.toml",
        "[[model]]\nid = \"a-b\"\nslot_a = \"fa\"\nslot_b = \"fb\"\n"
        "[[model]]\nid = \"a_b\"\nslot_a = \"ga\"\nslot_b = \"gb\"\n");
  Read({"DIPPER_MODEL__SLOT_A=x", "DIPPER_MODEL__A_B__SLOT_A=x", "DIPPER_MODEL__MAIN__SLOT_A=main_a"});
  EXPECT_TRUE(Complains("DIPPER_MODEL__SLOT_A: no key of the configuration has this name")) << Problems();
  EXPECT_TRUE(Complains("DIPPER_MODEL__A_B__SLOT_A: two entries of the list have this name"));
  EXPECT_EQ(reading_.problems.size(), 2U);
  EXPECT_EQ(reading_.config.models[0].slot_a, folder_ + "/main_a");
}

TEST_F(Layers, SecretsAreRefusedWithTheWayToDoIt) {
  Write("agent.d/10.toml",
        "[mqtt]\npassword = \"hush\"\nprivate_key = \"hush\"\nkey_file = \"-----BEGIN EC PRIVATE KEY-----\"\n"
        "url = \"mqtts://me:hush@broker\"\n");
  Read();
  EXPECT_TRUE(Complains("10.toml:2: mqtt.password: secrets are never in a configuration")) << Problems();
  EXPECT_TRUE(Complains("mqtt.password_file = \"credential:mqtt.password\""));
  EXPECT_TRUE(Complains("10.toml:3: mqtt.private_key: secrets are never"));
  EXPECT_TRUE(Complains("10.toml:4: mqtt.key_file holds a key or certificate itself"));
  EXPECT_TRUE(Complains("10.toml:5: mqtt.url names a user"));
  EXPECT_FALSE(Complains("hush"));
}

TEST_F(Layers, CredentialsComeFromSystemd) {
  Write("agent.d/10.toml", "[mqtt]\nusername = \"gw-1\"\npassword_file = \"credential:mqtt.password\"\n");
  EXPECT_EQ(Read({"CREDENTIALS_DIRECTORY=/run/c"}).config.mqtt.password_file, "/run/c/mqtt.password");
  EXPECT_EQ(Problems(), "");
  Read();
  EXPECT_TRUE(
      Complains("10.toml:3: mqtt.password_file: there are no credentials: CREDENTIALS_DIRECTORY is not "
                "set; start the agent by systemd with LoadCredential=mqtt.password:FILE"));
  EXPECT_EQ(Read({}, true).config.mqtt.password_file, "/run/credentials/dipper-agent.service/mqtt.password");
  EXPECT_EQ(Problems(), "");
  for (const char* bad : {"", ".", "..", "a/b"}) {
    Write("agent.d/10.toml",
          std::string("[mqtt]\nusername = \"x\"\npassword_file = \"credential:") + bad + "\"\n");
    Read({"CREDENTIALS_DIRECTORY=/run/c"});
    EXPECT_TRUE(Complains("credential: wants the name of a credential")) << bad;
  }
}

TEST_F(Layers, PrintedValuesReadBackToTheSame) {
  Write("agent.d/10.toml", "[[model]]\nid = \"fan\"\nslot_a = \"fa\"\nslot_b = \"fb\"\n");
  Read({"DIPPER_MQTT__KEEPALIVE_S=50"});
  const std::string text = PrintConfig(reading_);
  const auto has = [&text](const std::string& key, const std::string& origin) {
    const size_t at = text.find("\n" + key);
    const std::string line =
        at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    return line.size() > origin.size() && line.substr(line.size() - origin.size()) == origin;
  };
  EXPECT_TRUE(has("id = \"gw-1\"", "# " + folder_ + "/agent.toml:2")) << text;
  EXPECT_TRUE(has("keepalive_s = 50", "# environment DIPPER_MQTT__KEEPALIVE_S")) << text;
  EXPECT_TRUE(has("version = 5", "# default"));
  EXPECT_TRUE(has("client_id = \"dipper-plant-gw-1\"", "# default"));
  EXPECT_TRUE(has("slot_a = \"" + folder_ + "/fa\"", "# " + folder_ + "/agent.d/10.toml:3"));
  EXPECT_TRUE(has("# password_file", "# not set"));
  std::filesystem::remove_all(folder_ + "/agent.d");
  Write("agent.toml", text);
  const ConfigReading again = Read();
  ASSERT_EQ(Problems(), "");
  ConfigReading bare = again;
  bare.origins.clear();
  ConfigReading first = Read();
  first.origins.clear();
  EXPECT_EQ(PrintConfig(bare), PrintConfig(first));
  EXPECT_EQ(again.config.models.size(), 2U);
  EXPECT_EQ(again.config.mqtt.keepalive_s, 50);
  EXPECT_EQ(again.config.sources[0].rate_hz, 5.0);
}

TEST_F(Layers, AnUnreadableFolderIsTold) {
  std::filesystem::remove_all(folder_ + "/agent.d");
  Write("agent.d", "a file");
  Read();
  EXPECT_TRUE(Complains("the folder " + folder_ + "/agent.d cannot be read")) << Problems();
}

}  // namespace
}  // namespace dipper::app
