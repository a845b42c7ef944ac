// Reads the file at once, then cuts lines on the fly: the cells of one row exist at a time.
#include "tools/lab/csv_table.h"

#include <algorithm>
#include <utility>

#include "agent/base/sha256.h"
#include "agent/stream/csv.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::lab {
namespace {

using base::Status;

}  // namespace

CsvTable CsvTable::Read(const std::string& path) { return CsvTable(path, ReadFile(path)); }

CsvTable::CsvTable(std::string path, std::vector<uint8_t> bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)) {
  std::string_view header;
  for (header_line_ = 1; body_ < bytes_.size(); ++header_line_) {
    header = NextLine(&body_, header_line_);
    if (header_line_ == 1) header = stream::WithoutByteOrderMark(header);
    if (!stream::TrimBlanks(header).empty()) break;
  }
  if (stream::TrimBlanks(header).empty()) {
    throw Error(ExitCode::kFailure,
                "'" + path_ + "' is empty; it needs a header line with the names of its columns");
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
  for (uint32_t i = 0; i < count; ++i) {
    const std::string name(stream::TrimBlanks(cells[i]));
    if (name.empty()) {
      throw Error(ExitCode::kFailure,
                  where + "column " + std::to_string(i + 1) + " has no name; name it in the header");
    }
    if (std::find(columns_.begin(), columns_.end(), name) != columns_.end()) {
      throw Error(ExitCode::kFailure, where + "two columns are called '" + name + "'; rename one of them");
    }
    columns_.push_back(name);
  }
}

base::Digest CsvTable::digest() const { return base::Sha256Of(bytes_); }

uint32_t CsvTable::ColumnIndex(std::string_view name) const {
  for (uint32_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == name) return i;
  }
  constexpr size_t kShown = 40;
  std::string list;
  for (size_t i = 0; i < columns_.size() && i < kShown; ++i) list += (i == 0 ? "" : ", ") + columns_[i];
  if (columns_.size() > kShown) list += ", ...";
  const std::string suggestion = Suggestion(name, columns_);
  throw Error(ExitCode::kNotFound, "'" + path_ + "' has no column '" + std::string(name) + "'" +
                                       (suggestion.empty() ? "." : suggestion) + " It has: " + list);
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
