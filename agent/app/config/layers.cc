// TOML files to a ConfigTree.
#include "agent/app/config/layers.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#define TOML_HEADER_ONLY 0
#define TOML_SHARED_LIB 1
#include <toml++/toml.h>

#include "agent/app/config/keys.h"
#include "agent/base/suggest.h"

namespace dipper::app {
namespace {

// Far above any configuration by hand; a device file or a log named by mistake ends here.
constexpr size_t kMaxFileBytes = 1 << 20;

// Empty: read.
std::string ReadText(const std::string& path, std::string* text) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (file < 0) return std::string("cannot be read (") + std::strerror(errno) + ")";
  std::string problem;
  char block[4096];
  while (problem.empty()) {
    const ssize_t got = ::read(file, block, sizeof block);
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      problem = std::string("cannot be read (") + std::strerror(errno) + ")";
    } else if (text->size() + static_cast<size_t>(got) > kMaxFileBytes) {
      problem = "is larger than 1 MiB: is it a configuration?";
    } else {
      text->append(block, static_cast<size_t>(got));
    }
  }
  ::close(file);
  return problem;
}

// One file, laid over what there is.
class FileLayer {
 public:
  FileLayer(const std::string& file, ConfigTree* tree, std::vector<std::string>* problems)
      : file_(file), tree_(tree), problems_(problems) {}

  void Add(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const ConfigTable* table = FindConfigTable(key.str());
      if (table == nullptr) {
        UnknownTable(key.str(), node);
      } else if (table->most_entries > 0) {
        AddList(*table, node);
      } else if (node.is_table()) {
        std::vector<ConfigEntry>& entries = (*tree_)[std::string(table->name)];
        Change(Entry(*node.as_table()), entries.empty() ? &entries.emplace_back() : &entries.front());
      } else {
        const std::string name(table->name);
        Problem(node, node.is_array_of_tables() ? "there is one " + name + ": write [" + name + "] once"
                                                : name + " must be a table, [" + name + "]");
      }
    }
  }

 private:
  std::string Origin(const toml::node& node) const {
    return file_ + ":" + std::to_string(node.source().begin.line);
  }
  void Problem(const toml::node& node, const std::string& text) {
    problems_->push_back(Origin(node) + ": " + text);
  }

  void UnknownTable(std::string_view name, const toml::node& node) {
    std::string text = "unknown table or key " + std::string(name);
    std::vector<std::string_view> names;
    std::string_view owner;
    for (const ConfigTable& table : ConfigTables()) {
      names.push_back(table.name);
      if (owner.empty() && !node.is_table() && FindConfigKey(table, name) != nullptr) owner = table.name;
    }
    const std::string_view near = base::ClosestName(name, names);
    if (!owner.empty()) {
      text += "; it belongs below [" + std::string(owner) + "], and a key above the first [table] is in none";
    } else if (!near.empty()) {
      text += "; did you mean [" + std::string(near) + "]?";
    } else {
      text += "; there are";
      for (const std::string_view one : names) text += " " + std::string(one);
    }
    Problem(node, text);
  }

  // [[name]]; [name] is the same for a list of one.
  void AddList(const ConfigTable& table, const toml::node& node) {
    std::vector<ConfigEntry> fresh;
    const std::string name(table.name);
    if (const toml::table* only = node.as_table()) {
      fresh.push_back(Entry(*only));
    } else if (const toml::array* array = node.as_array()) {
      for (const toml::node& element : *array) {
        if (element.is_table()) {
          fresh.push_back(Entry(*element.as_table()));
        } else {
          Problem(element, name + " holds something that is no table; write each as [[" + name +
                               "]] and its keys below it");
        }
      }
    } else {
      Problem(node, name + " must be a list of tables, each [[" + name + "]] and its keys below it");
    }
    std::vector<ConfigEntry>& entries = (*tree_)[name];
    if (table.identity.empty()) {
      entries = std::move(fresh);
      return;
    }
    // Only entries of earlier files are changed: twice the same in one file is a mistake that is told.
    const size_t earlier = entries.size();
    for (ConfigEntry& entry : fresh) {
      const auto end = entries.begin() + static_cast<ptrdiff_t>(earlier);
      const auto same = std::find_if(entries.begin(), end, [&](const ConfigEntry& one) {
        return Identity(table, one) == Identity(table, entry);
      });
      if (same != end) {
        Change(std::move(entry), &*same);
      } else {
        entries.push_back(std::move(entry));
      }
    }
  }

  static std::string_view Identity(const ConfigTable& table, const ConfigEntry& entry) {
    const auto found = entry.settings.find(table.identity);
    if (found == entry.settings.end()) return table.default_identity;
    const auto* text = std::get_if<std::string>(&found->second.value);
    return text != nullptr ? std::string_view(*text) : std::string_view();
  }

  static void Change(ConfigEntry&& from, ConfigEntry* to) {
    if (to->origin.empty()) to->origin = std::move(from.origin);
    for (auto& [key, setting] : from.settings) to->settings[key] = std::move(setting);
  }

  ConfigEntry Entry(const toml::table& table) const {
    ConfigEntry entry;
    entry.origin = Origin(table);
    for (const auto& [key, node] : table) entry.settings[std::string(key.str())] = Setting(node);
    return entry;
  }

  ConfigSetting Setting(const toml::node& node) const {
    ConfigSetting setting;
    setting.origin = Origin(node);
    if (const auto text = node.value_exact<std::string>()) setting.value = *text;
    if (const auto flag = node.value_exact<bool>()) setting.value = *flag;
    if (const auto whole = node.value_exact<int64_t>()) setting.value = *whole;
    if (const auto number = node.value_exact<double>()) setting.value = *number;
    const toml::array* array = node.as_array();
    if (array == nullptr) return setting;
    std::vector<ConfigText> texts;
    for (const toml::node& element : *array) {
      const auto text = element.value_exact<std::string>();
      if (!text) return setting;
      texts.push_back({*text, Origin(element)});
    }
    setting.value = std::move(texts);
    return setting;
  }

  const std::string& file_;
  ConfigTree* tree_;
  std::vector<std::string>* problems_;
};

void AddFile(const std::string& path, ConfigLayers* layers, std::vector<std::string>* problems) {
  std::string text;
  if (const std::string problem = ReadText(path, &text); !problem.empty()) {
    problems->push_back(path + ": " + problem);
    return;
  }
  layers->files.push_back(path);
  try {
    const toml::table root = toml::parse(text, path);
    FileLayer(path, &layers->tree, problems).Add(root);
  } catch (const toml::parse_error& error) {
    const auto at = error.source().begin;
    problems->push_back(path + (at.line > 0 ? ":" + std::to_string(at.line) : "") + ": not TOML" +
                        (at.column > 0 ? " at column " + std::to_string(at.column) : "") + ": " +
                        std::string(error.description()));
  }
}

// By name, so that 10-broker.toml comes before 20-site.toml on every file system.
std::vector<std::string> FilesBeside(const std::string& path, std::vector<std::string>* problems) {
  const std::string folder = ConfigFolder(path);
  std::vector<std::string> files;
  std::error_code error;
  std::filesystem::directory_iterator at(folder, error);
  if (error && error != std::errc::no_such_file_or_directory)
    problems->push_back(path + ": the folder " + folder + " cannot be read (" + error.message() + ")");
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.front() != '.' && at->path().extension() == ".toml") files.push_back(at->path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string ConfigFolder(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".d").string();
}

std::string SecretProblem(std::string_view table, std::string_view key) {
  static constexpr std::string_view kSecrets[] = {"password",    "passwd",      "pass",       "passphrase",
                                                  "secret",      "token",       "api_key",    "key",
                                                  "private_key", "credentials", "credential", "pin"};
  if (std::find(std::begin(kSecrets), std::end(kSecrets), key) == std::end(kSecrets)) return {};
  const std::string text =
      std::string(table) + "." + std::string(key) +
      ": secrets are never in a configuration, which is copied, printed and sent to others; ";
  if (key.find("key") != std::string_view::npos) {
    return text +
           "put the key into a file of mode 0600 and name the file: mqtt.key_file (of the connection) or "
           "trust.group_keys";
  }
  return text +
         "put it into a file of mode 0600 and name the file, mqtt.password_file = \"mqtt.password\", or "
         "give it by systemd's LoadCredential=mqtt.password:FILE and mqtt.password_file = "
         "\"credential:mqtt.password\"";
}

ConfigLayers ReadConfigLayers(const std::string& path, std::span<const std::string> environment,
                              std::vector<std::string>* problems) {
  ConfigLayers layers;
  AddFile(path, &layers, problems);
  for (const std::string& file : FilesBeside(path, problems)) AddFile(file, &layers, problems);
  ApplyEnvironment(environment, &layers.tree, problems);
  return layers;
}

}  // namespace dipper::app
