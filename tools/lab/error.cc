// Suggestions for mistyped names.
#include "tools/lab/error.h"

#include <vector>

#include "agent/base/suggest.h"

namespace dipper::lab {

std::string Suggestion(std::string_view name, std::span<const std::string> candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  const std::string_view closest = base::ClosestName(name, views);
  return closest.empty() ? std::string() : "; did you mean '" + std::string(closest) + "'?";
}

}  // namespace dipper::lab
