// Implementation of signer.h: choosing the kind, keys in files, and the check of what came back.
#include "tools/cli/signer.h"

#include <fmt/format.h>

#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr std::string_view kMakeOne = "make one with `dipper key new --out FILE`";

bool IsToken(std::string_view reference) { return reference.starts_with("pkcs11:"); }
bool IsCommand(std::string_view reference) {
  return reference.starts_with("command:") || reference.starts_with("command-sha256:");
}

class FileSigner final : public Signer {
 public:
  explicit FileSigner(const std::string& path) {
    const std::string text = lab::ReadTextFile(path, kMaxKeyFileBytes);
    if (text.starts_with(kGroupMark)) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("{} is the key of a device group, which every device of it has; sign with a key of "
                      "`dipper key new`",
                      path));
    }
    const auto key = package::ParsePrivateKey(text);
    if (!key.ok()) throw Error(ExitCode::kVerificationFailed, Complaint(path, text));
    key_ = *key;
    name_ = path;
    public_key_ = key_.public_key();
  }

 private:
  static std::string Complaint(const std::string& path, std::string_view text) {
    if (text.find("ENCRYPTED") != std::string_view::npos) {
      return fmt::format(
          "{} is encrypted, which dipper does not read; keep the key in a token (pkcs11:...), or sign "
          "through "
          "a program that asks for the passphrase: --key 'command:PUBLIC.pem:openssl dgst -sha256 -sign {}'",
          path, path);
    }
    if (package::ParsePublicKey(text).ok()) {
      return fmt::format(
          "{} is a public key, which cannot sign; give the private one, a pkcs11: URI or "
          "command:{}:COMMAND",
          path, path);
    }
    return fmt::format("{} is not an unencrypted P-256 private key in PEM form; {}", path, kMakeOne);
  }
  package::SignatureValue SignUnchecked(const SigningRequest& request) override {
    const auto value = package::Sign(key_, request.digest());
    if (!value.ok()) {
      throw Error(ExitCode::kFailure,
                  "nothing was signed: the system gave no randomness; check /dev/urandom");
    }
    return *value;
  }
  package::PrivateKey key_;
};

}  // namespace

package::SignatureValue Signer::Sign(const SigningRequest& request) {
  const package::SignatureValue value = SignUnchecked(request);
  if (!package::VerifySignature(public_key_, request.digest(), value)) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("{} gave a signature that key {} does not verify, so it was not used; it signed with "
                    "another key, or other bytes than it was given",
                    name_, base::ToHex(id()).brief()));
  }
  return value;
}

std::unique_ptr<Signer> OpenSigner(const std::string& reference) {
  if (IsToken(reference)) return OpenTokenSigner(reference, false);
  if (IsCommand(reference)) return OpenCommandSigner(reference);
  return std::make_unique<FileSigner>(reference);
}

package::PublicKey LoadPublicKey(const std::string& reference) {
  if (IsToken(reference)) return OpenTokenSigner(reference, true)->public_key();
  if (IsCommand(reference)) return OpenCommandSigner(reference)->public_key();
  const auto key = package::ParsePublicKey(lab::ReadTextFile(reference, kMaxKeyFileBytes));
  if (!key.ok()) {
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("{} is not a P-256 key in PEM form; {}", reference, kMakeOne));
  }
  return *key;
}

bool IsGroupKeyFile(const std::string& reference) {
  if (IsToken(reference) || IsCommand(reference)) return false;
  return lab::ReadTextFile(reference, kMaxKeyFileBytes).starts_with(kGroupMark);
}

bool IsPublicKeyFile(const std::string& reference) {
  if (IsToken(reference) || IsCommand(reference)) return false;
  return lab::ReadTextFile(reference, kMaxKeyFileBytes).find("PRIVATE KEY") == std::string::npos;
}

}  // namespace dipper::cli
