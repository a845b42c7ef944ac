// Packages of build.h.
#include "agent/package/build.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/base/sha256.h"
#include "agent/package/codec.h"
#include "agent/package/envelope.h"
#include "agent/package/manifest.h"
#include "agent/package/seal.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using base::Result;
using base::Status;
using schema::Reason;

/// Memory at a multiple of 16 for parsing.
class AlignedCopy {
 public:
  explicit AlignedCopy(base::ByteView bytes) : words_(bytes.size() / 16 + 1), size_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  base::ByteView view() const { return {reinterpret_cast<const uint8_t*>(words_.data()), size_}; }

 private:
  struct alignas(16) Word {
    std::array<uint8_t, 16> bytes;
  };
  std::vector<Word> words_;
  size_t size_;
};

/// What encrypts a package, if anything does.
struct Sealing {
  Secret key;
  base::Digest identity;
};

/// A new content key, wrapped for each group, in the manifest, whose image is known.
Result<Sealing> StartSealing(std::span<const PublicKey> groups, schema::ManifestT* manifest) {
  Sealing sealing;
  DIPPER_RETURN_IF_ERROR(FillRandom(sealing.key.bytes));
  sealing.identity = SealIdentity{.model = manifest->model,
                                  .name = manifest->name,
                                  .version = manifest->version,
                                  .security_version = {manifest->release_epoch, manifest->security_version},
                                  .created = manifest->created,
                                  .image_bytes = manifest->image_bytes,
                                  .image_digest = ToDigest(*manifest->image_sha256)}
                         .Hash();
  manifest->encryption = std::make_unique<schema::EncryptionT>();
  for (const PublicKey& group : groups) {
    DIPPER_ASSIGN_OR_RETURN(const schema::Recipient recipient,
                            WrapContentKey(sealing.key, group, sealing.identity));
    manifest->encryption->recipients.push_back(recipient);
  }
  return sealing;
}

/// Fills the block table and the blocks' bytes.
Status AddBlocks(base::ByteView image, const Sealing* sealing, schema::ManifestT* manifest, Bytes* area) {
  Bytes stored(kMaxStoredBlockBytes);
  const base::MutableBytes frame = base::MutableBytes(stored).first(kMaxStoredBlockBytes - kGcmTagBytes);
  manifest->blocks.clear();
  for (size_t at = 0; at < image.size(); at += kBlockBytes) {
    const base::ByteView raw = image.subspan(at, std::min<size_t>(kBlockBytes, image.size() - at));
    DIPPER_ASSIGN_OR_RETURN(size_t length, EncodeBlock(raw, frame));
    if (sealing != nullptr) {
      length += kGcmTagBytes;
      SealBlock(sealing->identity, static_cast<uint32_t>(manifest->blocks.size()),
                static_cast<uint32_t>(raw.size()), sealing->key, base::MutableBytes(stored).first(length));
    }
    const base::Digest digest = base::Sha256Of({stored.data(), length});
    manifest->blocks.emplace_back(ToSchema(digest), static_cast<uint32_t>(area->size()),
                                  static_cast<uint32_t>(length), static_cast<uint32_t>(raw.size()));
    area->insert(area->end(), stored.begin(), stored.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return Status::kOk;
}

/// The manifest's bytes, or kInvalidArgument when its spec or a required part is missing.
Result<Bytes> PackManifest(const schema::ManifestT& manifest) {
  flatbuffers::FlatBufferBuilder builder(64 * 1024);
  builder.Finish(schema::Manifest::Pack(builder, &manifest), kManifestKind);
  return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

/// Fills what is computed: sizes, digests, blocks and the feature-schema hash.
Status Complete(base::ByteView image, std::span<const PublicKey> groups, schema::ManifestT* manifest,
                Bytes* area) {
  const AlignedCopy spec_bytes(manifest->spec);
  const auto* spec = VerifiedTable<schema::Spec>(spec_bytes.view(), kSpecKind);
  if (spec == nullptr) return Status::kInvalidArgument;
  manifest->feature_schema = std::make_unique<schema::Sha256>(ToSchema(FeatureSchemaHash(*spec)));
  manifest->image_bytes = image.size();
  manifest->image_sha256 = std::make_unique<schema::Sha256>(ToSchema(base::Sha256Of(image)));
  if (manifest->gate == nullptr) manifest->gate = std::make_unique<schema::GatePolicyT>();
  manifest->encryption.reset();
  if (groups.empty()) return AddBlocks(image, nullptr, manifest, area);
  DIPPER_ASSIGN_OR_RETURN(const Sealing sealing, StartSealing(groups, manifest));
  return AddBlocks(image, &sealing, manifest, area);
}

Bytes Assemble(Header header, base::ByteView manifest, base::ByteView signatures, base::ByteView area) {
  header.manifest_bytes = static_cast<uint32_t>(manifest.size());
  header.signature_bytes = static_cast<uint32_t>(signatures.size());
  header.signature_crc = base::Crc32c(signatures);
  header.block_area_bytes = area.size();
  Bytes out(kHeaderBytes);
  WriteHeader(header, out);
  out.insert(out.end(), manifest.begin(), manifest.end());
  out.insert(out.end(), signatures.begin(), signatures.end());
  out.insert(out.end(), area.begin(), area.end());
  return out;
}

/// The header of a complete package, or null.
bool ReadHeader(base::ByteView package, Header* header) {
  return ParseHeader(package, header) == Reason::None && package.size() == header->package_bytes();
}

}  // namespace

schema::Sha256 ToSchema(const base::Digest& digest) { return schema::Sha256(digest.bytes); }

schema::PublicKey ToSchema(const PublicKey& key) { return schema::PublicKey(key.xy); }

Reason InspectHead(base::ByteView package, base::MutableBytes memory, Manifest* manifest) {
  Header header;
  const Reason reason = ParseHeader(package, &header);
  if (reason != Reason::None) return reason;
  if (package.size() < header.head_bytes()) return Reason::BadFormat;
  if (memory.size() < header.head_bytes()) return Reason::TooLarge;
  std::memcpy(memory.data(), package.data(), header.head_bytes());
  return Manifest::Parse(header, memory.first(header.head_bytes()), manifest);
}

std::vector<TrustRoot::Signature> ReadSignatures(base::ByteView package) {
  Header header;
  if (ParseHeader(package, &header) != Reason::None || package.size() < header.head_bytes()) return {};
  base::FixedVector<TrustRoot::Signature, kMaxSignatures> signatures;
  const base::ByteView section =
      package.subspan(kHeaderBytes + header.manifest_bytes, header.signature_bytes);
  if (ReadSignatureSection(section, &signatures) != Reason::None) return {};
  return {signatures.begin(), signatures.end()};
}

Result<Bytes> BuildPackage(const schema::ManifestT& manifest, base::ByteView image, Reason* refusal,
                           std::span<const PublicKey> groups) {
  Reason reason = Reason::BadSpec;
  if (refusal == nullptr) refusal = &reason;
  *refusal = Reason::TooLarge;
  if (image.empty() || image.size() > kMaxImageBytes) return Status::kResourceExhausted;
  schema::ManifestT complete = manifest;
  Bytes area;
  *refusal = Reason::BadSpec;
  DIPPER_RETURN_IF_ERROR(Complete(image, groups, &complete, &area));
  DIPPER_ASSIGN_OR_RETURN(const Bytes manifest_bytes, PackManifest(complete));
  *refusal = Reason::TooLarge;
  if (manifest_bytes.size() > kMaxManifestBytes) return Status::kResourceExhausted;
  Header header;
  header.block_count = static_cast<uint32_t>(complete.blocks.size());
  header.image_bytes = image.size();
  header.encrypted = !groups.empty();
  Bytes package = Assemble(header, manifest_bytes, {}, area);
  // What a device would refuse is refused here, by the same code.
  Header parsed_header;
  *refusal = ParseHeader(package, &parsed_header);
  if (*refusal != Reason::None) return Status::kInvalidArgument;
  const AlignedCopy head(base::ByteView(package).first(parsed_header.head_bytes()));
  Manifest parsed;
  *refusal = Manifest::Parse(parsed_header, head.view(), &parsed);
  if (*refusal != Reason::None) return Status::kInvalidArgument;
  return package;
}

Result<Bytes> PackageMessage(base::ByteView package) {
  Header header;
  if (!ReadHeader(package, &header)) return Status::kDataLoss;
  Bytes message(package.begin(), package.begin() + kSignedHeaderBytes);
  const base::ByteView manifest = package.subspan(kHeaderBytes, header.manifest_bytes);
  message.insert(message.end(), manifest.begin(), manifest.end());
  return message;
}

Result<Bytes> AddPackageSignature(base::ByteView package, const PublicKey& key, const SignatureValue& value) {
  DIPPER_ASSIGN_OR_RETURN(const Bytes message, PackageMessage(package));
  if (!VerifySignature(key, SigningDigest(Domain::kPackage, message), value))
    return Status::kPermissionDenied;
  Header header;
  if (!ReadHeader(package, &header)) return Status::kDataLoss;
  const base::Digest id = KeyId(key);
  Bytes section;
  for (const TrustRoot::Signature& old : ReadSignatures(package)) {
    if (old.key_id == id) continue;
    section.insert(section.end(), old.key_id.bytes.begin(), old.key_id.bytes.end());
    section.insert(section.end(), old.value.rs.begin(), old.value.rs.end());
  }
  section.insert(section.end(), id.bytes.begin(), id.bytes.end());
  section.insert(section.end(), value.rs.begin(), value.rs.end());
  if (section.size() > kMaxSignatureBytes) return Status::kResourceExhausted;
  const base::ByteView manifest = package.subspan(kHeaderBytes, header.manifest_bytes);
  return Assemble(header, manifest, section, package.subspan(header.head_bytes()));
}

Result<Bytes> SignPackage(base::ByteView package, const PrivateKey& key) {
  DIPPER_ASSIGN_OR_RETURN(const Bytes message, PackageMessage(package));
  DIPPER_ASSIGN_OR_RETURN(const SignatureValue value, Sign(key, SigningDigest(Domain::kPackage, message)));
  return AddPackageSignature(package, key.public_key(), value);
}

}  // namespace dipper::package
