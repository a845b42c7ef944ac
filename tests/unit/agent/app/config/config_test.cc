// agent/app/config: every problem is found at once, with its line and what to do.
#include "agent/app/config/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace dipper::app {
namespace {

class ConfigFile : public testing::Test {
 protected:
  ConfigFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-config-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~ConfigFile() override { std::filesystem::remove_all(folder_); }

  Config Load(const std::string& text) {
    const std::string path = folder_ + "/agent.toml";
    std::ofstream(path) << text;
    problems_.clear();
    return LoadConfig(path, &problems_);
  }
  bool Complains(const std::string& part) const {
    for (const std::string& problem : problems_) {
      if (problem.find(part) != std::string::npos) return true;
    }
    return false;
  }

  static constexpr const char* kGood = R"([device]
id = "gw-1"
fleet = "plant"
groups = ["canary"]
[mqtt]
url = "mqtts://localhost:8883"
ca_file = "ca.pem"
[storage]
boot = "boot.img"
data = "/abs/data.img"
[[model]]
slot_a = "a.img"
slot_b = "b.img"
max_image_bytes = "64KiB"
[trust]
root = "root.dproot"
[[source]]
kind = "csv_replay"
path = "s.csv"
rate_hz = 5
)";

  std::string folder_;
  std::vector<std::string> problems_;
};

TEST_F(ConfigFile, GoodOneHasNoProblems) {
  const Config config = Load(kGood);
  EXPECT_TRUE(problems_.empty()) << problems_.front();
  EXPECT_EQ(config.device.groups, std::vector<std::string>{"canary"});
  EXPECT_EQ(config.mqtt.client_id, "dipper-plant-gw-1");
  EXPECT_EQ(config.storage.boot, folder_ + "/boot.img");  // relative to the file
  EXPECT_EQ(config.storage.data, "/abs/data.img");
  ASSERT_EQ(config.models.size(), 1U);
  EXPECT_EQ(config.models[0].id, "main");
  EXPECT_EQ(config.models[0].max_image_bytes, 65536U);
  EXPECT_EQ(config.models[0].max_latency_us, 0);
  EXPECT_EQ(config.sources[0].rate_hz, 5.0);
  EXPECT_TRUE(config.sources[0].resume);
}

TEST_F(ConfigFile, UnknownKeysNameTheLineAndASuggestion) {
  std::string text = kGood;
  text.replace(text.find("ca_file"), 7, "ca_flie");
  Load(text);
  EXPECT_TRUE(Complains("agent.toml:7: unknown key mqtt.ca_flie; did you mean ca_file?"));
  EXPECT_TRUE(Complains("mqtt.ca_file is missing: with TLS the broker's certificate is always checked"));
  text = kGood;
  text.replace(text.find("[trust]"), 7, "[trsut]");
  Load(text);
  EXPECT_TRUE(Complains("unknown table or key trsut; did you mean [trust]?"));
  EXPECT_TRUE(Complains("trust.root is missing"));
}

TEST_F(ConfigFile, EveryProblemIsFoundAtOnce) {
  Load(R"([device]
id = "a/b"
fleet = 3
[mqtt]
url = "http://x"
version = 4
[storage]
boot = ""
data_bytes = "1 byte"
[[model]]
max_image_bytes = -1
[[model]]
id = "second"
[[source]]
kind = "iio"
rate_hz = 0
)");
  EXPECT_TRUE(Complains("\"a/b\": ids of devices, fleets and groups are topic levels"));
  EXPECT_TRUE(Complains("agent.toml:3: device.fleet must be a text"));
  EXPECT_TRUE(Complains("mqtt.url must begin with"));
  EXPECT_TRUE(Complains("mqtt.version must be"));
  EXPECT_TRUE(Complains("storage.boot must be a text"));
  EXPECT_TRUE(Complains("storage.data is missing"));
  EXPECT_TRUE(Complains("storage.data_bytes must be a byte count"));
  EXPECT_TRUE(Complains("model.max_image_bytes must be a byte count"));
  EXPECT_TRUE(Complains("model.slot_a is missing"));
  EXPECT_TRUE(Complains("agent.toml:12: model.slot_b is missing"));
  EXPECT_TRUE(Complains("source.device is missing"));
  EXPECT_TRUE(Complains("source.rate_hz must be a number from 0.001 to"));
  EXPECT_TRUE(Complains("trust.root is missing"));
}

TEST_F(ConfigFile, EachKindOfSourceHasItsOwnKeys) {
  const std::string head = std::string(kGood).substr(0, std::string(kGood).find("[[source]]"));
  const std::string rest = "[[source]]\n";
  const Config socket = Load(head + rest + "kind = \"socket\"\npath = \"s.sock\"\nmode = \"0620\"\n");
  EXPECT_TRUE(problems_.empty()) << problems_[0];
  EXPECT_EQ(socket.sources[0].mode, 0620U);
  EXPECT_EQ(socket.sources[0].path, folder_ + "/s.sock");
  const Config iio = Load(head + rest +
                          "kind = \"iio\"\ndevice = \"bme280\"\nchannels = [\"temp\"]\nrate_hz = 10\n"
                          "buffer_samples = 16\n");
  EXPECT_TRUE(problems_.empty()) << problems_[0];
  EXPECT_EQ(iio.sources[0].channels, std::vector<std::string>{"temp"});
  EXPECT_EQ(iio.sources[0].buffer_samples, 16);
  Load(head + rest + "kind = \"stdin\"\n");
  EXPECT_TRUE(problems_.empty()) << problems_[0];
  Load(head + rest + "kind = \"system\"\nrate_hz = 1\n");
  EXPECT_TRUE(problems_.empty()) << problems_[0];
  Load(head + rest + "kind = \"system\"\npath = \"x\"\n");
  EXPECT_TRUE(Complains("unknown key source.path"));
  Load(head + rest + "kind = \"socket\"\n");
  EXPECT_TRUE(Complains("source.path is missing"));
  for (const char* mode : {"rw", "660", "0999", "06600"}) {
    Load(head + rest + "kind = \"socket\"\npath = \"s\"\nmode = \"" + mode + "\"\n");
    EXPECT_TRUE(Complains("source.mode must be four octal digits")) << mode;
  }
  Load(head + rest + "kind = \"telepathy\"\n");
  EXPECT_TRUE(Complains("source.kind \"telepathy\" is unknown; there are csv_replay"));
}

TEST_F(ConfigFile, ALatencyLimitIsWholeMicroseconds) {
  std::string text = kGood;
  const size_t at = text.find("max_image_bytes");
  const Config config = Load(std::string(text).insert(at, "max_latency_us = 1500\n"));
  ASSERT_TRUE(problems_.empty()) << problems_.front();
  EXPECT_EQ(config.models[0].max_latency_us, 1500);
  for (const char* bad : {"-1", "60000001", "1.5", "\"1ms\""}) {
    Load(std::string(text).insert(at, std::string("max_latency_us = ") + bad + "\n"));
    ASSERT_EQ(problems_.size(), 1U) << bad;
    EXPECT_TRUE(Complains("agent.toml:14: model.max_latency_us must be a whole number from 0 to 60000000"))
        << bad;
  }
  Load(std::string(text).insert(at, "max_latency_ms = 1\n"));
  EXPECT_TRUE(Complains("agent.toml:14: unknown key model.max_latency_ms; did you mean max_latency_us?"));
}

TEST_F(ConfigFile, SeveralModelsEachHaveTheirOwn) {
  std::string text = kGood;
  text.replace(text.find("[[model]]"), 9, "[[model]]\nid = \"pump\"");
  const std::string second = "[[model]]\nid = \"fan\"\nslot_a = \"fa.img\"\nslot_b = \"fb.img\"\n";
  const Config config = Load(text + second);
  ASSERT_TRUE(problems_.empty()) << problems_.front();
  ASSERT_EQ(config.models.size(), 2U);
  EXPECT_EQ(config.models[0].id, "pump");
  EXPECT_EQ(config.models[1].id, "fan");
  EXPECT_EQ(config.models[1].slot_a, folder_ + "/fa.img");
  EXPECT_EQ(config.models[1].max_image_bytes, 256U * 1024);

  Load(text + "[[model]]\nid = \"pump\"\nslot_a = \"fa.img\"\nslot_b = \"./a.img\"\n");
  EXPECT_TRUE(Complains("agent.toml:22: two models have the id \"pump\""));
  EXPECT_TRUE(
      Complains("agent.toml:25: model.slot_b: " + folder_ + "/./a.img is also model \"pump\" slot_a"));
  EXPECT_EQ(problems_.size(), 2U);

  Load(text + "[[model]]\nid = \"a/b\"\nslot_a = \"boot.img\"\nslot_b = \"y\"\n");
  EXPECT_TRUE(Complains("agent.toml:23: model.id \"a/b\" is a topic level"));
  EXPECT_TRUE(Complains("agent.toml:24: model.slot_a: " + folder_ + "/boot.img is also storage.boot"));
}

TEST_F(ConfigFile, MoreModelsThanPlacesAreTooMany) {
  std::string text = kGood;
  for (const char* id : {"b", "c", "d", "e", "f"}) {
    const std::string name(id);
    text += "[[model]]\nid = \"" + name + "\"\nslot_a = \"" + name + "1\"\nslot_b = \"" + name + "2\"\n";
  }
  Load(text);
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_TRUE(Complains("agent.toml:33: a device runs at most 4 models"));
  text = kGood;
  text.erase(text.find("[[model]]"), text.find("[trust]") - text.find("[[model]]"));
  Load(text);
  EXPECT_TRUE(Complains("at least one [[model]] table is needed"));
}

TEST_F(ConfigFile, OneModelMayBeATable) {
  std::string text = kGood;
  text.replace(text.find("[[model]]"), 9, "[model]");
  const Config config = Load(text);
  EXPECT_TRUE(problems_.empty()) << problems_.front();
  ASSERT_EQ(config.models.size(), 1U);
}

TEST_F(ConfigFile, AModelThatRunsCannotBeForgotten) {
  std::string text = kGood;
  const size_t at = text.find("[[model]]");
  const Config config = Load(std::string(text).insert(at, "forget_models = [\"old\"]\n"));
  EXPECT_TRUE(problems_.empty());
  EXPECT_EQ(config.storage.forget_models, std::vector<std::string>{"old"});
  Load(std::string(text).insert(at, "forget_models = [\"old\", \"main\"]\n"));
  EXPECT_TRUE(Complains("storage.forget_models names \"main\", which is configured"));
  Load(std::string(text).insert(at, "forget_models = \"old\"\n"));
  EXPECT_TRUE(Complains("agent.toml:11: storage.forget_models must be a list of texts"));
}

TEST_F(ConfigFile, ForgottenModelsAreModelIds) {
  std::string text = kGood;
  const size_t at = text.find("[[model]]");
  Load(std::string(text).insert(at, "forget_models = [\"a/b\", \"old\", \"old\", \"\"]\n"));
  EXPECT_TRUE(Complains("agent.toml:11: storage.forget_models: \"a/b\" is no model's id"));
  EXPECT_TRUE(Complains("agent.toml:11: storage.forget_models: \"\" is no model's id"));
  EXPECT_TRUE(Complains("agent.toml:11: storage.forget_models names \"old\" twice"));
  EXPECT_EQ(problems_.size(), 3U);
}

TEST_F(ConfigFile, EntriesOfAListAreTables) {
  std::string text = kGood;
  const size_t from = text.find("[[model]]"), to = text.find("[trust]");
  text.replace(from, to - from, "");
  const std::string head = "model = [\n{slot_a = \"a\", slot_b = \"b\"},\n3, \"x\"]\n";
  Load(head + text);
  EXPECT_TRUE(Complains("agent.toml:3: model holds something that is no table; write each as [[model]]"));
  EXPECT_EQ(problems_.size(), 2U);
  Load("model = 3\n" + text);
  EXPECT_TRUE(Complains("agent.toml:1: model must be a list of tables, each [[model]]"));
  Load("model = []\n" + text);
  EXPECT_TRUE(Complains("at least one [[model]] table is needed: a model's slots and limits"));
  Load("source = [1]\n" + std::string(kGood).substr(0, std::string(kGood).find("[[source]]")));
  EXPECT_TRUE(Complains("agent.toml:1: source holds something that is no table"));
  Load("[[device]]\nid = \"x\"\n");
  EXPECT_TRUE(Complains("agent.toml:1: there is one device: write [device] once"));
  Load("mqtt = 1\n");
  EXPECT_TRUE(Complains("agent.toml:1: mqtt must be a table, [mqtt]"));
}

TEST_F(ConfigFile, KeysInTheWrongPlaceAreShownTheRightOne) {
  Load("keepalive_s = 3\n" + std::string(kGood));
  EXPECT_TRUE(Complains("agent.toml:1: unknown table or key keepalive_s; it belongs below [mqtt]"));
  std::string text = kGood;
  text.insert(text.find("[mqtt]"), "keepalive_s = 3\n");
  Load(text);
  EXPECT_TRUE(Complains("agent.toml:5: unknown key device.keepalive_s; there is mqtt.keepalive_s"));
  Load("colours = 3\n" + std::string(kGood));
  EXPECT_TRUE(Complains("unknown table or key colours; there are device mqtt storage model trust source"));
}

TEST_F(ConfigFile, ValuesThatDoNotFitTogether) {
  const auto with = [](const std::string& from, const std::string& to) {
    std::string text = kGood;
    return text.replace(text.find(from), from.size(), to);
  };
  Load(with("ca_file = \"ca.pem\"", "ca_file = \"ca.pem\"\npassword_file = \"p\""));
  EXPECT_TRUE(Complains("agent.toml:8: mqtt.password_file needs mqtt.username"));
  Load(with("ca_file = \"ca.pem\"", "ca_file = \"ca.pem\"\nkey_file = \"p\""));
  EXPECT_TRUE(Complains("agent.toml:8: mqtt.cert_file and mqtt.key_file go together"));
  Load(with("mqtts://localhost:8883", "mqtts://:8883"));
  EXPECT_TRUE(Complains("agent.toml:6: mqtt.url \"mqtts://:8883\" is not the address of a broker"));
  Load(with("\"canary\"", "\"canary\", \"canary\""));
  EXPECT_TRUE(Complains("agent.toml:4: device.groups names \"canary\" twice"));
  Load(with("/abs/data.img", "boot.img"));
  EXPECT_TRUE(Complains("boot.img is also storage.boot; every partition has one use"));
  Load(with("\"ca.pem\"", "\"ca\\u0000.pem\""));
  EXPECT_TRUE(Complains("agent.toml:7: mqtt.ca_file holds a control character"));
  Load(with("[mqtt]", "[control]\nsocket = \"" + std::string(120, 'x') + "\"\n[mqtt]"));
  EXPECT_TRUE(Complains("agent.toml:6: control.socket: "));
  EXPECT_TRUE(Complains("is longer than the 107 bytes"));
}

TEST_F(ConfigFile, ABootFileThatIsMadeHoldsEveryModel) {
  std::string text = kGood;
  text.insert(text.find("[[model]]"), "create = true\nboot_bytes = \"32KiB\"\n");
  Load(text);
  EXPECT_TRUE(problems_.empty());
  Load(text + "[[model]]\nid = \"fan\"\nslot_a = \"fa.img\"\nslot_b = \"fb.img\"\n");
  EXPECT_TRUE(Complains("storage.boot_bytes is too small for 2 models: give it at least 40960"));
}

TEST_F(ConfigFile, SyntaxErrorsAndMissingFilesAreProblemsToo) {
  Load("[device\nid = 1\n");
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_TRUE(Complains("agent.toml:1: "));
  problems_.clear();
  (void)LoadConfig(folder_ + "/none.toml", &problems_);
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_TRUE(Complains("none.toml: cannot be read (No such file or directory)"));
  problems_.clear();
  (void)LoadConfig(folder_, &problems_);
  EXPECT_TRUE(Complains(": cannot be read (Is a directory)"));
}

TEST_F(ConfigFile, IdsMustBeLevelsOfTheTopicTree) {
  const auto with = [](std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  };
  Load(with(kGood, "\"gw-1\"", "\"offer\""));
  EXPECT_TRUE(Complains("\"offer\" is a word of the topic tree"));
  Load(with(kGood, "[\"canary\"]", "[\"\", \"all\"]"));
  EXPECT_TRUE(Complains("\"\": ids of devices, fleets and groups are topic levels: 1 to 64"));
  EXPECT_TRUE(Complains("\"all\" is a word of the topic tree"));
}

}  // namespace
}  // namespace dipper::app
