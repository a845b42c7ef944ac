// Identity: who this device and this boot are. Thread-safe: constant after start.
#pragma once

#include <cstdint>

#include "agent/base/fixed.h"
#include "agent/base/status.h"

namespace dipper::hal {

struct DeviceIdentity {
  base::FixedString<64> device_id;  ///< [A-Za-z0-9_-], unique in the fleet.
  base::FixedString<64> hardware;   ///< Board or machine class, as a manifest's compatibility list names it.
  base::FixedString<64> boot_id;    ///< Changes with every boot of the machine.
};

class Identity {
 public:
  virtual base::Status Read(DeviceIdentity* identity) = 0;

 protected:
  ~Identity() = default;
};

}  // namespace dipper::hal
