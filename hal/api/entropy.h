// Entropy: unpredictable bytes for session ids and back-off jitter. Thread-safe.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/status.h"

namespace dipper::hal {

class Entropy {
 public:
  /// Fills `to`. kUnavailable: the system gave none; nothing may be used.
  virtual base::Status Fill(base::MutableBytes to) = 0;

 protected:
  ~Entropy() = default;
};

}  // namespace dipper::hal
