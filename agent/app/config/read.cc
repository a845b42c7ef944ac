// Values to members, by the table of keys: kind, range, words, unknown and missing keys.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "agent/app/config/keys.h"
#include "agent/app/config/parts.h"
#include "agent/base/number.h"
#include "agent/base/suggest.h"

namespace dipper::app {
namespace {

constexpr std::string_view kCredential = "credential:";
constexpr const char* kPage = "docs/reference/agent-config.md says what it is for";
constexpr std::string_view kPemBegin = "-----BEGIN";

bool HasControlCharacters(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

bool HasWord(std::string_view words, std::string_view word) {
  const std::vector<std::string_view> all = Words(words);
  return std::find(all.begin(), all.end(), word) != all.end();
}

std::string AndList(std::string_view words) {
  std::string text;
  for (const std::string_view word : Words(words)) text += (text.empty() ? "" : " and ") + std::string(word);
  return text;
}

// What was given instead. Texts are not repeated: one may be a secret in the wrong place.
std::string Given(const ConfigSetting& setting) {
  if (const auto* flag = std::get_if<bool>(&setting.value)) return *flag ? "; it is true" : "; it is false";
  if (const auto* whole = std::get_if<int64_t>(&setting.value)) return "; it is " + std::to_string(*whole);
  if (const auto* number = std::get_if<double>(&setting.value))
    return "; it is " + std::string(base::FormatJsonNumber(*number).view());
  if (std::holds_alternative<std::string>(setting.value)) return "; it is a text";
  return std::holds_alternative<std::monostate>(setting.value) ? "" : "; it is a list";
}

// One entry of one table.
class EntryReader {
 public:
  EntryReader(ConfigWork* work, const ConfigTable& table, const ConfigEntry& entry, size_t index)
      : work_(*work), table_(table), entry_(entry), index_(index) {}

  void Read(void* to) {
    const std::string kind = Kind();
    for (const ConfigKey& key : table_.keys) {
      const auto found = entry_.settings.find(key.name);
      const bool here = key.only.empty() || kind.empty() || HasWord(key.only, kind);
      if (found == entry_.settings.end()) {
        if (key.required && here && (key.only.empty() || !kind.empty())) Missing(key);
      } else if (!here) {
        work_.Problem(found->second.origin, "unknown key " + Name(key.name) + " for " +
                                                std::string(table_.kind_key) + " " + kind + "; it is of " +
                                                AndList(key.only));
      } else {
        ReadKey(key, found->second, key.field(to));
        work_.reading.origins[ConfigName(table_.name, table_.most_entries > 0, index_, key.name)] =
            found->second.origin;
      }
    }
    for (const auto& [name, setting] : entry_.settings) {
      if (FindConfigKey(table_, name) == nullptr) Unknown(name, setting);
    }
  }

 private:
  std::string Name(std::string_view key) const { return std::string(table_.name) + "." + std::string(key); }

  // Of an entry that has kinds: which it is; empty: none, or not a possible one.
  std::string Kind() const {
    const auto found = entry_.settings.find(table_.kind_key);
    if (table_.kind_key.empty() || found == entry_.settings.end()) return {};
    const auto* text = std::get_if<std::string>(&found->second.value);
    const ConfigKey* key = FindConfigKey(table_, table_.kind_key);
    return text != nullptr && HasWord(key->words, *text) ? *text : std::string();
  }

  void Missing(const ConfigKey& key) {
    const std::string origin = entry_.origin.empty() ? work_.request.path : entry_.origin;
    work_.Problem(origin, Name(key.name) + " is missing; " + kPage);
  }

  void Unknown(const std::string& name, const ConfigSetting& setting) {
    if (const std::string secret = SecretProblem(table_.name, name); !secret.empty()) {
      work_.Problem(setting.origin, secret);
      return;
    }
    std::vector<std::string_view> names;
    for (const ConfigKey& key : table_.keys) names.push_back(key.name);
    std::string text = "unknown key " + Name(name);
    const std::string_view near = base::ClosestName(name, names);
    if (!near.empty()) {
      text += "; did you mean " + std::string(near) + "?";
    } else if (const std::string owners = Owners(name); !owners.empty()) {
      text += "; there is " + owners;
    }
    work_.Problem(setting.origin, text);
  }

  static std::string Owners(std::string_view name) {
    std::string owners;
    for (const ConfigTable& table : ConfigTables()) {
      if (FindConfigKey(table, name) == nullptr) continue;
      owners += (owners.empty() ? "" : " and ") + std::string(table.name) + "." + std::string(name);
    }
    return owners;
  }

  void Wrong(const ConfigKey& key, const ConfigSetting& setting) {
    work_.Problem(setting.origin, Name(key.name) + " must be " + ConfigRange(key) + Given(setting));
  }

  void ReadKey(const ConfigKey& key, const ConfigSetting& setting, void* field) {
    switch (key.kind) {
      case KeyKind::kText:
      case KeyKind::kPath:
        return ReadText(key, setting, static_cast<std::string*>(field));
      case KeyKind::kTexts:
      case KeyKind::kPaths:
        return ReadTexts(key, setting, static_cast<std::vector<std::string>*>(field));
      case KeyKind::kFlag:
        if (const auto* flag = std::get_if<bool>(&setting.value)) {
          *static_cast<bool*>(field) = *flag;
        } else {
          Wrong(key, setting);
        }
        return;
      case KeyKind::kWhole:
        return ReadWhole(key, setting, static_cast<int64_t*>(field));
      case KeyKind::kNumber:
        return ReadNumber(key, setting, static_cast<double*>(field));
      case KeyKind::kBytes:
        return ReadBytes(key, setting, static_cast<uint64_t*>(field));
      case KeyKind::kMode:
        return ReadMode(key, setting, static_cast<uint32_t*>(field));
    }
  }

  void ReadText(const ConfigKey& key, const ConfigSetting& setting, std::string* value) {
    const auto* text = std::get_if<std::string>(&setting.value);
    if (text == nullptr || text->empty()) return Wrong(key, setting);
    if (!key.words.empty() && !HasWord(key.words, *text)) return UnknownWord(key, setting, *text);
    if (!Clean(key, *text, setting.origin)) return;
    *value = key.kind == KeyKind::kPath ? Resolve(key, *text, setting.origin) : *text;
  }

  void UnknownWord(const ConfigKey& key, const ConfigSetting& setting, const std::string& word) {
    const std::vector<std::string_view> words = Words(key.words);
    std::string text = Name(key.name) + " \"" + word + "\" is unknown; there are " + ConfigRange(key);
    const std::string_view near = base::ClosestName(word, words);
    if (!near.empty()) text += "; did you mean " + std::string(near) + "?";
    work_.Problem(setting.origin, text);
  }

  void ReadTexts(const ConfigKey& key, const ConfigSetting& setting, std::vector<std::string>* values) {
    const auto* list = std::get_if<std::vector<ConfigText>>(&setting.value);
    if (list == nullptr) return Wrong(key, setting);
    for (const ConfigText& one : *list) {
      if (key.kind == KeyKind::kTexts) {
        if (Clean(key, one.text, one.origin)) values->push_back(one.text);
      } else if (one.text.empty()) {
        work_.Problem(one.origin, Name(key.name) + " holds an empty path; remove it");
      } else if (Clean(key, one.text, one.origin)) {
        values->push_back(Resolve(key, one.text, one.origin));
      }
    }
  }

  bool Clean(const ConfigKey& key, const std::string& text, const std::string& origin) {
    if (text.rfind(kPemBegin, 0) == 0) {
      work_.Problem(origin, Name(key.name) +
                                " holds a key or certificate itself; put it into a file and name the file");
    } else if (HasControlCharacters(text)) {
      work_.Problem(origin, Name(key.name) + " holds a control character; write it without");
    } else {
      return true;
    }
    return false;
  }

  void ReadWhole(const ConfigKey& key, const ConfigSetting& setting, int64_t* value) {
    const auto* whole = std::get_if<int64_t>(&setting.value);
    if (whole == nullptr || static_cast<double>(*whole) < key.least ||
        static_cast<double>(*whole) > key.most ||
        (!key.words.empty() && !HasWord(key.words, std::to_string(*whole)))) {
      return Wrong(key, setting);
    }
    *value = *whole;
  }

  void ReadNumber(const ConfigKey& key, const ConfigSetting& setting, double* value) {
    const auto* whole = std::get_if<int64_t>(&setting.value);
    const auto* real = std::get_if<double>(&setting.value);
    if (whole == nullptr && real == nullptr) return Wrong(key, setting);
    const double number = whole != nullptr ? static_cast<double>(*whole) : *real;
    if (!(number >= key.least && number <= key.most)) return Wrong(key, setting);
    *value = number;
  }

  void ReadBytes(const ConfigKey& key, const ConfigSetting& setting, uint64_t* value) {
    base::Result<uint64_t> count = base::Status::kInvalidArgument;
    if (const auto* text = std::get_if<std::string>(&setting.value)) count = base::ParseByteCount(*text);
    if (const auto* whole = std::get_if<int64_t>(&setting.value); whole != nullptr && *whole >= 0)
      count = static_cast<uint64_t>(*whole);
    if (!count.ok() || static_cast<double>(*count) < key.least || static_cast<double>(*count) > key.most)
      return Wrong(key, setting);
    *value = *count;
  }

  void ReadMode(const ConfigKey& key, const ConfigSetting& setting, uint32_t* value) {
    const auto* mode = std::get_if<std::string>(&setting.value);
    if (mode == nullptr || mode->size() != 4 || mode->front() != '0' ||
        mode->find_first_not_of("01234567") != std::string::npos) {
      return Wrong(key, setting);
    }
    *value = 0;
    for (const char digit : *mode) *value = *value * 8 + static_cast<uint32_t>(digit - '0');
  }

  std::string Resolve(const ConfigKey& key, const std::string& path, const std::string& origin) {
    if (path.rfind(kCredential, 0) == 0) return Credential(key, path.substr(kCredential.size()), origin);
    if (path.front() == '/') return path;
    return (std::filesystem::path(work_.request.path).parent_path() / path).string();
  }

  std::string Credential(const ConfigKey& key, const std::string& name, const std::string& origin) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      work_.Problem(origin, Name(key.name) + ": credential: wants the name of a credential, as in " +
                                "LoadCredential=NAME:FILE of the unit");
      return {};
    }
    const std::string folder = CredentialFolder();
    if (!folder.empty()) return folder + "/" + name;
    if (!work_.request.check_only) {
      work_.Problem(origin, Name(key.name) +
                                ": there are no credentials: CREDENTIALS_DIRECTORY is not set; " +
                                "start the agent by systemd with LoadCredential=" + name + ":FILE");
    }
    return std::string(kUnitCredentials) + "/" + name;
  }

  std::string CredentialFolder() const {
    static constexpr std::string_view kVariable = "CREDENTIALS_DIRECTORY=";
    for (const std::string& variable : work_.request.environment) {
      if (variable.rfind(kVariable, 0) == 0) return variable.substr(kVariable.size());
    }
    return {};
  }

  ConfigWork& work_;
  const ConfigTable& table_;
  const ConfigEntry& entry_;
  size_t index_;
};

void ReadTable(const ConfigTable& table, ConfigWork* work) {
  const auto found = work->tree.find(table.name);
  static const std::vector<ConfigEntry> kNothing;
  const std::vector<ConfigEntry>& entries = found != work->tree.end() ? found->second : kNothing;
  const bool list = table.most_entries > 0;
  const std::string name(table.name);
  if (list && entries.empty()) {
    work->Problem(work->request.path,
                  "at least one [[" + name + "]] table is needed: " + std::string(table.what));
    return;
  }
  if (entries.empty()) {  // what is required is missing all the same
    static const ConfigEntry kEmpty;
    EntryReader(work, table, kEmpty, 0).Read(table.entry(&work->reading.config, 0));
    return;
  }
  const size_t most = list ? table.most_entries : 1;
  if (entries.size() > most) work->Problem(entries[most].origin, std::string(table.too_many));
  for (size_t i = 0; i < std::min(entries.size(), most); ++i)
    EntryReader(work, table, entries[i], i).Read(table.entry(&work->reading.config, i));
}

}  // namespace

std::string ConfigName(std::string_view table, bool list, size_t index, std::string_view key) {
  return std::string(table) + (list ? "[" + std::to_string(index) + "]" : "") + "." + std::string(key);
}

std::string ConfigWork::Origin(std::string_view table, size_t index, std::string_view key) const {
  const auto found = tree.find(table);
  if (found == tree.end() || index >= found->second.size()) return request.path;
  const ConfigEntry& entry = found->second[index];
  const auto setting = entry.settings.find(key);
  return setting != entry.settings.end() ? setting->second.origin : entry.origin;
}

void ReadConfigValues(ConfigWork* work) {
  for (const ConfigTable& table : ConfigTables()) ReadTable(table, work);
}

}  // namespace dipper::app
