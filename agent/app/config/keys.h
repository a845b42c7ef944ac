// What a configuration may hold: one table of keys that the reader, --print-config, the environment and the
// test of docs/reference/agent-config.md all go by. Thread-safe: constants.
//
// A new key is three lines: a member in config.h, a line in keys.cc, a row in agent-config.md. Checks
// of one value are in its line; checks of several values together are in check.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "agent/app/config/config.h"

namespace dipper::app {

enum class KeyKind : uint8_t { kText, kTexts, kPath, kPaths, kFlag, kWhole, kNumber, kBytes, kMode };

/// One key of a table. Copies of the constants below; see the makers for what the members mean.
struct ConfigKey {
  std::string_view name;
  KeyKind kind;
  void* (*field)(void* table);  ///< The member; its type follows from `kind`.
  double least = 0, most = 0;   ///< kWhole, kNumber, kBytes: in range, ends included.
  bool required = false;
  std::string_view words{};     ///< The only values, separated by blanks; empty: any.
  std::string_view only{};      ///< The kinds of entry that have this key, by blanks; empty: all.
  std::string_view fallback{};  ///< What the default is when it follows from other keys.

  constexpr ConfigKey Required() const {
    ConfigKey key = *this;
    key.required = true;
    return key;
  }
  constexpr ConfigKey OneOf(std::string_view values) const {
    ConfigKey key = *this;
    key.words = values;
    return key;
  }
  constexpr ConfigKey For(std::string_view kinds) const {
    ConfigKey key = *this;
    key.only = kinds;
    return key;
  }
  constexpr ConfigKey Otherwise(std::string_view text) const {
    ConfigKey key = *this;
    key.fallback = text;
    return key;
  }
};

namespace config_keys {

template <auto kMember>
struct Member;
template <typename Table, typename Type, Type Table::*kMember>
struct Member<kMember> {
  using Value = Type;
  static void* Of(void* table) { return &(static_cast<Table*>(table)->*kMember); }
};

template <auto kMember, typename Type>
constexpr ConfigKey Make(std::string_view name, KeyKind kind, double least = 0, double most = 0) {
  static_assert(std::is_same_v<typename Member<kMember>::Value, Type>);
  return {.name = name, .kind = kind, .field = &Member<kMember>::Of, .least = least, .most = most};
}

/// A text that is not empty.
template <auto kMember>
constexpr ConfigKey Text(std::string_view name) {
  return Make<kMember, std::string>(name, KeyKind::kText);
}
template <auto kMember>
constexpr ConfigKey Texts(std::string_view name) {
  return Make<kMember, std::vector<std::string>>(name, KeyKind::kTexts);
}
/// A file: relative to the main file's folder, or credential:NAME.
template <auto kMember>
constexpr ConfigKey Path(std::string_view name) {
  return Make<kMember, std::string>(name, KeyKind::kPath);
}
template <auto kMember>
constexpr ConfigKey Paths(std::string_view name) {
  return Make<kMember, std::vector<std::string>>(name, KeyKind::kPaths);
}
template <auto kMember>
constexpr ConfigKey Flag(std::string_view name) {
  return Make<kMember, bool>(name, KeyKind::kFlag);
}
template <auto kMember>
constexpr ConfigKey Whole(std::string_view name, double least, double most) {
  return Make<kMember, int64_t>(name, KeyKind::kWhole, least, most);
}
template <auto kMember>
constexpr ConfigKey Number(std::string_view name, double least, double most) {
  return Make<kMember, double>(name, KeyKind::kNumber, least, most);
}
/// A number of bytes: a whole number, or a text with a unit ("64KiB").
template <auto kMember>
constexpr ConfigKey Bytes(std::string_view name, double least, double most) {
  return Make<kMember, uint64_t>(name, KeyKind::kBytes, least, most);
}
/// Permissions of a file as a text of four octal digits.
template <auto kMember>
constexpr ConfigKey Mode(std::string_view name) {
  return Make<kMember, uint32_t>(name, KeyKind::kMode);
}

}  // namespace config_keys

/// One table of the file, or with `most_entries` above 0 a list of them, [[name]].
struct ConfigTable {
  std::string_view name;
  std::span<const ConfigKey> keys;
  void* (*entry)(Config* config, size_t index);     ///< Makes the entry of a list when it is missing.
  size_t (*count)(const Config& config) = nullptr;  ///< Of a list: entries there are; none: always one.
  size_t most_entries = 0;
  std::string_view what{};      ///< Of a list: what an entry is, for "at least one is needed".
  std::string_view too_many{};  ///< Of a list: what is said of the entry after the last possible one.
  /// Of a list: the key by which a later file means an entry of an earlier one. Empty: a later file that has
  /// the list replaces the whole list.
  std::string_view identity{};
  std::string_view default_identity{};
  /// The key whose value ConfigKey::only names.
  std::string_view kind_key{};
};

std::span<const ConfigTable> ConfigTables();
const ConfigTable* FindConfigTable(std::string_view name);
const ConfigKey* FindConfigKey(const ConfigTable& table, std::string_view name);

/// "a number from 5 to 3600", "true or false": what a value must be.
std::string ConfigRange(const ConfigKey& key);
/// The default as agent.toml would say it, or what it follows from; empty: none.
std::string ConfigDefault(const ConfigTable& table, const ConfigKey& key);
/// A value as agent.toml would say it. `table` is the entry that `key` is a member of; empty: not set.
std::string ConfigValue(const ConfigKey& key, void* table);
/// "DIPPER_MQTT__URL"; of a list with "<id>" or "<number>" for the entry.
std::string ConfigVariable(const ConfigTable& table, const ConfigKey& key);

/// The words of a blank-separated list.
std::vector<std::string_view> Words(std::string_view text);

}  // namespace dipper::app
