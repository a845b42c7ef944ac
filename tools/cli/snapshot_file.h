// A fetched snapshot as what a package is built of. Errors are lab::Error: 5, it is no snapshot, damaged, or
// encrypted and its key is missing. Not thread-safe.
#pragma once

#include <string>

#include "agent/base/bytes.h"
#include "agent/schema/spec_generated.h"
#include "tools/lab/recording.h"
#include "tools/lab/train.h"

namespace dipper::cli {

struct SnapshotFile {
  schema::SpecT spec;
  lab::ImageFile image;    ///< Its data digest is the file's SHA-256: the lineage goes back to it.
  base::Digest package;    ///< That the device had it from.
  std::string note;        ///< For the lineage: what it is a snapshot of.
  bool encrypted = false;  ///< Its model's package was: what it learned must not be packaged in the clear.
};

/// Of a recording, what its newest segment opened with.
/// @param name  For messages.
/// @param keys  For an encrypted model; may be empty.
SnapshotFile ParseSnapshot(const std::vector<uint8_t>& bytes, const std::string& name,
                           const lab::ContentKeys& keys);
SnapshotFile ReadSnapshot(const std::string& path, const lab::ContentKeys& keys);

}  // namespace dipper::cli
