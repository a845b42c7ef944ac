// Implementation of device_list.h.
#include "tools/fleet/device_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "agent/telemetry/topics.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/error.h"

namespace dipper::fleet {
namespace {

using lab::Error;
using lab::ExitCode;

// As agent.toml takes them.
constexpr size_t kMaxGroups = 8;
constexpr size_t kMaxModels = 4;
constexpr size_t kMaxHardwareBytes = 64;
// A message with a thousand lines helps nobody.
constexpr size_t kMaxProblems = 20;

const std::vector<std::string> kColumns = {"device", "groups", "model", "hardware"};

std::string NameRule(const std::string& name) {
  return fmt::format("\"{}\" is no name: 1 to 64 of letters, digits, '-' and '_'", name);
}

void CheckNames(const std::string& column, const std::vector<std::string>& names, size_t most, bool nodes,
                std::vector<std::string>* problems) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    if (!telemetry::IsTopicId(name)) {
      problems->push_back(column + ": " + NameRule(name));
    } else if (nodes && telemetry::IsReservedId(name)) {
      problems->push_back(
          fmt::format("{}: \"{}\" is a word of the topic tree; choose another", column, name));
    }
    if (!seen.insert(name).second)
      problems->push_back(fmt::format("{}: \"{}\" is there twice", column, name));
  }
  if (names.size() > most)
    problems->push_back(
        fmt::format("{}: {} are too many; a device takes at most {}", column, names.size(), most));
}

bool IsPlain(const std::string& text) {
  return text.size() <= kMaxHardwareBytes && std::all_of(text.begin(), text.end(), [](char c) {
           return c > ' ' && c < '\x7f' && c != '"' && c != '\\';
         });
}

void CheckColumns(const lab::CsvTable& table) {
  for (const std::string& column : table.columns()) {
    if (std::find(kColumns.begin(), kColumns.end(), column) != kColumns.end()) continue;
    const std::string suggestion = lab::Suggestion(column, kColumns);
    throw Error(ExitCode::kUsage,
                fmt::format("{}:1: unknown column \"{}\"{}; there are device, groups, model and hardware",
                            table.path(), column, suggestion));
  }
  (void)table.ColumnIndex("device");
}

}  // namespace

std::vector<std::string> SplitCell(std::string_view cell) {
  std::vector<std::string> words;
  while (!cell.empty()) {
    const size_t end = std::min(cell.find_first_of(" ;"), cell.size());
    if (end > 0) words.emplace_back(cell.substr(0, end));
    cell.remove_prefix(std::min(end + 1, cell.size()));
  }
  return words;
}

std::vector<std::string> CheckDeviceRow(const DeviceRow& row) {
  std::vector<std::string> problems;
  CheckNames("column device", {row.id}, 1, true, &problems);
  CheckNames("column groups", row.groups, kMaxGroups, true, &problems);
  CheckNames("column model", row.models, kMaxModels, false, &problems);
  if (!IsPlain(row.hardware)) {
    problems.push_back(
        "column hardware: at most 64 printable ASCII characters without blanks, quotes and '\\'");
  }
  return problems;
}

std::vector<DeviceRow> ReadDeviceList(const std::string& path) {
  const lab::CsvTable table = lab::CsvTable::Read(path);
  CheckColumns(table);
  std::vector<DeviceRow> rows;
  std::vector<std::string> problems;
  std::map<std::string, uint64_t> lines;
  const auto tell = [&](uint64_t line, const std::string& text) {
    problems.push_back(fmt::format("{}:{}: {}", path, line, text));
  };
  table.ForEachRow(
      [&](std::span<const std::string_view> cells, uint64_t line) {
        DeviceRow row;
        for (size_t i = 0; i < cells.size(); ++i) {
          const std::string& column = table.columns()[i];
          if (column == "device") row.id = std::string(cells[i]);
          if (column == "groups") row.groups = SplitCell(cells[i]);
          if (column == "model") row.models = SplitCell(cells[i]);
          if (column == "hardware") row.hardware = std::string(cells[i]);
        }
        for (const std::string& problem : CheckDeviceRow(row)) tell(line, problem);
        const auto [first, fresh] = lines.emplace(row.id, line);
        if (!fresh)
          tell(line, fmt::format("column device: \"{}\" is in line {} already", row.id, first->second));
        rows.push_back(std::move(row));
        return true;
      },
      [&](uint64_t line, uint32_t cells) {
        tell(line, cells == 0 ? std::string("column 1: quotes do not match")
                              : fmt::format("column {}: the row has {} cells, the header {}",
                                            std::min<size_t>(cells, table.columns().size()) + 1, cells,
                                            table.columns().size()));
      });
  if (problems.empty() && rows.empty()) tell(2, "there is no device in it");
  if (problems.empty()) return rows;
  std::string text;
  for (size_t i = 0; i < std::min(problems.size(), kMaxProblems); ++i) text += problems[i] + "\n";
  if (problems.size() > kMaxProblems) text += fmt::format("and {} more\n", problems.size() - kMaxProblems);
  throw Error(ExitCode::kUsage, text + "nothing was provisioned");
}

}  // namespace dipper::fleet
