// ControlView: what `dipper-agent status` and `slots` show, as plain values, read from the running agent or,
// when none runs, from its partitions. Not thread-safe. Heap: as its values need.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/app/control/target.h"
#include "agent/store/boot_record.h"
#include "agent/store/counters.h"
#include "agent/store/slot_layout.h"
#include "agent/update/gate.h"

namespace dipper::app {

struct PackageView {
  base::Digest digest;  ///< Zero: there is none.
  std::string name, version;
  base::SecurityVersion security_version;
};

struct SlotView {
  store::SlotId id = store::SlotId::kNone;
  std::string holds;  ///< champion, trial, previous, unconfirmed, factory, empty, damaged, newer_agent.
  PackageView package;
  uint64_t package_bytes = 0;
  bool has_mark = false;
  store::ConfirmMark mark;
  std::vector<store::CheckpointInfo> checkpoints;  ///< Valid ones, newest first.
};

struct ModelView {
  std::string id;
  bool storage_of_newer_agent = false;
  bool has_record = false;
  schema::UpdateState state = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;
  uint64_t offer_number = 0;
  uint32_t blocks_have = 0, blocks_total = 0;
  PackageView champion, challenger;
  base::Digest offered;
  uint64_t samples = 0, labels = 0, challenger_samples = 0;
  bool frozen = false, healthy = false;
  uint64_t checkpoints_written = 0, checkpoint_failures = 0;
  bool has_gate = false;
  update::GateReport gate;
  store::BootRecord record;
  /// What served and is damaged or gone: "pump 1 (1f0c22ab91d4) in slot A is damaged or gone". Empty:
  /// nothing.
  std::string lost;
  PackageView undo;  ///< Zero digest: there is no undo target, or it is not known offline.
  store::SlotId undo_slot = store::SlotId::kNone;
  int64_t serving_since_ns = 0;  ///< Wall time of the confirm, from the log; 0: not in the log.
  std::vector<SlotView> slots;
};

struct ControlView {
  bool running = false;
  ControlReadings readings;  ///< Of the device's names only, when not running.
  int64_t pid = 0;
  std::vector<ModelView> models;
};

/// Reads slot, marks, checkpoints and the names in the package's manifest, without signatures. Cost: reads
/// the head and both checkpoints once.
SlotView ViewSlot(hal::Partition& partition, store::SlotId id, const store::BootRecord& record);

/// The boot record in one place, nothing repaired. kUnimplemented: of a newer agent; others: there is none.
base::Result<store::BootRecord> ReadBootRecord(hal::Partition& boot, uint32_t place);

/// ModelView::lost for the package `digest` that the record named. Reads its name in the slot, if it can.
std::string LostText(const base::Digest& digest, const SlotView& slot);
/// The same from a record that names no champion any more: by the marks that are left. Empty for a model that
/// was never confirmed, and where the ladder ended without one.
std::string LostText(const store::BootRecord& record, std::span<const SlotView> slots);

/// Of the running agent. @param only  A model's id; empty: all.
/// @param with_slots  Slots too, which costs reading them.
ControlView ViewRunning(ControlTarget& target, std::string_view only, bool with_slots);

/// Wall time of the newest logged confirm of that package, 0 when the log has none.
int64_t FindConfirm(store::EventLog& log, const base::Digest& package);

std::string SlotText(store::SlotId id);  ///< "A", "B", "factory", "none".
std::string RungText(store::Rung rung);  ///< "newest checkpoint", "older checkpoint", ...

}  // namespace dipper::app
