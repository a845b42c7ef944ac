// Implementation of control_reset.h.
#include "agent/app/control_reset.h"

#include <array>
#include <memory>
#include <vector>

#include "agent/app/control_offline.h"
#include "agent/app/control_protocol.h"
#include "agent/app/control_words.h"
#include "agent/app/devices.h"
#include "agent/app/model_unit.h"
#include "agent/package/verify.h"
#include "agent/runtime/reporter.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/store/model_places.h"
#include "agent/store/model_store.h"
#include "agent/telemetry/encoders.h"
#include "agent/update/slot_source.h"

namespace dipper::app {

using base::Status;
using schema::Reason;

namespace {

struct alignas(16) Block {
  uint8_t bytes[16];
};

ResetOutcome Failure(int exit_code, std::string message) {
  return {.exit_code = exit_code, .model = {}, .reason = Reason::None, .message = std::move(message)};
}

/// What to say of a status that no operator can do much about.
std::string Cannot(const std::string& what, Status status) {
  std::string text = "cannot use " + what + " (" + std::string(base::StatusName(status)) + ")";
  if (status == Status::kUnimplemented) return text + ": " + kNewerAgent;
  return text + "; look at the medium (dmesg)";
}

/// Each model's place in boot, as an agent finds it.
Status FindPlace(const Config& config, Devices& devices, store::Counters& counters, size_t index,
                 uint32_t* place) {
  const std::vector<store::PlaceRequest> requests = PlaceRequests(config, devices);
  std::vector<uint32_t> places(requests.size());
  DIPPER_RETURN_IF_ERROR(store::AssignPlaces(devices.boot, counters, requests, places));
  *place = places[index];
  return Status::kOk;
}

/// So that the log tells who erased everything; a log that takes nothing is no obstacle.
void WriteDown(Devices& devices, const std::string& model, uint32_t place, Reason reason) {
  auto log = std::make_unique<store::EventLog>(devices.data);
  if (!base::Ok(log->Open())) return;
  telemetry::Event event{.kind = schema::EventKind::CommandDone,
                         .reason = reason,
                         .detail = "no agent was running: factory_reset"};
  event.envelope.boot = devices.identity.boot_id.view();
  event.envelope.time_ns = devices.clock.WallNs();
  event.envelope.model = model;
  alignas(16) std::array<uint8_t, 4096> buffer;
  const auto encoded = telemetry::Encode(event, buffer);
  const auto entry =
      runtime::LogEntry(event, encoded.ok() ? *encoded : base::ByteView{}, static_cast<uint8_t>(place));
  if (log->Append(entry).ok()) static_cast<void>(log->Sync());
}

/// On opened partitions and loaded counters.
ResetOutcome Reset(const Config& config, Devices& devices, store::Counters& counters, size_t index) {
  ModelDevices& model = devices.models[index];
  ResetOutcome outcome;
  outcome.model = config.models[index].id;
  outcome.exit_code = kExitFailed;
  uint32_t place = 0;
  if (const Status found = FindPlace(config, devices, counters, index, &place); !base::Ok(found)) {
    outcome.message = Cannot("the boot partition", found);
    return outcome;
  }
  std::vector<Block> memory(package::kWholeMemoryBytes / sizeof(Block));
  update::PackageVerifier verifier({memory.data()->bytes, package::kWholeMemoryBytes}, outcome.model);
  store::ModelStoreConfig parts;
  parts.boot = &devices.boot;
  parts.record_index = place;
  parts.slot_a = &model.slot_a;
  parts.slot_b = &model.slot_b;
  parts.factory = model.has_factory ? &model.factory : nullptr;
  parts.max_image_bytes = config.models[index].max_image_bytes;
  auto store = std::make_unique<store::ModelStore>(parts, verifier);
  if (const auto start = store->Start({}); !start.ok()) {
    outcome.message = Cannot("the partitions of model " + outcome.model, start.status());
    return outcome;
  }
  store::StartDecision decision;
  const auto refused = store->FactoryReset(&decision);
  outcome.reason = refused.ok() ? *refused : Reason::StorageError;
  WriteDown(devices, outcome.model, place, outcome.reason);
  if (outcome.reason == Reason::None) {
    static_cast<void>(counters.ClearTransfer(place));  // of a slot that takes no such stage any more
    outcome.exit_code = kExitOk;
    outcome.message = ResetText(decision.serve != store::SlotId::kNone);
    return outcome;
  }
  static_cast<void>(store->PlannedStop());  // this was no start of the model
  const Advice advice = AdviceOnReset(outcome.reason);
  outcome.message = "factory_reset of model " + outcome.model + ": " +
                    std::string(telemetry::WordOf(outcome.reason).view()) + ": " +
                    std::string(advice.meaning) + "; " + std::string(advice.to_do);
  return outcome;
}

}  // namespace

ResetOutcome ResetOffline(const Config& config, std::string_view only) {
  const ConfiguredModel found = FindConfigured(config, only);
  if (found.exit_code != kExitOk) return Failure(found.exit_code, found.message);
  const size_t index = found.index;
  Config as_it_is = config;
  as_it_is.storage.create = false;  // what is not there needs no reset
  auto devices = std::make_unique<Devices>();
  std::string message;
  if (!OpenDevices(as_it_is, devices.get(), &message)) return Failure(kExitFailed, message);
  if (const std::string trouble = TroubleOf(devices->models[index], config.models[index].id);
      !trouble.empty()) {
    return Failure(kExitFailed, trouble);
  }
  auto counters = std::make_unique<store::Counters>(devices->boot);
  if (const Status loaded = counters->Load(); !base::Ok(loaded)) {
    return Failure(kExitFailed, Cannot("the boot partition", loaded));
  }
  return Reset(as_it_is, *devices, *counters, index);
}

}  // namespace dipper::app
