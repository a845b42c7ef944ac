// Roots, offers and commands as files that several people sign in turn. Errors are lab::Error. Not
// thread-safe.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "agent/package/build_document.h"

namespace dipper::cli {

/// Reads a document; what is in it is checked by whoever parses it. Throws Error: 3 not found, 5 too long.
package::Bytes LoadDocument(const std::string& path);

/// True when a key is of this role in the root.
bool IsOfRole(const package::PublicKey& key, const package::TrustRoot& root, schema::RoleName name);

struct SigningState {
  bool complete = false;
  std::string text;  ///< "2 of 2 signatures", "1 of 2 signatures (missing: 2 of 0a1b2c3d, ...)"
};
/// Whether a root is signed by its own root role and, with `old`, is a successor that devices with it take.
SigningState RootSigningState(const package::Bytes& root, const package::TrustRoot* old);
/// The same for an offer or command under `root`'s role.
SigningState DocumentSigningState(const package::Draft& draft, const package::TrustRoot& root);

/// Adds `sign` and `merge` to a command: they take all three kinds of document.
void AddSigningCommands(CLI::App& parent);

}  // namespace dipper::cli
