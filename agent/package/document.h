// Offers and commands: signed documents that tell devices what to install and what to do. Parsed into plain
// values. docs/reference/trust.md has the bytes. Thread-safe: pure functions; no heap but mbedTLS's; 20 KiB
// of stack.
#pragma once

#include "agent/package/root.h"

namespace dipper::package {

inline constexpr uint32_t kMaxDocumentBytes = 16 * 1024;  ///< Of an offer or a command with its signatures.
inline constexpr uint32_t kMaxTargetNames = 128;
inline constexpr uint32_t kMaxArguments = 8;
inline constexpr uint64_t kWholeFleet = uint64_t{1} << 32;  ///< `limit` that takes every device.

/// The upper 16 bits of an offer's or command's number are the epoch of its role in the root. A stolen key
/// can use up only the numbers of its epoch; a root that raises the epoch leaves them all behind.
inline constexpr uint32_t kNumberBits = 48;
inline constexpr uint32_t kMaxNumberEpoch = 0xFFFF;
constexpr uint64_t NumberInEpoch(uint32_t epoch, uint64_t number) {
  return (uint64_t{epoch} << kNumberBits) | (number & ((uint64_t{1} << kNumberBits) - 1));
}
constexpr uint32_t EpochOfNumber(uint64_t number) { return static_cast<uint32_t>(number >> kNumberBits); }

using IdText = base::FixedString<64>;

/// Who this device is when it asks whether it is meant.
struct DeviceNames {
  std::string_view fleet;
  std::string_view device;
  std::span<const std::string_view> groups;
};

struct OfferFacts {
  IdText fleet;
  IdText model;
  IdText rollout;
  uint64_t number = 0;
  int64_t issued = 0;
  int64_t not_before = 0;
  int64_t not_after = 0;
  base::Digest package;
  uint64_t package_bytes = 0;
  uint32_t head_bytes = 0;
  uint64_t image_bytes = 0;
  uint32_t spread_seconds = 0;
  bool override_denied = false;
  bool cancel = false;
  base::Digest digest;  ///< SHA-256 of the payload: with `number`, what makes an offer the same offer.
};

struct ArgumentText {
  base::FixedString<32> key;
  base::FixedString<256> value;
};

struct CommandFacts {
  IdText fleet;
  IdText model;  ///< Empty: the device itself.
  uint64_t number = 0;
  int64_t issued = 0;
  int64_t not_after = 0;
  base::FixedString<32> name;
  base::FixedVector<ArgumentText, kMaxArguments> arguments;
  base::Digest digest;
  /// Value of an argument, or an empty text.
  std::string_view argument(std::string_view key) const;
};

/// Verifies an offer against the rollout role. Numbers (old, same, new) are the caller's question; they are
/// stored.
///
/// @param document  Any alignment; copied before it is looked at.
/// @returns None and `*offer`; BadFormat; UnknownKey, BadSignature; WrongTarget: another fleet, group, device
///   or not yet this device's turn; OldNumber: of an earlier epoch of the role; RootInvalid: of a later one,
///   a newer root is needed; Expired: the offer or the root; NotYetValid. Signature comes before target,
///   target before epoch, epoch before time; from WrongTarget on `*offer` is set, so that the reason can be
///   reported.
schema::Reason VerifyOffer(base::ByteView document, const TrustRoot& root, const DeviceNames& device,
                           const TrustedTime& now, OfferFacts* offer);

/// Verifies a command against the command role. As VerifyOffer; a target's `limit` has no meaning here.
schema::Reason VerifyCommand(base::ByteView document, const TrustRoot& root, const DeviceNames& device,
                             const TrustedTime& now, CommandFacts* command);

/// Desk side: reads a document without asking who signed it, for showing and countersigning.
/// None, BadFormat or TooLarge.
schema::Reason InspectOffer(base::ByteView document, OfferFacts* offer);
schema::Reason InspectCommand(base::ByteView document, CommandFacts* command);

/// Place of a device in a rollout: uniform in [0, 2^32), independent between rollouts. First four bytes
/// (little-endian) of SHA-256("dipper/rollout/1" | 0 | device | 0 | rollout).
uint32_t RolloutHash(std::string_view device, std::string_view rollout);

/// When within the offer's spread window a device starts its transfer, in seconds from the offer: 0 to
/// spread_seconds - 1, from bytes 4 to 7 of the same hash.
uint32_t SpreadDelaySeconds(const OfferFacts& offer, std::string_view device);

}  // namespace dipper::package
