// `dipper-agent recording export FILE`: the file's side, and the recording of a device whose agent does not
// run. Not thread-safe.
#pragma once

#include <string>

#include "agent/app/config/config.h"
#include "agent/base/bytes.h"

namespace dipper::app {

/// A file beside `path` that takes its place when it is whole.
class ExportFile {
 public:
  ExportFile() = default;
  ExportFile(const ExportFile&) = delete;
  ExportFile& operator=(const ExportFile&) = delete;
  ~ExportFile();  ///< Removes what was not finished.

  /// Takes the place of nothing but an older recording or an empty file: the device's own files lie near.
  /// @param config  Whose partitions are never written, also those that are not there yet.
  /// @returns an empty text, or why it cannot be made.
  std::string Open(const std::string& path, const Config& config);
  int fd() const { return fd_; }
  /// The same.
  std::string Finish();

 private:
  std::string path_, beside_;
  int fd_ = -1;
};

/// @returns an empty text, or why not all bytes were written.
std::string WriteAll(int file, base::ByteView bytes);

struct ExportOutcome {
  int exit_code = 0;    ///< As protocol.h.
  std::string message;  ///< What went wrong, why and what to do.
};
/// Writes the recording of the model `only`, or of the only one, that lies on the data partition of a device
/// without a running agent; changes nothing there.
ExportOutcome ExportOffline(const Config& config, const std::string& only, int file);

}  // namespace dipper::app
