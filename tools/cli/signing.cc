// Implementation of signing.h.
#include "tools/cli/signing.h"

#include <fmt/format.h>

#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

[[noreturn]] void Refuse(base::Status status) {
  if (status == base::Status::kResourceExhausted) {
    throw Error(
        ExitCode::kFailure,
        fmt::format("it has no room for another signature ({} are possible); make it again with fewer",
                    package::kMaxSignatures));
  }
  throw Error(ExitCode::kVerificationFailed,
              "this is no root, offer or command, or one that devices would refuse; make it again");
}

}  // namespace

Signers OpenSigners(std::span<const std::string> references) {
  Signers signers;
  for (const std::string& reference : references) signers.push_back(OpenSigner(reference));
  return signers;
}

package::Bytes SignDocument(const package::Bytes& document,
                            std::span<const std::unique_ptr<Signer>> signers) {
  package::Bytes bytes = document;
  const auto draft = package::ReadDraft(bytes);
  if (!draft.ok()) Refuse(draft.status());
  for (const std::unique_ptr<Signer>& signer : signers) {
    const package::SignatureValue value = signer->Sign({draft.value().domain, draft.value().payload});
    const auto next = package::AddDocumentSignature(bytes, signer->public_key(), value);
    if (!next.ok()) Refuse(next.status());
    bytes = *next;
  }
  return bytes;
}

package::Bytes MakeSignedCommand(const CommandParts& parts, std::span<const std::string> keys) {
  schema::CommandT command;
  command.fleet = parts.fleet;
  command.target = std::make_unique<schema::DeviceTargetT>();
  command.target->scope = schema::TargetScope::List;
  command.target->names = {parts.device};
  command.model = parts.model;
  command.number = parts.number;
  command.issued = parts.issued;
  command.not_after = parts.issued + static_cast<int64_t>(parts.expires_minutes * 60);
  command.name = parts.name;
  for (const auto& [key, value] : parts.arguments) {
    auto argument = std::make_unique<schema::ArgumentT>();
    argument->key = key;
    argument->value = value;
    command.arguments.push_back(std::move(argument));
  }
  const auto bytes = package::DraftCommand(command);
  if (!bytes.ok()) {
    throw Error(ExitCode::kUsage,
                "no command was made: the device would refuse it; check --expires and the names");
  }
  return SignDocument(*bytes, OpenSigners(keys));
}

package::Bytes SignPackageFile(const package::Bytes& package, Signer& signer) {
  const auto message = package::PackageMessage(package);
  if (!message.ok()) {
    throw Error(ExitCode::kVerificationFailed, "it is cut short or has bytes after its end; build it again");
  }
  const package::SignatureValue value = signer.Sign({package::Domain::kPackage, *message});
  const auto bytes = package::AddPackageSignature(package, signer.public_key(), value);
  if (!bytes.ok()) Refuse(bytes.status());
  return *bytes;
}

}  // namespace dipper::cli
