// ResetStore: one model's store on its partitions while no agent runs it, to take the model back or to erase
// it. Not thread-safe. Heap: what verifying a package needs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/app/devices.h"
#include "agent/store/counters.h"
#include "agent/store/model_store.h"
#include "agent/update/slot_source.h"

namespace dipper::app {

/// Each model's place in boot, as an agent finds it.
base::Status FindPlace(const Config& config, Devices& devices, store::Counters& counters, size_t index,
                       uint32_t* place);

class ResetStore {
 public:
  /// @param factory  Whether the factory partition is looked at, if there is one.
  ResetStore(const Config& config, Devices& devices, size_t index, uint32_t place, bool factory);
  ResetStore(const ResetStore&) = delete;
  ResetStore& operator=(const ResetStore&) = delete;

  /// Not started yet.
  store::ModelStore& store() { return *store_; }

 private:
  struct alignas(16) Block {
    uint8_t bytes[16];
  };
  std::vector<Block> memory_;
  update::PackageVerifier verifier_;
  std::unique_ptr<store::ModelStore> store_;
};

}  // namespace dipper::app
