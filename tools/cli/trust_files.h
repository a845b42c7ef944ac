// Trust roots and packages as files, for the commands that sign and verify; keys are signer.h's. Errors are
// lab::Error: not found (3), not what it should be (5). Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/package/build.h"
#include "agent/package/seal.h"
#include "agent/package/verify.h"
#include "tools/cli/signer.h"

namespace dipper::cli {

/// A trust root that is signed by its own root role.
package::TrustRoot LoadRoot(const std::string& path);

/// A package in memory with its head parsed; who signed it is not asked.
class PackageFile {
 public:
  explicit PackageFile(const std::string& path);
  PackageFile(const PackageFile&) = delete;
  PackageFile& operator=(const PackageFile&) = delete;
  const std::string& path() const { return path_; }
  const package::Bytes& bytes() const { return bytes_; }
  const package::Manifest& manifest() const { return manifest_; }
  /// Every byte and the release signatures. None, or what a device would say.
  schema::Reason Verify(const package::TrustRoot& root);
  /// Throws Error (5) when a block or the image is not the declared one.
  /// @param key  Of OpenContentKey, for an encrypted package.
  std::vector<uint8_t> DecodeImage(const package::Secret* key = nullptr);

 private:
  std::string path_;
  package::Bytes bytes_;
  std::vector<uint64_t> words_;  // holds the head, aligned
  package::Manifest manifest_;
};

/// The private key of a device group: a PEM file. Throws Error: not found (3), no such key (5).
package::PrivateKey LoadGroupKey(const std::string& path);

/// What a refusal means and what to do, one sentence.
std::string ReasonText(schema::Reason reason);
/// The same for a root, offer or command.
std::string DocumentReasonText(schema::Reason reason);
/// Throws (5) when devices with this root would refuse a command to one of them now. What it says.
package::CommandFacts CheckCommandFor(const package::TrustRoot& root, base::ByteView command,
                                      const std::string& fleet, const std::string& device);

/// Why a device may be silent after a signed command, and what to do; begins with "; ". It never says itself
/// that a signature is wrong: whoever sends it nonsense is to learn nothing.
/// @param checked  The command was checked against a root.
std::string SilenceText(const std::string& fleet, bool checked);

/// "bad_signature"
std::string ReasonName(schema::Reason reason);

/// "2026-05-04T03:02:01Z"
std::string TimeText(int64_t unix_seconds);
/// SOURCE_DATE_EPOCH if set (so that builds repeat), otherwise now, in seconds since 1970.
int64_t BuildTime();

}  // namespace dipper::cli
