// Desk side: makes packages, trust roots, offers and commands. Allocates; not for devices. Thread-safe: pure
// functions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/package/crypto.h"
#include "agent/package/document.h"
#include "agent/package/manifest.h"
#include "agent/schema/package_generated.h"

namespace dipper::package {

using Bytes = std::vector<uint8_t>;

/// Builds an unsigned package.
///
/// Reproducible without recipients: equal inputs give equal bytes, with the same version of zstd. An
/// encrypted package has a new random content key each time.
/// @param manifest  All fields but image size, image hash, block table and feature-schema hash, which are
/// computed here.
/// @param image     The payload, 1 to kMaxImageBytes.
/// @param refusal   Why a device would refuse the result, when kInvalidArgument is returned.
/// @param groups    Who may read the payload, at most kMaxRecipients, each key once; none: everybody.
/// @returns kInvalidArgument: a field that a device would refuse; kResourceExhausted: manifest or image too
/// large. kUnavailable: no entropy to encrypt with.
base::Result<Bytes> BuildPackage(const schema::ManifestT& manifest, base::ByteView image,
                                 schema::Reason* refusal = nullptr, std::span<const PublicKey> groups = {});

/// The bytes that a package's signatures are over, after the prefix of Domain::kPackage. kDataLoss: not a
/// package.
base::Result<Bytes> PackageMessage(base::ByteView package);

/// Adds a signature that was made elsewhere (replaces one by the same key). The package digest does not
/// change. kDataLoss: not a package. kPermissionDenied: it is no signature of this package by this key.
/// kResourceExhausted: full of signatures.
base::Result<Bytes> AddPackageSignature(base::ByteView package, const PublicKey& key,
                                        const SignatureValue& value);

/// Signs with a key in memory and adds that. Errors as AddPackageSignature.
base::Result<Bytes> SignPackage(base::ByteView package, const PrivateKey& key);

/// Reads the head of a package without asking who signed it, for showing. `memory` as VerifyHead.
schema::Reason InspectHead(base::ByteView package, base::MutableBytes memory, Manifest* manifest);

/// Signature section of a package, in order.
std::vector<TrustRoot::Signature> ReadSignatures(base::ByteView package);

/// Wraps a document and its signatures by `keys`. kInvalidArgument: a device would refuse the result (a value
/// out of range; for a root also a threshold of its own root role that `keys` do not reach), or no keys.
/// kResourceExhausted: too long, or too many keys.
base::Result<Bytes> BuildRoot(const schema::RootT& root, std::span<const PrivateKey> keys);
base::Result<Bytes> BuildOffer(const schema::OfferT& offer, std::span<const PrivateKey> keys);
base::Result<Bytes> BuildCommand(const schema::CommandT& command, std::span<const PrivateKey> keys);

/// For ManifestT, OfferT and RootT.
schema::Sha256 ToSchema(const base::Digest& digest);
schema::PublicKey ToSchema(const PublicKey& key);

/// A role with these keys, for RootT.
std::unique_ptr<schema::RoleT> MakeRole(schema::RoleName name, uint8_t threshold, std::vector<uint8_t> keys,
                                        uint32_t epoch = 0);

}  // namespace dipper::package
