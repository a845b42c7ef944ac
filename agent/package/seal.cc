// Implementation of seal.h.
#include "agent/package/seal.h"

#include <algorithm>

#include "agent/base/sha256.h"

namespace dipper::package {
namespace {

using base::Status;
using schema::Reason;
using namespace std::string_view_literals;

constexpr std::string_view kIdentityPrefix = "dipper/ident/1\0\0"sv;
constexpr std::string_view kWrapPrefix = "dipper/wrap/1\0\0\0"sv;
constexpr std::string_view kBlockPrefix = "dipper/block/1\0\0"sv;
constexpr std::string_view kRestPrefix = "dipper/rest/1\0\0\0"sv;
constexpr size_t kPrefixBytes = 16;
static_assert(kIdentityPrefix.size() == kPrefixBytes && kWrapPrefix.size() == kPrefixBytes &&
              kBlockPrefix.size() == kPrefixBytes && kRestPrefix.size() == kPrefixBytes);

constexpr uint32_t kSealMagic = 0x4C535044;  // "DPSL"
constexpr uint16_t kSealVersion = 1;
constexpr size_t kSealSaltOffset = 8;
constexpr size_t kSealSaltBytes = 32;
constexpr size_t kSealTagOffset = 48;
constexpr GcmNonce kOnlyNonce{};  ///< For keys that serve once.

template <size_t N>
using Info = std::array<uint8_t, N>;

void AddText(base::Sha256& hash, std::string_view text) {
  std::array<uint8_t, 4> length{};
  base::Store(length.data(), static_cast<uint32_t>(text.size()));
  hash.Update(length);
  hash.Update(base::AsBytes(text));
}

template <typename T>
void AddNumber(base::Sha256& hash, T value) {
  std::array<uint8_t, sizeof(T)> bytes{};
  base::Store(bytes.data(), value);
  hash.Update(bytes);
}

base::Digest IdentityOf(const Manifest& manifest) {
  return SealIdentity{.model = manifest.model(),
                      .name = manifest.name(),
                      .version = manifest.version(),
                      .security_version = manifest.security_version(),
                      .created = manifest.table().created(),
                      .image_bytes = manifest.image_bytes(),
                      .image_digest = manifest.image_digest()}
      .Hash();
}

/// The key that wraps the content key for one recipient. Each has an ephemeral pair of its own, so it serves
/// once.
Secret WrappingKey(const Secret& shared, const PublicKey& ephemeral, const base::Digest& recipient,
                   const base::Digest& identity) {
  Info<kPrefixBytes + 64> info{};
  base::ByteWriter writer(info);
  writer.PutBytes(base::AsBytes(kWrapPrefix));
  writer.PutBytes(recipient.bytes);
  writer.PutBytes(identity.bytes);
  return DeriveKey(shared, ephemeral.xy, info);
}

GcmNonce BlockNonce(uint32_t index) {
  GcmNonce nonce{};
  base::Store(nonce.data(), index);
  return nonce;
}

Info<kPrefixBytes + 40> BlockInfoBytes(const base::Digest& identity, uint32_t index, uint32_t raw_bytes) {
  Info<kPrefixBytes + 40> info{};
  base::ByteWriter writer(info);
  writer.PutBytes(base::AsBytes(kBlockPrefix));
  writer.PutBytes(identity.bytes);
  writer.Put(index);
  writer.Put(raw_bytes);
  return info;
}

Secret RestKey(const Secret& content_key, SealPurpose purpose, const base::Digest& package,
               base::ByteView salt) {
  Info<kPrefixBytes + 33> info{};
  base::ByteWriter writer(info);
  writer.PutBytes(base::AsBytes(kRestPrefix));
  writer.PutBytes(package.bytes);
  writer.Put(static_cast<uint8_t>(purpose));
  return DeriveKey(content_key, salt, info);
}

bool Unwrap(const schema::Recipient& recipient, const PrivateKey& mine, const base::Digest& identity,
            Secret* key) {
  PublicKey ephemeral;
  std::copy_n(recipient.ephemeral()->data(), ephemeral.xy.size(), ephemeral.xy.begin());
  Secret shared;
  if (!base::Ok(SharedSecret(mine, ephemeral, &shared))) return false;
  const Secret wrapping = WrappingKey(shared, ephemeral, mine.id(), identity);
  Secret opened;
  GcmTag tag{};
  const uint8_t* wrapped = recipient.wrapped_key()->data();
  std::copy_n(wrapped, opened.bytes.size(), opened.bytes.begin());
  std::copy_n(wrapped + opened.bytes.size(), tag.size(), tag.begin());
  if (!base::Ok(GcmOpen(wrapping, kOnlyNonce, {}, tag, opened.bytes))) return false;
  *key = opened;
  return true;
}

}  // namespace

Status GroupKeys::Add(const PrivateKey& key) {
  if (Find(key.id()) != nullptr) return Status::kAlreadyExists;
  if (count_ == keys_.size()) return Status::kResourceExhausted;
  keys_[count_++] = key;
  return Status::kOk;
}

const PrivateKey* GroupKeys::Find(const base::Digest& key_id) const {
  const auto end = keys_.begin() + static_cast<std::ptrdiff_t>(count_);
  const auto found = std::find_if(keys_.begin(), end, [&](const PrivateKey& k) { return k.id() == key_id; });
  return found == end ? nullptr : &*found;
}

Reason OpenContentKey(const Manifest& manifest, const GroupKeys* keys, Secret* key) {
  if (!manifest.encrypted()) return Reason::None;
  if (keys == nullptr) return Reason::NoGroupKey;
  const base::Digest identity = IdentityOf(manifest);
  for (const schema::Recipient* recipient : *manifest.table().encryption()->recipients()) {
    const PrivateKey* mine = keys->Find(ToDigest(recipient->key_id()));
    if (mine != nullptr && Unwrap(*recipient, *mine, identity, key)) return Reason::None;
  }
  return Reason::NoGroupKey;
}

base::Result<base::MutableBytes> OpenBlock(const Manifest& manifest, uint32_t index, const Secret& key,
                                           base::MutableBytes stored) {
  if (stored.size() <= kGcmTagBytes) return Status::kDataLoss;
  const base::MutableBytes frame = stored.first(stored.size() - kGcmTagBytes);
  GcmTag tag{};
  std::copy_n(stored.data() + frame.size(), tag.size(), tag.begin());
  const auto info = BlockInfoBytes(IdentityOf(manifest), index, manifest.block(index).raw_bytes);
  DIPPER_RETURN_IF_ERROR(GcmOpen(key, BlockNonce(index), info, tag, frame));
  return frame;
}

Status SealAtRest(const Secret& content_key, SealPurpose purpose, const base::Digest& package,
                  base::MutableBytes bytes, base::MutableBytes seal) {
  DIPPER_CHECK(seal.size() == kSealBytes);
  base::ByteWriter writer(seal);
  writer.Put(kSealMagic);
  writer.Put(kSealVersion);
  writer.Put(static_cast<uint8_t>(purpose));
  writer.Put(uint8_t{0});
  DIPPER_RETURN_IF_ERROR(FillRandom(seal.subspan(kSealSaltOffset, kSealSaltBytes)));
  base::Store(seal.data() + kSealSaltOffset + kSealSaltBytes, static_cast<uint64_t>(bytes.size()));
  const Secret key = RestKey(content_key, purpose, package, seal.subspan(kSealSaltOffset, kSealSaltBytes));
  GcmTag tag{};
  GcmSeal(key, kOnlyNonce, seal.first(kSealTagOffset), bytes, &tag);
  std::ranges::copy(tag, seal.begin() + kSealTagOffset);
  return Status::kOk;
}

Status OpenAtRest(const Secret& content_key, SealPurpose purpose, const base::Digest& package,
                  base::ByteView seal, base::MutableBytes bytes) {
  if (seal.size() != kSealBytes) return Status::kDataLoss;
  base::ByteReader reader(seal);
  if (reader.Get<uint32_t>() != kSealMagic) return Status::kDataLoss;
  if (reader.Get<uint16_t>() != kSealVersion) return Status::kUnimplemented;
  const bool fits = reader.Get<uint8_t>() == static_cast<uint8_t>(purpose) &&
                    base::Load<uint64_t>(seal.data() + kSealSaltOffset + kSealSaltBytes) == bytes.size();
  if (!fits) return Status::kDataLoss;
  const Secret key = RestKey(content_key, purpose, package, seal.subspan(kSealSaltOffset, kSealSaltBytes));
  GcmTag tag{};
  std::copy_n(seal.data() + kSealTagOffset, tag.size(), tag.begin());
  return GcmOpen(key, kOnlyNonce, seal.first(kSealTagOffset), tag, bytes);
}

base::Digest SealIdentity::Hash() const {
  base::Sha256 hash;
  hash.Update(base::AsBytes(kIdentityPrefix));
  AddText(hash, model);
  AddText(hash, name);
  AddText(hash, version);
  AddNumber(hash, security_version.epoch);
  AddNumber(hash, security_version.version);
  AddNumber(hash, created);
  AddNumber(hash, image_bytes);
  hash.Update(image_digest.bytes);
  return hash.Finish();
}

base::Result<schema::Recipient> WrapContentKey(const Secret& key, const PublicKey& group,
                                               const base::Digest& identity) {
  DIPPER_ASSIGN_OR_RETURN(const PrivateKey ephemeral, GenerateKey());
  Secret shared;
  DIPPER_RETURN_IF_ERROR(SharedSecret(ephemeral, group, &shared));
  const base::Digest id = KeyId(group);
  const Secret wrapping = WrappingKey(shared, ephemeral.public_key(), id, identity);
  Secret wrapped = key;
  GcmTag tag{};
  GcmSeal(wrapping, kOnlyNonce, {}, wrapped.bytes, &tag);
  std::array<uint8_t, 48> bytes{};
  std::ranges::copy(tag, std::ranges::copy(wrapped.bytes, bytes.begin()).out);
  return schema::Recipient(schema::Sha256(id.bytes), ephemeral.public_key().xy, bytes);
}

void SealBlock(const base::Digest& identity, uint32_t index, uint32_t raw_bytes, const Secret& key,
               base::MutableBytes stored) {
  DIPPER_CHECK(stored.size() > kGcmTagBytes);
  const base::MutableBytes frame = stored.first(stored.size() - kGcmTagBytes);
  GcmTag tag{};
  GcmSeal(key, BlockNonce(index), BlockInfoBytes(identity, index, raw_bytes), frame, &tag);
  std::ranges::copy(tag, stored.begin() + static_cast<std::ptrdiff_t>(frame.size()));
}

}  // namespace dipper::package
