// CsvTable: a whole CSV file for desk use: header, rows as cells, what was skipped. Not thread-safe while
// reading.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"

namespace dipper::lab {

/// A longer line ends the reading with an error that names its number.
inline constexpr uint64_t kMaxDeskLineBytes = uint64_t{1} << 20U;

/// A name or cell for a message: control characters, which a terminal would obey, as \xNN, and cut after 60
/// bytes.
std::string Printable(std::string_view text);

/// "3 rows were skipped: ...", with where the first is.
std::string SkippedText(uint64_t rows, const std::string& path, uint64_t first_line);

class CsvTable {
 public:
  /// Reads the file and its header. Throws Error: not found, empty file, a header with broken quotes, unnamed
  /// or repeated columns.
  static CsvTable Read(const std::string& path);
  /// The same over text already read; `path` is for messages.
  CsvTable(std::string path, std::vector<uint8_t> bytes);

  const std::string& path() const { return path_; }
  char delimiter() const { return delimiter_; }
  const std::vector<std::string>& columns() const { return columns_; }
  /// SHA-256 of the file: names the data in a package's lineage.
  base::Digest digest() const;

  /// Index of a column. Throws Error (3) that lists what there is, with a suggestion.
  uint32_t ColumnIndex(std::string_view name) const;

  /// Calls `row(cells, line_number)` for each line after the header until it returns false; blank lines are
  /// passed over. A line with broken quotes or another number of cells than the header is given to
  /// `bad(line_number, cells)` (cells = 0: broken quotes). Throws Error: line over 1 MiB, more than
  /// kMaxColumns cells.
  void ForEachRow(const std::function<bool(std::span<const std::string_view>, uint64_t)>& row,
                  const std::function<void(uint64_t, uint32_t)>& bad) const;

 private:
  std::string_view NextLine(uint64_t* position, uint64_t line_number) const;

  std::string path_;
  std::vector<uint8_t> bytes_;
  char delimiter_ = ',';
  uint64_t body_ = 0;  // where the line after the header starts
  uint64_t header_line_ = 1;
  std::vector<std::string> columns_;
};

}  // namespace dipper::lab
