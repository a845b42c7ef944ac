// What the tests of agent/package share: keys, a root, a small package, and ways to forge.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/package/build.h"
#include "agent/package/verify.h"
#include "tests/support/aligned_bytes.h"

namespace dipper::package::test {

using dipper::test::AlignedBytes;

/// Keys made once a process: root, release, rollout, command and a stranger's.
struct Keys {
  PrivateKey root, release, rollout, command, stranger;
};
const Keys& TestKeys();

/// A root with one key a role, not yet signed.
schema::RootT PlainRoot(uint32_t version = 1);
/// PlainRoot, signed and parsed.
TrustRoot TestRoot();

/// A spec buffer with two features for model `model`.
Bytes TestSpec(const std::string& model = "main");
/// A manifest with a self-test and lineage, without what BuildPackage computes.
schema::ManifestT TestManifest();
/// Compressible bytes that differ by `seed`.
Bytes TestImage(size_t size, uint32_t seed = 1);
/// Built from TestManifest and an image of `image_bytes`, signed by the release key.
Bytes TestPackage(size_t image_bytes = 2 * kBlockBytes + 100, uint32_t seed = 1);

/// Sets the header's CRC anew, as a forger would.
void FixHeaderCrc(Bytes& package);
/// Unpacks the manifest, lets `change` edit it and the header, packs, signs with `key`.
Bytes Forge(const Bytes& package, const PrivateKey& key,
            const std::function<void(schema::ManifestT&, Header&)>& change);
/// An envelope around any payload with these signatures.
Bytes Envelope(const Bytes& payload, const std::vector<schema::Signature>& signatures);
schema::Signature SignatureBy(const PrivateKey& key, Domain domain, const Bytes& payload);
Bytes RootPayload(const schema::RootT& root);

/// Verifies a whole package in memory.
schema::Reason Whole(const Bytes& package, const TrustRoot* root, PackageFacts* facts, AlignedBytes& memory);
schema::Reason Whole(const Bytes& package);

/// Header, manifest and signatures of a package.
base::ByteView Head(const Bytes& package);

}  // namespace dipper::package::test
