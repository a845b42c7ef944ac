// What the bytes of a model image go to. Errors: none. Thread-safe: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "agent/learn/image/layout.h"

namespace dipper::lab {

/// Bytes of each part of an image, in its order, without its header and tables; parts of no bytes are left
/// out. Of a plan that failed: of what was placed until then.
std::vector<std::pair<std::string, uint64_t>> ImageParts(const schema::Spec& table,
                                                         const learn::Layout& layout);

/// "pending 2560, auc 2320, drift 1616": the largest parts, the learners left out. For a budget that is too
/// small, where what stands beside the learner is what can be spared.
std::string LargestParts(const schema::Spec& table, const learn::Layout& layout);

}  // namespace dipper::lab
