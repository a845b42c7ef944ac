// ModelPlaces: which place of the boot partition, its records and its counters, belongs to which model. A
// place is bound to the model's name, which stands in the counters: models may be listed in another order,
// removed and added, and none ever sees another one's records. Not thread-safe. No heap.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "agent/base/status.h"
#include "agent/store/boot_layout.h"
#include "agent/store/counters.h"
#include "hal/api/partition.h"

namespace dipper::store {

/// A model that wants its place. Slots may be null when they cannot be opened.
struct PlaceRequest {
  std::string_view name;
  hal::Partition* slot_a = nullptr;
  hal::Partition* slot_b = nullptr;
};

/// Finds each model's place, or gives it a free one and makes that durable. A place without a name (of an
/// agent before there were names, or after both counters pages were lost) goes to the model whose slots hold
/// the package that its record names; if only one such place and one such model are left, to that model. An
/// unnamed record that fits nobody is left alone.
///
/// @param counters  Loaded.
/// @param places    As many as models, at most kMaxModels; filled in their order on kOk and kUnavailable.
/// @returns kUnavailable: found, but the names could not be stored; the next start finds them the same way.
///   kResourceExhausted: no free place is left; nothing was written. Others as ComputeBootLayout.
base::Status AssignPlaces(hal::Partition& boot, Counters& counters, std::span<const PlaceRequest> models,
                          std::span<uint32_t> places);

/// Empties the place of a model that is gone for good: its records first, then its counters, so that a cut
/// in between leaves it what it was, the model's. Floor and denied packages are forgotten with it.
/// kNotFound: no place has that name.
base::Status ForgetModel(hal::Partition& boot, Counters& counters, std::string_view name);

}  // namespace dipper::store
