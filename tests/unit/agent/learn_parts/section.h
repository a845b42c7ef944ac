// Test helpers for parts of the image: memory as a model would give it, and damage to it.
#pragma once

#include <gtest/gtest.h>

#include "agent/base/bytes.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::learn {

/// Zeroed, 16-byte aligned memory of exactly the size that `Part` asks for, created.
template <typename Part, typename Config>
class Section {
 public:
  explicit Section(const Config& config) : config_(config), memory_(BytesOf(config)) {
    EXPECT_EQ(Part::Create(config, bytes_mutable()), base::Status::kOk);
  }
  base::MutableBytes bytes_mutable() { return memory_.bytes(); }
  base::ByteView bytes() const { return memory_.bytes(); }
  Part part() { return Part(config_, bytes_mutable()); }
  base::Status Validate() const { return Part::Validate(config_, bytes()); }
  const Config& config() const { return config_; }
  bool operator==(const Section& other) const { return memory_ == other.memory_; }

 private:
  static uint64_t BytesOf(const Config& config) {
    const base::Result<uint64_t> bytes = Part::StateBytes(config);
    EXPECT_TRUE(bytes.ok());
    EXPECT_EQ(*bytes % 16, 0U);
    return *bytes;
  }
  Config config_;
  dipper::test::AlignedBytes memory_;
};

/// Flips every byte in turn (and single bits of it); whatever still validates is handed to `use`, which must
/// survive. Returns how many of the damaged images were refused.
template <typename Part, typename Config, typename Use>
size_t FlipEveryByte(const Section<Part, Config>& section, Use use) {
  size_t refused = 0;
  for (size_t at = 0; at < section.bytes().size(); ++at) {
    for (const unsigned mask : {0xffU, 0x80U, 0x01U}) {
      Section<Part, Config> damaged = section;
      damaged.bytes_mutable()[at] = static_cast<uint8_t>(damaged.bytes_mutable()[at] ^ mask);
      const base::Status status = damaged.Validate();
      if (status == base::Status::kOk) {
        use(damaged);
      } else {
        EXPECT_EQ(status, base::Status::kDataLoss);
        ++refused;
      }
    }
  }
  return refused;
}

}  // namespace dipper::learn
