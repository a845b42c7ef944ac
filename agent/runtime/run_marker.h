// RunMarker: told whose code runs before it runs, so that a crash can be blamed on the right model.
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace dipper::runtime {

class RunMarker {
 public:
  /// Code of this model, of this package, runs from here on.
  /// @param model  Its number in the agent's list of models.
  virtual void Enter(uint32_t model, const base::Digest& package) = 0;
  /// No model's code runs.
  virtual void Leave() = 0;

 protected:
  ~RunMarker() = default;
};

}  // namespace dipper::runtime
