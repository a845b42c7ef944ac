// BootRecord: which slot serves, which one is on trial, and how far each may go; one per model, two copies in
// `boot`. Byte layout: docs/reference/storage.md. Thread-safe: pure functions.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"

namespace dipper::store {

enum class SlotId : uint8_t { kA = 0, kB = 1, kFactory = 2, kNone = 255 };

/// The champion's ladder (rule 7), from the most learned state to none. Stored.
enum class Rung : uint8_t {
  kNewestCheckpoint = 0,  ///< Without a valid checkpoint: the package image.
  kOlderCheckpoint = 1,
  kPackageImage = 2,
  kOtherSlot = 3,  ///< The LKG has become the other slot, with its newest checkpoint.
  kFactory = 4,
  kNone = 5,  ///< Safe mode: telemetry only.
};

inline constexpr uint8_t kTriesPerTrial = 3;
inline constexpr uint8_t kMaxTriesGivenBack = 12;
inline constexpr uint8_t kMaxOwnFailures = 3;
inline constexpr uint8_t kMaxUnexplainedStarts = 12;
inline constexpr size_t kDeniedCapacity = 8;
inline constexpr uint32_t kBootRecordMagic = 0x43455244;  ///< "DREC".
inline constexpr uint16_t kBootRecordLayout = 1;
inline constexpr uint32_t kBootRecordBytes = 400;

struct DeniedEntry {
  base::Digest digest;  ///< All zero: empty place.
  schema::Reason reason = schema::Reason::None;
  bool operator==(const DeniedEntry&) const = default;
};

struct BootRecord {
  uint64_t sequence = 0;
  SlotId lkg_slot = SlotId::kNone;
  base::Digest lkg_digest;
  base::SecurityVersion lkg_version;
  base::SecurityVersion floor;
  SlotId trial_slot = SlotId::kNone;
  base::Digest trial_digest;
  uint8_t tries_left = 0;
  uint8_t tries_given_back = 0;
  uint8_t own_failures = 0;
  uint8_t unexplained_starts = 0;
  Rung rung = Rung::kNewestCheckpoint;
  bool reset_pending = false;  ///< A factory reset has begun: the slots are yet to be erased.
  std::array<DeniedEntry, kDeniedCapacity> denied{};  ///< Oldest first; the oldest makes room.

  bool HasTrial() const { return trial_slot != SlotId::kNone; }
  bool IsDenied(const base::Digest& digest) const;
  /// Adds `digest`, or moves it to the newest place with the new reason.
  void Deny(const base::Digest& digest, schema::Reason reason);
  /// kNotFound: not in the ring.
  base::Status RemoveDenied(const base::Digest& digest);
  void ClearTrial();
  bool operator==(const BootRecord&) const = default;
};

/// True for the reasons that are the model's own failure and therefore deny its digest (rule 8).
bool IsOwnFailure(schema::Reason reason);

/// Writes exactly kBootRecordBytes. `out` must be that long.
void EncodeBootRecord(const BootRecord& record, base::MutableBytes out);

/// kDataLoss: CRC, length or a field out of range. kUnimplemented: good CRC, unknown layout: the agent is too
/// old.
base::Result<BootRecord> DecodeBootRecord(base::ByteView bytes);

}  // namespace dipper::store
