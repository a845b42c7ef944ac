// agent/app/group_keys: which key files an agent starts with, and what it says about the others.
#include "agent/app/group_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace dipper::app {
namespace {

class GroupKeysTest : public testing::Test {
 protected:
  GroupKeysTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dipper-keys-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~GroupKeysTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string WriteKey(const std::string& name, mode_t mode = 0600) {
    const auto key = package::GenerateKey();
    const auto pem = package::PrivateKeyPem(*key);
    ids_.push_back(key->id());
    return Write(name, *pem, mode);
  }
  /// What is said about `paths`; "" when they were all taken.
  std::string Load(const std::vector<std::string>& paths) {
    keys_ = {};
    std::string message;
    const bool loaded = LoadGroupKeys(paths, &keys_, &message);
    EXPECT_EQ(loaded, message.empty()) << message;
    return message;
  }

  std::string folder_;
  std::vector<base::Digest> ids_;
  package::GroupKeys keys_;
};

constexpr const char* kNotAKey =
    "is not an unencrypted P-256 private key in PEM form; make one with: dipper key new --kind group";

TEST_F(GroupKeysTest, NoFilesAreNoKeys) {
  EXPECT_EQ(Load({}), "");
  EXPECT_EQ(keys_.size(), 0U);
}

TEST_F(GroupKeysTest, SeveralAreAllThere) {
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < package::kMaxGroupKeys; ++i) {
    paths.push_back(WriteKey("group-" + std::to_string(i) + ".key"));
  }
  EXPECT_EQ(Load(paths), "");
  EXPECT_EQ(keys_.size(), package::kMaxGroupKeys);
  for (const base::Digest& id : ids_) EXPECT_NE(keys_.Find(id), nullptr);
}

TEST_F(GroupKeysTest, OneTooManyIsSaid) {
  std::vector<std::string> paths;
  for (uint32_t i = 0; i <= package::kMaxGroupKeys; ++i) {
    paths.push_back(WriteKey("group-" + std::to_string(i) + ".key"));
  }
  EXPECT_EQ(Load(paths),
            "trust.group_keys: " + paths.back() + " is one key too many; a device takes at most 8");
}

TEST_F(GroupKeysTest, AKeyTwiceIsSaid) {
  const std::string first = WriteKey("a.key");
  const std::string copy = folder_ + "/b.key";
  std::filesystem::copy_file(first, copy);
  EXPECT_EQ(Load({first, copy}),
            "trust.group_keys: " + copy + " holds a key that is there already; name each key once");
}

TEST_F(GroupKeysTest, WhatOthersMayReadOrChangeIsRefused) {
  for (const auto& [mode, text] : {std::pair<mode_t, const char*>{0644, "0644"},
                                   {0604, "0604"},
                                   {0602, "0602"},
                                   {0601, "0601"},
                                   {0620, "0620"},
                                   {0660, "0660"},
                                   {0666, "0666"}}) {
    const std::string path = WriteKey("open.key", mode);
    EXPECT_EQ(Load({path}), "trust.group_keys: " + path + " has mode " + text +
                                ": others could read or change the group's key; run: chmod 0600 " + path);
    EXPECT_EQ(keys_.size(), 0U);
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);  // what it says to do helps
    EXPECT_EQ(Load({path}), "");
  }
}

TEST_F(GroupKeysTest, TheServicesOwnGroupMayRead) {
  for (const mode_t mode : {0400U, 0440U, 0600U, 0640U, 0700U}) {
    EXPECT_EQ(Load({WriteKey("mine.key", mode)}), "") << std::oct << mode;
  }
}

TEST_F(GroupKeysTest, PermissionsAreThoseOfTheFileBehindALink) {
  const std::string link = folder_ + "/link.key";
  const std::string open = WriteKey("open.key", 0644);
  ASSERT_EQ(::symlink(open.c_str(), link.c_str()), 0);
  EXPECT_NE(Load({link}).find("has mode 0644"), std::string::npos);
  ASSERT_EQ(::chmod(open.c_str(), 0600), 0);
  EXPECT_EQ(Load({link}), "");
}

TEST_F(GroupKeysTest, WhatIsNoKeyIsRefused) {
  const auto key = package::GenerateKey();
  const std::string pem = *package::PrivateKeyPem(*key);
  const std::string public_pem = *package::PublicKeyPem(key->public_key());
  std::string flipped = pem;
  flipped[pem.size() / 2] = flipped[pem.size() / 2] == 'A' ? 'B' : 'A';
  const std::pair<const char*, std::string> cases[] = {
      {"empty", ""},
      {"text", "hello\n"},
      {"half", pem.substr(0, pem.size() / 2)},
      {"public", public_pem},
      {"zeros", std::string(200, '\0')},
      {"header only", "-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n"}};
  for (const auto& [what, text] : cases) {
    const std::string path = Write("bad.key", text);
    EXPECT_EQ(Load({path}), "trust.group_keys: " + path + " " + kNotAKey) << what;
  }
  // One character changed is another key or none, but never the same one.
  keys_ = {};
  std::string message;
  if (LoadGroupKeys({Write("flipped.key", flipped)}, &keys_, &message)) {
    EXPECT_EQ(keys_.Find(key->id()), nullptr);
  }
}

TEST_F(GroupKeysTest, WhatCannotBeReadSaysWhy) {
  const std::string missing = folder_ + "/missing.key";
  EXPECT_EQ(Load({missing}), "trust.group_keys: " + missing +
                                 " cannot be read (No such file or directory); put the key there or take it "
                                 "off the list");
  EXPECT_EQ(Load({folder_}), "trust.group_keys: " + folder_ + " is not a regular file; name the key's file");
  const std::string large = Write("large.key", std::string(16 * 1024, 'x'));
  EXPECT_EQ(Load({large}),
            "trust.group_keys: " + large + " cannot be read (File too large); is it the key's file?");
  if (::geteuid() != 0) {  // root reads everything
    const std::string closed = WriteKey("closed.key", 0000);
    EXPECT_NE(Load({closed}).find("cannot be read (Permission denied)"), std::string::npos);
  }
}

TEST_F(GroupKeysTest, APipeDoesNotHoldTheStart) {
  const std::string pipe = folder_ + "/pipe.key";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(Load({pipe}).find("is not a regular file"), std::string::npos);
}

TEST_F(GroupKeysTest, TheFirstBadOneOfSeveralIsNamed) {
  const std::string good = WriteKey("good.key"), bad = Write("bad.key", "x");
  EXPECT_EQ(Load({good, bad, folder_ + "/missing.key"}), "trust.group_keys: " + bad + " " + kNotAKey);
}

}  // namespace
}  // namespace dipper::app
