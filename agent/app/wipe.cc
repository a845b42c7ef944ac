// Implementation of wipe.h.
#include "agent/app/wipe.h"

#include "agent/app/kill_point.h"
#include "agent/app/reset_store.h"

namespace dipper::app {

using base::Status;
using schema::Reason;
using schema::UpdateState;

namespace {

bool IsOpen(const hal::Partition& partition) { return partition.geometry().size_bytes > 0; }

Status EraseAll(hal::Partition& partition) {
  DIPPER_RETURN_IF_ERROR(partition.Erase(0, partition.geometry().size_bytes));
  return partition.Sync();
}

/// By the store, which keeps floor and marks. It refuses a factory model that may not serve: then there is
/// none.
bool ResetByStore(const Config& config, Devices& devices, store::Counters& counters, size_t index) {
  uint32_t place = 0;
  if (!base::Ok(FindPlace(config, devices, counters, index, &place))) return false;
  for (const bool factory : {true, false}) {
    ResetStore reset(config, devices, index, place, factory);
    if (!reset.store().Start({}).ok()) return false;
    store::StartDecision decision;
    const auto refused = reset.store().FactoryReset(&decision);
    if (!refused.ok()) return false;
    if (*refused == Reason::None) return true;
  }
  return false;
}

/// A store that cannot be made to work keeps nothing alive: its bytes go all the same, and a start finds the
/// records without a model behind them.
Status WipeModel(const Config& config, Devices& devices, store::Counters& counters, size_t index) {
  if (ResetByStore(config, devices, counters, index)) return Status::kOk;
  DIPPER_RETURN_IF_ERROR(EraseAll(devices.models[index].slot_a));
  return EraseAll(devices.models[index].slot_b);
}

/// An offer that was being followed would go on with the next start.
Status EndOffers(store::Counters& counters) {
  for (uint32_t place = 0; place < store::kMaxModels; ++place) {
    DIPPER_RETURN_IF_ERROR(counters.ClearTransfer(place));
    store::OfferState offer = counters.offer(place);
    if (offer.state < UpdateState::Offered || offer.state > UpdateState::Trial) continue;
    offer.state = UpdateState::Failed;
    offer.reason = Reason::Command;
    DIPPER_RETURN_IF_ERROR(counters.SetOffer(place, offer));
  }
  return Status::kOk;
}

}  // namespace

Status Wipe(const Config& config, Devices& devices, store::Counters& counters, std::string* left) {
  for (size_t index = 0; index < config.models.size(); ++index) {
    ModelDevices& model = devices.models[index];
    if (!IsOpen(model.slot_a) || !IsOpen(model.slot_b)) {
      *left += (left->empty() ? "" : ", ") + config.models[index].id;
      continue;
    }
    DIPPER_RETURN_IF_ERROR(WipeModel(config, devices, counters, index));
    MaybeKill("wipe:model");
  }
  DIPPER_RETURN_IF_ERROR(EraseAll(devices.data));
  MaybeKill("wipe:data");
  return EndOffers(counters);
}

}  // namespace dipper::app
