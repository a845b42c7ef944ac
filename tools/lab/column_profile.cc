// Counts what the cells of each column are.
#include "tools/lab/column_profile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "agent/base/number.h"
#include "agent/stream/csv.h"

namespace dipper::lab {
namespace {

void AddCell(std::string_view cell, ColumnProfile* column) {
  ++column->cells;
  column->values.push_back(std::numeric_limits<double>::quiet_NaN());
  if (stream::IsMissing(cell)) {
    ++column->missing;
    return;
  }
  const std::string_view text = stream::TrimBlanks(cell);
  ++column->texts[std::string(text)];
  const base::Result<double> number = base::ParseDouble(text);
  if (!number.ok() || !std::isfinite(*number)) return;
  column->least = column->numeric == 0 ? *number : std::min(column->least, *number);
  column->greatest = column->numeric == 0 ? *number : std::max(column->greatest, *number);
  column->values.back() = *number;
  ++column->numeric;
  if (std::trunc(*number) == *number && std::fabs(*number) < 0x1p31) ++column->whole;
}

double NumberOr0(const std::string& text) {
  const base::Result<double> number = base::ParseDouble(text);
  return number.ok() ? *number : 0;
}

}  // namespace

std::vector<std::string> ColumnProfile::SortedTexts() const {
  std::vector<std::string> sorted;
  for (const auto& [text, count] : texts) sorted.push_back(text);
  if (numeric == present()) {
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const std::string& a, const std::string& b) { return NumberOr0(a) < NumberOr0(b); });
  }
  return sorted;
}

std::vector<std::string> ColumnProfile::FrequentTexts(size_t limit) const {
  std::vector<std::string> sorted = SortedTexts();
  if (sorted.size() <= limit) return sorted;
  std::vector<std::string> frequent = sorted;
  std::stable_sort(frequent.begin(), frequent.end(),
                   [this](const std::string& a, const std::string& b) { return texts.at(a) > texts.at(b); });
  frequent.resize(limit);
  std::erase_if(sorted, [&](const std::string& text) {
    return std::find(frequent.begin(), frequent.end(), text) == frequent.end();
  });
  return sorted;
}

std::vector<ColumnProfile> ProfileColumns(const CsvTable& table, uint64_t rows, ProfiledRows* about) {
  std::vector<ColumnProfile> columns(table.columns().size());
  for (size_t c = 0; c < columns.size(); ++c) columns[c].name = table.columns()[c];
  *about = {};
  const auto take = [&](std::span<const std::string_view> cells, uint64_t) {
    for (size_t c = 0; c < cells.size(); ++c) AddCell(cells[c], &columns[c]);
    return ++about->read < rows;
  };
  table.ForEachRow(take, [&](uint64_t line, uint32_t) {
    if (about->skipped++ == 0) about->first_skipped_line = line;
  });
  return columns;
}

}  // namespace dipper::lab
