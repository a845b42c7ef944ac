// Updater: one model of a device, from offer to confirm or fall back, with its champion and challenger. It
// ties store, package, transfer and gate together; the state table says what follows what
// (docs/reference/update.md). Not thread-safe: one thread calls everything. No heap after construction, but
// mbedTLS's and zstd's while a package is verified. Calls that write wait for the medium.
#pragma once

#include "agent/base/event_limit.h"
#include "agent/store/model_store.h"
#include "agent/update/gate.h"
#include "agent/update/latency_guard.h"
#include "agent/update/loaded_model.h"
#include "agent/update/slot_source.h"
#include "agent/update/stage_writer.h"
#include "agent/update/state_table.h"
#include "agent/update/transfer.h"
#include "agent/update/transport.h"
#include "agent/update/trust.h"
#include "agent/update/updater_types.h"

namespace dipper::update {

class Updater {
 public:
  Updater(const UpdaterConfig& config, const UpdaterMemory& memory, const UpdaterDeps& deps);
  ~Updater();
  Updater(const Updater&) = delete;
  Updater& operator=(const Updater&) = delete;

  /// Once, first: repairs and chooses (ModelStore::Start), loads champion and, when one is pending,
  /// challenger; reports both, and what became of a trial that was under way. kUnimplemented: storage of a
  /// newer agent. Other errors: unusable partitions. A device without any model starts with kOk and no
  /// champion.
  base::Status Start(const store::LastRun& last);

  // ---- models ----
  learn::Model* champion() { return champion_.model ? &*champion_.model : nullptr; }
  learn::Model* challenger() { return challenger_.model && !end_unfinished_ ? &*challenger_.model : nullptr; }
  /// Null without the model; valid as long as it.
  const learn::Spec* champion_spec() const { return champion_.spec ? &*champion_.spec : nullptr; }
  const learn::Spec* challenger_spec() const { return challenger_.spec ? &*challenger_.spec : nullptr; }
  /// As loaded, null without it; the gate of a trial that counts, or null: for recordings and snapshots.
  LoadedModel* loaded(bool on_trial);
  const Gate* counting_gate() const { return Testing() && !confirm_unfinished_ ? &gate_ : nullptr; }

  // ---- input ----
  /// A retained offer. Returns what became of it: None: accepted, resumed or queued; otherwise the refusal.
  schema::Reason OnOffer(base::ByteView document);
  void OnManifest(const base::Digest& package, base::ByteView head);
  void OnBlock(const base::Digest& package, uint32_t index, base::ByteView stored);
  /// Installs a package that lies at hand (a file, a USB stick), with no offer: the same path from verifying
  /// on. Its head is verified here; Poll copies a few blocks a call, each hash checked before it is written,
  /// then verifies. None: begun. Otherwise the refusal, which is an event and changes nothing: Busy,
  /// TrialPending, TooSoon (no healthy mark yet), Expired (the root in force), SourceLost, StorageError, or
  /// what is wrong with it.
  /// @param source  Read until installing() is false; it must live as long.
  schema::Reason BeginInstall(package::ByteSource& source);
  bool installing() const { return install_.source != nullptr; }
  /// Starts, resubscribes, verifies, checkpoints, deadlines: once a second at least, one long step at most.
  /// @param now_ns  Monotonic time; what passes counts as powered-on time.
  void Poll(int64_t now_ns);
  /// During a trial: what both have answered to a sample; null: the champion did not. For the vetoes.
  void OnAnswers(const learn::Output* champion, const learn::Output& challenger);
  /// During a trial: the label that both models have just scored. Ignored unless both are valid and of one
  /// sample; with no champion its outcome is not looked at.
  void OnOutcomes(const learn::Outcome& champion, const learn::Outcome& challenger);
  /// The challenger did something no model may: NotFinite... ends its trial for that reason.
  void OnChallengerFailed(schema::Reason reason);
  /// Measured time of one sample in the challenger, its label included. Two windows over the package's limit
  /// in a row (LatencyGuard) end the trial as over budget; until one is within it, nothing is confirmed.
  void OnChallengerLatency(int64_t ns);
  /// Every sample of the challenger should be timed now; otherwise one in a while is enough.
  bool WantsLatency() const { return Testing() && latency_.urgent(); }
  /// The champion's output was not finite or over budget: counted, the third time one rung down.
  void OnChampionFailed();
  /// The broker has answered or sent something: what link_required asks for during the trial.
  void OnLinkReached();
  /// All components answered for the healthy time; once a start.
  base::Status HealthyMark();
  /// SIGTERM, upgrade, reboot: checkpoints both models, gives counts back. Nothing may be called afterwards.
  base::Status PlannedStop();

  // ---- commands (verified by Trust; the answer is None or the refusal) ----
  /// The operator ends the trial in the challenger's favour. Nothing that protects the device is skipped:
  /// LinkRequired, OverBudget or TooSoon (not timed yet) refuse, NotFinite falls back. NoTrial. StorageError:
  /// the medium did not take it; Poll goes on with it.
  schema::Reason Confirm();
  schema::Reason FallBack();
  schema::Reason Undo();
  schema::Reason FactoryReset();  ///< As ModelStore::FactoryReset; what is under way ends, for Command.
  schema::Reason Freeze(bool frozen);
  schema::Reason Checkpoint();
  schema::Reason OverrideDenied(const base::Digest& package);

  schema::UpdateState state() const { return state_; }
  /// Cost: copies; after a step that may have changed the undo target, that slot is read and verified anew.
  UpdateStatus Status();
  /// Gate of the running trial. kNotFound: none.
  base::Result<GateReport> ReadGate() const;
  store::ModelStore& store() { return store_; }

 private:
  // start, models, checkpoints and events: updater.cc
  schema::Reason LoadFrom(const store::StartDecision& decision, bool* of_another_agent);
  schema::Reason LoadImage(const store::StartDecision& decision, package::ByteSource& source,
                           const package::Manifest& manifest);
  void LoadChampion(store::StartDecision decision);
  base::Status Save(LoadedModel* model, base::ByteView gate_state);
  void SaveChallenger();
  void SaveWhenDue();
  void Forget(LoadedModel* model);
  void SetState(schema::UpdateState next);
  void Move(Event event, schema::Reason reason);
  void Emit(schema::UpdateState from, schema::Reason reason, bool gate, bool denied,
            const base::Digest& package);
  void EmitRefusal(const package::OfferFacts& offer, schema::Reason reason);
  void Describe(UpdateEvent* event) const;
  const package::Manifest* Received(const base::Digest& package) const;
  bool BlameLastRun(const store::LastRun& last);
  void StoreOffer(schema::Reason reason);
  void KeepOffer(const package::OfferFacts& offer, schema::UpdateState state, schema::Reason reason);
  // offer, transfer and verification: updater_offer.cc
  schema::Reason Accept(const package::OfferFacts& offer);
  schema::Reason JudgeOffer(const package::OfferFacts& offer);
  schema::Reason Cancel(const package::OfferFacts& offer);
  void Queue(const package::OfferFacts& offer);
  void TakeQueued();
  void DropOffer(schema::Reason reason);
  schema::Reason JudgeAgain(const package::OfferFacts& offer, const base::Digest& signers);
  void OnTransfer(const TransferResult& result);
  static DeviceFit Fit(const UpdaterConfig& config);
  void Verify();
  schema::Reason CheckStaged();
  // a package at hand: updater_install.cc
  schema::Reason ReadHead(package::ByteSource& source, base::ByteView* head, package::Manifest* manifest);
  schema::Reason JudgeInstall(const package::Manifest& manifest);
  void CopyBlocks();
  void Refuse(schema::Reason reason);
  // trial: updater_trial.cc
  schema::Reason LoadChallenger(store::SlotId slot);
  void StartTrial();
  void OnChallengerUnloadable(schema::Reason reason);
  void Decide();
  bool Testing() const {
    return state_ == schema::UpdateState::Trial && challenger_.model && !end_unfinished_;
  }
  bool LinkMissing() const { return link_asked_ && !link_in_trial_; }
  schema::Reason ConfirmObstacle(schema::Reason by) const;
  schema::Reason CheckChallenger(package::ByteSource& source, const package::Manifest& manifest);
  void ConfirmTrial(schema::Reason reason);
  base::Status EndTrial(Event event, schema::Reason reason);
  base::Status StoreTrialEnd(schema::Reason reason);
  bool TellLostEnd(const store::OfferState& offer);

  UpdaterConfig config_;
  UpdaterDeps deps_;
  AlignedMemory head_memory_{package::kHeadMemoryBytes};
  AlignedMemory whole_memory_{package::kWholeMemoryBytes};
  AlignedMemory scratch_{package::kMaxStoredBlockBytes};
  std::array<uint8_t, kGateStateBytes> gate_bytes_{};
  PackageVerifier verifier_;
  store::ModelStore store_;
  Transfer transfer_;
  Install install_;  ///< Its manifest is in head_memory_, like the transfer's.
  StageWriter writer_;
  LoadedModel champion_, challenger_;
  Gate gate_;
  LatencyGuard latency_;
  schema::UpdateState state_ = schema::UpdateState::Idle;
  schema::Reason reason_ = schema::Reason::None;
  package::OfferFacts offer_, queued_;
  base::Digest offer_signers_, queued_signers_;  ///< Who could sign offers when they were verified.
  bool has_queued_ = false, confirm_unfinished_ = false;
  bool link_in_run_ = false, link_in_trial_ = false;  ///< The broker was reached.
  bool link_asked_ = false;                           ///< The trial needs it.
  bool trial_waits_ = false;                          ///< For another agent or a key: not in this run.
  schema::Reason confirm_reason_ = schema::Reason::None;
  /// The trial is over, and the medium has not taken it yet: the challenger does not run, Poll tries again.
  bool end_unfinished_ = false;
  Event end_event_ = Event::kFail;
  schema::Reason end_reason_ = schema::Reason::None;
  base::Digest end_package_;
  bool polled_ = false, undo_known_ = false;
  int64_t now_ns_ = 0, begin_at_ns_ = 0, next_period_ns_ = 0;
  int64_t next_champion_save_ns_ = 0, next_trial_save_ns_ = 0;
  store::SlotId undo_target_ = store::SlotId::kNone;
  base::Digest undo_package_;
  base::Digest interrupted_;       ///< Package whose checks the previous run did not finish.
  base::Digest refused_document_;  ///< Last offer that was refused unread: retained ones come again.
  base::EventLimit refusals_;      ///< Whoever may publish can send several by turns, for ever.
  uint64_t checkpoints_ = 0, checkpoint_failures_ = 0;
};

}  // namespace dipper::update
