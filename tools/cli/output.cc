// Printing for people and for programs.
#include "tools/cli/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

bool IsTerminal(std::FILE* stream) { return isatty(fileno(stream)) == 1; }

/// Columns on a terminal: UTF-8 code points, styles not counted.
size_t Width(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) {
      ++width;
    }
  }
  return width;
}

bool LooksNumeric(std::string_view text) {
  return !text.empty() && (text.find_first_not_of("0123456789.,+-%e ") == std::string_view::npos);
}

}  // namespace

void PrintJson(const Json& value) {
  // Texts of foreign files may be no UTF-8; they are shown with replacement marks rather than refused.
  fmt::print("{}\n", value.dump(2, ' ', false, Json::error_handler_t::replace));
}

void Note(std::string_view text) { fmt::print(stderr, "dipper: {}\n", lab::WithoutControls(text)); }

void Warn(std::string_view text) {
  fmt::print(stderr, "{} {}\n", Styled("dipper: warning:", "33", stderr), lab::WithoutControls(text));
}

void PrintError(std::string_view text) {
  fmt::print(stderr, "{} {}\n", Styled("dipper: error:", "31", stderr), lab::WithoutControls(text));
}

bool UseColor(std::FILE* stream) {
  const char* const no_color = std::getenv("NO_COLOR");
  return IsTerminal(stream) && (no_color == nullptr || *no_color == '\0');
}

std::string Styled(std::string_view text, std::string_view style, std::FILE* stream) {
  return UseColor(stream) ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text);
}

Table::Table(std::vector<std::string> header) : header_(std::move(header)) {}

void Table::AddRow(std::vector<std::string> cells) {
  cells.resize(header_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t c = 0; c < header_.size(); ++c) {
    size_t width = Width(header_[c]);
    bool numbers = !rows_.empty();
    for (const auto& row : rows_) {
      width = std::max(width, Width(row[c]));
      numbers = numbers && (row[c].empty() || LooksNumeric(row[c]));
    }
    widths.push_back(width);
    right.push_back(numbers);
  }
  std::string text;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - Width(cells[c]), ' ');
      line += (c == 0 ? "" : "  ") + (right[c] ? padding + cells[c] : cells[c] + padding);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add(header_);
  for (const auto& row : rows_) add(row);
  return text;
}

void Table::Print() const { fmt::print("{}", Text()); }

Progress::Progress(std::string what, uint64_t total)
    : what_(std::move(what)), total_(std::max<uint64_t>(1, total)), terminal_(IsTerminal(stderr)) {}

void Progress::Update(uint64_t done) {
  const uint64_t percent = std::min(done, total_) * 100 / total_;
  if (open_ && percent == last_percent_) return;
  if (terminal_) {
    fmt::print(stderr, "\r{}: {:3} %", what_, percent);
    std::fflush(stderr);
  } else if (!open_ || percent / 10 != last_percent_ / 10) {
    fmt::print(stderr, "{}: {} %\n", what_, percent / 10 * 10);
  }
  open_ = true;
  last_percent_ = percent;
}

void Progress::Finish() {
  if (open_ && terminal_) fmt::print(stderr, "\n");
  open_ = false;
}

Progress::~Progress() { Finish(); }

std::string HexText(const base::Digest& digest) { return std::string(base::ToHex(digest).view()); }

std::string ByteText(uint64_t bytes) {
  constexpr uint64_t kKi = 1024;
  if (bytes < kKi) return fmt::format("{} B", bytes);
  const double value = static_cast<double>(bytes) / static_cast<double>(bytes < kKi * kKi ? kKi : kKi * kKi);
  const char* const unit = bytes < kKi * kKi ? "KiB" : "MiB";
  return value == std::floor(value) ? fmt::format("{:.0f} {}", value, unit)
                                    : fmt::format("{:.1f} {}", value, unit);
}

std::string NumberText(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

}  // namespace dipper::cli
