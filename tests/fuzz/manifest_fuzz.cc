// Any bytes as a manifest, inside a header that agrees with it: the values behind a good signature.
#include "agent/package/manifest.h"
#include "agent/package/table.h"
#include "tests/fuzz/fuzz_keys.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

struct alignas(16) Memory {
  std::array<uint8_t, package::kMaxHeadBytes> bytes;
};

/// The header that a forger would put before this manifest.
package::Header HeaderFor(base::ByteView manifest) {
  package::Header header;
  header.manifest_bytes = static_cast<uint32_t>(manifest.size());
  const auto* table = package::VerifiedTable<schema::Manifest>(manifest, package::kManifestKind);
  if (table == nullptr) return header;
  header.image_bytes = table->image_bytes();
  header.block_count = table->blocks()->size();
  for (const schema::Block* block : *table->blocks()) header.block_area_bytes += block->stored_bytes();
  return header;
}

void ReadEverything(const package::Manifest& manifest) {
  uint64_t sum = manifest.model().size() + manifest.version().size() + manifest.spec().size();
  for (uint32_t i = 0; i < manifest.block_count(); ++i) sum += manifest.block(i).package_offset;
  for (uint32_t i = 0; i < manifest.self_test_steps(); ++i) {
    const auto& step = manifest.self_test_step(i);
    sum += step.values() == nullptr ? 0U : step.values()->size();
  }
  sum += manifest.self_test_digest().bytes[0];
  sum += manifest.FitsHardware("generic-linux") && manifest.FitsAgent(0, 1, 0) ? 1U : 0U;
  DIPPER_CHECK(sum != UINT64_MAX);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Memory memory;
  if (size == 0 || size > package::kMaxManifestBytes) return 0;
  std::memcpy(memory.bytes.data() + package::kHeaderBytes, data, size);
  const base::ByteView head(memory.bytes.data(), package::kHeaderBytes + size);
  const package::Header header = HeaderFor(head.subspan(package::kHeaderBytes));
  package::WriteHeader(header, base::MutableBytes(memory.bytes).first(package::kHeaderBytes));
  // Manifest::Parse is only ever called with a header that ParseHeader let through.
  package::Header parsed;
  if (package::ParseHeader(head, &parsed) != schema::Reason::None) return 0;
  package::Manifest manifest;
  if (package::Manifest::Parse(parsed, head, &manifest) == schema::Reason::None) ReadEverything(manifest);
  return 0;
}
