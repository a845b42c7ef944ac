// ECDSA P-256 with SHA-256 over domain-separated documents, and its keys. crypto.cc is the one file of the
// house that calls mbedTLS's public-key functions, with the calls that 2.28 and 3.x share. Thread-safe: pure
// functions. mbedTLS allocates on the heap in each of them (about 8,000 times a verification). Source: FIPS
// 186-5 section 6; SEC 1 version 2, sections 2.3 and C.4.
#pragma once

#include <string>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::package {

/// What a signature is for. Each kind has its own 16-byte prefix, so that no document can pass as another.
enum class Domain : uint8_t { kPackage = 0, kRoot = 1, kOffer = 2, kCommand = 3 };

/// A point on P-256, x | y, big-endian.
struct PublicKey {
  std::array<uint8_t, 64> xy{};
  bool operator==(const PublicKey&) const = default;
};

/// r | s, big-endian.
struct SignatureValue {
  std::array<uint8_t, 64> rs{};
};

/// SHA-256 of the uncompressed point (0x04 | x | y).
base::Digest KeyId(const PublicKey& key);

/// The 16 bytes before everything that is signed in this domain.
std::string_view SigningPrefix(Domain domain);

/// What is signed: SHA-256(prefix of `domain` | first | second).
base::Digest SigningDigest(Domain domain, base::ByteView first, base::ByteView second = {});

/// True only for a valid signature by a key whose point is on the curve. Cost: about 3 ms on x86-64, 11 ms on
/// a Cortex-A53.
bool VerifySignature(const PublicKey& key, const base::Digest& signing_digest,
                     const SignatureValue& signature);

/// kInvalidArgument: the point is not on P-256 or is the point at infinity.
base::Status CheckPublicKey(const PublicKey& key);

// ---- desk side: keys as PEM text ----

/// A private key in memory, wiped when it goes away.
class PrivateKey {
 public:
  PrivateKey() = default;
  ~PrivateKey();
  PrivateKey(const PrivateKey&) = default;
  PrivateKey& operator=(const PrivateKey&) = default;
  const PublicKey& public_key() const { return public_key_; }
  base::Digest id() const { return KeyId(public_key_); }
  base::ByteView scalar() const { return scalar_; }

 private:
  friend base::Result<PrivateKey> GenerateKey();
  friend base::Result<PrivateKey> ParsePrivateKey(std::string_view);
  std::array<uint8_t, 32> scalar_{};
  PublicKey public_key_;
};

/// A new key from the system's entropy. kUnavailable: no entropy.
base::Result<PrivateKey> GenerateKey();

/// Reads an unencrypted PEM private key (SEC 1 or PKCS #8).
/// kInvalidArgument: no such PEM, encrypted, or not P-256.
base::Result<PrivateKey> ParsePrivateKey(std::string_view pem);

/// Reads the public half of a PEM public or private key. Errors as ParsePrivateKey.
base::Result<PublicKey> ParsePublicKey(std::string_view pem);

/// PEM texts, SEC 1 and SubjectPublicKeyInfo. The caller guards (and wipes) the private one.
base::Result<std::string> PrivateKeyPem(const PrivateKey& key);
base::Result<std::string> PublicKeyPem(const PublicKey& key);

/// Signs. kUnavailable: no entropy for the blinding.
base::Result<SignatureValue> Sign(const PrivateKey& key, const base::Digest& signing_digest);

// ---- secret keys, for seal.h ----

/// 32 secret bytes, wiped when they go away.
struct Secret {
  Secret() = default;
  ~Secret();
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  std::array<uint8_t, 32> bytes{};
};

inline constexpr uint32_t kGcmTagBytes = 16;
using GcmNonce = std::array<uint8_t, 12>;
using GcmTag = std::array<uint8_t, kGcmTagBytes>;

/// Unpredictable bytes from the system. kUnavailable: none.
base::Status FillRandom(base::MutableBytes to);

/// ECDH on P-256: the x-coordinate of `mine` times `other`, big-endian (SEC 1, section 3.3.1).
/// kInvalidArgument: `other` is not on the curve. kUnavailable: no entropy for the blinding.
base::Status SharedSecret(const PrivateKey& mine, const PublicKey& other, Secret* x);

/// HKDF with SHA-256 (RFC 5869), 32 bytes.
Secret DeriveKey(const Secret& from, base::ByteView salt, base::ByteView info);

/// AES-256-GCM (NIST SP 800-38D) in place. A key and a nonce go together once only. `extra` is covered by the
/// tag and not part of `bytes`.
void GcmSeal(const Secret& key, const GcmNonce& nonce, base::ByteView extra, base::MutableBytes bytes,
             GcmTag* tag);
/// kDataLoss: not what was sealed under these; `bytes` are then wiped.
base::Status GcmOpen(const Secret& key, const GcmNonce& nonce, base::ByteView extra, const GcmTag& tag,
                     base::MutableBytes bytes);

}  // namespace dipper::package
