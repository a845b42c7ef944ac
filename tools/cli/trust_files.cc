// Implementation of trust_files.h.
#include "tools/cli/trust_files.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

#include "agent/base/number.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;
using schema::Reason;

constexpr uint64_t kMaxRootFileBytes = 64 * 1024;
constexpr uint64_t kMaxPackageBytes =
    package::kMaxHeadBytes + uint64_t{package::kMaxBlocks} * package::kMaxStoredBlockBytes;

base::MutableBytes AlignedBytes(std::vector<uint64_t>& words) {
  // Eight more than asked, so that a multiple of 16 is among the first two words.
  auto* start = reinterpret_cast<uint8_t*>(words.data());
  const size_t skip = reinterpret_cast<uintptr_t>(start) % 16;
  return {start + skip, words.size() * 8 - skip};
}

}  // namespace

package::TrustRoot LoadRoot(const std::string& path) {
  const std::vector<uint8_t> bytes = lab::ReadFile(path, kMaxRootFileBytes);
  package::TrustRoot root;
  if (package::TrustRoot::Parse(bytes, &root) != Reason::None) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("{} is not a trust root signed by its own root role; it is damaged or another kind of "
                    "file. Make one with `dipper root new`",
                    path));
  }
  return root;
}

PackageFile::PackageFile(const std::string& path)
    : path_(path), bytes_(lab::ReadFile(path, kMaxPackageBytes)), words_(package::kWholeMemoryBytes / 8 + 2) {
  const Reason reason = package::InspectHead(bytes_, AlignedBytes(words_), &manifest_);
  if (reason != Reason::None) {
    throw Error(ExitCode::kVerificationFailed, fmt::format("{}: {}", path, ReasonText(reason)));
  }
}

Reason PackageFile::Verify(const package::TrustRoot& root) {
  std::vector<uint64_t> words(package::kWholeMemoryBytes / 8 + 2);
  package::MemorySource source(bytes_);
  package::PackageFacts facts;
  return package::VerifyWhole(source, &root, AlignedBytes(words), &facts);
}

std::vector<uint8_t> PackageFile::DecodeImage(const package::Secret* key) {
  std::vector<uint8_t> image(manifest_.image_bytes());
  std::vector<uint8_t> scratch(package::kMaxStoredBlockBytes);
  package::MemorySource source(bytes_);
  Reason reason = package::DecodeImage(source, manifest_, scratch, image, key);
  if (reason == Reason::StorageError) reason = Reason::BadFormat;  // memory ends early: the file was cut
  if (reason != Reason::None) {
    throw Error(ExitCode::kVerificationFailed, fmt::format("{}: {}", path_, ReasonText(reason)));
  }
  return image;
}

package::PrivateKey LoadGroupKey(const std::string& path) {
  const auto key = package::ParsePrivateKey(lab::ReadTextFile(path, kMaxRootFileBytes));
  if (!key.ok()) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("{} is not an unencrypted P-256 private key in PEM form; make one with `dipper key "
                    "new --kind group --out FILE`",
                    path));
  }
  return *key;
}

package::CommandFacts CheckCommandFor(const package::TrustRoot& root, base::ByteView command,
                                      const std::string& fleet, const std::string& device) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  package::CommandFacts facts;
  Reason reason =
      package::VerifyCommand(command, root, {fleet, device, {}},
                             {std::chrono::duration_cast<std::chrono::seconds>(now).count(), true}, &facts);
  if (reason == Reason::BadFormat) reason = Reason::UnknownKey;  // a draft without a signature
  if (reason == Reason::None) return facts;
  throw Error(ExitCode::kVerificationFailed,
              fmt::format("{} would refuse this command: {}", device, DocumentReasonText(reason)));
}

std::string SilenceText(const std::string& fleet, bool checked) {
  return fmt::format(
      "; {}. Or no device of this id is in fleet {} (--fleet), or it has no connection: `dipper watch` shows "
      "who "
      "answers",
      checked
          ? "the root that the device has may be another than --root"
          : "the key may not be of the command role in the root that the device has (--root FILE checks that "
            "before it is sent)",
      fleet);
}

std::string ReasonName(Reason reason) {
  std::string name;
  for (const char* c = schema::EnumNameReason(reason); *c != 0; ++c) {
    const bool upper = *c >= 'A' && *c <= 'Z';
    if (upper && !name.empty()) name += '_';
    name += upper ? static_cast<char>(*c - 'A' + 'a') : *c;
  }
  return name;
}

std::string ReasonText(Reason reason) {
  switch (reason) {
    case Reason::BadFormat:
      return "not a package, cut short, or with values that contradict each other; build or fetch it again";
    case Reason::TooLarge:
      return "a size is above what devices take (docs/reference/package.md); use a smaller model or "
             "self-test";
    case Reason::UnknownLayout:
      return "a format version that this program does not know; use a newer dipper";
    case Reason::UnknownKey:
      return "no signature by a key of the release role; sign it with `dipper package sign FILE --key KEY`, "
             "or give the "
             "root that names the key";
    case Reason::BadSignature:
      return "a signature does not verify, or there are fewer than the release role's threshold; the bytes "
             "were changed "
             "after signing, or another signer has to sign too";
    case Reason::RootInvalid:
      return "made under a newer release epoch than this root knows; give the newer root";
    case Reason::BadSpec:
      return "the spec inside is malformed; build it again from the spec text";
    case Reason::WrongSchema:
      return "model id or feature schema differ from the spec inside; build it again";
    case Reason::NoGroupKey:
      return "the payload is encrypted and none of the given group keys opens it; `dipper package show` "
             "lists "
             "the groups that it is for";
    case Reason::BadBlock:
      return "a block's bytes are not the signed ones; fetch it again";
    case Reason::BadDigest:
      return "the image's bytes are not the signed ones; fetch it again";
    default:
      return fmt::format("refused ({})", ReasonName(reason));
  }
}

std::string DocumentReasonText(Reason reason) {
  switch (reason) {
    case Reason::UnknownKey:
      return "no signature by a key of its role; sign it with a key that the root names for it (`dipper root "
             "show`)";
    case Reason::BadSignature:
      return "fewer signatures than its role's threshold, or one that does not verify; the other signers add "
             "theirs with `dipper document sign`";
    case Reason::OldNumber:
      return "its number is of an earlier epoch of the role; make it again with this root";
    case Reason::RootInvalid:
      return "its number is of a later epoch of the role than this root's; give the newer root, or, if a "
             "number "
             "this high was signed by a thief, make a root that raises the epoch (`dipper root next`)";
    case Reason::Expired:
      return "it has expired, or the root has; make it again, or the next root";
    case Reason::BadFormat:
      return "not such a document, cut short, or with values that contradict each other";
    default:
      return fmt::format("refused ({})", ReasonName(reason));
  }
}

std::string TimeText(int64_t unix_seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(unix_seconds)));
}

int64_t BuildTime() {
  const char* fixed = std::getenv("SOURCE_DATE_EPOCH");
  if (fixed != nullptr) {
    const auto value = base::ParseUint(fixed);
    if (!value.ok() || *value > uint64_t{1} << 40U) {
      throw Error(ExitCode::kUsage,
                  fmt::format("SOURCE_DATE_EPOCH is '{}', which is no time in seconds", fixed));
    }
    return static_cast<int64_t>(*value);
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

}  // namespace dipper::cli
