// Counters: encoding and the rules of "never back".
#include "agent/store/counters.h"

#include <algorithm>

#include "agent/store/mutation.h"

namespace dipper::store {

using base::Status;

namespace {
constexpr uint32_t kModelBytes = 8 + 32 + 4 + 32 + 4 + 4 + kMaxTransferBlocks / 8;
constexpr uint32_t kUnnamedLength = kPagedHeadBytes + 8 + 8 + 4 + kMaxModels * kModelBytes;
// What came later stands behind everything else: an agent that does not know it reads the rest.
constexpr uint32_t kNamedLength = kUnnamedLength + kMaxModels * static_cast<uint32_t>(kMaxModelNameBytes);
constexpr uint32_t kLength = kNamedLength + 8;  // the wipe's number
static_assert(kLength <= kCountersPageBytes);
}  // namespace

Counters::Counters(hal::Partition& boot) : boot_(boot) {}

Status Counters::Load() {
  DIPPER_ASSIGN_OR_RETURN(const BootLayout layout, ComputeBootLayout(boot_.geometry()));
  pages_.Configure(boot_, layout.counters);
  state_ = {};
  command_begun_here_ = false;
  const Status status = pages_.Load(page_);
  // A good CRC around values that no agent writes: absent, like any damaged page, and the other copy counts.
  if (base::Ok(status) && !base::Ok(Decode(page_))) {
    if (base::Ok(pages_.ReadCopy(1 - pages_.current(), page_)) && base::Ok(Decode(page_))) {
      pages_.SwapCurrent();
    }
  }
  if (!base::Ok(status) && status != Status::kNotFound) return status;
  loaded_ = true;
  return Status::kOk;
}

void Counters::Encode(base::MutableBytes page) const {
  std::fill(page.begin(), page.end(), uint8_t{0});
  base::ByteWriter writer(page.subspan(kPagedHeadBytes));
  writer.Put(state_.trusted_time_s);
  writer.Put(state_.command.number);
  writer.Put(state_.command.state);
  writer.Put(uint8_t{0});
  writer.Put(state_.command.result);
  for (const ModelState& model : state_.models) {
    writer.Put(model.offer.number);
    writer.PutDigest(model.offer.digest);
    writer.Put(model.offer.state);
    writer.Put(uint8_t{0});
    writer.Put(model.offer.reason);
    writer.PutDigest(model.transfer.digest);
    writer.Put(model.transfer.slot);
    writer.Put(uint8_t{0});
    writer.Put(uint16_t{0});
    writer.Put(model.transfer.block_count);
    writer.PutBytes(model.transfer.bitmap);
  }
  for (const ModelState& model : state_.models) {
    std::array<uint8_t, kMaxModelNameBytes> name{};
    std::ranges::copy(model.name.view(), name.begin());
    writer.PutBytes(name);
  }
  writer.Put(state_.wipe);
  DIPPER_CHECK(!writer.overflow() && writer.position() + kPagedHeadBytes == kLength);
}

Status Counters::Decode(base::ByteView page) {
  // What lies behind a shorter page is covered by no CRC.
  if (base::Load<uint32_t>(page.data() + 8) < kUnnamedLength) return Status::kDataLoss;
  base::ByteReader reader(page.subspan(kPagedHeadBytes));
  State state;
  state.trusted_time_s = reader.Get<uint64_t>();
  state.command.number = reader.Get<uint64_t>();
  state.command.state = reader.Get<CommandState>();
  reader.Get<uint8_t>();
  state.command.result = reader.Get<uint16_t>();
  bool good = state.command.state <= CommandState::kDone;
  for (ModelState& model : state.models) {
    model.offer.number = reader.Get<uint64_t>();
    model.offer.digest = reader.GetDigest();
    model.offer.state = reader.Get<schema::UpdateState>();
    reader.Get<uint8_t>();
    model.offer.reason = reader.Get<schema::Reason>();
    model.transfer.digest = reader.GetDigest();
    model.transfer.slot = reader.Get<SlotId>();
    reader.Get<uint8_t>();
    reader.Get<uint16_t>();
    model.transfer.block_count = reader.Get<uint32_t>();
    reader.GetBytes(model.transfer.bitmap);
    good = good && model.offer.state <= schema::UpdateState::MAX &&
           model.transfer.block_count <= kMaxTransferBlocks;
  }
  const auto length = base::Load<uint32_t>(page.data() + 8);
  const bool named = length >= kNamedLength;
  for (ModelState& model : state.models) {
    if (!named) break;
    std::array<uint8_t, kMaxModelNameBytes> name{};
    reader.GetBytes(name);
    const auto end = std::ranges::find(name, uint8_t{0});
    model.name.AssignTruncated(base::AsText(base::ByteView(name.begin(), end)));
  }
  if (length >= kLength) state.wipe = reader.Get<uint64_t>();
  if (!good || reader.overflow()) return Status::kDataLoss;
  state_ = state;
  return Status::kOk;
}

Status Counters::Store(const State& next) {
  if (!loaded_) return Status::kFailedPrecondition;
  const State former = state_;
  state_ = next;
  Encode(page_);
  if (Mutated(Mutation::kCountersSameCopy)) pages_.SwapCurrent();
  const Status status = pages_.WriteOther(page_, kLength, !Mutated(Mutation::kCountersNotSynced));
  if (!base::Ok(status)) state_ = former;
  return status;
}

Status Counters::CheckOffer(uint32_t model, uint64_t number, const base::Digest& digest) const {
  DIPPER_CHECK(model < kMaxModels);
  const OfferState& stored = offer(model);
  if (number > stored.number) return Status::kOk;
  return number == stored.number && digest == stored.digest ? Status::kAlreadyExists
                                                            : Status::kPermissionDenied;
}

Status Counters::SetOffer(uint32_t model, const OfferState& offer) {
  DIPPER_CHECK(model < kMaxModels);
  const OfferState& stored = state_.models[model].offer;
  if (offer == stored) return Status::kOk;
  const bool same = offer.number == stored.number && offer.digest == stored.digest;
  const bool lower = offer.number <= stored.number && !Mutated(Mutation::kNumbersMayFall);
  if (lower && !same) return Status::kPermissionDenied;
  State next = state_;
  next.models[model].offer = offer;
  return Store(next);
}

Status Counters::SetTransfer(uint32_t model, const TransferState& transfer) {
  DIPPER_CHECK(model < kMaxModels && transfer.block_count <= kMaxTransferBlocks);
  if (transfer == state_.models[model].transfer) return Status::kOk;
  State next = state_;
  next.models[model].transfer = transfer;
  return Store(next);
}

Status Counters::SetName(uint32_t model, std::string_view name) {
  DIPPER_CHECK(model < kMaxModels && name.size() <= kMaxModelNameBytes);
  if (name == state_.models[model].name.view()) return Status::kOk;
  State next = state_;
  // A place without a name may hold what an agent without names has written for this very model.
  if (!next.models[model].name.empty() && !Mutated(Mutation::kNameKeepsNumbers)) next.models[model] = {};
  next.models[model].name.AssignTruncated(name);
  return Store(next);
}

CommandLookup Counters::LookUpCommand(uint64_t number) const {
  if (number > state_.command.number) return CommandLookup::kNew;
  if (number < state_.command.number) return CommandLookup::kOld;
  if (state_.command.state == CommandState::kDone) return CommandLookup::kDone;
  return command_begun_here_ ? CommandLookup::kRunning : CommandLookup::kOutcomeUnknown;
}

Status Counters::BeginCommand(uint64_t number) {
  if (number <= state_.command.number && !Mutated(Mutation::kNumbersMayFall))
    return Status::kPermissionDenied;
  State next = state_;
  next.command = {number, CommandState::kStarted, 0};
  DIPPER_RETURN_IF_ERROR(Store(next));
  command_begun_here_ = true;
  return Status::kOk;
}

Status Counters::FinishCommand(uint64_t number, uint16_t result) {
  if (number != state_.command.number || state_.command.state != CommandState::kStarted ||
      !command_begun_here_) {
    return Status::kFailedPrecondition;
  }
  State next = state_;
  next.command = {number, CommandState::kDone, result};
  return Store(next);
}

Status Counters::BeginWipe(uint64_t number) {
  if (number == 0 || number != state_.command.number || state_.command.state != CommandState::kStarted ||
      !command_begun_here_) {
    return Status::kFailedPrecondition;
  }
  State next = state_;
  next.command = {number, CommandState::kDone, 0};
  next.wipe = number;
  return Store(next);
}

Status Counters::EndWipe() {
  if (state_.wipe == 0) return Status::kOk;
  State next = state_;
  next.wipe = 0;
  return Store(next);
}

Status Counters::RaiseTrustedTime(uint64_t seconds) {
  if (seconds <= state_.trusted_time_s && !Mutated(Mutation::kNumbersMayFall)) return Status::kOk;
  State next = state_;
  next.trusted_time_s = seconds;
  return Store(next);
}

Status Counters::RebaseTrustedTime(uint64_t seconds) {
  if (seconds == state_.trusted_time_s) return Status::kOk;
  State next = state_;
  next.trusted_time_s = seconds;
  return Store(next);
}

}  // namespace dipper::store
