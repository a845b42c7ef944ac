// dipper root: makes, succeeds and shows trust roots (docs/reference/trust.md).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr std::array<const char*, package::kRoleCount> kRoleNames = {"root", "release", "rollout", "command"};
constexpr int64_t kDaySeconds = 24 * 3600;

struct RootOptions {
  std::array<std::vector<std::string>, package::kRoleCount> keys;
  std::array<uint32_t, package::kRoleCount> thresholds = {1, 1, 1, 1};
  uint32_t days = 365;
  int64_t release_epoch = -1;  // not given
  std::string from;
  std::vector<std::string> old_keys;
  std::string file;
  bool json = false;
};

/// Index of a key in the root, added if it is new.
uint8_t KeyIndex(const package::PublicKey& key, std::vector<package::PublicKey>* keys) {
  const auto found = std::find(keys->begin(), keys->end(), key);
  const auto index = static_cast<uint8_t>(found - keys->begin());
  if (found == keys->end()) keys->push_back(key);
  return index;
}

schema::RootT MakeRoot(const RootOptions& options, uint32_t version, const package::TrustRoot* old) {
  schema::RootT root;
  root.version = version;
  root.created = BuildTime();
  root.expires = root.created + kDaySeconds * options.days;
  std::vector<package::PublicKey> keys;
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    std::vector<uint8_t> indices;
    for (const std::string& path : options.keys[i]) indices.push_back(KeyIndex(LoadPublicKey(path), &keys));
    const auto name = static_cast<schema::RoleName>(i);
    uint32_t epoch = old == nullptr ? 0 : old->role(name).epoch;
    if (name == schema::RoleName::Release && options.release_epoch >= 0) {
      epoch = static_cast<uint32_t>(options.release_epoch);
    }
    if (options.thresholds[i] < 1 || options.thresholds[i] > indices.size()) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("the {} role has {} key(s) and a threshold of {}; give as many --{}-key, or a lower "
                      "--{}-threshold",
                      kRoleNames[i], indices.size(), options.thresholds[i], kRoleNames[i], kRoleNames[i]));
    }
    root.roles.push_back(
        package::MakeRole(name, static_cast<uint8_t>(options.thresholds[i]), std::move(indices), epoch));
  }
  for (const package::PublicKey& key : keys) root.keys.push_back(package::ToSchema(key));
  size_t named = 0;
  for (const auto& paths : options.keys) named += paths.size();
  if (keys.size() < named) Warn("one key serves several roles: whoever steals it has all of them");
  return root;
}

package::Bytes Build(const schema::RootT& root, std::span<const std::string> signers) {
  std::vector<package::PrivateKey> keys;
  for (const std::string& path : signers) keys.push_back(LoadPrivateKey(path));
  const auto bytes = package::BuildRoot(root, keys);
  if (!bytes.ok()) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("no root was made ({}): at most {} keys, each once a role, at most {} signatures and an "
                    "expiry in the future are possible",
                    base::StatusName(bytes.status()), package::kMaxKeys, package::kMaxSignatures));
  }
  return *bytes;
}

void Written(const RootOptions& options, const schema::RootT& root) {
  Note(fmt::format("wrote {}: version {}, expires {}", options.file, root.version, TimeText(root.expires)));
}

void NewRoot(const RootOptions& options) {
  const schema::RootT root = MakeRoot(options, 1, nullptr);
  lab::WriteFile(options.file, Build(root, options.keys[0]));
  Written(options, root);
}

void NextRoot(const RootOptions& options) {
  const package::TrustRoot old = LoadRoot(options.from);
  const schema::RootT root = MakeRoot(options, old.version() + 1, &old);
  std::vector<std::string> signers = options.keys[0];
  signers.insert(signers.end(), options.old_keys.begin(), options.old_keys.end());
  const package::Bytes bytes = Build(root, signers);
  package::TrustRoot next;
  if (old.ParseSuccessor(bytes, &next) != schema::Reason::None) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("devices with {} would refuse this root: it needs the signatures of {} of its root keys "
                    "(--old-root-key), and epochs that do not go back",
                    options.from, old.role(schema::RoleName::Root).threshold));
  }
  lab::WriteFile(options.file, bytes);
  Written(options, root);
}

void ShowRoot(const RootOptions& options) {
  const package::TrustRoot root = LoadRoot(options.file);
  const bool expired = root.ExpiredAt({BuildTime(), true});
  if (options.json) {
    Json out;
    out["version"] = root.version();
    out["created"] = root.created();
    out["expires"] = root.expires();
    out["expired"] = expired;
    for (uint8_t i = 0; i < package::kRoleCount; ++i) {
      const package::RoleKeys& role = root.role(static_cast<schema::RoleName>(i));
      Json keys = Json::array();
      for (const uint8_t index : role.keys)
        keys.push_back(std::string(base::ToHex(root.key_id(index)).view()));
      Json one;
      one["threshold"] = role.threshold;
      one["epoch"] = role.epoch;
      one["keys"] = keys;
      out["roles"][kRoleNames[i]] = one;
    }
    PrintJson(out);
    return;
  }
  fmt::print("version {}\ncreated {}\nexpires {}{}\n\n", root.version(), TimeText(root.created()),
             TimeText(root.expires()), expired ? "  EXPIRED" : "");
  Table table({"ROLE", "THRESHOLD", "EPOCH", "KEY"});
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    const package::RoleKeys& role = root.role(static_cast<schema::RoleName>(i));
    for (const uint8_t index : role.keys) {
      table.AddRow({kRoleNames[i], std::to_string(role.threshold), std::to_string(role.epoch),
                    std::string(base::ToHex(root.key_id(index)).view())});
    }
  }
  table.Print();
}

void AddRootOptions(CLI::App* command, RootOptions* options) {
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    const std::string role = kRoleNames[i];
    const char* kind = i == 0 ? "private" : "private or public";
    command
        ->add_option("--" + role + "-key", options->keys[i],
                     fmt::format("Key of the {} role ({}); repeatable", role, kind))
        ->required()
        ->allow_extra_args(false);
    command->add_option("--" + role + "-threshold", options->thresholds[i], "Signatures that the role needs")
        ->capture_default_str()
        ->check(CLI::Range(1, int{package::kMaxSignatures}));
  }
  command->add_option("--expires", options->days, "Days until it expires")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  command
      ->add_option("--release-epoch", options->release_epoch,
                   "Epoch of the release role; raise it after a key theft")
      ->check(CLI::Range(int64_t{0}, int64_t{UINT32_MAX}));
  command->add_option("--out", options->file, "File to write")->required();
}

}  // namespace

void RegisterRoot(CLI::App& app, int&) {
  CLI::App* root = app.add_subcommand("root", "Make and show trust roots");
  root->require_subcommand(1);
  const auto options = std::make_shared<RootOptions>();
  CLI::App* fresh = root->add_subcommand("new", "Make version 1 of a trust root, signed by its root keys");
  AddRootOptions(fresh, options.get());
  fresh->callback([options] { NewRoot(*options); });
  CLI::App* next = root->add_subcommand("next", "Make the successor of a trust root");
  AddRootOptions(next, options.get());
  next->add_option("--from", options->from, "The root to succeed")->required();
  next->add_option("--old-root-key", options->old_keys,
                   "Root key of the old root, if it is not one of the new")
      ->allow_extra_args(false);
  next->callback([options] { NextRoot(*options); });
  CLI::App* show = root->add_subcommand("show", "Verify and show a trust root");
  show->add_option("file", options->file, "Trust root")->required();
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options] { ShowRoot(*options); });
}

}  // namespace dipper::cli
