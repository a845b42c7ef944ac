// Reads the file at once, then cuts lines on the fly: the cells of one row exist at a time.
#include "tools/lab/csv_table.h"

#include <algorithm>
#include <utility>

#include "agent/base/number.h"
#include "agent/base/sha256.h"
#include "agent/base/text.h"
#include "agent/stream/csv.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::lab {
namespace {

using base::Status;

bool IsNumber(const std::string& text) { return base::ParseDouble(text).ok(); }

/// For messages about the header: the usual reason why its names look so.
std::string MissingHeaderText(const std::vector<std::string>& names) {
  const bool numbers = !names.empty() && std::ranges::all_of(names, IsNumber);
  return numbers ? "; the first line has only numbers: is the header with the columns' names missing?" : "";
}

}  // namespace

std::string Printable(std::string_view text) {
  constexpr size_t kMost = 60;
  return WithoutControls(text.substr(0, kMost), false) + (text.size() > kMost ? "..." : "");
}

std::string SkippedText(uint64_t rows, const std::string& path, uint64_t first_line) {
  return std::to_string(rows) +
         " rows were skipped: other number of cells than the header, or broken quotes; the first is " + path +
         ":" + std::to_string(first_line);
}

CsvTable CsvTable::Read(const std::string& path) { return CsvTable(path, ReadFile(path)); }

CsvTable::CsvTable(std::string path, std::vector<uint8_t> bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)) {
  std::string_view header;
  for (header_line_ = 1; body_ < bytes_.size(); ++header_line_) {
    header = NextLine(&body_, header_line_);
    if (header_line_ == 1) header = base::WithoutByteOrderMark(header);
    if (!stream::TrimBlanks(header).empty()) break;
  }
  if (stream::TrimBlanks(header).empty()) {
    throw Error(ExitCode::kFailure,
                "'" + path_ + "' is empty; it needs a header line with the names of its columns");
  }
  if (header.find('\0') != std::string_view::npos) {
    throw Error(ExitCode::kFailure,
                "'" + path_ + "' is no text: it has zero bytes; give a CSV file in UTF-8");
  }
  delimiter_ = stream::DetectDelimiter(header);
  std::vector<char> scratch(header.size());
  std::vector<std::string_view> cells(stream::kMaxColumns);
  uint32_t count = 0;
  const Status status = stream::SplitLine(header, delimiter_, scratch, cells, &count);
  const std::string where = path_ + ":" + std::to_string(header_line_) + ": ";
  if (status == Status::kResourceExhausted) {
    throw Error(ExitCode::kFailure,
                where + "the header has more than " + std::to_string(stream::kMaxColumns) +
                    " columns, the most that is supported; drop the ones that are not needed");
  }
  if (!base::Ok(status)) {
    throw Error(ExitCode::kFailure,
                where + "the header has a quote that is not closed, or text after a closing quote");
  }
  if (count == 1 && cells[0].find('\t') != std::string_view::npos) {
    throw Error(
        ExitCode::kFailure,
        where + "columns are separated by TABs here, which is not read; the separator must be ',' or ';'");
  }
  for (uint32_t i = 0; i < count; ++i) {
    const std::string name(stream::TrimBlanks(cells[i]));
    if (name.empty()) {
      throw Error(ExitCode::kFailure,
                  where + "column " + std::to_string(i + 1) + " has no name; name it in the header");
    }
    if (std::find(columns_.begin(), columns_.end(), name) != columns_.end()) {
      throw Error(ExitCode::kFailure,
                  where + "two columns are called '" + Printable(name) + "'" +
                      (IsNumber(name) ? "; is the header line with the columns' names missing?"
                                      : "; rename one of them"));
    }
    columns_.push_back(name);
  }
}

base::Digest CsvTable::digest() const { return base::Sha256Of(bytes_); }

uint32_t CsvTable::ColumnIndex(std::string_view name) const {
  for (uint32_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == name) return i;
  }
  constexpr size_t kShown = 20;
  std::string list;
  for (size_t i = 0; i < columns_.size() && i < kShown; ++i)
    list += (i == 0 ? "" : ", ") + Printable(columns_[i]);
  if (columns_.size() > kShown) list += ", ...";
  const std::string suggestion = Suggestion(name, columns_);
  throw Error(ExitCode::kNotFound, "'" + path_ + "' has no column '" + Printable(name) + "'" +
                                       (suggestion.empty() ? "." : suggestion) + " It has: " + list +
                                       MissingHeaderText(columns_));
}

std::string_view CsvTable::NextLine(uint64_t* position, uint64_t line_number) const {
  const std::string_view rest = base::AsText(bytes_).substr(*position);
  const size_t end = rest.find('\n');
  const size_t length = end == std::string_view::npos ? rest.size() : end + 1;
  if (length > kMaxDeskLineBytes) {
    throw Error(ExitCode::kFailure,
                path_ + ":" + std::to_string(line_number) +
                    ": the line is longer than 1 MiB, the most that is read; is this a CSV file "
                    "with one row a line?");
  }
  *position += length;
  return stream::WithoutLineEnd(rest.substr(0, length));
}

void CsvTable::ForEachRow(const std::function<bool(std::span<const std::string_view>, uint64_t)>& row,
                          const std::function<void(uint64_t, uint32_t)>& bad) const {
  std::vector<char> scratch(std::min<uint64_t>(kMaxDeskLineBytes, bytes_.size()));
  std::vector<std::string_view> cells(stream::kMaxColumns);
  uint64_t position = body_;
  for (uint64_t line_number = header_line_ + 1; position < bytes_.size(); ++line_number) {
    const std::string_view line = NextLine(&position, line_number);
    if (line.empty()) continue;
    uint32_t count = 0;
    const Status status = stream::SplitLine(line, delimiter_, scratch, cells, &count);
    if (status == Status::kResourceExhausted) {
      throw Error(ExitCode::kFailure, path_ + ":" + std::to_string(line_number) + ": the row has more than " +
                                          std::to_string(stream::kMaxColumns) +
                                          " cells, the most that is read");
    }
    if (!base::Ok(status) || count != columns_.size()) {
      bad(line_number, count);
    } else if (!row(std::span(cells).first(count), line_number)) {
      return;
    }
  }
}

}  // namespace dipper::lab
