// agent/app/config: every problem is found at once, with its line and what to do.
#include "agent/app/config.h"

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
  EXPECT_EQ(config.model.max_image_bytes, 65536U);
  EXPECT_EQ(config.source.rate_hz, 5.0);
  EXPECT_TRUE(config.source.resume);
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
  EXPECT_TRUE(Complains("this version runs one [[model]]"));
  EXPECT_TRUE(Complains("source.kind \"iio\" is unknown"));
  EXPECT_TRUE(Complains("source.rate_hz must be a number from 0.001 to"));
  EXPECT_TRUE(Complains("source.path is missing"));
  EXPECT_TRUE(Complains("trust.root is missing"));
}

TEST_F(ConfigFile, SyntaxErrorsAndMissingFilesAreProblemsToo) {
  Load("[device\nid = 1\n");
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_TRUE(Complains("agent.toml:1: "));
  problems_.clear();
  (void)LoadConfig(folder_ + "/none.toml", &problems_);
  ASSERT_EQ(problems_.size(), 1U);
  EXPECT_TRUE(Complains("none.toml"));
}

}  // namespace
}  // namespace dipper::app
