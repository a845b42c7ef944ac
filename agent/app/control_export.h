// `dipper-agent recording export FILE`: the file's side, and the recording of a device whose agent does not
// run. Not thread-safe.
#pragma once

#include <string>

#include "agent/app/config.h"

namespace dipper::app {

/// A file beside `path` that takes its place when it is whole.
class ExportFile {
 public:
  ExportFile() = default;
  ExportFile(const ExportFile&) = delete;
  ExportFile& operator=(const ExportFile&) = delete;
  ~ExportFile();  ///< Removes what was not finished.

  /// @returns an empty text, or why it cannot be made.
  std::string Open(const std::string& path);
  int fd() const { return fd_; }
  /// The same.
  std::string Finish();

 private:
  std::string path_, beside_;
  int fd_ = -1;
};

/// Writes the recording that lies on the data partition of a device without a running agent; changes nothing
/// there. False: `*message` says why not; or that there is no such model or recording (`*not_found`).
bool ExportOffline(const Config& config, const std::string& model, int file, bool* not_found,
                   std::string* message);

}  // namespace dipper::app
