// Layers, values, checks, in this order; and the way back to text.
#include "agent/app/config/config.h"

#include <unistd.h>

#include <algorithm>

#include "agent/app/config/keys.h"
#include "agent/app/config/parts.h"

namespace dipper::app {
namespace {

// Where the comments stand that say the source of a value; a longer one moves its own.
constexpr size_t kCommentColumn = 48;

// Whether an entry of this kind has the key.
bool Applies(const ConfigTable& table, const ConfigKey& key, void* entry) {
  if (key.only.empty()) return true;
  const auto& kind = *static_cast<std::string*>(FindConfigKey(table, table.kind_key)->field(entry));
  const std::vector<std::string_view> kinds = Words(key.only);
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

void PrintEntry(const ConfigTable& table, size_t index, ConfigReading* reading, std::string* text) {
  void* const entry = table.entry(&reading->config, index);
  const bool list = table.most_entries > 0;
  *text += (text->empty() ? "[" : "\n[") + std::string(list ? "[" : "") + std::string(table.name) +
           (list ? "]]\n" : "]\n");
  for (const ConfigKey& key : table.keys) {
    if (!Applies(table, key, entry)) continue;
    const std::string value = ConfigValue(key, entry);
    const auto origin = reading->origins.find(ConfigName(table.name, list, index, key.name));
    std::string line = value.empty() ? "# " + std::string(key.name) : std::string(key.name) + " = " + value;
    if (line.size() < kCommentColumn) line.resize(kCommentColumn, ' ');
    *text += line + (value.empty()                      ? "  # not set\n"
                     : origin == reading->origins.end() ? "  # default\n"
                                                        : "  # " + origin->second + "\n");
  }
}

}  // namespace

ConfigReading ReadConfig(const ConfigRequest& request) {
  ConfigWork work{.request = request, .tree = {}, .reading = {}};
  ConfigLayers layers = ReadConfigLayers(request.path, request.environment, &work.reading.problems);
  work.tree = std::move(layers.tree);
  work.reading.files = std::move(layers.files);
  // Of a file that cannot be read every key would be missing: one line says it better.
  if (!work.reading.problems.empty() && work.tree.empty()) return std::move(work.reading);
  ReadConfigValues(&work);
  CheckConfig(&work);
  return std::move(work.reading);
}

Config LoadConfig(const std::string& path, std::vector<std::string>* problems) {
  ConfigReading reading = ReadConfig({.path = path, .environment = ProcessEnvironment()});
  problems->insert(problems->end(), reading.problems.begin(), reading.problems.end());
  return std::move(reading.config);
}

std::vector<std::string> ProcessEnvironment() {
  std::vector<std::string> variables;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) variables.emplace_back(*at);
  std::sort(variables.begin(), variables.end());
  return variables;
}

std::string PrintConfig(const ConfigReading& reading) {
  ConfigReading copy = reading;  // the keys' way to a member is not const
  std::string text;
  for (const ConfigTable& table : ConfigTables()) {
    const size_t entries = table.count != nullptr ? table.count(reading.config) : 1;
    for (size_t i = 0; i < entries; ++i) PrintEntry(table, i, &copy, &text);
  }
  return text;
}

}  // namespace dipper::app
