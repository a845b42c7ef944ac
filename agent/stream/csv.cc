// Line splitter: one pass, a small state for quotes.
#include "agent/stream/csv.h"

#include <cstddef>

namespace dipper::stream {
namespace {

/// Reads a quoted cell that opens at `line[*position]`; moves past its closing quote. False: broken quotes.
/// `*used` grows by what was put into scratch. kResourceExhausted as in SplitLine.
base::Status ReadQuoted(std::string_view line, size_t* position, std::span<char> scratch, size_t* used,
                        std::string_view* cell) {
  const size_t start = *position + 1;
  size_t doubled = 0;
  size_t end = start;
  for (;; ++end) {
    if (end >= line.size()) return base::Status::kInvalidArgument;
    if (line[end] != '"') continue;
    if (end + 1 >= line.size() || line[end + 1] != '"') break;
    ++doubled;
    ++end;
  }
  *position = end + 1;
  const std::string_view raw = line.substr(start, end - start);
  if (doubled == 0) {
    *cell = raw;
    return base::Status::kOk;
  }
  const size_t length = raw.size() - doubled;
  if (length > scratch.size() - *used) return base::Status::kResourceExhausted;
  char* const out = scratch.data() + *used;
  size_t written = 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    out[written++] = raw[i];
    if (raw[i] == '"') ++i;  // the second of a pair
  }
  *used += written;
  *cell = {out, written};
  return base::Status::kOk;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool EqualIgnoringCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (LowerAscii(text[i]) != lower[i]) return false;
  }
  return true;
}

}  // namespace

std::string_view WithoutLineEnd(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

char DetectDelimiter(std::string_view header) {
  size_t commas = 0;
  size_t semicolons = 0;
  bool quoted = false;
  for (char c : header) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == ',') ++commas;
    if (c == ';') ++semicolons;
  }
  return semicolons > commas ? ';' : ',';
}

base::Status SplitLine(std::string_view line, char delimiter, std::span<char> scratch,
                       std::span<std::string_view> cells, uint32_t* count) {
  *count = 0;
  line = WithoutLineEnd(line);
  size_t position = 0;
  size_t used = 0;
  uint32_t found = 0;
  for (;;) {
    if (found == cells.size()) return base::Status::kResourceExhausted;
    std::string_view& cell = cells[found++];
    if (position < line.size() && line[position] == '"') {
      DIPPER_RETURN_IF_ERROR(ReadQuoted(line, &position, scratch, &used, &cell));
      if (position < line.size() && line[position] != delimiter) return base::Status::kInvalidArgument;
    } else {
      const size_t end = line.find(delimiter, position);
      cell = line.substr(position, end == std::string_view::npos ? end : end - position);
      position += cell.size();
    }
    if (position >= line.size()) break;
    ++position;  // over the separator; one at the very end opens a last, empty cell
  }
  *count = found;
  return base::Status::kOk;
}

std::string_view TrimBlanks(std::string_view cell) {
  while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.remove_prefix(1);
  while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\t')) cell.remove_suffix(1);
  return cell;
}

bool IsMissing(std::string_view cell) {
  cell = TrimBlanks(cell);
  if (cell.empty() || cell == "?") return true;
  for (std::string_view spelling : {"na", "n/a", "nan", "null", "none"}) {
    if (EqualIgnoringCase(cell, spelling)) return true;
  }
  return false;
}

}  // namespace dipper::stream
