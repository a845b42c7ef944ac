// A partition as the configuration names it: a file, a device, or PARTLABEL=name. Thread-safe: pure
// functions.
#pragma once

#include <string>

namespace dipper::app {

struct PartitionPath {
  std::string target;    ///< File or device; with `by_name` the partition's name.
  bool by_name = false;  ///< By GPT name; the configuration's folder may stand before PARTLABEL=.
};
PartitionPath ReadPartitionPath(const std::string& path);

/// A device has no folder of its own in which files of the agent could lie beside it.
bool IsDevice(const std::string& path);

}  // namespace dipper::app
