// dipper key: makes and shows signing keys (docs/reference/trust.md).
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/signer.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

[[noreturn]] void CannotWrite(const std::string& path, int error) {
  throw Error(ExitCode::kFailure, fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

/// Creates a file that only its owner may read; it never has other permissions, not even for a moment.
/// @returns false: it exists.
bool CreatePrivateFile(const std::string& path, std::string_view text) {
  const int file =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (file < 0 && errno == EEXIST) return false;
  if (file < 0) CannotWrite(path, errno);
  bool good = ::fchmod(file, S_IRUSR | S_IWUSR) == 0;
  for (size_t at = 0; good && at < text.size();) {
    const ssize_t written = ::write(file, text.data() + at, text.size() - at);
    good = written > 0;
    if (good) at += static_cast<size_t>(written);
  }
  good = good && ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  if (good) return true;
  ::unlink(path.c_str());
  CannotWrite(path, error);
}

void WritePrivateFile(const std::string& path, std::string_view text, bool force) {
  if (!force) {
    if (CreatePrivateFile(path, text)) return;
    throw Error(
        ExitCode::kNeedsConfirmation,
        fmt::format("{} exists and a lost key cannot be made again; choose another name, or replace it "
                    "with --force",
                    path));
  }
  // The old key is there until the new one is complete.
  const std::string beside = path + ".new";
  if (!CreatePrivateFile(beside, text)) CannotWrite(beside, EEXIST);
  if (::rename(beside.c_str(), path.c_str()) == 0) return;
  const int error = errno;
  ::unlink(beside.c_str());
  CannotWrite(path, error);
}

/// The half that makers of packages encrypt to.
void WritePublicHalf(const OutputFile& half, const std::string& path, const package::PrivateKey& key) {
  const std::string pem = kGroupMark + package::PublicKeyPem(key.public_key()).value();
  WriteOutput(half, base::AsBytes(pem));
  Note(fmt::format(
      "wrote {} for `dipper package build --encrypt-to`; {} goes to the group's devices and nobody "
      "else",
      half.path, path));
}

void NewKey(const std::string& path, bool group, bool force) {
  if (std::filesystem::is_directory(path))
    throw Error(ExitCode::kUsage, fmt::format("{} is a folder; name a file in it", path));
  // kOther: also another group's public half stays without --force. Asked before there is a private one.
  const OutputFile half{.path = path + ".pub", .kind = FileKind::kOther, .force = force};
  if (group) CheckOutput(half);
  const auto key = package::GenerateKey();
  if (!key.ok()) {
    throw Error(ExitCode::kFailure, "no key was made: the system gave no randomness; check /dev/urandom");
  }
  const std::string pem = (group ? kGroupMark : "") + package::PrivateKeyPem(*key).value();
  WritePrivateFile(path, pem, force);
  fmt::print("{}\n", HexText(key.value().id()));
  if (group) {
    WritePublicHalf(half, path, *key);
    return;
  }
  Note(fmt::format("wrote {} (mode 0600); it is not encrypted, so keep it where only the signer can read it",
                   path));
}

std::string KindOf(const std::string& reference) {
  if (reference.starts_with("pkcs11:")) return "token";
  if (reference.starts_with("command")) return "command";
  return IsPublicKeyFile(reference) ? "public" : "private";
}

void ShowKey(const std::string& path, bool json) {
  const package::PublicKey key = LoadPublicKey(path);
  const std::string kind = KindOf(path);
  const base::Digest id = package::KeyId(key);
  const std::string pem = package::PublicKeyPem(key).value();
  if (json) {
    Json out;
    out["id"] = HexText(id);
    out["kind"] = kind;
    out["curve"] = "P-256";
    out["public_pem"] = pem;
    PrintJson(out);
    return;
  }
  fmt::print("id     {}\nkind   {}, P-256\n{}", HexText(id), kind, pem);
}

}  // namespace

void RegisterKey(CLI::App& app, int&) {
  CLI::App* key = app.add_subcommand("key", "Make and show signing keys");
  key->require_subcommand(1);
  struct Options {
    std::string path;
    std::string kind = "signing";
    bool force = false;
    bool json = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* fresh = key->add_subcommand("new", "Make a P-256 private key and print its id");
  fresh->add_option("--out", options->path, "File to write (PEM, mode 0600)")->required();
  fresh->add_option("--kind", options->kind, "What it is for")
      ->capture_default_str()
      ->check(CLI::IsMember({"signing", "group"}));
  fresh->add_flag("--force", options->force, "Replace the file if it exists");
  fresh->callback([options] { NewKey(options->path, options->kind == "group", options->force); });
  CLI::App* show = key->add_subcommand("show", "Show a key's id and public half");
  show->add_option("key", options->path, std::string("Private or public key: ") + kKeyHelp)->required();
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options] { ShowKey(options->path, options->json); });
}

}  // namespace dipper::cli
