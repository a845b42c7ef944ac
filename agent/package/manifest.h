// Manifest: a view over a received manifest whose bytes were verified, copied to aligned memory and
// range-checked. Thread-safe for readers. No heap.
#pragma once

#include "agent/base/security_version.h"
#include "agent/package/format.h"
#include "agent/schema/package_generated.h"

namespace dipper::package {

inline constexpr uint32_t kMaxSelfTestSteps = 2048;
inline constexpr uint32_t kMaxFeatures = 4096;
inline constexpr uint32_t kMaxRecipients = 128;

inline base::Digest ToDigest(const schema::Sha256& value) {
  base::Digest digest;
  for (size_t i = 0; i < digest.bytes.size(); ++i)
    digest.bytes[i] = value.bytes()->Get(static_cast<uint32_t>(i));
  return digest;
}

/// Where one block is, and what it must be.
struct BlockInfo {
  uint64_t package_offset = 0;  ///< From the first byte of the package.
  uint32_t image_offset = 0;
  uint32_t stored_bytes = 0;
  uint32_t raw_bytes = 0;
  base::Digest sha256;  ///< Of the bytes as stored.
};

/// A view: cheap to copy; the memory given to VerifyHead must outlive it. A default one is empty and may only
/// be assigned to.
class Manifest {
 public:
  Manifest() = default;

  const Header& header() const { return header_; }
  const base::Digest& package_digest() const { return digest_; }
  /// Everything, as a verified and range-checked table; the accessors below are shorthands.
  const schema::Manifest& table() const { return *table_; }

  std::string_view model() const { return table_->model()->string_view(); }
  std::string_view name() const { return table_->name()->string_view(); }
  std::string_view version() const { return table_->version()->string_view(); }
  base::SecurityVersion security_version() const {
    return {table_->release_epoch(), table_->security_version()};
  }
  /// A schema::Spec buffer, 8-aligned, FlatBuffers-verified; learn::Spec::Parse range-checks it.
  base::ByteView spec() const { return {table_->spec()->data(), table_->spec()->size()}; }
  base::Digest feature_schema() const { return ToDigest(*table_->feature_schema()); }
  uint64_t image_bytes() const { return header_.image_bytes; }
  base::Digest image_digest() const { return ToDigest(*table_->image_sha256()); }
  const schema::GatePolicy& gate() const { return *table_->gate(); }

  /// Blocks are encrypted for the recipients in table().encryption() (seal.h).
  bool encrypted() const { return header_.encrypted; }

  uint32_t block_count() const { return header_.block_count; }
  /// @param index  < block_count().
  BlockInfo block(uint32_t index) const;
  /// Whether block `index` is, as stored, the bytes with that hash and length. Cheaper than block().
  bool IsBlock(uint32_t index, const base::Digest& sha256, size_t stored_bytes) const;

  /// Steps of the self-test, 0 when there are none.
  uint32_t self_test_steps() const;
  const schema::SelfTestStep& self_test_step(uint32_t index) const;
  /// Zero when there are no steps.
  base::Digest self_test_digest() const;

  /// True if the package names no hardware or this one.
  bool FitsHardware(std::string_view hardware) const;
  bool FitsAgent(uint16_t major, uint16_t minor, uint16_t patch) const;
  /// Version of the state layout named `kind` ("image": the whole), 0 when the package names none.
  uint32_t LayoutOf(std::string_view kind) const;

  /// Verifies and range-checks a head whose signatures are not this function's business.
  /// @param head  Header, manifest and signatures, 16-aligned, whose header is `header`.
  /// BadFormat, BadSpec, WrongSchema (hash or model id differs from the spec's), TooLarge.
  static schema::Reason Parse(const Header& header, base::ByteView head, Manifest* manifest);

 private:
  Header header_;
  base::Digest digest_;
  const schema::Manifest* table_ = nullptr;
};

/// SHA-256 over the features' names, units, types and categories, in order: equal hashes take the same
/// samples (docs/reference/package.md has the bytes).
base::Digest FeatureSchemaHash(const schema::Spec& spec);

}  // namespace dipper::package
