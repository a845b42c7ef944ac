// Implementation of reset.h.
#include "agent/app/control/reset.h"

#include <array>
#include <memory>

#include "agent/app/control/offline.h"
#include "agent/app/control/protocol.h"
#include "agent/app/control/words.h"
#include "agent/app/devices.h"
#include "agent/app/model_unit.h"
#include "agent/app/reset_store.h"
#include "agent/runtime/reporter.h"
#include "agent/store/counters.h"
#include "agent/store/event_log.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {

using base::Status;
using schema::Reason;

namespace {

ResetOutcome Failure(int exit_code, std::string message) {
  return {.exit_code = exit_code, .model = {}, .reason = Reason::None, .message = std::move(message)};
}

/// What to say of a status that no operator can do much about.
std::string Cannot(const std::string& what, Status status) {
  std::string text = "cannot use " + what + " (" + std::string(base::StatusName(status)) + ")";
  if (status == Status::kUnimplemented) return text + ": " + kNewerAgent;
  return text + "; look at the medium (dmesg)";
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
  ResetOutcome outcome;
  outcome.model = config.models[index].id;
  outcome.exit_code = kExitFailed;
  uint32_t place = 0;
  if (const Status found = FindPlace(config, devices, counters, index, &place); !base::Ok(found)) {
    outcome.message = Cannot("the boot partition", found);
    return outcome;
  }
  ResetStore reset(config, devices, index, place, true);
  store::ModelStore& store = reset.store();
  if (const auto start = store.Start({}); !start.ok()) {
    outcome.message = Cannot("the partitions of model " + outcome.model, start.status());
    return outcome;
  }
  store::StartDecision decision;
  const auto refused = store.FactoryReset(&decision);
  outcome.reason = refused.ok() ? *refused : Reason::StorageError;
  WriteDown(devices, outcome.model, place, outcome.reason);
  if (outcome.reason == Reason::None) {
    static_cast<void>(counters.ClearTransfer(place));  // of a slot that takes no such stage any more
    outcome.exit_code = kExitOk;
    outcome.message = ResetText(decision.serve != store::SlotId::kNone);
    return outcome;
  }
  static_cast<void>(store.PlannedStop());  // this was no start of the model
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
