// Any bytes as a whole package: verified with and without a root, then decoded. The CRCs are made right
// first, since a forger would, so that the fuzzer reaches what lies behind them.
#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/package/verify.h"
#include "tests/fuzz/fuzz_keys.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header

struct alignas(16) Memory {
  std::array<uint8_t, package::kWholeMemoryBytes> bytes;
};

void FixCrcs(package::Bytes& bytes) {
  if (bytes.size() < package::kHeaderBytes) return;
  const uint64_t manifest = base::Load<uint32_t>(bytes.data() + 16);
  const uint64_t signatures = base::Load<uint32_t>(bytes.data() + 48);
  const uint64_t at = std::min<uint64_t>(bytes.size(), package::kHeaderBytes + manifest);
  const uint64_t length = std::min<uint64_t>(bytes.size() - at, signatures);
  base::Store(bytes.data() + 52, base::Crc32c(base::ByteView(bytes).subspan(at, length)));
  base::Store(bytes.data() + 60, base::Crc32c(base::ByteView(bytes).first(60)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Memory memory;
  package::Bytes bytes(data, data + size);
  FixCrcs(bytes);
  package::MemorySource source(bytes);
  package::PackageFacts facts;
  (void)package::VerifyWhole(source, &fuzz::Root(), memory.bytes, &facts);
  if (package::VerifyWhole(source, nullptr, memory.bytes, &facts) != schema::Reason::None) return 0;
  package::Bytes scratch(package::kMaxStoredBlockBytes);
  package::Bytes image(facts.image_bytes);
  (void)package::DecodeImage(source, facts.manifest, scratch, image);
  return 0;
}
