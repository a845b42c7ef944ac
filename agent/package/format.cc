// Implementation of format.h.
#include "agent/package/format.h"

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"

namespace dipper::package {
namespace {

using schema::Reason;

constexpr std::array<uint8_t, 8> kMagic = {'D', 'I', 'P', 'P', 'E', 'R', 'P', 'K'};
constexpr uint16_t kFormatVersion = 1;
constexpr uint16_t kFlagEncrypted = 1;
constexpr size_t kCrcOffset = 60;

Reason CheckSizes(const Header& h) {
  if (h.manifest_bytes > kMaxManifestBytes || h.signature_bytes > kMaxSignatureBytes ||
      h.block_count > kMaxBlocks || h.image_bytes > kMaxImageBytes ||
      h.block_area_bytes > uint64_t{h.block_count} * kMaxStoredBlockBytes) {
    return Reason::TooLarge;
  }
  if (h.manifest_bytes == 0 || h.signature_bytes % kSignatureBytes != 0 || h.image_bytes == 0 ||
      h.block_count != (h.image_bytes + kBlockBytes - 1) / kBlockBytes ||
      h.block_area_bytes < h.block_count) {
    return Reason::BadFormat;
  }
  return Reason::None;
}

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

Reason ParseHeader(base::ByteView bytes, Header* header) {
  if (bytes.size() < kHeaderBytes) return Reason::BadFormat;
  base::ByteReader in(bytes.first(kHeaderBytes));
  std::array<uint8_t, 8> magic{};
  in.GetBytes(magic);
  const auto version = in.Get<uint16_t>();
  const auto flags = in.Get<uint16_t>();
  const auto block_bytes = in.Get<uint32_t>();
  Header h;
  h.manifest_bytes = in.Get<uint32_t>();
  h.block_count = in.Get<uint32_t>();
  h.block_area_bytes = in.Get<uint64_t>();
  h.image_bytes = in.Get<uint64_t>();
  const auto reserved_signed = in.Get<uint64_t>();
  h.signature_bytes = in.Get<uint32_t>();
  h.signature_crc = in.Get<uint32_t>();
  const auto reserved = in.Get<uint32_t>();
  const auto crc = in.Get<uint32_t>();
  if (magic != kMagic || crc != base::Crc32c(bytes.first(kCrcOffset))) return Reason::BadFormat;
  if (version != kFormatVersion) return Reason::UnknownLayout;
  h.encrypted = flags == kFlagEncrypted;
  if ((flags != 0 && !h.encrypted) || block_bytes != kBlockBytes || reserved_signed != 0 || reserved != 0)
    return Reason::BadFormat;
  const Reason reason = CheckSizes(h);
  if (reason == Reason::None) *header = h;
  return reason;
}

void WriteHeader(const Header& header, base::MutableBytes out) {
  DIPPER_CHECK(out.size() == kHeaderBytes);
  base::ByteWriter writer(out);
  writer.PutBytes(kMagic);
  writer.Put(kFormatVersion);
  writer.Put(header.encrypted ? kFlagEncrypted : uint16_t{0});
  writer.Put(kBlockBytes);
  writer.Put(header.manifest_bytes);
  writer.Put(header.block_count);
  writer.Put(header.block_area_bytes);
  writer.Put(header.image_bytes);
  writer.Put(uint64_t{0});
  writer.Put(header.signature_bytes);
  writer.Put(header.signature_crc);
  writer.Put(uint32_t{0});
  writer.Put(base::Crc32c(out.first(kCrcOffset)));
}

base::Digest PackageDigest(const Header& header, base::ByteView head) {
  DIPPER_CHECK(head.size() >= kHeaderBytes + header.manifest_bytes);
  base::Sha256 hash;
  hash.Update(head.first(kSignedHeaderBytes));
  hash.Update(head.subspan(kHeaderBytes, header.manifest_bytes));
  return hash.Finish();
}

bool IsId(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  for (const char c : text) {
    if (!IsAlphanumeric(c) && c != '_' && c != '-') return false;
  }
  return true;
}

bool IsLabel(std::string_view text) {
  if (text.empty() || text.size() > 64 || !IsAlphanumeric(text.front()) || text.back() == ' ') return false;
  for (const char c : text) {
    if (!IsAlphanumeric(c) && c != '_' && c != '-' && c != '.' && c != '+' && c != ' ') return false;
  }
  return true;
}

}  // namespace dipper::package
