// The environment over the files: DIPPER_<TABLE>__<KEY>, and DIPPER_<TABLE>__<ENTRY>__<KEY> in lists.
#include <algorithm>

#include "agent/app/config/keys.h"
#include "agent/app/config/layers.h"
#include "agent/base/number.h"
#include "agent/base/suggest.h"

namespace dipper::app {
namespace {

constexpr std::string_view kPrefix = "DIPPER_";
// Of the test build and of the dipper command, which may run in the same shell.
constexpr std::string_view kOthers[] = {"DIPPER_TEST_", "DIPPER_PKCS11_", "DIPPER_BROKER"};

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& letter : upper) {
    if (letter >= 'a' && letter <= 'z') letter = static_cast<char>(letter - 'a' + 'A');
    if (letter == '-') letter = '_';  // no shell can set a name with '-'
  }
  return upper;
}

struct Variable {
  std::string name;
  const ConfigTable* table;
  const ConfigKey* key;
  size_t entry;
};

// The part of a name that says which entry of a list is meant.
std::string EntryName(const ConfigTable& table, const ConfigEntry& entry, size_t index) {
  if (table.identity.empty()) return std::to_string(index + 1);
  const auto found = entry.settings.find(table.identity);
  const auto* id = found != entry.settings.end() ? std::get_if<std::string>(&found->second.value) : nullptr;
  return Upper(id != nullptr ? std::string_view(*id) : table.default_identity);
}

// Every name that would have a meaning, given the lists' entries.
std::vector<Variable> Variables(const ConfigTree& tree) {
  std::vector<Variable> variables;
  for (const ConfigTable& table : ConfigTables()) {
    const std::string head = std::string(kPrefix) + Upper(table.name) + "__";
    const auto found = tree.find(table.name);
    const size_t entries = found != tree.end() ? found->second.size() : 0;
    for (const ConfigKey& key : table.keys) {
      // Of a list of one the entry need not be named.
      if (table.most_entries == 0 || entries <= 1)
        variables.push_back({head + Upper(key.name), &table, &key, 0});
      for (size_t i = 0; table.most_entries > 0 && i < entries; ++i) {
        const std::string entry = EntryName(table, found->second[i], i);
        variables.push_back({head + entry + "__" + Upper(key.name), &table, &key, i});
      }
    }
  }
  return variables;
}

std::vector<ConfigText> SplitList(std::string_view text, const std::string& origin) {
  std::vector<ConfigText> texts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    std::string_view one = text.substr(0, end);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    texts.push_back({std::string(one), origin});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return texts;
}

// What does not read as the key's kind stays a text: the reader then says what it must be.
ConfigSetting ParseValue(const ConfigKey& key, const std::string& text, const std::string& origin) {
  ConfigSetting setting{.value = text, .origin = origin};
  const auto number = base::ParseDouble(text);
  switch (key.kind) {
    case KeyKind::kTexts:
    case KeyKind::kPaths:
      setting.value = SplitList(text, origin);
      break;
    case KeyKind::kFlag:
      if (text == "true" || text == "false") setting.value = text == "true";
      break;
    case KeyKind::kWhole:
      if (const auto whole = base::ParseUint(text); whole.ok() && *whole <= INT64_MAX)
        setting.value = static_cast<int64_t>(*whole);
      break;
    case KeyKind::kNumber:
      if (number.ok()) setting.value = *number;
      break;
    default:
      break;
  }
  return setting;
}

std::string UnknownName(const std::string& name, const std::vector<Variable>& variables) {
  const size_t cut = name.rfind("__");
  if (cut != std::string::npos) {
    std::string key = name.substr(cut + 2), table = name.substr(kPrefix.size(), cut - kPrefix.size());
    for (std::string* text : {&key, &table}) {
      for (char& letter : *text) {
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
      }
    }
    if (FindConfigTable(table.substr(0, table.find("__"))) != nullptr) {
      if (std::string secret = SecretProblem(table, key); !secret.empty()) return secret;
    }
  }
  std::vector<std::string_view> names;
  names.reserve(variables.size());
  for (const Variable& variable : variables) names.emplace_back(variable.name);
  const std::string_view near = base::ClosestName(name, names);
  std::string text = "no key of the configuration has this name";
  if (!near.empty()) return text + "; did you mean " + std::string(near) + "?";
  return text + "; write DIPPER_<TABLE>__<KEY>, for example DIPPER_MQTT__URL, or unset it";
}

}  // namespace

void ApplyEnvironment(std::span<const std::string> environment, ConfigTree* tree,
                      std::vector<std::string>* problems) {
  const std::vector<Variable> variables = Variables(*tree);
  for (const std::string& text : environment) {
    const std::string name = text.substr(0, text.find('='));
    const auto begins = [&name](std::string_view head) { return name.rfind(head, 0) == 0; };
    if (!begins(kPrefix) || std::any_of(std::begin(kOthers), std::end(kOthers), begins)) continue;
    const std::string origin = "environment " + name;
    const Variable* meant = nullptr;
    size_t hits = 0;
    for (const Variable& variable : variables) {
      if (variable.name != name) continue;
      meant = &variable;
      ++hits;
    }
    if (hits != 1) {
      problems->push_back(origin + ": " +
                          (hits == 0 ? UnknownName(name, variables)
                                     : "two entries of the list have this name; change the file instead"));
      continue;
    }
    std::vector<ConfigEntry>& entries = (*tree)[std::string(meant->table->name)];
    if (entries.empty()) entries.emplace_back().origin = origin;
    const std::string value = text.size() > name.size() ? text.substr(name.size() + 1) : std::string();
    entries[meant->entry].settings[std::string(meant->key->name)] = ParseValue(*meant->key, value, origin);
  }
}

}  // namespace dipper::app
