// Suggestions for mistyped names.
#include "tools/lab/error.h"

#include <vector>

#include "agent/base/suggest.h"

namespace dipper::lab {

std::string WithoutControls(std::string_view text, bool lines) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((lines && byte == '\n') || (byte >= 0x20 && byte != 0x7f)) {
      shown += c;
    } else {
      shown += {'\\', 'x', kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
  }
  return shown;
}

std::string Suggestion(std::string_view name, std::span<const std::string> candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  const std::string_view closest = base::ClosestName(name, views);
  return closest.empty() ? std::string() : "; did you mean '" + std::string(closest) + "'?";
}

}  // namespace dipper::lab
