// Packages for store tests: a version, content and a digest; and the verifier that knows them.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "agent/base/sha256.h"
#include "agent/store/slot_verifier.h"

namespace dipper::store {

using Bytes = std::vector<uint8_t>;

/// A package of the fake format: {magic, epoch, version} body {SHA-256 of all before}.
inline Bytes MakePackage(uint32_t version, uint8_t content, size_t body_bytes = 1200, uint32_t epoch = 1) {
  Bytes bytes(12 + body_bytes, content);
  base::Store<uint32_t>(bytes.data(), 0x474B5046);
  base::Store<uint32_t>(bytes.data() + 4, epoch);
  base::Store<uint32_t>(bytes.data() + 8, version);
  const base::Digest digest = base::Sha256Of(bytes);
  bytes.insert(bytes.end(), digest.bytes.begin(), digest.bytes.end());
  return bytes;
}

inline base::Digest DigestOf(const Bytes& package) {
  base::Digest digest;
  std::copy(package.end() - 32, package.end(), digest.bytes.begin());
  return digest;
}

inline base::SecurityVersion VersionOf(const Bytes& package) {
  return {base::Load<uint32_t>(package.data() + 4), base::Load<uint32_t>(package.data() + 8)};
}

class FakeVerifier final : public SlotVerifier {
  /// The same few packages are verified a million times: bytes that were hashed before are looked up.
  base::Digest HashOf(const Bytes& package) {
    for (const auto& [bytes, digest] : known_) {
      if (bytes == package) return digest;
    }
    if (known_.size() == kKnown) known_.erase(known_.begin());
    known_.emplace_back(package, base::Sha256Of(base::ByteView(package).first(package.size() - 32)));
    return known_.back().second;
  }
  static constexpr size_t kKnown = 8;
  std::vector<std::pair<Bytes, base::Digest>> known_;

 public:
  base::Result<SlotFacts> Verify(hal::Partition& partition, uint64_t offset, uint64_t bytes) override {
    if (bytes < 44 || bytes > 64 * 1024) return base::Status::kDataLoss;
    Bytes package(bytes);
    DIPPER_RETURN_IF_ERROR(partition.Read(offset, package));
    const base::Digest computed = HashOf(package);
    if (base::Load<uint32_t>(package.data()) != 0x474B5046 || computed != DigestOf(package)) {
      return base::Status::kDataLoss;
    }
    return SlotFacts{computed, VersionOf(package), 2048};
  }
};

}  // namespace dipper::store
