// Text as it comes from elsewhere. Thread-safe: pure functions. No heap.
#pragma once

#include <string_view>

namespace dipper::base {

/// The text without a UTF-8 byte order mark at its start.
inline std::string_view WithoutByteOrderMark(std::string_view text) {
  return text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text;
}

/// The first byte that is neither byte order mark nor blank nor line end; 0: there is none.
inline char FirstByte(std::string_view text) {
  text = WithoutByteOrderMark(text);
  const size_t at = text.find_first_not_of(" \t\r\n");
  return at == std::string_view::npos ? '\0' : text[at];
}

}  // namespace dipper::base
