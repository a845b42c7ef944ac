// Implementation of reset_store.h.
#include "agent/app/reset_store.h"

#include "agent/package/verify.h"
#include "agent/store/model_places.h"

namespace dipper::app {

base::Status FindPlace(const Config& config, Devices& devices, store::Counters& counters, size_t index,
                       uint32_t* place) {
  const std::vector<store::PlaceRequest> requests = PlaceRequests(config, devices);
  std::vector<uint32_t> places(requests.size());
  DIPPER_RETURN_IF_ERROR(store::AssignPlaces(devices.boot, counters, requests, places));
  *place = places[index];
  return base::Status::kOk;
}

ResetStore::ResetStore(const Config& config, Devices& devices, size_t index, uint32_t place, bool factory)
    : memory_(package::kWholeMemoryBytes / sizeof(Block)),
      verifier_({memory_.data()->bytes, package::kWholeMemoryBytes}, config.models[index].id) {
  ModelDevices& model = devices.models[index];
  store::ModelStoreConfig parts;
  parts.boot = &devices.boot;
  parts.record_index = place;
  parts.slot_a = &model.slot_a;
  parts.slot_b = &model.slot_b;
  parts.factory = factory && model.has_factory ? &model.factory : nullptr;
  parts.max_image_bytes = config.models[index].max_image_bytes;
  store_ = std::make_unique<store::ModelStore>(parts, verifier_);
}

}  // namespace dipper::app
