// A fixed key and a root that trusts it for everything, so that fuzzed payloads get past the signature check
// by being signed. Signing is deterministic, so runs repeat.
#pragma once

#include "agent/package/build.h"

namespace dipper::fuzz {

const package::PrivateKey& Key();
const package::TrustRoot& Root();

/// A signed document around any payload. A payload is at most 8 KiB.
package::Bytes Sealed(package::Domain domain, base::ByteView payload);

/// The first byte of an input says what the rest is: 0 a whole document, anything else a payload to be
/// signed.
package::Bytes DocumentOf(package::Domain domain, base::ByteView input);

}  // namespace dipper::fuzz
