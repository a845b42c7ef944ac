// TarFile: a folder as one POSIX ustar archive (IEEE Std 1003.1, pax, "ustar Interchange Format") whose bytes
// depend on names, modes and contents only: no clock, no owner, no order of the disk. Not thread-safe. Errors
// are lab::Error.
#pragma once

#include <string>

namespace dipper::fleet {

/// Folders and regular files below `folder`, sorted, named from there on ("agent.toml",
/// "agent.d/50-fleet.toml"), owned by root, of the first second of 1970. Modes as they are: a secret file
/// stays 0600. Throws: 1 a file that cannot be read, is neither file nor folder, or whose name is longer than
/// 100 bytes.
std::string TarOfFolder(const std::string& folder);

}  // namespace dipper::fleet
