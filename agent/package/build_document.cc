// Roots, offers and commands of build.h.
#include "agent/package/build.h"
#include "agent/package/table.h"

namespace dipper::package {
namespace {

using base::Result;
using base::Status;
using schema::Reason;

Result<Bytes> Seal(const flatbuffers::FlatBufferBuilder& payload, Domain domain,
                   std::span<const PrivateKey> keys, size_t max_bytes) {
  if (keys.empty()) return Status::kInvalidArgument;
  if (keys.size() > kMaxSignatures) return Status::kResourceExhausted;
  schema::SignedT envelope;
  envelope.payload.assign(payload.GetBufferPointer(), payload.GetBufferPointer() + payload.GetSize());
  const base::Digest digest = SigningDigest(domain, envelope.payload);
  for (const PrivateKey& key : keys) {
    DIPPER_ASSIGN_OR_RETURN(const SignatureValue value, Sign(key, digest));
    envelope.signatures.emplace_back(ToSchema(key.id()), value.rs);
  }
  flatbuffers::FlatBufferBuilder builder(payload.GetSize() + 1024);
  builder.Finish(schema::Signed::Pack(builder, &envelope), kSignedKind);
  if (builder.GetSize() > max_bytes) return Status::kResourceExhausted;
  return Bytes(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
}

/// A root that trusts `keys` for everything: what builders check their own documents with.
TrustRoot SelfTrust(std::span<const PrivateKey> keys) {
  schema::RootT root;
  root.version = 1;
  root.expires = 1;
  std::vector<uint8_t> all;
  for (const PrivateKey& key : keys) {
    root.keys.push_back(ToSchema(key.public_key()));
    all.push_back(static_cast<uint8_t>(all.size()));
  }
  for (uint8_t i = 0; i < kRoleCount; ++i) {
    root.roles.push_back(MakeRole(static_cast<schema::RoleName>(i), 1, all));
  }
  TrustRoot parsed;
  const Result<Bytes> bytes = BuildRoot(root, keys);
  // On failure it stays empty and trusts nobody, so that the document is refused.
  if (bytes.ok() && TrustRoot::Parse(*bytes, &parsed) != Reason::None) return {};
  return parsed;
}

bool IsContentProblem(Reason reason) { return reason != Reason::None && reason != Reason::WrongTarget; }

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

Result<Bytes> BuildRoot(const schema::RootT& root, std::span<const PrivateKey> keys) {
  flatbuffers::FlatBufferBuilder builder(4096);
  builder.Finish(schema::Root::Pack(builder, &root), kRootKind);
  DIPPER_ASSIGN_OR_RETURN(Bytes bytes, Seal(builder, Domain::kRoot, keys, kMaxRootBytes));
  TrustRoot parsed;
  if (TrustRoot::Parse(bytes, &parsed) != Reason::None) return Status::kInvalidArgument;
  return bytes;
}

Result<Bytes> BuildOffer(const schema::OfferT& offer, std::span<const PrivateKey> keys) {
  if (offer.target == nullptr || offer.package == nullptr) return Status::kInvalidArgument;
  flatbuffers::FlatBufferBuilder builder(4096);
  builder.Finish(schema::Offer::Pack(builder, &offer), kOfferKind);
  DIPPER_ASSIGN_OR_RETURN(Bytes bytes, Seal(builder, Domain::kOffer, keys, kMaxDocumentBytes));
  OfferFacts facts;
  if (IsContentProblem(VerifyOffer(bytes, SelfTrust(keys), {offer.fleet, {}, {}}, {}, &facts))) {
    return Status::kInvalidArgument;
  }
  return bytes;
}

Result<Bytes> BuildCommand(const schema::CommandT& command, std::span<const PrivateKey> keys) {
  if (command.target == nullptr) return Status::kInvalidArgument;
  flatbuffers::FlatBufferBuilder builder(4096);
  builder.Finish(schema::Command::Pack(builder, &command), kCommandKind);
  DIPPER_ASSIGN_OR_RETURN(Bytes bytes, Seal(builder, Domain::kCommand, keys, kMaxDocumentBytes));
  CommandFacts facts;
  if (IsContentProblem(VerifyCommand(bytes, SelfTrust(keys), {command.fleet, {}, {}}, {}, &facts))) {
    return Status::kInvalidArgument;
  }
  return bytes;
}

}  // namespace dipper::package
