// RunMarker: told whose code runs before it runs, so that a crash can be blamed on the right model.
#pragma once

#include "agent/base/bytes.h"

namespace dipper::runtime {

class RunMarker {
 public:
  /// The model of this package runs from here on.
  virtual void Enter(const base::Digest& package) = 0;
  /// No model's code runs.
  virtual void Leave() = 0;

 protected:
  ~RunMarker() = default;
};

}  // namespace dipper::runtime
