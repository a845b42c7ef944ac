// What commands print: results to stdout, messages to stderr. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "tools/lab/error.h"

namespace dipper::cli {

/// Keys keep the order in which they were set.
using Json = nlohmann::ordered_json;

/// Prints to stdout, indented, with a line end. Not-a-number and infinities print as null.
void PrintJson(const Json& value);

/// Prints to stderr: "dipper: <text>", "dipper: warning: <text>", "dipper: error: <text>". Control
/// characters, which come from foreign files and brokers and which a terminal would obey, are shown as \xNN.
void Note(std::string_view text);
void Warn(std::string_view text);
void PrintError(std::string_view text);

/// True when colours may be used on that stream: a terminal and NO_COLOR unset or empty.
bool UseColor(std::FILE* stream = stdout);
/// The text in an ANSI style ("1" bold, "31" red, "32" green, "33" yellow, "2" dim) when UseColor(),
/// otherwise as it is.
std::string Styled(std::string_view text, std::string_view style, std::FILE* stream = stdout);

/// Text columns aligned by width; numbers to the right. A header line of capitals, no frames.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void AddRow(std::vector<std::string> cells);
  /// The table as lines, each with a line end.
  std::string Text() const;
  void Print() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// Progress on stderr: one line rewritten in place on a terminal, else a line per 10 %.
class Progress {
 public:
  Progress(std::string what, uint64_t total);
  void Update(uint64_t done);
  /// Ends the line. Called by the destructor too.
  void Finish();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

 private:
  std::string what_;
  uint64_t total_;
  bool terminal_;
  bool open_ = false;
  uint64_t last_percent_ = 0;
};

/// "64 KiB", "1.5 MiB", "412 B".
std::string ByteText(uint64_t bytes);

/// Sixty-four lower-case hexadecimal digits.
std::string HexText(const base::Digest& digest);
/// Fixed-point with so many digits; "-" for not-a-number.
std::string NumberText(double value, int digits);

}  // namespace dipper::cli
