// docs/reference/agent-config.md lists every key of the code's table with its values and default, and no
// other.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "agent/app/config/keys.h"

namespace dipper::app {
namespace {

constexpr const char* kPage = DIPPER_SOURCE_DIR "/docs/reference/agent-config.md";

struct Row {
  std::string values, standard, meaning;
};

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// The rows whose first cell is a key in backticks; a key twice is a failure.
std::map<std::string, Row> PageRows() {
  std::map<std::string, Row> rows;
  std::ifstream page(kPage);
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    std::vector<std::string> cells;
    std::stringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(Trimmed(cell));
    if (cells.size() != 4) continue;
    const std::string key = cells[0].substr(1, cells[0].size() - 2);
    EXPECT_TRUE(rows.emplace(key, Row{cells[1], cells[2], cells[3]}).second) << key << " has two rows";
  }
  return rows;
}

std::string Values(const ConfigKey& key) {
  if (!key.words.empty()) return ConfigRange(key);
  switch (key.kind) {
    case KeyKind::kText:
      return "text";
    case KeyKind::kTexts:
      return "list of texts";
    case KeyKind::kPath:
      return "path";
    case KeyKind::kPaths:
      return "list of paths";
    case KeyKind::kFlag:
      return "flag";
    case KeyKind::kMode:
      return "four octal digits";
    default: {  // "a whole number from 5 to 3600": the numbers
      std::string text = ConfigRange(key);
      text = text.substr(text.find("from ") + 5);
      return text.substr(0, text.find(", for"));
    }
  }
}

std::string Standard(const ConfigTable& table, const ConfigKey& key) {
  if (key.required) return "required";
  const std::string text = ConfigDefault(table, key);
  return text.empty() ? "none" : "`" + text + "`";
}

TEST(ConfigPage, ListsEveryKeyAsTheCodeHasIt) {
  std::map<std::string, Row> rows = PageRows();
  for (const ConfigTable& table : ConfigTables()) {
    for (const ConfigKey& key : table.keys) {
      const std::string name = std::string(table.name) + "." + std::string(key.name);
      const auto row = rows.find(name);
      const std::string values = Values(key), standard = Standard(table, key);
      ASSERT_NE(row, rows.end()) << kPage << " lacks the row:\n| `" << name << "` | " << values << " | "
                                 << standard << " | what it is for |";
      EXPECT_EQ(row->second.values, values) << name;
      EXPECT_EQ(row->second.standard, standard) << name;
      EXPECT_GT(row->second.meaning.size(), 5U) << name;
      for (const std::string_view kind : Words(key.only))
        EXPECT_NE(row->second.meaning.find("`" + std::string(kind) + "`"), std::string::npos) << name;
      rows.erase(row);
    }
  }
  for (const auto& [name, row] : rows) ADD_FAILURE() << kPage << " lists " << name << ", which is no key";
}

// Every key can be asked for by name, and its default keeps its own range.
TEST(ConfigKeys, AreFoundAndHaveGoodDefaults) {
  for (const ConfigTable& table : ConfigTables()) {
    EXPECT_EQ(FindConfigTable(table.name), &table);
    Config fresh;
    void* const entry = table.entry(&fresh, 0);
    for (const ConfigKey& key : table.keys) {
      EXPECT_EQ(FindConfigKey(table, key.name), &key) << key.name;
      double value = key.least;
      if (key.kind == KeyKind::kWhole) value = static_cast<double>(*static_cast<int64_t*>(key.field(entry)));
      if (key.kind == KeyKind::kBytes) value = static_cast<double>(*static_cast<uint64_t*>(key.field(entry)));
      if (key.kind == KeyKind::kNumber) value = *static_cast<double*>(key.field(entry));
      EXPECT_GE(value, key.least) << key.name;
      EXPECT_LE(value, key.most) << key.name;
    }
  }
  EXPECT_EQ(FindConfigTable("nothing"), nullptr);
  EXPECT_EQ(FindConfigKey(ConfigTables()[0], "nothing"), nullptr);
}

}  // namespace
}  // namespace dipper::app
