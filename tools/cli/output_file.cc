// Implementation of output_file.h.
#include "tools/cli/output_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>

#include "tools/lab/error.h"
#include "tools/lab/files.h"
#ifdef DIPPER_CLI_PACKAGE
#include "agent/package/build_document.h"
#endif

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;
namespace fs = std::filesystem;

constexpr size_t kLookedAt = 64 * 1024;  // no key and no document is longer

std::string_view NameOf(FileKind kind) {
  switch (kind) {
    case FileKind::kPrivateKey:
      return "a private key";
    case FileKind::kPublicKey:
      return "a public key";
    case FileKind::kImage:
      return "a model image";
    case FileKind::kPackage:
      return "a model package";
    case FileKind::kRoot:
      return "a trust root";
    case FileKind::kOffer:
      return "an offer";
    case FileKind::kCommand:
      return "a command";
    case FileKind::kRecording:
      return "a recording";
    case FileKind::kOther:
    case FileKind::kEmpty:
      break;
  }
  return "a file that dipper did not write";
}

FileKind KindOfDocument([[maybe_unused]] base::ByteView bytes) {
#ifdef DIPPER_CLI_PACKAGE
  const auto draft = package::ReadDraft(bytes);
  if (!draft.ok()) return FileKind::kOther;
  return draft->domain == package::Domain::kRoot    ? FileKind::kRoot
         : draft->domain == package::Domain::kOffer ? FileKind::kOffer
                                                    : FileKind::kCommand;
#else
  return FileKind::kOther;
#endif
}

/// The first bytes of a file; what cannot be read is nobody's to replace.
std::vector<uint8_t> FirstBytes(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    throw Error(ExitCode::kFailure, fmt::format("{} is there and cannot be read; name another file", path));
  }
  std::vector<uint8_t> bytes(kLookedAt);
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
  return bytes;
}

void CheckInputs(const OutputFile& output) {
  for (const std::string& input : output.inputs) {
    std::error_code none;
    if (input.empty() || !fs::equivalent(input, output.path, none)) continue;
    throw Error(ExitCode::kUsage,
                fmt::format("--out {} is the file that is read as {}; nothing was written, name another",
                            output.path, input));
  }
}

#ifdef DIPPER_CLI_PACKAGE
/// Throws when another root stands there than the one that is to be written.
void CheckRoot(const OutputFile& output, base::ByteView bytes) {
  if (output.force || output.kind != FileKind::kRoot || !fs::exists(output.path)) return;
  const auto old = package::ReadDraft(FirstBytes(output.path));
  const auto fresh = package::ReadDraft(bytes);
  if (!old.ok() || (fresh.ok() && old->payload == fresh->payload)) return;
  package::TrustRoot root;
  static_cast<void>(package::TrustRoot::ParseDraft(FirstBytes(output.path), &root));
  throw Error(ExitCode::kNeedsConfirmation,
              fmt::format("{} holds another trust root, version {}; choose another name, or replace it with "
                          "--force",
                          output.path, root.version()));
}
#endif

}  // namespace

FileKind KindOfFile(base::ByteView bytes) {
  const std::string_view text = base::AsText(bytes);
  if (text.empty()) return FileKind::kEmpty;
  if (text.starts_with("DIMG")) return FileKind::kImage;        // docs/reference/image-file.md
  if (text.starts_with("DIPPERPK")) return FileKind::kPackage;  // docs/reference/package.md
  if (text.starts_with("DRFL")) return FileKind::kRecording;    // docs/reference/recording.md
  if (text.find("PRIVATE KEY-----") != std::string_view::npos) return FileKind::kPrivateKey;
  if (text.find("-----BEGIN PUBLIC KEY-----") != std::string_view::npos) return FileKind::kPublicKey;
  return KindOfDocument(bytes);
}

void CheckOutput(const OutputFile& output) {
  std::error_code none;
  const fs::file_status status = fs::status(output.path, none);
  if (!fs::exists(status)) return;
  if (fs::is_directory(status)) {
    throw Error(ExitCode::kUsage, fmt::format("{} is a folder; name a file in it", output.path));
  }
  if (!fs::is_regular_file(status)) {
    throw Error(ExitCode::kUsage,
                fmt::format("{} is a device, socket or pipe, not a file; name a file", output.path));
  }
  CheckInputs(output);
  const FileKind kind = KindOfFile(FirstBytes(output.path));
  if (kind == FileKind::kPrivateKey && output.kind != kind) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("{} is a private key, which cannot be made again; nothing was written, name another "
                    "file",
                    output.path));
  }
  if (output.force || kind == FileKind::kEmpty || (kind == output.kind && kind != FileKind::kOther)) return;
  throw Error(ExitCode::kNeedsConfirmation,
              fmt::format("{} is there and is {}; choose another name, or replace it with --force",
                          output.path, NameOf(kind)));
}

void WriteOutput(const OutputFile& output, base::ByteView bytes) {
  CheckOutput(output);
#ifdef DIPPER_CLI_PACKAGE
  CheckRoot(output, bytes);
#endif
  lab::WriteFile(output.path, bytes, output.secret);
}

}  // namespace dipper::cli
