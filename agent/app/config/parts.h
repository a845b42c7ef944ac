// The steps between the layers and a Config. Only this folder includes it. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "agent/app/config/config.h"
#include "agent/app/config/layers.h"

namespace dipper::app {

/// What is known while a configuration is read.
struct ConfigWork {
  const ConfigRequest& request;
  ConfigTree tree;
  ConfigReading reading;

  void Problem(const std::string& origin, const std::string& text) {
    reading.problems.push_back(origin + ": " + text);
  }
  /// Where a key, or when it is absent its table, or else the file is.
  std::string Origin(std::string_view table, size_t index, std::string_view key) const;
  std::string Origin(std::string_view table, std::string_view key) const { return Origin(table, 0, key); }
};

/// The name in ConfigReading::origins.
std::string ConfigName(std::string_view table, bool list, size_t index, std::string_view key);

/// The tree's values to `reading.config`, each checked by its key.
void ReadConfigValues(ConfigWork* work);

/// What values must be beside each other: check.cc. Fills in the defaults that follow from others.
void CheckConfig(ConfigWork* work);

/// sources.cc: the same of sources, their join, labels and what may leave the device.
void CheckSources(ConfigWork* work);

/// `path` with links and dots as written taken out, to compare; empty stays empty.
std::string NormalPath(const std::string& path);

}  // namespace dipper::app
