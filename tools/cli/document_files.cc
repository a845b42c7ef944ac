// Implementation of document_files.h: sign and merge.
#include "tools/cli/document_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;
using package::Domain;
using schema::RoleName;

RoleName RoleOf(Domain domain) {
  switch (domain) {
    case Domain::kOffer:
      return RoleName::Rollout;
    case Domain::kCommand:
      return RoleName::Command;
    case Domain::kPackage:
      return RoleName::Release;
    case Domain::kRoot:
      break;
  }
  return RoleName::Root;
}

package::Draft DraftOf(const std::string& path, const package::Bytes& bytes) {
  const auto draft = package::ReadDraft(bytes);
  if (draft.ok()) return *draft;
  throw Error(
      ExitCode::kVerificationFailed,
      fmt::format("{} is no root, offer or command, or one that devices would refuse; packages are signed "
                  "with `dipper package sign`",
                  path));
}

/// How many different keys of the role have signed, and who has not.
SigningState StateOf(const package::Draft& draft, const package::TrustRoot& root, RoleName name) {
  const base::Digest digest = package::SigningDigest(draft.domain, draft.payload);
  const package::RoleKeys& role = root.role(name);
  uint32_t good = 0;
  std::string missing;
  for (const uint8_t index : role.keys) {
    const bool has_signed =
        std::any_of(draft.signatures.begin(), draft.signatures.end(), [&](const auto& one) {
          return one.key_id == root.key_id(index) &&
                 package::VerifySignature(root.keys()[index], digest, one.value);
        });
    good += has_signed ? 1 : 0;
    if (has_signed) continue;
    missing += missing.empty() ? "" : ", ";
    missing += base::ToHex(root.key_id(index)).brief();
  }
  SigningState state;
  state.complete = good >= role.threshold;
  state.text = fmt::format("{} of {} signatures", good, role.threshold);
  if (!state.complete) state.text += fmt::format(" (not yet: {})", missing);
  return state;
}

struct SigningOptions {
  std::string file;
  std::vector<std::string> others;
  std::string key;
  std::string root;
  std::string out;
  bool force = false;
};

/// Throws unless a signature by this key can count for anything.
void CheckSigner(const SigningOptions& options, const package::Draft& draft, const package::Bytes& bytes,
                 const Signer& signer) {
  const std::string id(base::ToHex(signer.id()).brief());
  const bool has_root = !options.root.empty();
  if (has_root && IsOfRole(signer.public_key(), LoadRoot(options.root), RoleOf(draft.domain))) return;
  if (draft.domain == Domain::kRoot) {
    package::TrustRoot own;
    static_cast<void>(package::TrustRoot::ParseDraft(bytes, &own));
    if (IsOfRole(signer.public_key(), own, RoleName::Root)) return;
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("key {} is no root key of {}{}", id, options.file,
                            has_root ? fmt::format(" nor of {}", options.root)
                                     : "; if it is one of the former root, give that with --root"));
  }
  if (!has_root) return;
  throw Error(ExitCode::kVerificationFailed,
              fmt::format("key {} is not of the role that signs this in {}", id, options.root));
}

void Report(const SigningOptions& options, const package::Bytes& bytes) {
  const std::string& out = options.out.empty() ? options.file : options.out;
  const package::Draft draft = DraftOf(out, bytes);
  OutputFile output{.path = out,
                    .kind = draft.domain == Domain::kRoot    ? FileKind::kRoot
                            : draft.domain == Domain::kOffer ? FileKind::kOffer
                                                             : FileKind::kCommand,
                    .force = options.force,
                    .inputs = options.others};
  output.inputs.insert(output.inputs.end(), {options.key, options.root});
  WriteOutput(output, bytes);
  if (draft.domain != Domain::kRoot && options.root.empty()) {
    Note(fmt::format("wrote {} with {} signature(s)", out, draft.signatures.size()));
    return;
  }
  package::TrustRoot root;
  if (!options.root.empty()) root = LoadRoot(options.root);
  const SigningState state = draft.domain == Domain::kRoot
                                 ? RootSigningState(bytes, options.root.empty() ? nullptr : &root)
                                 : DocumentSigningState(draft, root);
  Note(fmt::format("wrote {}: {}", out, state.text));
}

void SignDocumentFile(const SigningOptions& options) {
  const package::Bytes bytes = LoadDocument(options.file);
  const package::Draft draft = DraftOf(options.file, bytes);
  Signers signers;
  signers.push_back(OpenSigner(options.key));
  CheckSigner(options, draft, bytes, *signers.front());
  Report(options, SignDocument(bytes, signers));
}

void MergeFiles(const SigningOptions& options) {
  package::Bytes bytes = LoadDocument(options.file);
  DraftOf(options.file, bytes);
  for (const std::string& path : options.others) {
    const package::Bytes other = LoadDocument(path);
    DraftOf(path, other);
    const auto merged = package::MergeSignatures(bytes, other);
    if (merged.ok()) {
      bytes = *merged;
      continue;
    }
    if (merged.status() == base::Status::kResourceExhausted) {
      throw Error(ExitCode::kFailure,
                  fmt::format("together they have more than {} signatures", package::kMaxSignatures));
    }
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("{} and {} are not the same document: their signers signed different bytes",
                            options.file, path));
  }
  Report(options, bytes);
}

}  // namespace

bool IsOfRole(const package::PublicKey& key, const package::TrustRoot& root, RoleName name) {
  const package::RoleKeys& role = root.role(name);
  return std::any_of(role.keys.begin(), role.keys.end(),
                     [&](uint8_t index) { return root.keys()[index] == key; });
}

package::Bytes LoadDocument(const std::string& path) {
  return lab::ReadFile(path, package::kMaxDocumentBytes);
}

SigningState RootSigningState(const package::Bytes& root, const package::TrustRoot* old) {
  const package::Draft draft = DraftOf("the root", root);
  package::TrustRoot own;
  if (package::TrustRoot::ParseDraft(root, &own) != schema::Reason::None) return {false, "not a root"};
  SigningState state = StateOf(draft, own, RoleName::Root);
  if (old == nullptr) {
    package::TrustRoot ignored;
    state.complete = package::TrustRoot::Parse(root, &ignored) == schema::Reason::None;
    return state;
  }
  state.text = fmt::format("{} by its own root keys, {} by those of version {}", state.text,
                           StateOf(draft, *old, RoleName::Root).text, old->version());
  package::TrustRoot next;
  state.complete = old->ParseSuccessor(root, &next) == schema::Reason::None;
  if (own.version() != old->version() + 1) {
    state.text += fmt::format("; version {} does not follow version {}", own.version(), old->version());
  }
  return state;
}

SigningState DocumentSigningState(const package::Draft& draft, const package::TrustRoot& root) {
  return StateOf(draft, root, RoleOf(draft.domain));
}

void AddSigningCommands(CLI::App& parent) {
  const auto options = std::make_shared<SigningOptions>();
  CLI::App* sign = parent.add_subcommand("sign", "Add one signature to a root, offer or command");
  sign->add_option("file", options->file, "Root, offer or command")->required();
  sign->add_option("--key", options->key, std::string("Key that signs: ") + kKeyHelp)->required();
  sign->add_option("--root", options->root,
                   "Trust root in force; the key must be of its role. A next root is signed by this one too");
  sign->add_option("--out", options->out, "File to write; default: the document itself");
  sign->add_flag("--force", options->force, kForceHelp);
  sign->callback([options] { SignDocumentFile(*options); });
  CLI::App* merge =
      parent.add_subcommand("merge", "Join the signatures of copies that several people signed");
  merge->add_option("file", options->file, "Root, offer or command")->required();
  merge->add_option("others", options->others, "Copies of it with other signatures")->required();
  merge->add_option("--root", options->root, "Trust root in force, to say what is missing");
  merge->add_option("--out", options->out, "File to write; default: the first");
  merge->add_flag("--force", options->force, kForceHelp);
  merge->callback([options] { MergeFiles(*options); });
}

}  // namespace dipper::cli
