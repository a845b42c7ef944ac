// Wires the device together and runs the loop between the broker's events, the samples and the signals.
#include "agent/app/app.h"

#include <poll.h>
#include <sys/utsname.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include "agent/app/agent_control.h"
#include "agent/app/backlog_ring.h"
#include "agent/app/control_server.h"
#include "agent/app/devices.h"
#include "agent/app/group_keys.h"
#include "agent/app/model_unit.h"
#include "agent/app/run_note.h"
#include "agent/app/trim.h"
#include "agent/app/version.h"
#include "agent/link/mqtt_session.h"
#include "agent/runtime/agent.h"
#include "agent/store/model_places.h"

namespace dipper::app {
namespace {

using base::Status;

// After a start, a connection or an update step: time for its work to be done before its memory is given
// back.
constexpr int64_t kSettleNs = 3'000'000'000;

volatile std::sig_atomic_t g_stop = 0;

void OnStopSignal(int) { g_stop = 1; }

bool ReadWhole(const std::string& path, uint64_t max_bytes, std::vector<uint8_t>* bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  bytes->assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return bytes->size() <= max_bytes;
}

// First line of a file: passwords are kept in files of their own.
bool ReadSecret(const std::string& path, std::string* secret) {
  std::ifstream file(path);
  return file && std::getline(file, *secret) && !secret->empty();
}

std::string SystemText() {
  utsname name{};
  if (::uname(&name) != 0) return "Linux";
  return std::string(name.sysname) + " " + name.release + " " + name.machine;
}

// Where the note of who is running lies: beside the boot file, or in /run when boot is a device.
std::string NotePath(const Config& config) {
  const std::string& boot = config.storage.boot;
  const bool device = boot.rfind("/dev/", 0) == 0 || boot.find("PARTLABEL=") != std::string::npos;
  return device ? "/run/dipper-" + config.device.id + ".note" : boot + ".note";
}

bool MakeMqttConfig(const Config& config, const hal::DeviceIdentity& identity, uint64_t session,
                    link::MqttConfig* mqtt, std::string* message) {
  const MqttConfig& from = config.mqtt;
  mqtt->url = from.url;
  mqtt->client_id = from.client_id;
  mqtt->username = from.username;
  mqtt->ca_file = from.ca_file;
  mqtt->cert_file = from.cert_file;
  mqtt->key_file = from.key_file;
  mqtt->version = from.version == 5 ? link::MqttVersion::k5 : link::MqttVersion::k311;
  mqtt->keepalive_s = static_cast<uint16_t>(from.keepalive_s);
  if (!from.password_file.empty() && !ReadSecret(from.password_file, &mqtt->password)) {
    *message = "mqtt.password_file: cannot read a password from the first line of " + from.password_file;
    return false;
  }
  const telemetry::DeviceTopics topics(config.device.fleet, config.device.id);
  if (!topics.valid()) {
    *message = "device.id or device.fleet is a name that the topic tree uses itself; choose another";
    return false;
  }
  std::array<uint8_t, telemetry::kStateBufferBytes> buffer;
  const auto will = telemetry::EncodeState({.boot = identity.boot_id.view(), .session = session}, buffer);
  DIPPER_CHECK(will.ok());
  mqtt->will_topic = std::string(topics.Of(telemetry::TopicKind::kState).view());
  mqtt->will_payload.assign(will->begin(), will->end());
  *message = link::CheckMqttConfig(*mqtt);
  return message->empty();
}

// Everything one agent is made of. Members are made in this order and end in the reverse one.
struct App {
  const Config& config;
  Devices& devices;
  uint64_t session;
  RunNote note;
  store::RootStore roots{devices.boot};
  store::Counters counters{devices.boot};
  update::Trust trust{roots, counters, devices.clock, kBuildTimeSeconds};
  package::GroupKeys group_keys;
  store::EventLog log{devices.data};
  store::Backlog backlog{devices.data};
  StoreBacklogRing ring{backlog};
  telemetry::DeviceTopics topics{config.device.fleet, config.device.id};
  link::MqttSession mqtt;
  telemetry::Outbox outbox;
  std::string system_text = SystemText();
  std::vector<std::string_view> groups{config.device.groups.begin(), config.device.groups.end()};
  runtime::Reporter reporter;
  runtime::BlockTurns turns{config.device.fleet, mqtt};
  /// In the order of the configuration; only those that run.
  std::vector<std::unique_ptr<ModelUnit>> models;
  runtime::Agent agent;
  AgentControl operated{{config, devices, models, mqtt, counters, log, reporter}};
  ControlServer control{operated, devices.clock};

  App(const Config& c, Devices& d, uint64_t session_id, const link::MqttConfig& mqtt_config)
      : config(c),
        devices(d),
        session(session_id),
        mqtt(mqtt_config),
        outbox({.backlog_bytes_per_s = static_cast<uint64_t>(c.mqtt.backlog_bytes_per_s),
                .json_mirror = c.mqtt.json_mirror},
               topics, mqtt, ring),
        reporter({.fleet = c.device.fleet,
                  .groups = groups,
                  .system = system_text,
                  .agent_version = kVersionText,
                  .interval_ms = static_cast<uint32_t>(c.telemetry.interval_ms),
                  .max_message_bytes = mqtt_config.max_message_bytes,
                  .backlog_bytes = c.storage.data_bytes},
                 d.identity, session_id, d.clock, outbox, log),
        agent({.fleet = c.device.fleet,
               .device = c.device.id,
               .groups = groups,
               .telemetry_interval_ns = c.telemetry.interval_ms * 1000000,
               .healthy_after_ns = c.health.healthy_after_s * 1000000000},
              {.clock = d.clock,
               .source = *d.source,
               .system = *d.system,
               .transport = mqtt,
               .outbox = outbox,
               .reporter = reporter,
               .backlog = backlog,
               .log = log,
               .trust = trust,
               .turns = turns}) {}

  bool Start(std::string* message);
  void Loop();
  uint64_t UpdateEvents() const;

 private:
  bool OpenTrust(std::string* message);
  bool ForgetModels(std::string* message);
  bool FindPlaces(std::array<uint32_t, kMaxModels>* places, std::string* message);
  void ReportLastEnd(const LastEnd& last);
  std::unique_ptr<ModelUnit> StartModel(const SharedParts& shared, uint32_t number, uint32_t place,
                                        const LastEnd& last, std::string* why);
  bool StartModels(const LastEnd& last, std::string* message);
  void OutOfService(uint32_t number, schema::EventKind kind, const std::string& why);
  bool StartSource(std::string* message);
  bool StartControl(std::string* message);
};

bool App::OpenTrust(std::string* message) {
  std::vector<uint8_t> root;
  if (!ReadWhole(config.trust.root, store::RootStore::kMaxRootBytes, &root)) {
    *message =
        "trust.root: cannot read a trust root from " + config.trust.root + "; make one with: dipper root new";
    return false;
  }
  if (const Status status = trust.Open(root); !Ok(status)) {
    *message = std::string("the trust root cannot be used (") + base::StatusName(status) + "): is " +
               config.trust.root + " a root made by dipper root new, and boot not damaged?";
    return false;
  }
  return true;
}

bool App::ForgetModels(std::string* message) {
  for (const std::string& name : config.storage.forget_models) {
    const Status status = store::ForgetModel(devices.boot, counters, name);
    if (Ok(status)) Say("forgot model " + name + ": its place in boot is free");
    if (Ok(status) || status == Status::kNotFound) continue;  // an earlier start has done it
    *message = "storage.forget_models: cannot forget " + name + ", boot cannot be written";
    return false;
  }
  return true;
}

bool App::FindPlaces(std::array<uint32_t, kMaxModels>* places, std::string* message) {
  std::vector<store::PlaceRequest> requests;
  for (size_t i = 0; i < config.models.size(); ++i) {
    ModelDevices& model = devices.models[i];
    const bool open = model.trouble.empty();
    requests.push_back({.name = config.models[i].id,
                        .slot_a = open ? &model.slot_a : nullptr,
                        .slot_b = open ? &model.slot_b : nullptr});
  }
  const Status status =
      store::AssignPlaces(devices.boot, counters, requests, std::span(*places).first(requests.size()));
  if (status == Status::kUnavailable)
    Say("boot cannot be written: the models' names are not in it; going on");
  if (Ok(status) || status == Status::kUnavailable) return true;
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

void App::ReportLastEnd(const LastEnd& last) {
  telemetry::Event reset{.kind = schema::EventKind::Reset, .reason = schema::Reason::Unknown};
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
    case LastEnd::kKilled:
      text = "the previous run was killed";
      break;
    case LastEnd::kMachine:
      reset.reason = schema::Reason::PowerLoss;
      text = "the machine restarted without stopping the agent: power, reset or kernel";
      break;
  }
  Say(text);
  reset.detail = text;
  reporter.Send(reset, {});
}

/// A model that cannot run leaves the others alone.
void App::OutOfService(uint32_t number, schema::EventKind kind, const std::string& why) {
  Say(why);
  Say("model " + config.models[number].id + " does not run; the others go on");
  const std::string detail = why.substr(0, telemetry::kMaxTextBytes);
  reporter.Send(telemetry::Event{.kind = kind, .detail = detail}, config.models[number].id);
}

std::unique_ptr<ModelUnit> App::StartModel(const SharedParts& shared, uint32_t number, uint32_t place,
                                           const LastEnd& last, std::string* why) {
  const std::string& id = config.models[number].id;
  *why = devices.models[number].trouble;
  if (!why->empty()) return nullptr;
  if (const std::string owner = OwnerOfSlots(devices.models[number], id); !owner.empty()) {
    *why = "model " + id + ": its slots hold a package of model " + owner +
           "; were the paths exchanged, or the id changed? Nothing was written";
    return nullptr;
  }
  auto unit = std::make_unique<ModelUnit>(shared, number, place);
  store::LastRun run;
  run.own_failure = last.in_model && last.model == id;
  run.another = last.in_model && last.model != id;
  if (run.own_failure) {
    run.digest = last.package;
    run.reason = schema::Reason::Crash;
  }
  if (!unit->Start(run, why)) unit.reset();
  return unit;
}

bool App::StartModels(const LastEnd& last, std::string* message) {
  std::array<uint32_t, kMaxModels> places{};
  if (!ForgetModels(message) || !FindPlaces(&places, message)) return false;
  const SharedParts shared{.config = config,
                           .devices = devices,
                           .transport = mqtt,
                           .turns = turns,
                           .reporter = reporter,
                           .marker = note,
                           .trust = trust,
                           .group_keys = group_keys};
  for (uint32_t number = 0; number < config.models.size(); ++number) {
    std::string why;
    auto unit = StartModel(shared, number, places[number], last, &why);
    if (unit != nullptr) {
      models.push_back(std::move(unit));
    } else if (config.models.size() == 1) {
      *message = why;
    } else {
      const bool too_old = why.find(kNewerAgent) != std::string::npos;
      OutOfService(number, too_old ? schema::EventKind::AgentTooOld : schema::EventKind::StorageError, why);
      *message = "no model of the configuration can run";
    }
  }
  return !models.empty();
}

/// It begins where the model that has seen least goes on; the others skip what they know.
bool App::StartSource(std::string* message) {
  uint64_t first_row = UINT64_MAX;
  for (const auto& model : models) {
    if (const uint64_t row = model->FirstRow(); row > 0) first_row = std::min(first_row, row);
  }
  return OpenSource(config, first_row == UINT64_MAX ? 0 : first_row, &devices, message);
}

/// An agent does without its socket, but not beside another one that answers there.
bool App::StartControl(std::string* message) {
  if (!config.control.enabled) return true;
  const ControlSocket::Opened opened = control.Open(config.control.socket, message);
  if (opened == ControlSocket::Opened::kFailed) {
    Say("no control socket: " + *message + "; going on without status, install and undo on this device");
  }
  return opened != ControlSocket::Opened::kInUse;
}

bool App::Start(std::string* message) {
  if (!Ok(note.Open(NotePath(config)))) {
    Say("cannot write " + NotePath(config) + ": a crash will not be blamed on any model; going on");
  }
  if (!StartControl(message) || !OpenTrust(message) ||
      !LoadGroupKeys(config.trust.group_keys, &group_keys, message)) {
    return false;
  }
  // Losing `data` loses no model and no trust state, so it stops nothing.
  for (const Status status : {log.Open(), backlog.Open()}) {
    if (!Ok(status))
      Say(std::string("the data partition is not usable (") + base::StatusName(status) + "); going on");
  }
  const std::string boot(devices.identity.boot_id.view());
  const LastEnd last = note.PreviousEnd(boot);
  reporter.Send(telemetry::Event{.kind = schema::EventKind::Started, .detail = kVersionText}, {});
  ReportLastEnd(last);
  // Before the models start: a challenger's self-test at its start is its own too.
  std::vector<std::string> ids;
  for (const ModelConfig& model : config.models) ids.push_back(model.id);
  note.Begin(boot, ids);
  note.InstallCrashHandler();
  if (!StartModels(last, message) || !StartSource(message)) {
    note.End();
    return false;
  }
  for (const auto& model : models) {
    agent.Add(model->runner());
    // Only a file has rows that the model has seen already.
    const bool resumes = config.source.kind == "csv_replay" && config.source.resume;
    model->runner().OnStarted(resumes ? model->FirstRow() : 0);
  }
  const std::string device =
      std::string(kVersionText) + ": device " + config.device.id + " of fleet " + config.device.fleet;
  if (config.models.size() == 1) {
    Say(device + ", " + models[0]->ServingText());
    return true;
  }
  for (const auto& model : models) Say(model->ServingText());
  Say(device + ", " + std::to_string(models.size()) + " of " + std::to_string(config.models.size()) +
      " models run");
  return true;
}

uint64_t App::UpdateEvents() const {
  uint64_t events = 0;
  for (const auto& model : models) events += model->events();
  return events;
}

void App::Loop() {
  bool was_connected = false;
  std::string last_error;
  uint64_t update_events = 0;
  int64_t trim_ns = devices.clock.MonotonicNs() + kSettleNs;  // 0: nothing to give back
  while (g_stop == 0) {
    const int64_t due_ns = std::min(agent.Step(), control.Poll());
    const int64_t now_ns = devices.clock.MonotonicNs();
    if (UpdateEvents() != update_events || mqtt.connected() != was_connected) {
      update_events = UpdateEvents();
      trim_ns = now_ns + kSettleNs;
    } else if (trim_ns != 0 && now_ns >= trim_ns) {
      TrimMemory();
      trim_ns = 0;
    }
    if (mqtt.connected() != was_connected) {
      was_connected = mqtt.connected();
      Say(was_connected ? "connected to " + config.mqtt.url : "lost the connection to " + config.mqtt.url);
    }
    if (std::string error = mqtt.last_error(); error != last_error) {
      last_error = std::move(error);
      if (!last_error.empty()) Say(last_error);
    }
    // Also without time to wait: stop signals arrive nowhere else.
    const int64_t wait_ns = std::max<int64_t>(due_ns - devices.clock.MonotonicNs(), 0);
    const timespec timeout{.tv_sec = static_cast<time_t>(wait_ns / 1000000000),
                           .tv_nsec = static_cast<long>(wait_ns % 1000000000)};
    pollfd events[] = {{.fd = mqtt.event_fd(), .events = POLLIN, .revents = 0},
                       {.fd = control.fd(), .events = POLLIN, .revents = 0},
                       {.fd = devices.source_fd(), .events = POLLIN, .revents = 0}};
    sigset_t open_signals;
    sigemptyset(&open_signals);
    // Interrupted by a stop signal or woken by the wire: both are looked at in the next turn.
    (void)::ppoll(events, std::size(events), &timeout, &open_signals);
  }
}

void CatchStopSignals() {
  // Blocked outside ppoll, so that none is missed between the check and the sleep.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  sigprocmask(SIG_BLOCK, &stop_signals, nullptr);
  struct sigaction action {};
  action.sa_handler = OnStopSignal;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
}

}  // namespace

int Run(const Config& config) {
  CatchStopSignals();
  std::string message;
  auto devices = std::make_unique<Devices>();
  uint64_t session = 0;
  link::MqttConfig mqtt;
  bool good = OpenDevices(config, devices.get(), &message);
  if (good) {
    std::array<uint8_t, sizeof session> random{};
    good = Ok(devices->entropy.Fill(random));
    if (!good) message = "the system gave no random bytes for a session id";
    session = base::Load<uint64_t>(random.data());
  }
  good = good && MakeMqttConfig(config, devices->identity, session, &mqtt, &message);
  std::unique_ptr<App> app;
  if (good) {
    app = std::make_unique<App>(config, *devices, session, mqtt);
    good = app->Start(&message);
  }
  if (!good) {
    Say(message);
    return 1;
  }
  app->Loop();
  app->agent.Stop();
  app->note.End();
  Say("stopped");
  return 0;
}

}  // namespace dipper::app
