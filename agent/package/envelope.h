// Inside this room: the envelope of roots, offers and commands, payload and signatures.
// Thread-safe: pure functions over caller memory, no heap.
#pragma once

#include "agent/package/root.h"

namespace dipper::package {

/// Views into the memory given to ParseEnvelope.
struct Envelope {
  base::ByteView payload;  ///< Starts at a multiple of 8.
  base::FixedVector<TrustRoot::Signature, kMaxSignatures> signatures;
};

/// Copies `document` to `memory` (16-aligned) and verifies its frame; the payload is still anybody's.
/// BadFormat: malformed, or no signature. TooLarge: more than `memory`, or too many signatures.
schema::Reason ParseEnvelope(base::ByteView document, base::MutableBytes memory, Envelope* envelope);

/// Desk side: the same for a document that nobody may have signed yet.
schema::Reason ParseDraftEnvelope(base::ByteView document, base::MutableBytes memory, Envelope* envelope);

/// Reads signatures laid one after another as in a package: key id, r | s.
schema::Reason ReadSignatureSection(base::ByteView section,
                                    base::FixedVector<TrustRoot::Signature, kMaxSignatures>* signatures);

}  // namespace dipper::package
