// See partition_path.h.
#include "agent/app/config/partition_path.h"

#include <string_view>

namespace dipper::app {

PartitionPath ReadPartitionPath(const std::string& path) {
  constexpr std::string_view kByName = "PARTLABEL=", kInFolder = "/PARTLABEL=";
  if (path.starts_with(kByName)) return {.target = path.substr(kByName.size()), .by_name = true};
  const size_t at = path.find(kInFolder);
  if (at == std::string::npos) return {.target = path, .by_name = false};
  return {.target = path.substr(at + kInFolder.size()), .by_name = true};
}

bool IsDevice(const std::string& path) {
  return path.starts_with("/dev/") || ReadPartitionPath(path).by_name;
}

}  // namespace dipper::app
