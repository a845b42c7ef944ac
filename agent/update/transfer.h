// Transfer: brings one offered package into the inactive slot, block by block, each hash checked before a
// byte of it is written; what is there survives a restart. Not thread-safe. No heap, but mbedTLS's while a
// head is verified.
#pragma once

#include "agent/package/document.h"
#include "agent/package/verify.h"
#include "agent/store/counters.h"
#include "agent/store/model_store.h"
#include "agent/update/loaded_model.h"
#include "agent/update/local_blocks.h"
#include "agent/update/stage_writer.h"
#include "agent/update/transport.h"

namespace dipper::update {

struct TransferConfig {
  uint32_t quiet_ms = 10000;      ///< No new block for so long: subscribe anew; doubled each time,
  uint32_t max_quiet_ms = 60000;  ///< up to this;
  uint32_t attempts = 7;          ///< after so many in a row the blocks are unavailable.
  uint32_t probe_after = 2;       ///< From that many on, every other one asks for one block alone.
  uint32_t bad_retry_ms = 500;    ///< Pause after a delivery that did not verify.
  uint32_t bad_limit =
      3;  ///< So many bad deliveries of one thing without a good one: it is bad at the source.
  uint32_t persist_blocks = 64;  ///< Blocks between two barriers with the bitmap behind them.
  /// Own to the device: lengthens each of its silences by up to a half, so that a fleet that waits for a slow
  /// broker does not ask anew in one voice; 0: not.
  uint32_t jitter = 0;
  uint32_t bytes_per_s = 0;  ///< On average over a group: the next one is asked for so much later; 0: no cap.
  bool reuse_blocks = true;  ///< Copy what the device has already instead of having it sent.
};

/// What a call brought about. Anything but kGoingOn is said once; the transfer is then over.
struct TransferResult {
  enum Kind : uint8_t { kGoingOn, kComplete, kRefused, kFailed } kind = kGoingOn;
  schema::Reason reason = schema::Reason::None;
};

struct TransferCounts {
  uint64_t blocks = 0, duplicates = 0, foreign = 0, bad = 0, resubscribes = 0;
  uint64_t reused = 0;        ///< Blocks that lay on the device already and were copied.
  uint64_t bytes = 0;         ///< Of the blocks that came.
  uint64_t reused_bytes = 0;  ///< Of those that were copied.
};

/// Why a stage may not begin; None for kOk.
schema::Reason StageRefusal(base::Status status);

class Transfer {
 public:
  /// All must outlive this; `head_memory` (16-aligned, kHeadMemoryBytes) holds the manifest until the next
  /// Begin. `reuse_memory` (16-aligned, kWholeMemoryBytes) is used inside OnManifest and Poll only, and holds
  /// nothing between two calls; without it every block is transferred.
  Transfer(const TransferConfig& config, store::ModelStore& store, store::Counters& counters,
           uint32_t model_index, BlockTransport& transport, base::MutableBytes head_memory,
           uint32_t write_unit_bytes, const DeviceFit& fit, base::MutableBytes reuse_memory = {});

  /// Asks for the head of `package`. The store is healthy and has no trial.
  void Begin(const package::OfferFacts& offer, int64_t now_ns);
  /// Ends it without a result; what was written stays for a later Begin of the same package.
  void Stop();

  /// Blocks that one OnManifest or Poll copies at most, each with a read, a SHA-256 and a write of up to 16
  /// KiB, and looks for at most: so that the loop's turn stays short whatever the package is like.
  static constexpr uint32_t kLocalReadsPerTurn = 8, kLocalLookupsPerTurn = 64;

  TransferResult OnManifest(const base::Digest& package, base::ByteView head, const package::TrustRoot& root,
                            int64_t now_ns);
  TransferResult OnBlock(const base::Digest& package, uint32_t index, base::ByteView stored, int64_t now_ns);
  TransferResult Poll(int64_t now_ns);

  /// The head memory is about to hold something else: there is no manifest until the next Begin.
  void Forget() {
    has_manifest_ = false;
    have_ = 0;
  }

  bool active() const { return phase_ != Phase::kNone; }
  /// Blocks of the device itself are being copied, a few with each Poll; nothing is asked for meanwhile.
  bool copying() const { return phase_ == Phase::kLocal; }
  /// Set from the manifest's arrival on, until the next Begin.
  const package::Manifest* manifest() const { return has_manifest_ ? &manifest_ : nullptr; }
  uint32_t blocks_have() const { return have_; }
  /// Of them, those that were copied since Begin.
  uint32_t blocks_reused() const { return reused_; }
  uint32_t blocks_total() const { return has_manifest_ ? manifest_.block_count() : 0; }
  const TransferCounts& counts() const { return counts_; }

 private:
  enum class Phase : uint8_t { kNone, kManifest, kLocal, kBlocks };

  TransferResult OpenStage(base::ByteView head);
  TransferResult CopyLocalBlocks(int64_t now_ns);
  bool CopySomeLocalBlocks();
  bool Keep(uint32_t index, base::ByteView stored);
  bool KeepTwins(uint32_t index, base::ByteView stored);
  TransferResult Bad(schema::Reason reason, int64_t now_ns);
  TransferResult NextGroup(int64_t now_ns);
  void NoteDelivery(uint32_t index);
  bool ProbeDue() const;
  void AskProbe();
  int64_t QuietNs(uint32_t attempt) const;
  bool Pause(int64_t now_ns);
  TransferResult Persist();
  TransferResult Finish(TransferResult::Kind kind, schema::Reason reason);
  void Want();
  void Progress(int64_t now_ns);

  TransferConfig config_;
  store::ModelStore& store_;
  store::Counters& counters_store_;
  uint32_t model_index_;
  BlockTransport& transport_;
  base::MutableBytes head_memory_;
  StageWriter writer_;
  DeviceFit fit_;
  LocalBlocks local_;

  Phase phase_ = Phase::kNone;
  package::OfferFacts offer_;
  package::Manifest manifest_;
  bool has_manifest_ = false;
  store::TransferState state_;
  uint32_t have_ = 0;
  uint32_t reused_ = 0;
  uint32_t unsaved_ = 0;
  uint32_t local_next_ = 0;  ///< kLocal: the next block that is looked for.
  static constexpr uint32_t kNoGroup = UINT32_MAX;
  uint32_t group_ = 0, wanted_group_ = kNoGroup;
  uint32_t attempt_ = 0;
  uint32_t bad_in_row_ = 0;
  int64_t next_wish_ns_ = 0;
  /// Of the group that is wanted: when it was asked for first, and the bytes that came since.
  int64_t group_since_ns_ = 0;
  uint64_t group_bytes_ = 0;
  bool paused_ = false;  ///< Nothing is wanted until next_wish_ns_.
  /// Does the broker deliver what it retains to wildcard subscriptions? Asked while no block has come.
  enum class Probe : uint8_t {
    kDue,        ///< Not known.
    kAsked,      ///< One block's own topic is subscribed, not the group.
    kDelivered,  ///< It came; if the group stays silent now, the broker is unfit.
    kFit,        ///< A wildcard has delivered.
  } probe_ = Probe::kDue;
  uint32_t probe_index_ = 0;
  TransferCounts counts_;
};

}  // namespace dipper::update
