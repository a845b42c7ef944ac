// Hex for digests.
#include "agent/base/bytes.h"

namespace dipper::base {

DigestHex ToHex(const Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  DigestHex hex;
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    hex.text[2 * i] = kDigits[digest.bytes[i] >> 4];
    hex.text[2 * i + 1] = kDigits[digest.bytes[i] & 15];
  }
  return hex;
}

Result<Digest> DigestFromHex(std::string_view hex) {
  Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) return Status::kInvalidArgument;
  const auto nibble = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = nibble(hex[2 * i]);
    const int low = nibble(hex[2 * i + 1]);
    if (high < 0 || low < 0) return Status::kInvalidArgument;
    digest.bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return digest;
}

}  // namespace dipper::base
