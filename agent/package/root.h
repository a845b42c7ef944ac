// TrustRoot: which keys may sign what, as in The Update Framework (TUF specification 1.0, sections 2.1
// and 5.3): a versioned, expiring document that is signed by its own root role and, when it replaces another,
// by the other's too. docs/reference/trust.md has the bytes. Thread-safe: a plain value.
#pragma once

#include "agent/base/fixed.h"
#include "agent/package/crypto.h"
#include "agent/package/format.h"
#include "agent/schema/package_generated.h"

namespace dipper::package {

inline constexpr uint32_t kMaxRootBytes = 4096;  ///< Fits the smallest usual erase unit of a boot partition.
inline constexpr uint32_t kMaxKeys = 16;
inline constexpr uint32_t kRoleCount = 4;

/// Time as the device may trust it. Without synchronization nothing expires and nothing is too early
/// (docs/reference/trust.md), because the time is only a lower bound.
struct TrustedTime {
  int64_t unix_seconds = 0;
  bool synchronized = false;
};

struct RoleKeys {
  uint32_t threshold = 0;
  uint32_t epoch = 0;
  base::FixedVector<uint8_t, kMaxKeys> keys;  ///< Indices into the root's keys, each once.
};

class TrustRoot {
 public:
  /// Nothing is signed by anybody: verification against it fails.
  TrustRoot() = default;

  /// Parses, range-checks and verifies that the document is signed by its own root role.
  /// Cost: one signature check a signature, 4 KiB of stack. RootInvalid: anything is wrong; `*root`
  /// unchanged.
  static schema::Reason Parse(base::ByteView document, TrustRoot* root);

  /// Parses `document` as the successor of this root: version + 1, signed by the thresholds of both, no
  /// role's epoch lower. Works on an expired root. OldNumber: version not above this one's. RootInvalid:
  /// anything else.
  schema::Reason ParseSuccessor(base::ByteView document, TrustRoot* next) const;

  /// Desk side: parses and range-checks without asking who signed: for showing and countersigning only.
  static schema::Reason ParseDraft(base::ByteView document, TrustRoot* root);

  uint32_t version() const { return version_; }
  int64_t created() const { return created_; }
  int64_t expires() const { return expires_; }
  bool ExpiredAt(const TrustedTime& now) const { return now.synchronized && now.unix_seconds >= expires_; }
  const RoleKeys& role(schema::RoleName name) const { return roles_[static_cast<size_t>(name)]; }
  uint32_t epoch(schema::RoleName name) const { return role(name).epoch; }
  uint32_t release_epoch() const { return epoch(schema::RoleName::Release); }
  const base::FixedVector<PublicKey, kMaxKeys>& keys() const { return keys_; }
  const base::Digest& key_id(size_t index) const { return key_ids_[index]; }

  /// One signature beside a document.
  struct Signature {
    base::Digest key_id;
    SignatureValue value;
  };
  /// Checks signatures against a role: unknown keys, keys of other roles and repeated keys do not count; a
  /// bad signature by a key of the role refuses the whole. None: at least `threshold` different keys signed.
  /// UnknownKey: no signature by any key of the role. BadSignature: fewer than the threshold, or one that
  /// does not verify.
  schema::Reason CheckSignatures(schema::RoleName role, const base::Digest& signing_digest,
                                 std::span<const Signature> signatures) const;

 private:
  static schema::Reason ParseUnsigned(const schema::Root& table, TrustRoot* root);

  uint32_t version_ = 0;
  int64_t created_ = 0;
  int64_t expires_ = 0;
  base::FixedVector<PublicKey, kMaxKeys> keys_;
  std::array<base::Digest, kMaxKeys> key_ids_;
  std::array<RoleKeys, kRoleCount> roles_;
};

}  // namespace dipper::package
