// Signer: whatever can sign, named by one text wherever the command takes a key:
//   FILE                       an unencrypted PEM private key
//   pkcs11:...                 a key in a token (RFC 7512), see docs/how-to/sign-with-a-token.md
//   command:PUBLIC.pem:COMMAND a program that gets the bytes to sign on stdin and prints the signature
//   command-sha256:...         the same, with the SHA-256 of those bytes on stdin
// Errors are lab::Error. Not thread-safe.
#pragma once

#include <memory>
#include <string>

#include "agent/package/crypto.h"

namespace dipper::cli {

/// What is to be signed: prefix of `domain` | bytes.
struct SigningRequest {
  package::Domain domain = package::Domain::kPackage;
  base::ByteView bytes;
  base::Digest digest() const { return package::SigningDigest(domain, bytes); }
};

class Signer {
 public:
  virtual ~Signer() = default;
  Signer() = default;
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;

  /// The reference it was opened by, for messages; never holds a secret.
  const std::string& name() const { return name_; }
  const package::PublicKey& public_key() const { return public_key_; }
  base::Digest id() const { return package::KeyId(public_key_); }
  /// A signature that was verified with public_key(). Throws Error: 1 the token or command failed, 3 it is
  /// not there (any more), 5 what came back is no signature by this key.
  package::SignatureValue Sign(const SigningRequest& request);

 protected:
  virtual package::SignatureValue SignUnchecked(const SigningRequest& request) = 0;
  std::string name_;
  package::PublicKey public_key_;
};

/// Throws Error: 2 a reference that is malformed, 3 no such file, module, token or key, 5 not a P-256 key, 1
/// a token that refuses (PIN).
std::unique_ptr<Signer> OpenSigner(const std::string& reference);

/// The public half: as OpenSigner, and PEM public keys. Asks for no PIN if the token shows its public keys.
package::PublicKey LoadPublicKey(const std::string& reference);

/// True when the reference is a file that holds only a public key, so that nothing can be signed with it.
bool IsPublicKeyFile(const std::string& reference);

/// True when the reference is a file that `key new --kind group` made: such a key opens packages, and whoever
/// has a device has it.
bool IsGroupKeyFile(const std::string& reference);
/// The line before the PEM in such a file; readers of PEM pass over it.
inline constexpr const char* kGroupMark = "Key of a device group: opens packages, signs nothing\n";

/// A PEM file that is larger is no key.
inline constexpr uint64_t kMaxKeyFileBytes = 64 * 1024;

/// The kinds of reference, for the help of options that take a key.
inline constexpr const char* kKeyHelp = "PEM file, pkcs11: URI or command:PUBLIC.pem:COMMAND";

// ---- one maker a kind; OpenSigner chooses ----

/// `only_public`: reads the public half without logging in where that is possible, and cannot sign.
std::unique_ptr<Signer> OpenTokenSigner(const std::string& uri, bool only_public);
std::unique_ptr<Signer> OpenCommandSigner(const std::string& reference);

}  // namespace dipper::cli
