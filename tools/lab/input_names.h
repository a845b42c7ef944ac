// Names of a learner's inputs: features carried through the stages. Thread-safe: a pure function.
#pragma once

#include <string>
#include <vector>

#include "agent/learn/image/spec.h"

namespace dipper::lab {

/// One name for each of spec.input_count() inputs, in the learner's order: "load", "kind=red", "load[-4]",
/// "mean(load, 48)", "load * wind".
std::vector<std::string> InputNames(const learn::Spec& spec);

}  // namespace dipper::lab
