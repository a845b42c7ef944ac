// ClosestName: the "did you mean" of error messages. Thread-safe: pure function. No heap.
#pragma once

#include <span>
#include <string_view>

namespace dipper::base {

/// The candidate with the smallest edit distance (Levenshtein 1966, a swap of neighbours counts one) to
/// `name`, or "" when none is near enough to be what was meant: at most a third of the letters may differ.
/// Names over 63 letters match nothing. Cost: O(length of name x length of candidate) a candidate.
std::string_view ClosestName(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace dipper::base
