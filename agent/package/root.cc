// Implementation of root.h.
#include "agent/package/root.h"

#include "agent/package/document.h"
#include "agent/package/envelope.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using schema::Reason;

struct alignas(16) RootMemory {
  std::array<uint8_t, kMaxRootBytes> bytes;
};

bool ReadRole(const schema::Role& table, size_t key_count, RoleKeys* role) {
  role->threshold = table.threshold();
  role->epoch = table.epoch();
  uint32_t seen = 0;
  for (const uint8_t index : *table.keys()) {
    if (index >= key_count || (seen & (1U << index)) != 0) return false;
    seen |= 1U << index;
    if (!Ok(role->keys.PushBack(index))) return false;
  }
  return role->threshold >= 1 && role->threshold <= role->keys.size();
}

}  // namespace

Reason TrustRoot::ParseUnsigned(const schema::Root& table, TrustRoot* root) {
  root->version_ = table.version();
  root->created_ = table.created();
  root->expires_ = table.expires();
  if (table.version() == 0 || table.created() < 0 || table.expires() <= table.created())
    return Reason::RootInvalid;
  if (table.keys()->size() == 0 || table.keys()->size() > kMaxKeys) return Reason::RootInvalid;
  for (const schema::PublicKey* from : *table.keys()) {
    PublicKey key;
    for (uint32_t i = 0; i < key.xy.size(); ++i) key.xy[i] = from->xy()->Get(i);
    if (!Ok(CheckPublicKey(key))) return Reason::RootInvalid;
    // The same point twice would let one key reach a threshold of two.
    for (const PublicKey& other : root->keys_) {
      if (other == key) return Reason::RootInvalid;
    }
    root->key_ids_[root->keys_.size()] = KeyId(key);
    if (!Ok(root->keys_.PushBack(key))) return Reason::RootInvalid;
  }
  if (table.roles()->size() != kRoleCount) return Reason::RootInvalid;
  for (const schema::Role* from : *table.roles()) {
    const auto index = static_cast<size_t>(from->role());
    if (index >= kRoleCount || !root->roles_[index].keys.empty()) return Reason::RootInvalid;
    if (!ReadRole(*from, root->keys_.size(), &root->roles_[index])) return Reason::RootInvalid;
    // These epochs are the upper bits of a number; the release epoch has a field of its own in manifests.
    const bool in_numbers =
        from->role() == schema::RoleName::Rollout || from->role() == schema::RoleName::Command;
    if (in_numbers && root->roles_[index].epoch > kMaxNumberEpoch) return Reason::RootInvalid;
  }
  return Reason::None;
}

Reason TrustRoot::CheckSignatures(schema::RoleName name, const base::Digest& signing_digest,
                                  std::span<const Signature> signatures) const {
  const RoleKeys& keys_of_role = role(name);
  uint32_t signed_by = 0;
  uint32_t count = 0;
  for (const Signature& signature : signatures) {
    for (const uint8_t index : keys_of_role.keys) {
      if (key_ids_[index] != signature.key_id) continue;
      if (!VerifySignature(keys_[index], signing_digest, signature.value)) return Reason::BadSignature;
      if ((signed_by & (1U << index)) == 0) ++count;
      signed_by |= 1U << index;
    }
  }
  if (count == 0) return Reason::UnknownKey;
  return count >= keys_of_role.threshold ? Reason::None : Reason::BadSignature;
}

Reason TrustRoot::ParseDraft(base::ByteView document, TrustRoot* root) {
  RootMemory memory;
  Envelope envelope;
  if (ParseDraftEnvelope(document, memory.bytes, &envelope) != Reason::None) return Reason::RootInvalid;
  const auto* table = VerifiedTable<schema::Root>(envelope.payload, kRootKind);
  if (table == nullptr) return Reason::RootInvalid;
  TrustRoot parsed;
  if (ParseUnsigned(*table, &parsed) != Reason::None) return Reason::RootInvalid;
  *root = parsed;
  return Reason::None;
}

Reason TrustRoot::Parse(base::ByteView document, TrustRoot* root) {
  RootMemory memory;
  Envelope envelope;
  if (ParseEnvelope(document, memory.bytes, &envelope) != Reason::None) return Reason::RootInvalid;
  const auto* table = VerifiedTable<schema::Root>(envelope.payload, kRootKind);
  if (table == nullptr) return Reason::RootInvalid;
  TrustRoot parsed;
  if (ParseUnsigned(*table, &parsed) != Reason::None) return Reason::RootInvalid;
  const base::Digest digest = SigningDigest(Domain::kRoot, envelope.payload);
  const std::span<const Signature> signatures(envelope.signatures.begin(), envelope.signatures.size());
  if (parsed.CheckSignatures(schema::RoleName::Root, digest, signatures) != Reason::None)
    return Reason::RootInvalid;
  *root = parsed;
  return Reason::None;
}

Reason TrustRoot::ParseSuccessor(base::ByteView document, TrustRoot* next) const {
  TrustRoot parsed;
  if (Parse(document, &parsed) != Reason::None) return Reason::RootInvalid;
  if (parsed.version_ <= version_) return Reason::OldNumber;
  if (version_ == 0 || parsed.version_ - version_ != 1) return Reason::RootInvalid;
  for (size_t i = 0; i < kRoleCount; ++i) {
    if (parsed.roles_[i].epoch < roles_[i].epoch) return Reason::RootInvalid;
  }
  RootMemory memory;
  Envelope envelope;
  if (ParseEnvelope(document, memory.bytes, &envelope) != Reason::None) return Reason::RootInvalid;
  const base::Digest digest = SigningDigest(Domain::kRoot, envelope.payload);
  const std::span<const Signature> signatures(envelope.signatures.begin(), envelope.signatures.size());
  if (CheckSignatures(schema::RoleName::Root, digest, signatures) != Reason::None) return Reason::RootInvalid;
  *next = parsed;
  return Reason::None;
}

}  // namespace dipper::package
