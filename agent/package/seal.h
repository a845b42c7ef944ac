// Encryption: payload blocks for device groups, and what a device keeps of such a model. Byte layouts:
// docs/reference/package.md. Thread-safe: pure functions; heap: mbedTLS's. Source: NIST SP 800-38D (GCM), RFC
// 5869 (HKDF), SEC 1 (ECDH).
#pragma once

#include "agent/base/fixed.h"
#include "agent/package/crypto.h"
#include "agent/package/manifest.h"

namespace dipper::package {

inline constexpr uint32_t kMaxGroupKeys = 8;

/// The private keys of the groups that a device belongs to.
class GroupKeys {
 public:
  /// kResourceExhausted: there are kMaxGroupKeys. kAlreadyExists: it is there.
  base::Status Add(const PrivateKey& key);
  /// Null: not there.
  const PrivateKey* Find(const base::Digest& key_id) const;
  size_t size() const { return count_; }

 private:
  std::array<PrivateKey, kMaxGroupKeys> keys_;
  size_t count_ = 0;
};

/// The content key of an encrypted package, by the first recipient that opens it.
///
/// Cost: one ECDH (about a signature check) for each of the device's keys that is a recipient.
/// @param keys  Null: none.
/// @returns None, also for a package that is not encrypted (`*key` stays as it is); NoGroupKey: no key of
///   `keys` is a recipient, or what is wrapped for it does not open.
schema::Reason OpenContentKey(const Manifest& manifest, const GroupKeys* keys, Secret* key);

/// Decrypts a stored block in place; what is left is the zstd frame.
/// kDataLoss: not this block of this package under this key.
base::Result<base::MutableBytes> OpenBlock(const Manifest& manifest, uint32_t index, const Secret& key,
                                           base::MutableBytes stored);

// ---- at rest: checkpoints, recordings and snapshots of a model whose package is encrypted ----

enum class SealPurpose : uint8_t { kCheckpoint = 1, kGateState = 2, kRecording = 3, kSnapshot = 4 };

/// What stands beside sealed bytes.
inline constexpr uint32_t kSealBytes = 64;

/// Encrypts `bytes` in place under a key of their own, which is derived from the package's content key and 32
/// random bytes, so that no key ever serves twice, whatever a power cut made of counters. Who reads them must
/// hold a group's key.
/// @param seal  Exactly kSealBytes; kept beside the bytes.
/// @returns kUnavailable: no entropy; nothing was changed.
base::Status SealAtRest(const Secret& content_key, SealPurpose purpose, const base::Digest& package,
                        base::MutableBytes bytes, base::MutableBytes seal);
/// The reverse. kDataLoss: other bytes, purpose, package or key; `bytes` may be wiped then.
/// kUnimplemented: a seal of another version; nothing was changed.
base::Status OpenAtRest(const Secret& content_key, SealPurpose purpose, const base::Digest& package,
                        base::ByteView seal, base::MutableBytes bytes);

// ---- desk side ----

/// What the content key and each block are bound to: everything that names the package and is known before
/// its blocks are.
struct SealIdentity {
  std::string_view model, name, version;
  base::SecurityVersion security_version;
  int64_t created = 0;
  uint64_t image_bytes = 0;
  base::Digest image_digest;
  base::Digest Hash() const;
};

/// Wraps a content key for one group. kInvalidArgument: no point of P-256. kUnavailable: no entropy.
base::Result<schema::Recipient> WrapContentKey(const Secret& key, const PublicKey& group,
                                               const base::Digest& identity);

/// Encrypts a zstd frame in place and appends the tag.
/// @param stored  The frame, and room for kGcmTagBytes behind it.
void SealBlock(const base::Digest& identity, uint32_t index, uint32_t raw_bytes, const Secret& key,
               base::MutableBytes stored);

}  // namespace dipper::package
