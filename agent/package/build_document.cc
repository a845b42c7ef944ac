// Implementation of build_document.h; roots, offers and commands of build.h.
#include "agent/package/build_document.h"

#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/package/envelope.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using base::Result;
using base::Status;
using schema::Reason;

struct alignas(16) DraftMemory {
  std::array<uint8_t, kMaxDocumentBytes> bytes;
};

size_t MaxBytes(Domain domain) { return domain == Domain::kRoot ? kMaxRootBytes : kMaxDocumentBytes; }

/// The envelope of a draft. kResourceExhausted: too long, or too many signatures.
Result<Bytes> Wrap(const Draft& draft) {
  if (draft.signatures.size() > kMaxSignatures) return Status::kResourceExhausted;
  schema::SignedT envelope;
  envelope.payload = draft.payload;
  for (const TrustRoot::Signature& signature : draft.signatures) {
    envelope.signatures.emplace_back(ToSchema(signature.key_id), signature.value.rs);
  }
  flatbuffers::FlatBufferBuilder builder(draft.payload.size() + 1024);
  builder.Finish(schema::Signed::Pack(builder, &envelope), kSignedKind);
  if (builder.GetSize() > MaxBytes(draft.domain)) return Status::kResourceExhausted;
  return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

/// Which kind of document it is, by whose values it has; what devices would refuse is none.
Result<Domain> KindOf(base::ByteView document) {
  TrustRoot root;
  if (TrustRoot::ParseDraft(document, &root) == Reason::None) return Domain::kRoot;
  OfferFacts offer;
  if (InspectOffer(document, &offer) == Reason::None) return Domain::kOffer;
  CommandFacts command;
  if (InspectCommand(document, &command) == Reason::None) return Domain::kCommand;
  return Status::kDataLoss;
}

/// Replaces one by the same key.
void Put(const TrustRoot::Signature& signature, std::vector<TrustRoot::Signature>* signatures) {
  std::erase_if(*signatures, [&](const auto& old) { return old.key_id == signature.key_id; });
  signatures->push_back(signature);
}

template <typename Table>
Result<Bytes> DraftOf(const typename Table::NativeTableType& table, Domain domain, const char* kind) {
  flatbuffers::FlatBufferBuilder builder(4096);
  builder.Finish(Table::Pack(builder, &table), kind);
  Draft draft;
  draft.domain = domain;
  draft.payload.assign(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  DIPPER_ASSIGN_OR_RETURN(Bytes bytes, Wrap(draft));
  const Result<Domain> kind_read = KindOf(bytes);
  if (!kind_read.ok() || *kind_read != domain) return Status::kInvalidArgument;
  return bytes;
}

Result<Bytes> SignAll(Result<Bytes> document, std::span<const PrivateKey> keys) {
  if (!document.ok()) return document;
  if (keys.empty()) return Status::kInvalidArgument;
  if (keys.size() > kMaxSignatures) return Status::kResourceExhausted;
  DIPPER_ASSIGN_OR_RETURN(Draft draft, ReadDraft(*document));
  const base::Digest digest = SigningDigest(draft.domain, draft.payload);
  for (const PrivateKey& key : keys) {
    DIPPER_ASSIGN_OR_RETURN(const SignatureValue value, Sign(key, digest));
    Put({key.id(), value}, &draft.signatures);
  }
  return Wrap(draft);
}

}  // namespace

std::unique_ptr<schema::RoleT> MakeRole(schema::RoleName name, uint8_t threshold, std::vector<uint8_t> keys,
                                        uint32_t epoch) {
  auto role = std::make_unique<schema::RoleT>();
  role->role = name;
  role->threshold = threshold;
  role->keys = std::move(keys);
  role->epoch = epoch;
  return role;
}

Result<Bytes> DraftRoot(const schema::RootT& root) {
  return DraftOf<schema::Root>(root, Domain::kRoot, kRootKind);
}

Result<Bytes> DraftOffer(const schema::OfferT& offer) {
  if (offer.target == nullptr || offer.package == nullptr) return Status::kInvalidArgument;
  return DraftOf<schema::Offer>(offer, Domain::kOffer, kOfferKind);
}

Result<Bytes> DraftCommand(const schema::CommandT& command) {
  if (command.target == nullptr) return Status::kInvalidArgument;
  return DraftOf<schema::Command>(command, Domain::kCommand, kCommandKind);
}

Result<Draft> ReadDraft(base::ByteView document) {
  DraftMemory memory;
  Envelope envelope;
  if (ParseDraftEnvelope(document, memory.bytes, &envelope) != Reason::None) return Status::kDataLoss;
  Draft draft;
  DIPPER_ASSIGN_OR_RETURN(draft.domain, KindOf(document));
  draft.payload.assign(envelope.payload.begin(), envelope.payload.end());
  draft.signatures.assign(envelope.signatures.begin(), envelope.signatures.end());
  return draft;
}

Result<Bytes> AddDocumentSignature(base::ByteView document, const PublicKey& key,
                                   const SignatureValue& value) {
  DIPPER_ASSIGN_OR_RETURN(Draft draft, ReadDraft(document));
  if (!VerifySignature(key, SigningDigest(draft.domain, draft.payload), value))
    return Status::kPermissionDenied;
  Put({KeyId(key), value}, &draft.signatures);
  return Wrap(draft);
}

Result<Bytes> MergeSignatures(base::ByteView document, base::ByteView other) {
  DIPPER_ASSIGN_OR_RETURN(Draft draft, ReadDraft(document));
  DIPPER_ASSIGN_OR_RETURN(const Draft more, ReadDraft(other));
  if (draft.domain != more.domain || draft.payload != more.payload) return Status::kFailedPrecondition;
  for (const TrustRoot::Signature& signature : more.signatures) {
    const bool there = std::any_of(draft.signatures.begin(), draft.signatures.end(),
                                   [&](const auto& old) { return old.key_id == signature.key_id; });
    if (!there) draft.signatures.push_back(signature);
  }
  return Wrap(draft);
}

Result<Bytes> BuildRoot(const schema::RootT& root, std::span<const PrivateKey> keys) {
  DIPPER_ASSIGN_OR_RETURN(Bytes bytes, SignAll(DraftRoot(root), keys));
  TrustRoot parsed;
  if (TrustRoot::Parse(bytes, &parsed) != Reason::None) return Status::kInvalidArgument;
  return bytes;
}

Result<Bytes> BuildOffer(const schema::OfferT& offer, std::span<const PrivateKey> keys) {
  return SignAll(DraftOffer(offer), keys);
}

Result<Bytes> BuildCommand(const schema::CommandT& command, std::span<const PrivateKey> keys) {
  return SignAll(DraftCommand(command), keys);
}

}  // namespace dipper::package
