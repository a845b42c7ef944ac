// Signing drafts and packages with keys of any kind (tools/cli/signer.h). Errors are lab::Error. Not
// thread-safe.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "agent/package/build_document.h"
#include "tools/cli/signer.h"

namespace dipper::cli {

using Signers = std::vector<std::unique_ptr<Signer>>;

/// Opens each reference once. Throws as OpenSigner.
Signers OpenSigners(std::span<const std::string> references);

/// Adds a signature by each signer to a root, offer or command. Throws as Signer::Sign; 5 no such document;
/// 1 no room for another signature.
package::Bytes SignDocument(const package::Bytes& document, std::span<const std::unique_ptr<Signer>> signers);

struct CommandParts {
  std::string fleet, device, model;
  uint64_t number = 0;
  int64_t issued = 0;  ///< Seconds since 1970.
  double expires_minutes = 60;
  std::string name;
  std::vector<std::pair<std::string, std::string>> arguments;
};
/// A command to one device, signed by all keys. Throws as SignDocument; 2: devices would refuse it.
package::Bytes MakeSignedCommand(const CommandParts& parts, std::span<const std::string> keys);

/// Adds a release signature to a package. Throws as SignDocument.
package::Bytes SignPackageFile(const package::Bytes& package, Signer& signer);

}  // namespace dipper::cli
