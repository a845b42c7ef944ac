// Counters: the numbers that must never go back: offers, commands, trusted time, and how far a transfer has
// come. Two pages in `boot`; each change writes the other page behind one barrier. Not thread-safe. No heap.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/status.h"
#include "agent/schema/update_generated.h"
#include "agent/store/boot_layout.h"
#include "agent/store/boot_record.h"
#include "agent/store/page.h"
#include "hal/api/partition.h"

namespace dipper::store {

inline constexpr size_t kMaxModelNameBytes = 64;
inline constexpr uint32_t kMaxTransferBlocks = 4096;  ///< 64 MiB of image.

/// Blocks of `digest` that are durable in `slot`.
struct TransferState {
  base::Digest digest;  ///< All zero: no transfer.
  SlotId slot = SlotId::kNone;
  uint32_t block_count = 0;
  std::array<uint8_t, kMaxTransferBlocks / 8> bitmap{};

  bool Has(uint32_t block) const { return (bitmap[block / 8] >> (block % 8) & 1) != 0; }
  void Set(uint32_t block) {
    bitmap[block / 8] = static_cast<uint8_t>(bitmap[block / 8] | (1U << (block % 8)));
  }
  bool operator==(const TransferState&) const = default;
};

/// The last accepted offer of a model, and how it ended: a retained offer comes again after each reconnect.
struct OfferState {
  uint64_t number = 0;  ///< 0: none yet.
  base::Digest digest;  ///< Package digest.
  schema::UpdateState state = schema::UpdateState::Idle;
  schema::Reason reason = schema::Reason::None;
  bool operator==(const OfferState&) const = default;
};

enum class CommandState : uint8_t { kNone = 0, kStarted = 1, kDone = 2 };

struct CommandRecord {
  uint64_t number = 0;
  CommandState state = CommandState::kNone;
  uint16_t result = 0;  ///< As the command's answer defines it; valid in kDone.
  bool operator==(const CommandRecord&) const = default;
};

/// What a command number means now.
enum class CommandLookup : uint8_t {
  kNew = 0,             ///< Above the stored one: BeginCommand, act, FinishCommand.
  kDone = 1,            ///< The stored one, finished: answer `command().result` again.
  kOutcomeUnknown = 2,  ///< The stored one, started before a crash: answer outcome_unknown.
  kOld = 3,             ///< Below the stored one: refuse.
  kRunning = 4,         ///< The stored one, begun in this run and not finished.
};

class Counters {
 public:
  /// `boot` must outlive this.
  explicit Counters(hal::Partition& boot);

  /// Once, first. Without a valid page everything is zero; nothing is written. kUnimplemented: written by a
  /// newer agent, every later call refuses. kResourceExhausted, kInvalidArgument: unusable partition.
  base::Status Load();

  const OfferState& offer(uint32_t model) const { return state_.models[model].offer; }
  /// kOk: number is new. kAlreadyExists: same number and digest, resume. kPermissionDenied: lower, or the
  /// same number with another digest. Writes nothing.
  base::Status CheckOffer(uint32_t model, uint64_t number, const base::Digest& digest) const;

  // The setters below are durable on kOk. kUnavailable: I/O, the stored value is the old or the new one.
  /// kPermissionDenied: the number is lower than the stored one.
  base::Status SetOffer(uint32_t model, const OfferState& offer);
  const TransferState& transfer(uint32_t model) const { return state_.models[model].transfer; }
  /// Call after ModelStore::SyncStage, so that the bitmap never promises more than the slot holds.
  base::Status SetTransfer(uint32_t model, const TransferState& transfer);
  base::Status ClearTransfer(uint32_t model) { return SetTransfer(model, TransferState{}); }

  /// Whose record, offers and transfer are at this place; empty: nobody's yet, or written by an agent that
  /// had one model and no names (model_places.h).
  std::string_view name(uint32_t model) const { return state_.models[model].name.view(); }
  /// Gives the place to a model; what another one left there is forgotten. At most 64 bytes.
  base::Status SetName(uint32_t model, std::string_view name);

  const CommandRecord& command() const { return state_.command; }
  CommandLookup LookUpCommand(uint64_t number) const;
  /// Stores the number before the command is acted on. kPermissionDenied: not above the stored one.
  base::Status BeginCommand(uint64_t number);
  /// kFailedPrecondition: not the number that was begun.
  base::Status FinishCommand(uint64_t number, uint16_t result);

  /// Number of the command that has everything erased which the device learned and holds, from its answer
  /// until that is done and told; 0: none. Each start goes on with it.
  uint64_t wipe() const { return state_.wipe; }
  /// Finishes the command that was begun, with result 0, and sets `wipe` in the same write. Errors as
  /// FinishCommand.
  base::Status BeginWipe(uint64_t number);
  base::Status EndWipe();

  /// Seconds since 1970 of the last verified `issued`; 0: none.
  uint64_t trusted_time_s() const { return state_.trusted_time_s; }
  /// Only forwards; an earlier time is kOk and changes nothing.
  base::Status RaiseTrustedTime(uint64_t seconds);
  /// Also backwards: for a verified root that raises a role's epoch, when a thief may have signed the time.
  base::Status RebaseTrustedTime(uint64_t seconds);

 private:
  struct ModelState {
    OfferState offer;
    TransferState transfer;
    base::FixedString<kMaxModelNameBytes> name;
  };
  struct State {
    uint64_t trusted_time_s = 0;
    CommandRecord command;
    std::array<ModelState, kMaxModels> models{};
    uint64_t wipe = 0;
  };

  base::Status Store(const State& next);
  void Encode(base::MutableBytes page) const;
  base::Status Decode(base::ByteView page);

  hal::Partition& boot_;
  CopyPair pages_;
  State state_;
  bool command_begun_here_ = false;
  bool loaded_ = false;
  std::array<uint8_t, kCountersPageBytes> page_{};
};

}  // namespace dipper::store
