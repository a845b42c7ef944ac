// One place of the pending ring, as the model's methods see it. Internal to agent/learn/image.
// Not thread-safe: spans into the image.
#pragma once

#include <span>

#include "agent/learn/image/model.h"

namespace dipper::learn {

struct Model::Entry {
  PendingEntry* head = nullptr;  ///< null: no such entry
  std::span<double> outputs;
  std::span<float> inputs;
};

}  // namespace dipper::learn
