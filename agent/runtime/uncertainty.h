// How unsure a model is of an answer. Thread-safe: a pure function.
#pragma once

#include <algorithm>
#include <optional>

#include "agent/learn/image/answers.h"
#include "agent/schema/spec_generated.h"

namespace dipper::runtime {

/// Classification: 1 - probability of the answer. Regression: half its interval, in the target's unit.
/// Nothing where the model cannot tell.
inline std::optional<double> UncertaintyOf(schema::Task task, const learn::Output& output) {
  if (task == schema::Task::Classification) {
    const auto best = static_cast<size_t>(std::max(output.class_index, 0));
    if (best >= output.probabilities.size()) return std::nullopt;
    return 1 - output.probabilities[best];
  }
  if (task != schema::Task::Regression || !output.has_interval || output.unbounded) return std::nullopt;
  return (output.high - output.low) / 2;
}

}  // namespace dipper::runtime
