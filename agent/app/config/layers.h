// Where the values of a configuration come from: the main file, agent.d/*.toml, the environment, laid over
// each other. Knows TOML; of the meaning of values only what the table of keys says. Not thread-safe.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dipper::app {

struct ConfigText {
  std::string text;
  std::string origin;  ///< "FILE:LINE" or "environment NAME".
};

/// A value as it was written.
struct ConfigSetting {
  /// Nothing: a table, a time, a list of something else than texts.
  std::variant<std::monostate, std::string, int64_t, double, bool, std::vector<ConfigText>> value;
  std::string origin;
};

/// One table, or one entry of a list of tables.
struct ConfigEntry {
  std::map<std::string, ConfigSetting, std::less<>> settings;
  std::string origin;  ///< Of its first header.
};

/// By the table's name; one entry when it is no list, none when nobody wrote the table.
using ConfigTree = std::map<std::string, std::vector<ConfigEntry>, std::less<>>;

struct ConfigLayers {
  ConfigTree tree;
  std::vector<std::string> files;  ///< Read, in order.
};

/// Reads `path`, then *.toml of the folder beside it (agent.toml: agent.d) by name, then `environment`
/// ("NAME=value"). A later value replaces an earlier one key by key; a list of texts as a whole; of a list of
/// tables an entry with the same identity is changed and another is added, or, where entries have none, the
/// list is replaced. Problems are "origin: what, why, what to do".
ConfigLayers ReadConfigLayers(const std::string& path, std::span<const std::string> environment,
                              std::vector<std::string>* problems);

/// The folder of the files beside `path`: its name with .d for the last .toml or other ending.
std::string ConfigFolder(const std::string& path);

/// Lays the variables that begin with DIPPER_ over `tree`.
void ApplyEnvironment(std::span<const std::string> environment, ConfigTree* tree,
                      std::vector<std::string>* problems);

/// Why a key with this name is no key but a secret in the wrong place; empty: it is not.
std::string SecretProblem(std::string_view table, std::string_view key);

}  // namespace dipper::app
