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
