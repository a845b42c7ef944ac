// ModelStore: one model's slots and boot record over partitions that may lose power at any moment. It keeps
// rules 1 to 9 of docs/reference/storage.md: what is reported is never lost, and only a confirmed, verified,
// not denied model at or above the floor is ever served as champion. Not thread-safe: one thread at a time.
// No heap. Every call that changes something waits for the medium.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/security_version.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"
#include "agent/store/boot_layout.h"
#include "agent/store/boot_record.h"
#include "agent/store/page.h"
#include "agent/store/slot.h"
#include "agent/store/slot_verifier.h"
#include "agent/store/start_decision.h"
#include "hal/api/partition.h"

namespace dipper::store {

class ModelStore {
 public:
  ModelStore(const ModelStoreConfig& config, SlotVerifier& verifier);

  /// Once, before anything else: repairs the records and the LKG's mark, chooses what to serve, counts the
  /// start or the try before it runs (rules 1, 3, 5, 7). Reads and verifies each slot in use; at most 8
  /// record writes. kUnimplemented: written by a newer agent; nothing was written, serve nothing, say so.
  /// kResourceExhausted or kInvalidArgument: partitions too small for max_image_bytes or of an unusable
  /// shape.
  base::Result<StartDecision> Start(const LastRun& last);

  // Stage (rule 2)
  /// Where the next package would go.
  SlotId StageTarget();
  uint64_t PackageCapacity() const;  ///< Of the smaller slot.
  /// Empties the target's header, marks and checkpoints behind a barrier; from here to the next confirm there
  /// is no undo target. Then WriteStage may come in any order. kFailedPrecondition: no healthy mark yet, a
  /// trial is pending, or a factory reset is unfinished. kPermissionDenied: denied or below the floor.
  /// kAlreadyExists: it is the LKG. kResourceExhausted: larger than the slot takes. kUnavailable: I/O.
  base::Status BeginStage(const base::Digest& digest, base::SecurityVersion version, uint64_t package_bytes);
  /// Continues a stage that a restart interrupted, from a transfer persisted in Counters (which is only
  /// written after BeginStage). Same errors; kFailedPrecondition also: `slot` is no longer the target, begin
  /// anew.
  base::Status ResumeStage(const base::Digest& digest, base::SecurityVersion version, uint64_t package_bytes,
                           SlotId slot);
  /// Writes package bytes; whole write units, except at the package's end. kFailedPrecondition: no stage.
  /// kOutOfRange: past the announced size. kUnavailable or kResourceExhausted: I/O; may be tried again.
  base::Status WriteStage(uint64_t offset, base::ByteView bytes);
  base::Status ReadStage(uint64_t offset, base::MutableBytes to);
  /// Barrier: what was written is durable; afterwards the transfer bitmap may say so.
  base::Status SyncStage();
  /// Header, barrier, read back, verify, then the record {trial, 3 tries}. kDataLoss: bytes or facts do not
  /// match, the stage is over. kPermissionDenied: version below the floor. kUnavailable: I/O, the stage stays
  /// open.
  base::Status CommitStage();
  void AbandonStage() { stage_open_ = false; }
  bool stage_open() const { return stage_open_; }

  // Trial (rules 3, 4, 8)
  /// Takes a try of the pending trial and makes that durable; the challenger may run when it returns kOk.
  /// kNotFound: none pending. kFailedPrecondition: running already. kDataLoss or kResourceExhausted: bytes
  /// bad or no tries left; the trial has been ended. kUnavailable: I/O; do not run it.
  base::Status BeginTrial();
  /// This agent cannot run the challenger at all, and none of its code ran: gives this start's try back,
  /// uncounted, and counts the start as the champion's own instead. The trial stays pending. kUnavailable:
  /// not given back; the healthy mark or a planned stop does it. kFailedPrecondition: no try was taken.
  base::Status PostponeTrial();
  /// Ends a pending or running trial; an own failure (rule 8) denies its digest. Durable in both copies on
  /// kOk.
  base::Status EndTrial(schema::Reason reason);
  /// The challenger becomes champion. Report only after kOk; after kUnavailable call again (or restart):
  /// Start completes what was begun. kFailedPrecondition: no trial is running.
  base::Status Confirm();
  bool trial_running() const { return trial_running_; }

  /// Denies a digest without a trial (an own failure at stage: the self-test). kInvalidArgument: not an own
  /// failure.
  base::Status Deny(const base::Digest& digest, schema::Reason reason);
  /// kNotFound: not denied.
  base::Status OverrideDenied(const base::Digest& digest);
  bool IsDenied(const base::Digest& digest) const { return record_.IsDenied(digest); }

  // Champion (rules 6, 7)
  /// Back to the previous confirmed model. kOk with Reason::None: done, load it as `decision` says. Otherwise
  /// the refusal: TrialPending, NoPrevious, RefusedDenied, RefusedFloor. A failed status: I/O, not to be
  /// reported as done.
  base::Result<schema::Reason> Undo(StartDecision* decision);
  /// The slot that Undo would go to, kNone when it would refuse. Reads and verifies that slot.
  /// @param package  Becomes the digest of the package in it, zero without one; may be null.
  SlotId UndoTarget(base::Digest* package = nullptr);
  /// All components have answered for the healthy time: once a start; clears the champion's counts, gives the
  /// running trial's try back (at most 12 times), opens staging. Never changes the rung.
  base::Status HealthyMark();
  bool healthy() const { return healthy_; }
  /// A further healthy period has passed: the next checkpoint may be written. HealthyMark includes the first.
  void HealthyPeriod();
  /// SIGTERM, upgrade, reboot: takes this start's count back and gives the try back.
  base::Status PlannedStop();
  /// The champion failed by itself while running (not finite, over budget): the third failure goes one rung
  /// down. `reason` is an own failure (kInvalidArgument otherwise) and denies the package when its slot is
  /// left.
  base::Result<StartDecision> ChampionFailed(schema::Reason reason);
  /// The chosen image cannot be attached: one rung down at once. Leaving the slot denies the package only
  /// when `reason` is an own failure: not when the medium or another agent's layout is to blame.
  base::Result<StartDecision> ChampionUnloadable(schema::Reason reason);

  // Checkpoints
  /// Saves an image (and, for a challenger, the gate's state) that has passed the finite-and-loss check, in
  /// one area behind one barrier; on a lower rung it replaces the failed newest one and then returns to rung
  /// 0. kFailedPrecondition: no healthy period since the newest (rule 7), or the slot takes none.
  /// kResourceExhausted: larger than the area. kUnavailable: I/O; the previous checkpoint is intact.
  base::Status WriteCheckpoint(SlotId slot, uint64_t samples, base::ByteView image,
                               base::ByteView gate_state = {});
  bool CheckpointAllowed(SlotId slot);
  /// Reads and checks the newest or older checkpoint of the slot's package into `image` and, when it is not
  /// empty, `gate_state`. kNotFound: no such valid checkpoint. kResourceExhausted: a buffer is too small.
  base::Result<CheckpointInfo> ReadCheckpoint(SlotId slot, ImageSource which, base::MutableBytes image,
                                              base::MutableBytes gate_state = {});

  // Reading
  /// kNotFound: the slot holds no package.
  base::Result<uint64_t> PackageBytes(SlotId slot);
  base::Status ReadPackage(SlotId slot, uint64_t offset, base::MutableBytes to);
  const BootRecord& record() const { return record_; }

  /// Back to the factory model, or to none on a device without one. What was installed and learned is erased;
  /// floor, denied digests and trust state stay. Durable before anything is erased, and Start finishes what a
  /// cut interrupts. kOk with Reason::None: done. RefusedDenied, RefusedFloor: the factory model may not
  /// serve; NoPrevious: its bytes are bad; nothing has changed. A failed status as in Undo.
  base::Result<schema::Reason> FactoryReset(StartDecision* decision);

 private:
  enum class Unfinished : uint8_t { kNothing, kConfirm, kUndo, kReset };
  struct Candidate {
    SlotId slot = SlotId::kNone;
    SlotFacts facts;
    uint64_t mark_sequence = 0;
  };

  // model_store.cc: slots and records
  Slot* SlotOf(SlotId id);
  base::Result<SlotFacts> VerifySlot(SlotId id);
  uint64_t MarkSequence(SlotId id);
  base::Digest DigestIn(SlotId id);
  base::Status LoadRecords(bool* found);
  base::Status ReadRecord(uint32_t copy, BootRecord* record);
  base::Status WriteRecord(BootRecord next, bool sync = true);
  base::Status EnsureDuplicated();
  base::Status CompleteMark();
  base::Status FinishLkg(bool duplicate = true, bool mark = true);
  base::Status FinishReset();
  bool HoldsUnknownLayout() const;
  // model_store_start.cc: start and ladder
  base::Status OpenPartitions();
  base::Status RepairAndChoose(bool found);
  base::Status Recover(bool found);
  Candidate BestMarked(SlotId except, SlotId also_except, base::SecurityVersion floor);
  bool FactoryEligible(const BootRecord& next, SlotFacts* facts);
  base::Status CountStart(const LastRun& last);
  schema::Reason JudgeTrial(const BootRecord& at, bool own_failure, schema::Reason reason);
  bool MustStepDown(const BootRecord& next) const;
  void StepDown(BootRecord* next, schema::Reason reason);
  void LeaveSlot(BootRecord* next, schema::Reason reason);
  base::Status ApplyStep(BootRecord next);
  ImageSource Source(const BootRecord& record);
  StartDecision Decide();
  void Note(base::Status status);
  // model_store_trial.cc: stage, trial, confirm, undo
  base::Status CheckStage(const base::Digest& digest, base::SecurityVersion version, uint64_t package_bytes);
  base::Status EmptyStageSlot();
  void GiveBack(BootRecord* next);
  schema::Reason FindUndo(Candidate* target);

  ModelStoreConfig config_;
  SlotVerifier& verifier_;
  CopyPair records_;
  std::array<Slot, 3> slots_;
  BootRecord record_;
  StartDecision decision_;
  bool started_ = false;
  bool healthy_ = false;
  bool start_counted_ = false;  ///< This start is in unexplained_starts.
  bool trial_running_ = false;
  bool try_returned_ = false;
  Unfinished unfinished_ = Unfinished::kNothing;
  std::array<bool, 2> checkpoint_due_{};  ///< A healthy period has passed since the newest.
  base::SecurityVersion trial_version_;
  bool stage_open_ = false;
  SlotId stage_slot_ = SlotId::kNone;
  SlotHeader stage_;
  base::SecurityVersion stage_version_;
  alignas(16) std::array<uint8_t, kRecordPageBytes> page_{};
};

}  // namespace dipper::store
