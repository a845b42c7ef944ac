// The package file's frame: header | manifest | signatures | blocks (docs/reference/package.md, every byte).
// Thread-safe: pure functions over caller memory, no heap.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"

namespace dipper::package {

inline constexpr uint32_t kHeaderBytes = 64;
inline constexpr uint32_t kSignedHeaderBytes =
    48;  ///< The part of the header that digest and signatures cover.
inline constexpr uint32_t kBlockBytes = 16 * 1024;  ///< Of image, in every block but the last.
inline constexpr uint32_t kMaxStoredBlockBytes = kBlockBytes + 512;
inline constexpr uint32_t kMaxBlocks = 2048;
inline constexpr uint64_t kMaxImageBytes = uint64_t{kBlockBytes} * kMaxBlocks;  ///< 32 MiB
inline constexpr uint32_t kMaxManifestBytes = 160 * 1024;
inline constexpr uint32_t kSignatureBytes = 96;  ///< Key id and r | s.
inline constexpr uint32_t kMaxSignatures = 8;
inline constexpr uint32_t kMaxSignatureBytes = kSignatureBytes * kMaxSignatures;
inline constexpr uint32_t kMaxHeadBytes = kHeaderBytes + kMaxManifestBytes + kMaxSignatureBytes;
inline constexpr uint32_t kBlocksPerGroup =
    64;  ///< Blocks of one wildcard subscription (docs/reference/topics.md).

/// The fixed first 64 bytes. A parsed header's sizes are within the limits above and agree with each other.
struct Header {
  uint32_t manifest_bytes = 0;
  uint32_t signature_bytes = 0;
  uint32_t signature_crc = 0;  ///< CRC-32C of the signature section.
  uint32_t block_count = 0;
  uint64_t block_area_bytes = 0;
  uint64_t image_bytes = 0;
  bool encrypted = false;  ///< Blocks are AES-256-GCM, and the manifest says for whom.
  uint32_t head_bytes() const { return kHeaderBytes + manifest_bytes + signature_bytes; }
  uint64_t package_bytes() const { return head_bytes() + block_area_bytes; }
};

/// Reads and range-checks the first 64 bytes of `bytes`.
/// BadFormat: too short, other magic, reserved bits set, CRC or sizes that contradict each other.
/// UnknownLayout: another format version. TooLarge: a size above the limits.
schema::Reason ParseHeader(base::ByteView bytes, Header* header);

/// Writes the header of a package. `out` is exactly kHeaderBytes.
void WriteHeader(const Header& header, base::MutableBytes out);

/// SHA-256 of the header's signed part and the manifest: the package's one name. Signatures are not in it.
/// @param head  At least header and manifest, of which `header` was parsed.
base::Digest PackageDigest(const Header& header, base::ByteView head);

/// Ids of models, fleets, groups, devices and rollouts: 1 to 64 of [A-Za-z0-9_-].
bool IsId(std::string_view text);
/// Names and versions of packages, hardware classes: as an id, with '.', '+' and ' ' inside.
bool IsLabel(std::string_view text);

}  // namespace dipper::package
