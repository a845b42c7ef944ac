// Implementation of document.h.
#include "agent/package/document.h"

#include "agent/base/sha256.h"
#include "agent/package/envelope.h"
#include "agent/package/manifest.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using schema::Reason;

constexpr uint32_t kMaxSpreadSeconds = 7 * 24 * 3600;
constexpr std::string_view kRolloutPrefix = "dipper/rollout/1";

struct alignas(16) DocumentMemory {
  std::array<uint8_t, kMaxDocumentBytes> bytes;
};

/// Verifies frame and signatures before the payload is looked at.
template <typename Table>
Reason Open(base::ByteView document, Domain domain, schema::RoleName role, const char* kind,
            const TrustRoot& root, DocumentMemory* memory, const Table** table, base::Digest* digest) {
  Envelope envelope;
  Reason reason = ParseEnvelope(document, memory->bytes, &envelope);
  if (reason != Reason::None) return reason;
  reason = root.CheckSignatures(role, SigningDigest(domain, envelope.payload),
                                {envelope.signatures.begin(), envelope.signatures.size()});
  if (reason != Reason::None) return reason;
  *table = VerifiedTable<Table>(envelope.payload, kind);
  *digest = base::Sha256Of(envelope.payload);
  return *table == nullptr ? Reason::BadFormat : Reason::None;
}

bool IsGoodTarget(const schema::DeviceTarget& target) {
  const uint32_t names = target.names() == nullptr ? 0 : target.names()->size();
  if (target.scope() > schema::TargetScope::MAX || target.limit() > kWholeFleet || names > kMaxTargetNames)
    return false;
  if ((target.scope() == schema::TargetScope::Fleet) != (names == 0)) return false;
  for (uint32_t i = 0; i < names; ++i) {
    if (!IsId(target.names()->Get(i)->string_view())) return false;
  }
  return true;
}

bool Named(const schema::DeviceTarget& target, std::string_view name) {
  for (const flatbuffers::String* text : *target.names()) {
    if (text->string_view() == name) return true;
  }
  return false;
}

bool InScope(const schema::DeviceTarget& target, const DeviceNames& device) {
  switch (target.scope()) {
    case schema::TargetScope::Fleet:
      return true;
    case schema::TargetScope::List:
      return Named(target, device.device);
    case schema::TargetScope::Group:
      for (const std::string_view group : device.groups) {
        if (Named(target, group)) return true;
      }
      return false;
  }
  return false;
}

bool AssignId(const flatbuffers::String* from, IdText* to) {
  return IsId(from->string_view()) && Ok(to->Assign(from->string_view()));
}

Reason ReadOffer(const schema::Offer& table, OfferFacts* offer) {
  if (!AssignId(table.fleet(), &offer->fleet) || !AssignId(table.model(), &offer->model) ||
      !AssignId(table.rollout(), &offer->rollout) || !IsGoodTarget(*table.target())) {
    return Reason::BadFormat;
  }
  offer->number = table.number();
  offer->issued = table.issued();
  offer->not_before = table.not_before();
  offer->not_after = table.not_after();
  offer->package = ToDigest(*table.package());
  offer->package_bytes = table.package_bytes();
  offer->head_bytes = table.head_bytes();
  offer->image_bytes = table.image_bytes();
  offer->spread_seconds = table.spread_seconds();
  offer->override_denied = table.override_denied();
  offer->cancel = table.cancel();
  if (offer->number == 0 || offer->issued < 0 || offer->not_before < 0 ||
      offer->not_after <= offer->not_before || offer->spread_seconds > kMaxSpreadSeconds ||
      offer->package.IsZero()) {
    return Reason::BadFormat;
  }
  if (offer->head_bytes > kMaxHeadBytes || offer->image_bytes > kMaxImageBytes ||
      offer->package_bytes > kMaxHeadBytes + uint64_t{kMaxBlocks} * kMaxStoredBlockBytes) {
    return Reason::TooLarge;
  }
  const bool sizes_agree = offer->head_bytes > kHeaderBytes && offer->package_bytes > offer->head_bytes;
  return sizes_agree && offer->image_bytes > 0 ? Reason::None : Reason::BadFormat;
}

Reason ReadCommand(const schema::Command& table, CommandFacts* command) {
  if (!AssignId(table.fleet(), &command->fleet) || !IsGoodTarget(*table.target()) ||
      !IsId(table.name()->string_view()) || !Ok(command->name.Assign(table.name()->string_view()))) {
    return Reason::BadFormat;
  }
  if (table.model() != nullptr && table.model()->size() > 0 && !AssignId(table.model(), &command->model)) {
    return Reason::BadFormat;
  }
  command->number = table.number();
  command->issued = table.issued();
  command->not_after = table.not_after();
  if (command->number == 0 || command->issued < 0 || command->not_after <= command->issued)
    return Reason::BadFormat;
  if (table.arguments() == nullptr) return Reason::None;
  for (const schema::Argument* from : *table.arguments()) {
    ArgumentText argument;
    if (!IsId(from->key()->string_view()) || !Ok(argument.key.Assign(from->key()->string_view())) ||
        !Ok(argument.value.Assign(from->value()->string_view())) ||
        !Ok(command->arguments.PushBack(argument))) {
      return Reason::BadFormat;
    }
  }
  return Reason::None;
}

std::array<uint8_t, 32> RolloutBytes(std::string_view device, std::string_view rollout) {
  const std::array<uint8_t, 1> zero{};
  base::Sha256 hash;
  hash.Update(base::AsBytes(kRolloutPrefix));
  hash.Update(zero);
  hash.Update(base::AsBytes(device));
  hash.Update(zero);
  hash.Update(base::AsBytes(rollout));
  return hash.Finish().bytes;
}

Reason CheckEpoch(const TrustRoot& root, schema::RoleName role, uint64_t number) {
  const uint32_t epoch = EpochOfNumber(number);
  if (epoch < root.epoch(role)) return Reason::OldNumber;
  return epoch > root.epoch(role) ? Reason::RootInvalid : Reason::None;
}

template <typename Table, typename Facts>
Reason Inspect(base::ByteView document, const char* kind, Reason (*read)(const Table&, Facts*),
               Facts* facts) {
  DocumentMemory memory;
  Envelope envelope;
  const Reason reason = ParseDraftEnvelope(document, memory.bytes, &envelope);
  if (reason != Reason::None) return reason;
  const auto* table = VerifiedTable<Table>(envelope.payload, kind);
  if (table == nullptr) return Reason::BadFormat;
  facts->digest = base::Sha256Of(envelope.payload);
  return read(*table, facts);
}

Reason CheckTime(const TrustRoot& root, const TrustedTime& now, int64_t not_before, int64_t not_after) {
  if (root.ExpiredAt(now)) return Reason::Expired;
  if (!now.synchronized) return Reason::None;
  if (now.unix_seconds >= not_after) return Reason::Expired;
  return now.unix_seconds < not_before ? Reason::NotYetValid : Reason::None;
}

}  // namespace

std::string_view CommandFacts::argument(std::string_view key) const {
  for (const ArgumentText& argument : arguments) {
    if (argument.key.view() == key) return argument.value.view();
  }
  return {};
}

uint32_t RolloutHash(std::string_view device, std::string_view rollout) {
  return base::Load<uint32_t>(RolloutBytes(device, rollout).data());
}

uint32_t SpreadDelaySeconds(const OfferFacts& offer, std::string_view device) {
  const auto bytes = RolloutBytes(device, offer.rollout.view());
  const uint64_t position = base::Load<uint32_t>(bytes.data() + 4);
  return static_cast<uint32_t>((position * offer.spread_seconds) >> 32);
}

Reason VerifyOffer(base::ByteView document, const TrustRoot& root, const DeviceNames& device,
                   const TrustedTime& now, OfferFacts* offer) {
  DocumentMemory memory;
  const schema::Offer* table = nullptr;
  OfferFacts facts;
  Reason reason = Open(document, Domain::kOffer, schema::RoleName::Rollout, kOfferKind, root, &memory, &table,
                       &facts.digest);
  if (reason == Reason::None) reason = ReadOffer(*table, &facts);
  if (reason != Reason::None) return reason;
  *offer = facts;
  const schema::DeviceTarget& target = *table->target();
  if (facts.fleet.view() != device.fleet || !InScope(target, device) ||
      RolloutHash(device.device, facts.rollout.view()) >= target.limit()) {
    return Reason::WrongTarget;
  }
  reason = CheckEpoch(root, schema::RoleName::Rollout, facts.number);
  return reason == Reason::None ? CheckTime(root, now, facts.not_before, facts.not_after) : reason;
}

Reason VerifyCommand(base::ByteView document, const TrustRoot& root, const DeviceNames& device,
                     const TrustedTime& now, CommandFacts* command) {
  DocumentMemory memory;
  const schema::Command* table = nullptr;
  CommandFacts facts;
  Reason reason = Open(document, Domain::kCommand, schema::RoleName::Command, kCommandKind, root, &memory,
                       &table, &facts.digest);
  if (reason == Reason::None) reason = ReadCommand(*table, &facts);
  if (reason != Reason::None) return reason;
  *command = facts;
  if (facts.fleet.view() != device.fleet || !InScope(*table->target(), device)) return Reason::WrongTarget;
  reason = CheckEpoch(root, schema::RoleName::Command, facts.number);
  return reason == Reason::None ? CheckTime(root, now, 0, facts.not_after) : reason;
}

Reason InspectOffer(base::ByteView document, OfferFacts* offer) {
  *offer = {};
  return Inspect<schema::Offer>(document, kOfferKind, ReadOffer, offer);
}

Reason InspectCommand(base::ByteView document, CommandFacts* command) {
  *command = {};
  return Inspect<schema::Command>(document, kCommandKind, ReadCommand, command);
}

}  // namespace dipper::package
