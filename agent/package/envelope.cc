// Implementation of envelope.h.
#include "agent/package/envelope.h"

#include "agent/package/manifest.h"
#include "agent/package/table.h"

namespace dipper::package {

using schema::Reason;

Reason ParseEnvelope(base::ByteView document, base::MutableBytes memory, Envelope* envelope) {
  const Reason reason = ParseDraftEnvelope(document, memory, envelope);
  return reason == Reason::None && envelope->signatures.empty() ? Reason::BadFormat : reason;
}

Reason ParseDraftEnvelope(base::ByteView document, base::MutableBytes memory, Envelope* envelope) {
  if (document.empty()) return Reason::BadFormat;
  if (document.size() > memory.size()) return Reason::TooLarge;
  std::memcpy(memory.data(), document.data(), document.size());
  const auto* table = VerifiedTable<schema::Signed>(memory.first(document.size()), kSignedKind);
  if (table == nullptr) return Reason::BadFormat;
  if (table->signatures()->size() > kMaxSignatures) return Reason::TooLarge;
  envelope->payload = {table->payload()->data(), table->payload()->size()};
  envelope->signatures.Clear();
  for (const schema::Signature* from : *table->signatures()) {
    TrustRoot::Signature signature;
    signature.key_id = ToDigest(from->key_id());
    for (uint32_t i = 0; i < signature.value.rs.size(); ++i) signature.value.rs[i] = from->rs()->Get(i);
    if (!Ok(envelope->signatures.PushBack(signature))) return Reason::TooLarge;
  }
  return Reason::None;
}

Reason ReadSignatureSection(base::ByteView section,
                            base::FixedVector<TrustRoot::Signature, kMaxSignatures>* signatures) {
  if (section.size() % kSignatureBytes != 0) return Reason::BadFormat;
  signatures->Clear();
  base::ByteReader in(section);
  while (in.remaining() > 0) {
    TrustRoot::Signature signature;
    signature.key_id = in.GetDigest();
    in.GetBytes(signature.value.rs);
    if (!Ok(signatures->PushBack(signature))) return Reason::TooLarge;
  }
  return Reason::None;
}

}  // namespace dipper::package
