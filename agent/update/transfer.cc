// Implementation of transfer.h.
#include "agent/update/transfer.h"

#include <algorithm>
#include <optional>

#include "agent/base/time.h"

namespace dipper::update {

using base::Status;
using schema::Reason;

Reason StageRefusal(Status status) {
  switch (status) {
    case Status::kOk:
      return Reason::None;
    case Status::kPermissionDenied:
      return Reason::BelowFloor;
    case Status::kAlreadyExists:
      return Reason::AlreadyInstalled;
    case Status::kResourceExhausted:
      return Reason::TooLarge;
    default:
      return Reason::StorageError;
  }
}

Transfer::Transfer(const TransferConfig& config, store::ModelStore& store, store::Counters& counters,
                   uint32_t model_index, BlockTransport& transport, base::MutableBytes head_memory,
                   uint32_t write_unit_bytes, const DeviceFit& fit, base::MutableBytes reuse_memory)
    : config_(config),
      store_(store),
      counters_store_(counters),
      model_index_(model_index),
      transport_(transport),
      head_memory_(head_memory),
      writer_(store, write_unit_bytes),
      fit_(fit),
      local_(store, reuse_memory) {}

void Transfer::Begin(const package::OfferFacts& offer, int64_t now_ns) {
  offer_ = offer;
  has_manifest_ = false;
  have_ = reused_ = unsaved_ = group_ = 0;
  wanted_group_ = kNoGroup;
  probe_ = Probe::kDue;
  paused_ = false;
  group_bytes_ = 0;
  phase_ = Phase::kManifest;
  Progress(now_ns);
  Want();
}

void Transfer::Stop() {
  if (phase_ == Phase::kNone) return;
  phase_ = Phase::kNone;
  store_.AbandonStage();
  transport_.Done(offer_.package);
}

void Transfer::Want() {
  if (phase_ == Phase::kManifest) transport_.WantManifest(offer_.package);
  if (phase_ == Phase::kBlocks) transport_.WantGroup(offer_.package, group_);
}

/// Something good came: the clock of patience starts anew.
void Transfer::Progress(int64_t now_ns) {
  attempt_ = 0;
  bad_in_row_ = 0;
  next_wish_ns_ = now_ns + QuietNs(0);
}

TransferResult Transfer::Finish(TransferResult::Kind kind, Reason reason) {
  phase_ = Phase::kNone;
  transport_.Done(offer_.package);
  if (kind != TransferResult::kComplete) store_.AbandonStage();
  return {kind, reason};
}

TransferResult Transfer::Bad(Reason reason, int64_t now_ns) {
  ++counts_.bad;
  if (++bad_in_row_ >= config_.bad_limit) return Finish(TransferResult::kRefused, reason);
  next_wish_ns_ = now_ns + config_.bad_retry_ms * base::kMillisecondNs;
  return {};
}

TransferResult Transfer::OnManifest(const base::Digest& package, base::ByteView head,
                                    const package::TrustRoot& root, int64_t now_ns) {
  if (phase_ != Phase::kManifest || package != offer_.package) {
    ++((phase_ == Phase::kBlocks || copying()) && package == offer_.package ? counts_.duplicates
                                                                            : counts_.foreign);
    return {};
  }
  package::Manifest manifest;
  const Reason reason = package::VerifyHead(head, root, head_memory_, &manifest);
  if (reason != Reason::None) return Bad(reason, now_ns);
  if (manifest.package_digest() != offer_.package) return Bad(Reason::BadDigest, now_ns);
  manifest_ = manifest;
  has_manifest_ = true;
  // What the manifest alone can rule out costs neither a block nor the undo target in the inactive slot.
  if (const Reason misfit = CheckFit(manifest_, fit_); misfit != Reason::None) {
    return Finish(TransferResult::kRefused, misfit);
  }
  const TransferResult opened = OpenStage(head);
  if (opened.kind != TransferResult::kGoingOn) return opened;
  phase_ = Phase::kLocal;
  local_next_ = 0;
  const TransferResult copied = CopyLocalBlocks(now_ns);
  // More to copy: meanwhile the wish on the wire is another model's.
  if (copying()) transport_.Done(offer_.package);
  return copied;
}

/// Continues what the counters remember of this package, or begins with an empty slot and the head in it.
TransferResult Transfer::OpenStage(base::ByteView head) {
  const uint64_t bytes = manifest_.header().package_bytes();
  if (bytes != offer_.package_bytes) return Finish(TransferResult::kRefused, Reason::BadFormat);
  if (manifest_.block_count() > store::kMaxTransferBlocks)
    return Finish(TransferResult::kRefused, Reason::TooLarge);
  writer_.SetPackageBytes(bytes);
  state_ = counters_store_.transfer(model_index_);
  const bool known = state_.digest == offer_.package && state_.block_count == manifest_.block_count();
  if (known &&
      base::Ok(store_.ResumeStage(offer_.package, manifest_.security_version(), bytes, state_.slot))) {
    // Signatures are not in the digest: the head may have been signed anew since it was written.
    if (!base::Ok(writer_.Write(0, head))) return Finish(TransferResult::kFailed, Reason::StorageError);
    for (uint32_t i = 0; i < state_.block_count; ++i) have_ += state_.Has(i) ? 1U : 0U;
    return {};
  }
  const Status begun = store_.BeginStage(offer_.package, manifest_.security_version(), bytes);
  if (!base::Ok(begun)) {
    const Reason reason = StageRefusal(begun);
    const bool refused = reason != Reason::StorageError;
    return Finish(refused ? TransferResult::kRefused : TransferResult::kFailed, reason);
  }
  state_ = {};
  state_.digest = offer_.package;
  state_.slot = store_.StageTarget();
  state_.block_count = manifest_.block_count();
  have_ = 0;
  if (!base::Ok(writer_.Write(0, head))) return Finish(TransferResult::kFailed, Reason::StorageError);
  return Persist();
}

/// Copies some of what the champion's slot holds of it; when there is no more, asks for the rest.
TransferResult Transfer::CopyLocalBlocks(int64_t now_ns) {
  if (config_.reuse_blocks && !CopySomeLocalBlocks()) {
    return Finish(TransferResult::kFailed, Reason::StorageError);
  }
  const bool over = !config_.reuse_blocks || local_next_ == state_.block_count;
  if (unsaved_ >= config_.persist_blocks || (over && unsaved_ > 0)) {
    const TransferResult persisted = Persist();
    if (persisted.kind != TransferResult::kGoingOn) return persisted;
  }
  if (!over) return {};
  phase_ = Phase::kBlocks;
  Progress(now_ns);
  group_ = 0;
  group_since_ns_ = now_ns;
  return NextGroup(now_ns);
}

/// A damaged local block is no match: it is transferred. False: the storage failed.
bool Transfer::CopySomeLocalBlocks() {
  // Opened anew each time: others use the memory between two turns.
  if (!local_.Open()) {
    local_next_ = state_.block_count;
    return true;
  }
  uint32_t lookups = 0, reads = 0;
  for (; local_next_ < state_.block_count; ++local_next_) {
    if (lookups == kLocalLookupsPerTurn || reads == kLocalReadsPerTurn) return true;
    const uint32_t i = local_next_;
    if (state_.Has(i)) continue;
    ++lookups;
    const std::optional<base::ByteView> found = local_.Read(manifest_.block(i));
    if (!found) continue;
    ++reads;
    if (found->empty() || package::VerifyBlock(manifest_, i, *found) != Reason::None) continue;
    if (!Keep(i, *found)) return false;
    ++reused_;
    ++counts_.reused;
    counts_.reused_bytes += found->size();
  }
  return true;
}

/// Writes a block whose hash was checked.
bool Transfer::Keep(uint32_t index, base::ByteView stored) {
  if (!base::Ok(writer_.Write(manifest_.block(index).package_offset, stored))) return false;
  state_.Set(index);
  ++have_;
  ++unsaved_;
  return true;
}

/// The same bytes at other places of the package (an image that is zero in many places) need not come again.
bool Transfer::KeepTwins(uint32_t index, base::ByteView stored) {
  if (!config_.reuse_blocks) return true;
  const base::Digest hash = manifest_.block(index).sha256;
  for (uint32_t i = 0; i < state_.block_count; ++i) {
    if (state_.Has(i) || !manifest_.IsBlock(i, hash, stored.size())) continue;
    if (!Keep(i, stored)) return false;
    ++reused_;
    ++counts_.reused;
    counts_.reused_bytes += stored.size();
  }
  return true;
}

TransferResult Transfer::Persist() {
  unsaved_ = 0;
  // Barrier first: the bitmap never promises a block that is not durable.
  const bool stored =
      base::Ok(store_.SyncStage()) && base::Ok(counters_store_.SetTransfer(model_index_, state_));
  return stored ? TransferResult{} : Finish(TransferResult::kFailed, Reason::StorageError);
}

TransferResult Transfer::OnBlock(const base::Digest& package, uint32_t index, base::ByteView stored,
                                 int64_t now_ns) {
  if (phase_ != Phase::kBlocks || package != offer_.package) {
    ++counts_.foreign;
    return {};
  }
  group_bytes_ += stored.size();
  if (index >= state_.block_count) {  // kept beside the package's blocks, and not one of them
    ++counts_.foreign;
    return {};
  }
  NoteDelivery(index);
  if (state_.Has(index)) {
    ++counts_.duplicates;
    return NextGroup(now_ns);
  }
  const Reason reason = package::VerifyBlock(manifest_, index, stored);
  if (reason != Reason::None) return Bad(reason, now_ns);
  if (!Keep(index, stored) || !KeepTwins(index, stored)) {
    return Finish(TransferResult::kFailed, Reason::StorageError);
  }
  ++counts_.blocks;
  counts_.bytes += stored.size();
  if (index / package::kBlocksPerGroup == group_) Progress(now_ns);
  if (unsaved_ >= config_.persist_blocks) {
    const TransferResult persisted = Persist();
    if (persisted.kind != TransferResult::kGoingOn) return persisted;
  }
  const bool probed = probe_ == Probe::kAsked;
  if (probed) {
    probe_ = Probe::kDelivered;
    wanted_group_ = kNoGroup;
  }
  const TransferResult next = NextGroup(now_ns);
  // A broker that is only slow has as long as before to bring the rest.
  if (probed) next_wish_ns_ = now_ns + QuietNs(config_.probe_after);
  return next;
}

/// What was not asked for alone has come by a wildcard; the probed block may come twice.
void Transfer::NoteDelivery(uint32_t index) {
  const bool probing = probe_ == Probe::kAsked || probe_ == Probe::kDelivered;
  if (probing && index == probe_index_) return;
  if (probe_ == Probe::kAsked) wanted_group_ = kNoGroup;
  probe_ = Probe::kFit;
}

bool Transfer::ProbeDue() const {
  return phase_ == Phase::kBlocks && probe_ == Probe::kDue && attempt_ >= config_.probe_after;
}

/// The group's last block: a slow broker, which may still be bringing the group, begins with the first.
void Transfer::AskProbe() {
  probe_index_ = std::min((group_ + 1) * package::kBlocksPerGroup, state_.block_count) - 1;
  while (state_.Has(probe_index_)) --probe_index_;
  probe_ = Probe::kAsked;
  transport_.WantBlock(offer_.package, probe_index_);
}

int64_t Transfer::QuietNs(uint32_t attempt) const {
  const uint64_t quiet_ms = std::min<uint64_t>(uint64_t{config_.quiet_ms} << attempt, config_.max_quiet_ms);
  if (config_.jitter == 0) return static_cast<int64_t>(quiet_ms) * base::kMillisecondNs;
  // Another part of the half for each attempt; the multiplier spreads neighbouring seeds.
  const uint32_t part = ((config_.jitter + attempt) * 0x9E3779B1U) >> 22;
  return static_cast<int64_t>(quiet_ms + quiet_ms * part / 2048) * base::kMillisecondNs;
}

/// After a group: as long without a wish as its bytes should have taken. False: there is nothing to wait for.
bool Transfer::Pause(int64_t now_ns) {
  if (config_.bytes_per_s == 0 || group_bytes_ == 0) return false;
  const double should_take_ns = static_cast<double>(group_bytes_) * 1e9 / config_.bytes_per_s;
  group_bytes_ = 0;
  next_wish_ns_ = group_since_ns_ + static_cast<int64_t>(should_take_ns);
  if (now_ns >= next_wish_ns_) return false;
  paused_ = true;
  transport_.Done(offer_.package);
  return true;
}

/// Stays in the group until it is complete; then the next one that lacks a block; then the end.
TransferResult Transfer::NextGroup(int64_t now_ns) {
  const uint32_t before = group_;
  const uint32_t groups = (state_.block_count + package::kBlocksPerGroup - 1) / package::kBlocksPerGroup;
  for (; group_ < groups; ++group_) {
    const uint32_t begin = group_ * package::kBlocksPerGroup;
    const uint32_t end = std::min(begin + package::kBlocksPerGroup, state_.block_count);
    for (uint32_t i = begin; i < end; ++i) {
      if (state_.Has(i)) continue;
      if (group_ != before || wanted_group_ != group_) {
        if (paused_ || (group_ != before && Pause(now_ns))) return {};
        if (group_ != before) group_since_ns_ = now_ns;
        wanted_group_ = group_;
        Want();
        next_wish_ns_ = now_ns + QuietNs(0);
      }
      return {};
    }
  }
  const TransferResult persisted = Persist();
  return persisted.kind == TransferResult::kGoingOn ? Finish(TransferResult::kComplete, Reason::None)
                                                    : persisted;
}

TransferResult Transfer::Poll(int64_t now_ns) {
  if (phase_ == Phase::kNone) return {};
  if (phase_ == Phase::kLocal) return CopyLocalBlocks(now_ns);
  if (paused_) {
    if (now_ns < next_wish_ns_) return {};
    paused_ = false;
    wanted_group_ = kNoGroup;
    group_since_ns_ = now_ns;
    return NextGroup(now_ns);
  }
  if (!transport_.HasTurn()) {  // asked anew as long after its turn has come as if it had just asked
    next_wish_ns_ = now_ns + QuietNs(attempt_);
    return {};
  }
  if (now_ns < next_wish_ns_) return {};
  if (probe_ == Probe::kDelivered) return Finish(TransferResult::kFailed, Reason::BrokerUnfit);
  if (++attempt_ >= config_.attempts) {
    return Finish(TransferResult::kFailed, Reason::BlocksUnavailable);
  }
  ++counts_.resubscribes;
  next_wish_ns_ = now_ns + QuietNs(attempt_);
  if (ProbeDue()) {
    AskProbe();
    return {};
  }
  // A probe without an answer says nothing about the broker: the block is not there either.
  if (probe_ == Probe::kAsked) probe_ = Probe::kDue;
  Want();
  return {};
}

}  // namespace dipper::update
