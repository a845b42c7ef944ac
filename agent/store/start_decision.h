// What a ModelStore is made of, what its start is told about the run before, and what it decides. Plain
// values.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"
#include "agent/store/boot_record.h"
#include "hal/api/partition.h"

namespace dipper::store {

struct ModelStoreConfig {
  hal::Partition* boot = nullptr;
  uint32_t record_index = 0;  ///< Which of the boot partition's kMaxModels records.
  hal::Partition* slot_a = nullptr;
  hal::Partition* slot_b = nullptr;
  hal::Partition* factory = nullptr;  ///< Null: the device has none.
  uint64_t max_image_bytes = 0;
};

/// How the previous run ended, from the runtime's own note of what it was running (a note that survives a
/// crash of the process: a mapped file, or retained memory plus the reset reason). Without such a note: the
/// default. It is read before this run's note begins, and that begins before Start, so that whose code Start
/// runs has a name: a crash within Start is told to the next one. Planned stops need none, PlannedStop
/// records them.
struct LastRun {
  bool own_failure = false;                      ///< The note names a model that crashed or hung.
  base::Digest digest;                           ///< Which one.
  schema::Reason reason = schema::Reason::None;  ///< Crash or Watchdog.
  /// The note names another model of the device: this one's run was ended by it and is not held against it.
  bool another = false;
};

/// Where the champion's image comes from.
enum class ImageSource : uint8_t { kNone = 0, kNewestCheckpoint = 1, kOlderCheckpoint = 2, kPackage = 3 };

/// What to serve, and what Start (or a step down the ladder) found and did.
struct StartDecision {
  SlotId serve = SlotId::kNone;  ///< kNone: safe mode; telemetry and updates only.
  base::Digest digest;           ///< Package digest of `serve`.
  base::SecurityVersion version;
  Rung rung = Rung::kNewestCheckpoint;
  ImageSource source = ImageSource::kNone;
  bool trial = false;  ///< Run the challenger too; its try is already counted.
  SlotId trial_slot = SlotId::kNone;
  base::Digest trial_digest;
  bool trial_ended = false;  ///< A pending trial was ended here, for `trial_end_reason`.
  base::Digest ended_digest;
  schema::Reason trial_end_reason = schema::Reason::None;
  bool denied = false;     ///< The ended trial, or the champion that was left, is now denied.
  bool recovered = false;  ///< Rule 5: no valid record, or the LKG's bytes were bad.
  bool stepped_down = false;
  base::Status storage =
      base::Status::kOk;  ///< Not kOk: a write failed; served, but report no confirm or undo.
};

}  // namespace dipper::store
