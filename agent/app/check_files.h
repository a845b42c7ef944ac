// Whether the files and folders that a configuration names are there and of their kind: what --check-config
// tells before a service is enabled. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "agent/app/config/config.h"

namespace dipper::app {

struct FileFindings {
  std::vector<std::string>
      problems;                    ///< As ConfigReading::problems: the agent would not start, or not connect.
  std::vector<std::string> notes;  ///< What the agent goes on without, and looks for again.
};

/// Looks at everything that `reading` names, as the user who runs this, and changes nothing. No partition is
/// locked: the agent may run. Credentials of systemd are there only while it runs the agent, and left out.
/// @param path  Of the configuration, for what no line names.
FileFindings CheckFiles(const ConfigReading& reading, const std::string& path);

}  // namespace dipper::app
