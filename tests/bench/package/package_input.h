// What package_probe and package_bench read: a package, the root it is signed under and, when it is
// encrypted, a group's key. Not thread-safe; exits with a message on bad files, as programs for the desk may.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "agent/package/seal.h"
#include "agent/package/verify.h"

namespace dipper::bench {

inline std::vector<uint8_t> ReadFile(const char* path) {
  std::vector<uint8_t> bytes;
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) {
    std::fprintf(stderr, "cannot read %s\n", path);
    std::exit(3);
  }
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) bytes.push_back(static_cast<uint8_t>(c));
  std::fclose(file);
  return bytes;
}

/// Memory at a multiple of 16.
class AlignedMemory {
 public:
  explicit AlignedMemory(uint64_t size) : words_(size / 16 + 1), size_(size) {}
  base::MutableBytes bytes() { return {words_[0].bytes, static_cast<size_t>(size_)}; }

 private:
  struct alignas(16) Word {
    uint8_t bytes[16];
  };
  std::vector<Word> words_;
  uint64_t size_;
};

struct PackageInput {
  /// @param key  Path, or null: not encrypted.
  PackageInput(const char* package_path, const char* root_path, const char* key_path)
      : package(ReadFile(package_path)),
        whole(package::kWholeMemoryBytes),
        scratch(package::kMaxStoredBlockBytes) {
    const std::vector<uint8_t> root_bytes = ReadFile(root_path);
    bool good = package::TrustRoot::Parse(root_bytes, &root) == schema::Reason::None;
    if (key_path != nullptr) {
      const std::vector<uint8_t> pem = ReadFile(key_path);
      const auto key = package::ParsePrivateKey({reinterpret_cast<const char*>(pem.data()), pem.size()});
      good = good && key.ok() && base::Ok(keys.Add(*key));
    }
    package::Header header;
    good = good && package::ParseHeader(package, &header) == schema::Reason::None;
    if (!good) {
      std::fprintf(stderr, "%s: not a package, root or key\n", package_path);
      std::exit(5);
    }
    image.resize(header.image_bytes);
  }
  /// What a device does when the last block has come: every byte and the signatures.
  bool Verify() {
    package::MemorySource source(package);
    return package::VerifyWhole(source, &root, whole.bytes(), &facts) == schema::Reason::None;
  }
  /// What it does before the model runs, after Verify: hashes, decryption, decompression, image digest.
  bool Decode() {
    package::MemorySource source(package);
    package::Secret key;
    return package::OpenContentKey(facts.manifest, &keys, &key) == schema::Reason::None &&
           package::DecodeImage(source, facts.manifest, scratch.bytes(), image, &key) == schema::Reason::None;
  }

  std::vector<uint8_t> package;
  package::TrustRoot root;
  package::GroupKeys keys;
  AlignedMemory whole, scratch;
  package::PackageFacts facts;
  std::vector<uint8_t> image;
};

}  // namespace dipper::bench
