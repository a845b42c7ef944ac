// Desk side: drafts of roots, offers and commands, and their signatures, one at a time and by several people
// on several machines. A draft is the same file with too few signatures; devices refuse it. Allocates; not
// for devices. Thread-safe: pure functions.
#pragma once

#include <vector>

#include "agent/package/build.h"

namespace dipper::package {

/// Checks the values and wraps them without a signature. kInvalidArgument: a device would refuse them.
/// kResourceExhausted: too long.
base::Result<Bytes> DraftRoot(const schema::RootT& root);
base::Result<Bytes> DraftOffer(const schema::OfferT& offer);
base::Result<Bytes> DraftCommand(const schema::CommandT& command);

/// A root, offer or command as it is, complete or a draft; who signed it is not asked.
struct Draft {
  Domain domain = Domain::kRoot;
  Bytes payload;  ///< What is signed, after the prefix of `domain`.
  std::vector<TrustRoot::Signature> signatures;
};
/// kDataLoss: no such document, or one with values that a device would refuse.
base::Result<Draft> ReadDraft(base::ByteView document);

/// Adds a signature that was made elsewhere (replaces one by the same key). kDataLoss: no document.
/// kPermissionDenied: it is no signature of this document by this key. kResourceExhausted: too many
/// signatures, or too long with one more.
base::Result<Bytes> AddDocumentSignature(base::ByteView document, const PublicKey& key,
                                         const SignatureValue& value);

/// `document` with the signatures of `other` that it lacks. kDataLoss: no document.
/// kFailedPrecondition: they are not over the same bytes. kResourceExhausted: as above.
base::Result<Bytes> MergeSignatures(base::ByteView document, base::ByteView other);

}  // namespace dipper::package
