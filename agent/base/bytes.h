// Bytes: views, little-endian loads and stores, 32-byte digests, hex. Thread-safe: pure functions over caller
// memory.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "agent/base/status.h"

namespace dipper::base {

static_assert(std::endian::native == std::endian::little, "images and records are little-endian in memory");

using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

/// SHA-256 value. All zero means "none".
struct Digest {
  std::array<uint8_t, 32> bytes{};
  bool operator==(const Digest&) const = default;
  bool IsZero() const {
    for (uint8_t b : bytes) {
      if (b != 0) return false;
    }
    return true;
  }
};

/// Lower-case hex of a digest, without terminating zero.
struct DigestHex {
  std::array<char, 64> text{};
  std::string_view view() const { return {text.data(), text.size()}; }
  /// The first 12 digits: what tables and messages show.
  std::string_view brief() const { return {text.data(), 12}; }
};

DigestHex ToHex(const Digest& digest);

/// Parses 64 hex digits. kInvalidArgument: other length or another character.
Result<Digest> DigestFromHex(std::string_view hex);

/// Copies an arithmetic value or enum from unaligned little-endian bytes.
template <typename T>
requires std::is_trivially_copyable_v<T> T Load(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
requires std::is_trivially_copyable_v<T>
void Store(uint8_t* to, T value) { std::memcpy(to, &value, sizeof value); }

/// Writes fixed-width fields one after another; overflow is remembered, never written.
class ByteWriter {
 public:
  explicit ByteWriter(MutableBytes out) : out_(out) {}
  template <typename T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void Put(T value) {
    PutBytes({reinterpret_cast<const uint8_t*>(&value), sizeof value});
  }
  void PutDigest(const Digest& digest) { PutBytes(digest.bytes); }
  void PutBytes(ByteView bytes) {
    if (bytes.size() > out_.size() - position_) {
      overflow_ = true;
      return;
    }
    if (!bytes.empty()) std::memcpy(out_.data() + position_, bytes.data(), bytes.size());
    position_ += bytes.size();
  }
  size_t position() const { return position_; }
  bool overflow() const { return overflow_; }

 private:
  MutableBytes out_;
  size_t position_ = 0;
  bool overflow_ = false;
};

/// Reads fixed-width fields one after another; reading past the end yields zeros and is remembered.
class ByteReader {
 public:
  explicit ByteReader(ByteView in) : in_(in) {}
  template <typename T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) T Get() {
    T value{};
    GetBytes({reinterpret_cast<uint8_t*>(&value), sizeof value});
    return value;
  }
  Digest GetDigest() {
    Digest digest;
    GetBytes(digest.bytes);
    return digest;
  }
  void GetBytes(MutableBytes to) {
    if (to.size() > in_.size() - position_) {
      overflow_ = true;
      return;
    }
    if (!to.empty()) std::memcpy(to.data(), in_.data() + position_, to.size());
    position_ += to.size();
  }
  size_t position() const { return position_; }
  size_t remaining() const { return in_.size() - position_; }
  bool overflow() const { return overflow_; }

 private:
  ByteView in_;
  size_t position_ = 0;
  bool overflow_ = false;
};

inline ByteView AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr uint64_t AlignUp(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace dipper::base
