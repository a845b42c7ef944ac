// Splits lines of separated values (RFC 4180 quoting, `,` or `;`) into cells without heap.
// Thread-safe: pure functions over caller memory.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "agent/base/status.h"

namespace dipper::stream {

/// Columns of a line, named or not. Longer lines are refused.
inline constexpr uint32_t kMaxColumns = 1024;
/// Bytes of a line on a device. A source that meets a longer one skips it; the desk tools allow 1 MiB.
inline constexpr uint32_t kMaxLineBytes = 64 * 1024;

/// The line without its line end (LF, CRLF or CR).
std::string_view WithoutLineEnd(std::string_view line);

/// Separator of a header line: `;` when it holds more semicolons than commas outside quotes, otherwise `,`.
char DetectDelimiter(std::string_view header);

/// Cuts one line into cells.
///
/// A cell is the bytes between separators, blanks kept; a cell in double quotes may hold separators, and `""`
/// in it means one quote. Cells point into `line`, or into `scratch` where doubled quotes had to be undone.
/// Cost: O(line), no heap.
///
/// @param line     One line; a line end is ignored. An empty line has one empty cell.
/// @param scratch  Room for the cells with doubled quotes; line.size() bytes are always enough.
/// @param cells    Receives the cells.
/// @param count    Receives their number.
/// @returns kOk; kInvalidArgument: a quote that is not closed, or text after a closing quote;
/// kResourceExhausted: more
///          columns than `cells` or more unquoted text than `scratch` holds. On error `*count` is 0.
base::Status SplitLine(std::string_view line, char delimiter, std::span<char> scratch,
                       std::span<std::string_view> cells, uint32_t* count);

/// True for the spellings of "no value": empty, NA, N/A, NaN, null, none and ?, in any case, blanks around
/// ignored.
bool IsMissing(std::string_view cell);

/// The cell without blanks around it.
std::string_view TrimBlanks(std::string_view cell);

}  // namespace dipper::stream
