// Verification and decoding of packages: over a head that arrived alone and single blocks, or over a whole
// package. Thread-safe: pure functions over caller memory. Heap: mbedTLS in signature checks, one zstd
// context (about 160 KiB) in decoding; nothing else.
#pragma once

#include "agent/package/byte_source.h"
#include "agent/package/manifest.h"
#include "agent/package/root.h"

namespace dipper::package {

/// Memory that VerifyHead and VerifyWhole can always do with; less is enough for smaller heads.
inline constexpr uint64_t kHeadMemoryBytes = base::AlignUp(kMaxHeadBytes, 16);
inline constexpr uint64_t kWholeMemoryBytes = kHeadMemoryBytes + base::AlignUp(kMaxStoredBlockBytes, 16);

/// Verifies a head (the `manifest` topic: header, manifest, signatures and nothing after) against the release
/// role. Copies it to `memory` before looking at it.
///
/// Cost: one SHA-256 over the head, one signature check a known signature.
/// @param memory    16-aligned, at least head.size() bytes, outlives `*manifest`.
/// @param manifest  Set only when None is returned.
/// @returns None; TooLarge: head or a declared size above the limits or `memory`; BadFormat, BadSpec,
/// WrongSchema,
///   UnknownLayout; UnknownKey, BadSignature; RootInvalid: signed under a newer release epoch than the
///   root's. Expiry, hardware, floor and denials are the caller's questions.
schema::Reason VerifyHead(base::ByteView head, const TrustRoot& root, base::MutableBytes memory,
                          Manifest* manifest);

/// Checks one block as stored or received, before it is written or decompressed. BadBlock: other length or
/// hash, or no such index.
schema::Reason VerifyBlock(const Manifest& manifest, uint32_t index, base::ByteView stored);

/// What a whole, intact package is.
struct PackageFacts {
  base::Digest digest;
  base::SecurityVersion security_version;
  uint64_t package_bytes = 0;
  uint64_t image_bytes = 0;
  Manifest manifest;  ///< A view into the memory given.
};

/// Verifies every byte of a package at rest.
///
/// Cost: reads all of it once. With `root` null the signatures are not checked: only for a package whose
/// digest is already known and is then compared with facts->digest (a start is never stopped by expiry or
/// revocation).
/// @param memory  16-aligned; holds the head and one block.
/// @returns as VerifyHead; BadBlock; BadFormat also when the source is longer or shorter than the package;
///   StorageError: the source failed.
schema::Reason VerifyWhole(ByteSource& source, const TrustRoot* root, base::MutableBytes memory,
                           PackageFacts* facts);

/// Decodes the whole image block by block, each hash checked before its bytes are decompressed, then the
/// image's own digest.
/// @param scratch  At least kMaxStoredBlockBytes.
/// @param image    Exactly manifest.image_bytes(). On failure its content is undefined.
/// @param key      Of OpenContentKey; looked at only when the package is encrypted, and then not null.
/// @returns None; BadBlock: also one that does not decrypt; BadDigest: the image is not the declared one;
///   TooLarge: other size, scratch too small or no memory for zstd; NoGroupKey: `key` is needed;
///   StorageError.
schema::Reason DecodeImage(ByteSource& source, const Manifest& manifest, base::MutableBytes scratch,
                           base::MutableBytes image, const Secret* key = nullptr);

}  // namespace dipper::package
