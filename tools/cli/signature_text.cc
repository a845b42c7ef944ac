// Implementation of signature_text.h.
#include "tools/cli/signature_text.h"

#include <algorithm>
#include <optional>

namespace dipper::cli {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kHalfBytes = 32;
constexpr uint8_t kSequenceTag = 0x30;
constexpr uint8_t kIntegerTag = 0x02;

/// One INTEGER at `*at`, big-endian into 32 bytes.
bool ReadInteger(const Bytes& der, size_t* at, uint8_t* half) {
  if (*at + 2 > der.size() || der[*at] != kIntegerTag) return false;
  const size_t length = der[*at + 1];
  *at += 2;
  // The short form is enough: 33 bytes at most.
  if (length == 0 || length > kHalfBytes + 1 || *at + length > der.size()) return false;
  const auto begin = der.begin() + static_cast<std::ptrdiff_t>(*at);
  const auto end = begin + static_cast<std::ptrdiff_t>(length);
  *at += length;
  if ((*begin & 0x80U) != 0) return false;  // negative
  const auto first = std::find_if(begin, end, [](uint8_t byte) { return byte != 0; });
  const auto size = static_cast<size_t>(end - first);
  if (size > kHalfBytes) return false;
  std::copy(first, end, half + (kHalfBytes - size));
  return true;
}

std::optional<package::SignatureValue> FromDer(const Bytes& der) {
  package::SignatureValue value;
  size_t at = 2;
  const bool good = der.size() >= 2 && der[0] == kSequenceTag && size_t{der[1]} + 2 == der.size() &&
                    ReadInteger(der, &at, value.rs.data()) &&
                    ReadInteger(der, &at, value.rs.data() + kHalfBytes) && at == der.size();
  return good ? std::optional(value) : std::nullopt;
}

void AddForms(const Bytes& bytes, std::vector<package::SignatureValue>* found) {
  if (bytes.size() == 2 * kHalfBytes) {
    package::SignatureValue value;
    std::copy(bytes.begin(), bytes.end(), value.rs.begin());
    found->push_back(value);
  }
  if (const auto value = FromDer(bytes)) found->push_back(*value);
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::optional<Bytes> FromHex(std::string_view text) {
  Bytes bytes;
  if (text.empty() || text.size() % 2 != 0) return std::nullopt;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = HexDigit(text[i]);
    const int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return bytes;
}

std::optional<Bytes> FromBase64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes bytes;
  uint32_t held = 0;
  int bits = 0;
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    held = (held << 6U) | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<uint8_t>(held >> static_cast<unsigned>(bits)));
    held &= (1U << static_cast<unsigned>(bits)) - 1;
  }
  return bytes;
}

}  // namespace

std::vector<package::SignatureValue> ReadSignature(std::string_view output) {
  std::vector<package::SignatureValue> found;
  AddForms(Bytes(output.begin(), output.end()), &found);
  std::string text(output);
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; });
  if (const auto bytes = FromHex(text)) AddForms(*bytes, &found);
  if (const auto bytes = FromBase64(text)) AddForms(*bytes, &found);
  return found;
}

}  // namespace dipper::cli
