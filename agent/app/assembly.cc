// Opens trust, storage, models, the source and the control socket, each with a message of its own when it
// fails.
#include "agent/app/assembly.h"

#include <sys/utsname.h>

#include <algorithm>

#include "agent/app/config/partition_path.h"
#include "agent/app/group_keys.h"
#include "agent/app/kill_point.h"
#include "agent/app/read_whole.h"
#include "agent/app/wipe.h"
#include "agent/base/time.h"
#include "agent/store/model_places.h"

namespace dipper::app {
namespace {

using base::Status;

constexpr int64_t kCheckNs = base::kSecondNs;

// Where the note of who is running lies: beside the boot file, or in /run when boot is a device.
std::string NotePath(const Config& config) {
  const std::string& boot = config.storage.boot;
  return IsDevice(boot) ? "/run/dipper-" + config.device.id + ".note" : boot + ".note";
}
}  // namespace

std::string SystemText() {
  utsname name{};
  if (::uname(&name) != 0) return "Linux";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}
bool Assembly::OpenTrust(std::string* message) {
  std::vector<uint8_t> root;
  if (!ReadWhole(config.trust.root, store::RootStore::kMaxRootBytes, &root)) {
    // A device that ran before has one in boot, of the fleet that it is of: a new one would be another
    // fleet's.
    std::vector<uint8_t> stored(package::kMaxRootBytes);
    const bool ran = Ok(roots.Open()) && roots.Load(stored).ok();
    *message = "trust.root: cannot read a trust root from " + config.trust.root +
               (ran ? "; this device has run with one: put the root file of its fleet back"
                    : "; put the root file of the fleet there, or make one with: dipper root new");
    return false;
  }
  const Status status = trust.Open(root);
  if (status == Status::kUnimplemented) {
    newer_ = true;
    return true;
  }
  if (!Ok(status)) {
    *message = std::string("the trust root cannot be used (") + base::StatusName(status) + "): is " +
               config.trust.root + " a root made by dipper root new, and boot not damaged?";
    return false;
  }
  return true;
}

bool Assembly::ForgetModels(std::string* message) {
  for (const std::string& name : config.storage.forget_models) {
    const Status status = store::ForgetModel(devices.boot, counters, name);
    if (Ok(status)) Say("forgot model " + name + ": its place in boot is free");
    if (Ok(status) || status == Status::kNotFound) continue;  // an earlier start has done it
    *message = "storage.forget_models: cannot forget " + name + ", boot cannot be written";
    return false;
  }
  return true;
}

bool Assembly::FindPlaces(std::array<uint32_t, kMaxModels>* places, std::string* message) {
  const std::vector<store::PlaceRequest> requests = PlaceRequests(config, devices);
  const Status status =
      store::AssignPlaces(devices.boot, counters, requests, std::span(*places).first(requests.size()));
  const bool unwritable = status == Status::kUnavailable || status == Status::kPermissionDenied;
  if (unwritable) Say("boot cannot be written: the models' names are not in it; going on");
  if (Ok(status) || unwritable) return true;
  if (status != Status::kResourceExhausted) {
    *message = std::string("storage.boot cannot be used (") + base::StatusName(status) + ")";
    return false;
  }
  std::string held;
  for (uint32_t place = 0; place < store::kMaxModels; ++place) {
    if (counters.name(place).empty()) continue;
    held += (held.empty() ? "" : ", ") + std::string(counters.name(place));
  }
  *message = "storage.boot has no free place for every model of the configuration";
  if (!held.empty()) *message += "; it holds " + held;
  *message += ": name those that are gone for good in storage.forget_models, or give boot more room";
  return false;
}

void Assembly::ReportLastEnd(const LastEnd& last) {
  telemetry::Event reset{.kind = schema::EventKind::Reset, .reason = schema::Reason::Unknown};
  if (last.kind == LastEnd::kPlanned) agent.SetLastEnd(schema::Reason::None);
  std::string text;
  switch (last.kind) {
    case LastEnd::kUnknown:
    case LastEnd::kPlanned:
      return;
    case LastEnd::kCrashed:
      reset.reason = schema::Reason::Crash;
      reset.package.digest = last.package;
      text = "the previous run crashed by signal " + std::to_string(last.signal) +
             (last.in_model ? " inside model " + last.model + ", package " +
                                  std::string(base::ToHex(last.package).brief())
                            : " outside every model");
      break;
    case LastEnd::kWatchdog:
      reset.reason = schema::Reason::Watchdog;
      reset.package.digest = last.package;
      text = "a watchdog ended the previous run: ";
      if (last.in_model) {
        text +=
            "model " + last.model + ", package " + std::string(base::ToHex(last.package).brief()) + " hung";
      } else {
        text += last.silent.empty() ? "it hung outside every model" : last.silent + " did not answer";
      }
      break;
    case LastEnd::kKilled:
      text = "the previous run was killed";
      break;
    case LastEnd::kMachine:
      reset.reason = schema::Reason::PowerLoss;
      text = "the machine restarted without stopping the agent: ";
      text += guard.ResetTheMachine() ? "its watchdog reset it" : "power, reset or kernel";
      if (guard.ResetTheMachine()) reset.reason = schema::Reason::Watchdog;
      break;
  }
  Say(text);
  reset.detail = text;
  agent.SetLastEnd(reset.reason);
  reporter.Send(reset, {});
}

/// A model that cannot run leaves the others alone, and the device its telemetry.
void Assembly::OutOfService(uint32_t number, schema::EventKind kind, const std::string& why) {
  Say(why);
  Say("model " + config.models[number].id + " does not run; " +
      (config.models.size() > 1 ? "the others go on" : "telemetry goes on, and nothing is written"));
  const std::string detail = why.substr(0, telemetry::kMaxTextBytes);
  reporter.Send(telemetry::Event{.kind = kind, .detail = detail}, config.models[number].id);
}

std::unique_ptr<ModelUnit> Assembly::StartModel(const SharedParts& shared, uint32_t number, uint32_t place,
                                                const LastEnd& last, std::string* why, bool* too_old) {
  const std::string& id = config.models[number].id;
  *why = TroubleOf(devices.models[number], id);
  if (!why->empty()) return nullptr;
  auto unit = std::make_unique<ModelUnit>(shared, number, place);
  store::LastRun run;
  run.own_failure = last.in_model && last.model == id;
  run.another = last.in_model && last.model != id;
  if (run.own_failure) {
    run.digest = last.package;
    run.reason = last.kind == LastEnd::kWatchdog ? schema::Reason::Watchdog : schema::Reason::Crash;
  }
  const Status status = unit->Start(run, why);
  *too_old = status == Status::kUnimplemented;
  if (!Ok(status)) unit.reset();
  return unit;
}

bool Assembly::StartModels(const LastEnd& last, std::string* message) {
  std::array<uint32_t, kMaxModels> places{};
  if (!ForgetModels(message) || !FindPlaces(&places, message)) return false;
  if (const std::string problem = RecorderProblem(config, devices.data.geometry()); !problem.empty()) {
    Say(problem);
    reporter.Send({.kind = schema::EventKind::RecorderPaused, .detail = problem}, {});
  }
  const SharedParts shared{.config = config,
                           .devices = devices,
                           .transport = mqtt,
                           .outbox = outbox,
                           .turns = turns,
                           .reporter = reporter,
                           .marker = heap,
                           .trust = trust,
                           .group_keys = group_keys,
                           .session = session};
  for (uint32_t number = 0; number < config.models.size(); ++number) {
    std::string why;
    bool too_old = false;
    auto unit = StartModel(shared, number, places[number], last, &why, &too_old);
    if (unit != nullptr) {
      models.push_back(std::move(unit));
      continue;
    }
    newer_ = newer_ || too_old;
    *message = config.models.size() == 1 ? why : "no model of the configuration can run";
    if (config.models.size() == 1 && !too_old) break;  // said at the end
    OutOfService(number, too_old ? schema::EventKind::AgentTooOld : schema::EventKind::StorageError, why);
  }
  // A device that was given an older agent must not go dark: it says so, and waits for the newer one.
  return !models.empty() || newer_;
}

/// They begin where the model that has seen least goes on; the others skip what they know.
void Assembly::StartSource() {
  uint64_t first_row = UINT64_MAX;
  for (const auto& model : models) {
    if (const uint64_t row = model->FirstRow(); row > 0) first_row = std::min(first_row, row);
  }
  StartSources(config, first_row == UINT64_MAX ? 0 : first_row, &devices);
}

/// An agent does without its socket, but not beside another one that answers there.
bool Assembly::StartControl(std::string* message) {
  if (!config.control.enabled) return true;
  const ControlSocket::Opened opened = control.Open(config.control.socket, message);
  if (opened == ControlSocket::Opened::kFailed) {
    Say("no control socket: " + *message + "; going on without status, install and undo on this device");
  }
  return opened != ControlSocket::Opened::kInUse;
}

/// What the device has seen signed was signed in the past: a clock behind that is wrong, and certificates
/// would look as if they were not valid yet.
void Assembly::SetClockForward() {
  const package::TrustedTime trusted = trust.Now();
  const int64_t behind_s = trusted.unix_seconds - devices.clock.WallNs() / base::kSecondNs;
  if (trusted.synchronized || behind_s <= 0) return;
  const Status status = devices.clock.SetWall(trusted.unix_seconds * base::kSecondNs);
  const std::string what =
      "the clock was " + std::to_string(behind_s) + " s behind the last time that was signed";
  Say(what + (Ok(status) ? "; set forward to it"
                         : "; the agent may not set it (CAP_SYS_TIME), so that the broker's certificate may "
                           "look not yet valid"));
  if (Ok(status)) reporter.Send(telemetry::Event{.kind = schema::EventKind::ClockSet, .detail = what}, {});
}

/// First of all: it also says whether the machine's last restart was its doing.
void Assembly::OpenWatchdog() {
  const WatchdogConfig& wanted = config.watchdog;
  std::string trouble;
  // Not a reason to leave the device without an agent.
  if (!wanted.device.empty() &&
      !guard.OpenWatchdog(wanted.device, static_cast<uint32_t>(wanted.timeout_s), &trouble)) {
    Say(trouble + "; going on without it");
  }
}

/// Before anything reads what is to go. Until it is done the agent serves nothing.
bool Assembly::FinishWipe(std::string* left, std::string* message) {
  Say("erasing everything learned and held, as command " + std::to_string(counters.wipe()) + " says");
  const Status status = Wipe(config, devices, counters, left);
  if (Ok(status)) return true;
  *message = std::string("the wipe could not be finished (") + base::StatusName(status) +
             "): look at the medium (dmesg); the next start goes on with it, until then nothing is served";
  return false;
}

/// Once the event is kept the wipe is over; a cut before has all of it done again.
void Assembly::TellWiped(const std::string& left) {
  const std::string detail = left.empty() ? "" : "partitions that cannot be opened, of model " + left;
  reporter.Send(telemetry::Event{.kind = schema::EventKind::Wiped,
                                 .count = counters.wipe(),
                                 .detail = std::string_view(detail).substr(0, telemetry::kMaxTextBytes)},
                {});
  if (!Ok(backlog.Flush()) || !Ok(log.Sync())) Say("the data partition did not take the event of the wipe");
  MaybeKill("wipe:told");
  if (!Ok(counters.EndWipe())) {
    Say("boot cannot be written: the next start will erase again");
    return;
  }
  Say("everything learned and held is erased" + (left.empty() ? std::string() : ", but " + detail));
}

bool Assembly::Start(std::string* message) {
  OpenWatchdog();
  self_check.WatchProgram();
  if (!Ok(note.Open(NotePath(config)))) {
    Say("cannot write " + NotePath(config) + ": a crash will not be blamed on any model; going on");
  }
  if (!StartControl(message) || !OpenTrust(message) ||
      !LoadGroupKeys(config.trust.group_keys, &group_keys, message)) {
    return false;
  }
  const bool wiping = counters.wipe() != 0;
  std::string left;
  if (wiping && !FinishWipe(&left, message)) return false;
  // Losing `data` loses no model and no trust state, so it stops nothing.
  for (const Status status : {log.Open(), backlog.Open()}) {
    if (!Ok(status))
      Say(std::string("the data partition is not usable (") + base::StatusName(status) + "); going on");
  }
  outbox.budget().Restore(backlog.tally().day, backlog.tally().bytes);
  SetClockForward();
  mqtt.Connect();
  const std::string boot(devices.identity.boot_id.view());
  const LastEnd last = note.PreviousEnd(boot);
  reporter.Send(telemetry::Event{.kind = schema::EventKind::Started, .detail = kVersionText}, {});
  ReportLastEnd(last);
  if (wiping) TellWiped(left);
  // Before the models start: a challenger's self-test at its start is its own too.
  std::vector<std::string> ids;
  for (const ModelConfig& model : config.models) ids.push_back(model.id);
  note.Begin(boot, ids);
  note.InstallCrashHandler(guard.hung_ns());
  if (newer_) {
    const std::string detail = std::string("boot's trust root or counters: ") + kNewerAgent;
    Say(detail + "; no model runs, nothing is accepted or written, telemetry goes on");
    reporter.Send(telemetry::Event{.kind = schema::EventKind::AgentTooOld, .detail = detail}, {});
  } else if (!StartModels(last, message)) {
    note.End();
    return false;
  }
  if (!models.empty()) StartSource();
  for (const auto& model : models) {
    agent.Add(model->runner());
    // Only a file has rows that the model has seen already.
    const bool resumes = devices.resumes(config);
    model->runner().OnStarted(resumes ? model->FirstRow() : 0, model->lost());
  }
  const std::string device =
      std::string(kVersionText) + ": device " + config.device.id + " of fleet " + config.device.fleet;
  if (config.models.size() == 1 && models.size() == 1) {
    Say(device + ", " + models[0]->ServingText());
    return true;
  }
  for (const auto& model : models) Say(model->ServingText());
  Say(device + ", " + std::to_string(models.size()) + " of " + std::to_string(config.models.size()) +
      " models run");
  return true;
}

std::string Assembly::StatusLine() {
  std::string text;
  for (const auto& model : models) text += (text.empty() ? "" : "; ") + model->ServingText();
  if (models.empty()) text = "no model runs";
  return text + (mqtt.connected() ? ", connected to " : ", not connected to ") + config.mqtt.url;
}

bool Assembly::CheckMemory(int64_t now_ns) {
  if (now_ns < next_check_ns_) return true;
  next_check_ns_ = now_ns + kCheckNs;
  if (self_check.Step()) return true;
  Say(self_check.trouble() +
      ": ending without a checkpoint; a machine that does this again needs a new memory");
  reporter.Send(telemetry::Event{.kind = schema::EventKind::MemoryFault, .detail = self_check.trouble()}, {});
  return false;
}

void Assembly::JudgeHeap() {
  base::Digest package{};
  if (!heap.TakeCondemned(&package)) return;
  const std::string what =
      "package " + std::string(base::ToHex(package).brief()) + " takes more heap memory with every sample";
  for (const auto& model : models) {
    update::Updater& updater = model->updater();
    if (updater.challenger() == nullptr || updater.Status().challenger != package) continue;
    Say("model " + model->id() + ": " + what);
    updater.OnChallengerFailed(schema::Reason::OverBudget);
    return;
  }
  // Nobody to fall back to for this alone: the service's own limit ends the process when there is need.
  if (package != leak_told_) Say(what + "; it serves, so it goes on until the process reaches its limit");
  leak_told_ = package;
}

uint64_t Assembly::UpdateEvents() const {
  uint64_t events = 0;
  for (const auto& model : models) events += model->events();
  return events;
}

}  // namespace dipper::app
