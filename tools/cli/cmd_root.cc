// dipper root: makes, rotates, signs and shows trust roots (docs/reference/trust.md).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "tools/cli/command.h"
#include "tools/cli/document_files.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr std::array<const char*, package::kRoleCount> kRoleNames = {"root", "release", "rollout", "command"};
constexpr int64_t kDaySeconds = 24 * 3600;

struct RootOptions {
  std::array<std::vector<std::string>, package::kRoleCount> keys;
  std::array<uint32_t, package::kRoleCount> thresholds{};              // 0: not given
  std::array<int64_t, package::kRoleCount> epochs = {-1, -1, -1, -1};  // -1: not given
  uint32_t days = 365;
  std::string from;
  std::vector<std::string> sign_keys;
  bool draft = false;
  bool force = false;
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

/// Keys named for a role; those of the root that is succeeded when none is.
std::vector<package::PublicKey> KeysOfRole(const RootOptions& options, uint8_t role,
                                           const package::TrustRoot* old) {
  std::vector<package::PublicKey> keys;
  for (const std::string& reference : options.keys[role]) {
    if (IsGroupKeyFile(reference)) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("--{}-key {}: this is the key of a device group, which every device of it has; a role "
                      "needs a key of `dipper key new`",
                      kRoleNames[role], reference));
    }
    keys.push_back(LoadPublicKey(reference));
  }
  if (!keys.empty() || old == nullptr) return keys;
  for (const uint8_t index : old->role(static_cast<schema::RoleName>(role)).keys)
    keys.push_back(old->keys()[index]);
  return keys;
}

uint32_t ThresholdOfRole(const RootOptions& options, uint8_t role, const package::TrustRoot* old) {
  if (options.thresholds[role] != 0) return options.thresholds[role];
  return old == nullptr ? 1 : old->role(static_cast<schema::RoleName>(role)).threshold;
}

uint32_t EpochOfRole(const RootOptions& options, uint8_t role, const package::TrustRoot* old) {
  const uint32_t former = old == nullptr ? 0 : old->epoch(static_cast<schema::RoleName>(role));
  if (options.epochs[role] < 0) return former;
  const auto epoch = static_cast<uint32_t>(options.epochs[role]);
  if (epoch >= former) return epoch;
  throw Error(ExitCode::kUsage,
              fmt::format("the {} role's epoch is {} and never goes back; give --{}-epoch {} or above",
                          kRoleNames[role], former, kRoleNames[role], former));
}

schema::RootT MakeRoot(const RootOptions& options, uint32_t version, const package::TrustRoot* old) {
  schema::RootT root;
  root.version = version;
  root.created = BuildTime();
  root.expires = root.created + kDaySeconds * options.days;
  std::vector<package::PublicKey> keys;
  size_t named = 0;
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    std::vector<uint8_t> indices;
    for (const package::PublicKey& key : KeysOfRole(options, i, old)) indices.push_back(KeyIndex(key, &keys));
    named += indices.size();
    const uint32_t threshold = ThresholdOfRole(options, i, old);
    if (threshold < 1 || threshold > indices.size()) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("the {} role has {} key(s) and a threshold of {}; give as many --{}-key, or a lower "
                      "--{}-threshold",
                      kRoleNames[i], indices.size(), threshold, kRoleNames[i], kRoleNames[i]));
    }
    root.roles.push_back(package::MakeRole(static_cast<schema::RoleName>(i), static_cast<uint8_t>(threshold),
                                           std::move(indices), EpochOfRole(options, i, old)));
  }
  for (const package::PublicKey& key : keys) root.keys.push_back(package::ToSchema(key));
  if (keys.size() < named) Warn("one key serves several roles: whoever steals it has all of them");
  return root;
}

/// The root's draft, signed by every root key that can sign here and by --sign-key.
package::Bytes Build(const schema::RootT& root, const RootOptions& options) {
  const auto draft = package::DraftRoot(root);
  if (!draft.ok()) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("no root was made ({}): at most {} keys, each once a role, at most {} signatures and an "
                    "expiry in the future are possible",
                    base::StatusName(draft.status()), package::kMaxKeys, package::kMaxSignatures));
  }
  std::vector<std::string> signers;
  for (const std::string& reference : options.keys[0]) {
    if (!IsPublicKeyFile(reference)) signers.push_back(reference);
  }
  signers.insert(signers.end(), options.sign_keys.begin(), options.sign_keys.end());
  return SignDocument(*draft, OpenSigners(signers));
}

void Write(const RootOptions& options, const schema::RootT& root, const package::Bytes& bytes,
           const package::TrustRoot* old) {
  const SigningState state = RootSigningState(bytes, old);
  if (!state.complete && !options.draft) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("devices would refuse this root: {}. Sign with --root-key or --sign-key; or write it as "
                    "it is with --draft, and let the others add theirs with `dipper root sign`",
                    state.text));
  }
  OutputFile output{
      .path = options.file, .kind = FileKind::kRoot, .force = options.force, .inputs = options.sign_keys};
  for (const auto& keys : options.keys) output.inputs.insert(output.inputs.end(), keys.begin(), keys.end());
  output.inputs.push_back(options.from);
  WriteOutput(output, bytes);
  Note(fmt::format("wrote {}: version {}, expires {}", options.file, root.version, TimeText(root.expires)));
  if (!state.complete) Warn(fmt::format("{} is a draft that devices refuse: {}", options.file, state.text));
}

void NewRoot(const RootOptions& options) {
  const schema::RootT root = MakeRoot(options, 1, nullptr);
  Write(options, root, Build(root, options), nullptr);
}

void NextRoot(const RootOptions& options) {
  const package::TrustRoot old = LoadRoot(options.from);
  const schema::RootT root = MakeRoot(options, old.version() + 1, &old);
  Write(options, root, Build(root, options), &old);
}

void ShowRoot(const RootOptions& options, int& exit_code) {
  const package::Bytes bytes = LoadDocument(options.file);
  package::TrustRoot root;
  if (package::TrustRoot::ParseDraft(bytes, &root) != schema::Reason::None) {
    throw Error(ExitCode::kVerificationFailed, fmt::format("{} is not a trust root", options.file));
  }
  const std::optional<package::TrustRoot> old =
      options.from.empty() ? std::nullopt : std::optional(LoadRoot(options.from));
  const SigningState state = RootSigningState(bytes, old ? &*old : nullptr);
  if (!state.complete) exit_code = static_cast<int>(ExitCode::kVerificationFailed);
  const bool expired = root.ExpiredAt({BuildTime(), true});
  if (options.json) {
    Json out;
    out["version"] = root.version();
    out["created"] = root.created();
    out["expires"] = root.expires();
    out["expired"] = expired;
    out["complete"] = state.complete;
    out["signatures"] = state.text;
    for (uint8_t i = 0; i < package::kRoleCount; ++i) {
      const package::RoleKeys& role = root.role(static_cast<schema::RoleName>(i));
      Json keys = Json::array();
      for (const uint8_t index : role.keys) keys.push_back(HexText(root.key_id(index)));
      Json one;
      one["threshold"] = role.threshold;
      one["epoch"] = role.epoch;
      one["keys"] = keys;
      out["roles"][kRoleNames[i]] = one;
    }
    PrintJson(out);
    return;
  }
  fmt::print("version {}\ncreated {}\nexpires {}{}\nsigned  {}{}\n\n", root.version(),
             TimeText(root.created()), TimeText(root.expires()), expired ? "  EXPIRED" : "", state.text,
             state.complete ? "" : "  DRAFT: devices refuse it");
  Table table({"ROLE", "THRESHOLD", "EPOCH", "KEY"});
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    const package::RoleKeys& role = root.role(static_cast<schema::RoleName>(i));
    for (const uint8_t index : role.keys) {
      table.AddRow({kRoleNames[i], std::to_string(role.threshold), std::to_string(role.epoch),
                    HexText(root.key_id(index))});
    }
  }
  table.Print();
}

void AddRootOptions(CLI::App* command, RootOptions* options, bool fresh) {
  for (uint8_t i = 0; i < package::kRoleCount; ++i) {
    const std::string role = kRoleNames[i];
    auto* key = command->add_option("--" + role + "-key", options->keys[i],
                                    fmt::format("Key of the {} role: {}{}; repeatable{}", role, kKeyHelp,
                                                i == 0 ? "; it signs, unless it is a public key" : "",
                                                fresh ? "" : "; none: those of the former root"));
    key->allow_extra_args(false);
    if (fresh) key->required();
    command
        ->add_option(
            "--" + role + "-threshold", options->thresholds[i],
            fmt::format("Signatures that the role needs; default: {}", fresh ? "1" : "as in the former root"))
        ->check(CLI::Range(1, int{package::kMaxSignatures}));
    if (i == 0) continue;
    const uint32_t most = i == 1 ? UINT32_MAX : package::kMaxNumberEpoch;
    command
        ->add_option("--" + role + "-epoch", options->epochs[i],
                     fmt::format("Epoch of the {} role; raise it after a key theft", role))
        ->check(CLI::Range(int64_t{0}, int64_t{most}));
  }
  command->add_option("--expires", options->days, "Days until it expires")
      ->capture_default_str()
      ->check(CLI::Range(1, 36500));
  command
      ->add_option(
          "--sign-key,--old-root-key", options->sign_keys,
          fmt::format("Further key that signs: {}; of the former root, or of the root role", kKeyHelp))
      ->allow_extra_args(false);
  command->add_flag("--draft", options->draft,
                    "Write it though signatures are missing; others add theirs with `dipper root sign`");
  command->add_option("--out", options->file, "File to write")->required();
  command->add_flag("--force", options->force, kForceHelp);
}

}  // namespace

void RegisterRoot(CLI::App& app, int& exit_code) {
  CLI::App* root = app.add_subcommand("root", "Make, rotate, sign and show trust roots");
  root->require_subcommand(1);
  const auto options = std::make_shared<RootOptions>();
  CLI::App* fresh = root->add_subcommand("new", "Make version 1 of a trust root, signed by its root keys");
  AddRootOptions(fresh, options.get(), true);
  fresh->callback([options] { NewRoot(*options); });
  CLI::App* next = root->add_subcommand("next", "Make the successor of a trust root (rotation)");
  next->alias("rotate");
  AddRootOptions(next, options.get(), false);
  next->add_option("--from", options->from, "The root to succeed")->required();
  next->callback([options] { NextRoot(*options); });
  AddSigningCommands(*root);
  CLI::App* show = root->add_subcommand("show", "Show a trust root, and whether it is signed as it must be");
  show->add_option("file", options->file, "Trust root")->required();
  show->add_option("--from", options->from, "The root that it is to succeed: is it signed by that one too?");
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options, &exit_code] { ShowRoot(*options, exit_code); });
}

}  // namespace dipper::cli
