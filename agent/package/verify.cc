// Implementation of verify.h. The order is the point: sizes, then signatures, and only then what the bytes
// say.
#include "agent/package/verify.h"

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/package/codec.h"
#include "agent/package/envelope.h"
#include "agent/package/seal.h"

namespace dipper::package {
namespace {

using schema::Reason;

void CheckMemory(base::MutableBytes memory) {
  DIPPER_CHECK(reinterpret_cast<uintptr_t>(memory.data()) % 16 == 0);
}

/// Checks the signature section, against the release role unless `root` is null.
Reason CheckHeadSignatures(const Header& header, base::ByteView head, const TrustRoot* root) {
  const base::ByteView section = head.subspan(kHeaderBytes + header.manifest_bytes);
  if (base::Crc32c(section) != header.signature_crc) return Reason::BadSignature;
  base::FixedVector<TrustRoot::Signature, kMaxSignatures> signatures;
  const Reason reason = ReadSignatureSection(section, &signatures);
  if (reason != Reason::None || root == nullptr) return reason;
  const base::Digest digest = SigningDigest(Domain::kPackage, head.first(kSignedHeaderBytes),
                                            head.subspan(kHeaderBytes, header.manifest_bytes));
  return root->CheckSignatures(schema::RoleName::Release, digest, {signatures.begin(), signatures.size()});
}

/// @param head  In aligned memory, exactly a head.
Reason VerifyAlignedHead(const Header& header, base::ByteView head, const TrustRoot* root,
                         Manifest* manifest) {
  Reason reason = CheckHeadSignatures(header, head, root);
  if (reason != Reason::None) return reason;
  Manifest parsed;
  reason = Manifest::Parse(header, head, &parsed);
  if (reason != Reason::None) return reason;
  if (root != nullptr && parsed.security_version().epoch > root->release_epoch()) return Reason::RootInvalid;
  *manifest = parsed;
  return Reason::None;
}

Reason ReadBlock(ByteSource& source, const Manifest& manifest, uint32_t index, base::MutableBytes memory,
                 base::ByteView* stored) {
  const BlockInfo block = manifest.block(index);
  const base::MutableBytes to = memory.first(block.stored_bytes);
  if (!Ok(source.ReadAt(block.package_offset, to))) return Reason::StorageError;
  *stored = to;
  return VerifyBlock(manifest, index, to);
}

}  // namespace

Reason VerifyHead(base::ByteView head, const TrustRoot& root, base::MutableBytes memory, Manifest* manifest) {
  CheckMemory(memory);
  if (head.size() > kMaxHeadBytes || head.size() > memory.size()) return Reason::TooLarge;
  if (head.size() < kHeaderBytes) return Reason::BadFormat;
  std::memcpy(memory.data(), head.data(), head.size());
  const base::ByteView copy = memory.first(head.size());
  Header header;
  const Reason reason = ParseHeader(copy, &header);
  if (reason != Reason::None) return reason;
  if (copy.size() != header.head_bytes()) return Reason::BadFormat;
  return VerifyAlignedHead(header, copy, &root, manifest);
}

Reason VerifyBlock(const Manifest& manifest, uint32_t index, base::ByteView stored) {
  if (index >= manifest.block_count()) return Reason::BadBlock;
  const BlockInfo block = manifest.block(index);
  if (stored.size() != block.stored_bytes) return Reason::BadBlock;
  return base::Sha256Of(stored) == block.sha256 ? Reason::None : Reason::BadBlock;
}

Reason VerifyWhole(ByteSource& source, const TrustRoot* root, base::MutableBytes memory,
                   PackageFacts* facts) {
  CheckMemory(memory);
  if (memory.size() < kHeaderBytes) return Reason::TooLarge;
  if (source.size() < kHeaderBytes) return Reason::BadFormat;
  if (!Ok(source.ReadAt(0, memory.first(kHeaderBytes)))) return Reason::StorageError;
  Header header;
  Reason reason = ParseHeader(memory.first(kHeaderBytes), &header);
  if (reason != Reason::None) return reason;
  if (source.size() != header.package_bytes()) return Reason::BadFormat;
  const auto block_at = static_cast<size_t>(base::AlignUp(header.head_bytes(), 16));
  if (memory.size() < block_at + kMaxStoredBlockBytes) return Reason::TooLarge;
  const base::MutableBytes head = memory.first(header.head_bytes());
  // The header stays as it was parsed; only the rest is read, so that a source that changes cannot disagree
  // with it.
  if (!Ok(source.ReadAt(kHeaderBytes, head.subspan(kHeaderBytes)))) return Reason::StorageError;
  Manifest manifest;
  reason = VerifyAlignedHead(header, head, root, &manifest);
  for (uint32_t i = 0; reason == Reason::None && i < manifest.block_count(); ++i) {
    base::ByteView stored;
    reason = ReadBlock(source, manifest, i, memory.subspan(block_at), &stored);
  }
  if (reason != Reason::None) return reason;
  *facts = {.digest = manifest.package_digest(),
            .security_version = manifest.security_version(),
            .package_bytes = header.package_bytes(),
            .image_bytes = header.image_bytes,
            .manifest = manifest};
  return Reason::None;
}

Reason DecodeImage(ByteSource& source, const Manifest& manifest, base::MutableBytes scratch,
                   base::MutableBytes image, const Secret* key) {
  if (image.size() != manifest.image_bytes() || scratch.size() < kMaxStoredBlockBytes)
    return Reason::TooLarge;
  if (manifest.encrypted() && key == nullptr) return Reason::NoGroupKey;
  BlockDecoder decoder;
  for (uint32_t i = 0; i < manifest.block_count(); ++i) {
    base::ByteView stored;
    const Reason reason = ReadBlock(source, manifest, i, scratch, &stored);
    if (reason != Reason::None) return reason;
    if (manifest.encrypted()) {
      const auto frame = OpenBlock(manifest, i, *key, scratch.first(stored.size()));
      if (!frame.ok()) return Reason::BadBlock;
      stored = *frame;
    }
    const BlockInfo block = manifest.block(i);
    const base::Status decoded = decoder.Decode(stored, image.subspan(block.image_offset, block.raw_bytes));
    if (decoded == base::Status::kResourceExhausted) return Reason::TooLarge;
    if (!Ok(decoded)) return Reason::BadBlock;
  }
  return base::Sha256Of(image) == manifest.image_digest() ? Reason::None : Reason::BadDigest;
}

}  // namespace dipper::package
