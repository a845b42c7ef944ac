// ColumnProfile: what the first rows of a CSV column look like, for inferring a spec. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/lab/csv_table.h"

namespace dipper::lab {

struct ColumnProfile {
  std::string name;
  uint64_t cells = 0;
  uint64_t missing = 0;
  uint64_t numeric = 0;
  uint64_t whole = 0;                     ///< of the numeric ones: whole numbers up to 2^31
  std::map<std::string, uint64_t> texts;  ///< distinct cells and how often
  double least = 0, greatest = 0;         ///< of the numeric ones
  std::vector<double> values;             ///< a number for each cell, NaN where it is none

  uint64_t present() const { return cells - missing; }
  /// Nearly all of its values are numbers; the few others count as missing later.
  bool IsNumeric() const { return numeric * 10 >= present() * 9; }
  /// Distinct texts: numbers in order when all are numbers, otherwise by text.
  std::vector<std::string> SortedTexts() const;
  /// At most `limit` of them, the most frequent ones, in that order.
  std::vector<std::string> FrequentTexts(size_t limit) const;
};

/// Rows of a file that profiles rest on.
struct ProfiledRows {
  uint64_t read = 0;
  uint64_t skipped = 0;  ///< Another number of cells than the header, or broken quotes.
  uint64_t first_skipped_line = 0;
};

/// Profiles of all columns over at most `rows` rows.
std::vector<ColumnProfile> ProfileColumns(const CsvTable& table, uint64_t rows, ProfiledRows* about);

}  // namespace dipper::lab
