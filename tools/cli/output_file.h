// Files that commands write with --out: what stands there already is lost only when it is of the same kind,
// or when --force says so; private keys and the command's own inputs never are. Errors are lab::Error. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/bytes.h"

namespace dipper::cli {

/// By its first bytes.
enum class FileKind : uint8_t {
  kOther,
  kEmpty,
  kPrivateKey,
  kPublicKey,
  kImage,
  kPackage,
  kRoot,
  kOffer,
  kCommand,
  kRecording,
};

/// @param bytes  The first 64 KiB of a file, or all of it.
FileKind KindOfFile(base::ByteView bytes);

struct OutputFile {
  std::string path;
  FileKind kind = FileKind::kOther;  ///< Of what is written.
  bool force = false;                ///< Replace also a file of another kind, or another root.
  std::vector<std::string> inputs =
      {};               ///< What the command reads; empty names and what is no file are passed over.
  bool secret = false;  ///< Mode 0600.
};

/// Throws unless the file may be written: 2 it is an input, a private key, a folder or a device; 4 a file of
/// another kind stands there. Ask before long work.
void CheckOutput(const OutputFile& output);

/// Asks again and writes. A root replaces only another state of itself (other signatures under the same
/// bytes), for an older version in the place of a newer one would go unseen: 4 otherwise.
void WriteOutput(const OutputFile& output, base::ByteView bytes);

/// The option's text.
inline constexpr const char* kForceHelp =
    "Replace the file though it is another kind of file, or another root";

}  // namespace dipper::cli
