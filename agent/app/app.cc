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

#include "agent/app/backlog_ring.h"
#include "agent/app/devices.h"
#include "agent/app/run_note.h"
#include "agent/app/trim.h"
#include "agent/app/version.h"
#include "agent/link/mqtt_session.h"
#include "agent/runtime/agent.h"
#include "agent/runtime/update_link.h"

namespace dipper::app {
namespace {

using base::Status;

// After a start, a connection or an update step: time for its work to be done before its memory is given
// back.
constexpr int64_t kSettleNs = 3'000'000'000;

volatile std::sig_atomic_t g_stop = 0;

void OnStopSignal(int) { g_stop = 1; }

void Say(const std::string& text) { std::fprintf(stderr, "dipper-agent: %s\n", text.c_str()); }

// Memory for images: 16-byte aligned and zeroed, once, at start.
class ImageMemory {
 public:
  explicit ImageMemory(uint64_t bytes) : blocks_(static_cast<size_t>(base::AlignUp(bytes, 16) / 16)) {}
  base::MutableBytes bytes() { return {blocks_.data()->bytes, blocks_.size() * sizeof(Block)}; }

 private:
  struct alignas(16) Block {
    uint8_t bytes[16] = {};
  };
  std::vector<Block> blocks_;
};

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

// One line on stderr for each update step, then on to the agent.
class LoggedUpdates final : public update::UpdateObserver {
 public:
  explicit LoggedUpdates(runtime::UpdateLink& link) : link_(link) {}
  void OnUpdateEvent(const update::UpdateEvent& event) override {
    std::string text = std::string("update ") + schema::EnumNameUpdateState(event.from) + " -> " +
                       schema::EnumNameUpdateState(event.to);
    if (event.reason != schema::Reason::None)
      text += std::string(" (") + schema::EnumNameReason(event.reason) + ")";
    if (!event.package.IsZero()) text += " package " + std::string(base::ToHex(event.package).brief());
    if (!event.name.empty())
      text += " " + std::string(event.name.view()) + " " + std::string(event.version.view());
    Say(text);
    ++events_;
    link_.OnUpdateEvent(event);
  }
  void OnModelsChanged() override { link_.OnModelsChanged(); }
  uint64_t events() const { return events_; }

 private:
  runtime::UpdateLink& link_;
  uint64_t events_ = 0;
};

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

update::UpdaterConfig MakeUpdaterConfig(const Config& config) {
  update::UpdaterConfig updater;
  // LoadConfig has checked the lengths.
  DIPPER_CHECK(
      Ok(updater.model_id.Assign(config.model.id)) && Ok(updater.device_id.Assign(config.device.id)) &&
      Ok(updater.fleet.Assign(config.device.fleet)) && Ok(updater.hardware.Assign(config.device.hardware)));
  for (const std::string& group : config.device.groups) {
    base::FixedString<64> name;
    DIPPER_CHECK(Ok(name.Assign(group)) && Ok(updater.groups.PushBack(name)));
  }
  updater.agent_major = kVersionMajor;
  updater.agent_minor = kVersionMinor;
  updater.agent_patch = kVersionPatch;
  updater.max_image_bytes = base::AlignUp(config.model.max_image_bytes, 16);
  updater.checkpoint_seconds = static_cast<uint32_t>(config.model.checkpoint_interval_s);
  updater.trial_checkpoint_seconds =
      std::min<uint32_t>(updater.trial_checkpoint_seconds, updater.checkpoint_seconds);
  updater.healthy_seconds = static_cast<uint32_t>(config.health.healthy_after_s);
  updater.max_latency_ns = static_cast<uint64_t>(config.model.max_latency_us) * 1000;
  return updater;
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
  store::EventLog log{devices.data};
  store::Backlog backlog{devices.data};
  StoreBacklogRing ring{backlog};
  telemetry::DeviceTopics topics{config.device.fleet, config.device.id};
  link::MqttSession mqtt;
  telemetry::Outbox outbox;
  std::string system_text = SystemText();
  std::vector<std::string_view> groups{config.device.groups.begin(), config.device.groups.end()};
  runtime::Reporter reporter;
  runtime::UpdateLink link{config.device.fleet};
  LoggedUpdates updates{link};
  ImageMemory first_image{config.model.max_image_bytes};
  ImageMemory second_image{config.model.max_image_bytes};
  update::Updater updater;
  runtime::Agent agent;

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
        updater(MakeUpdaterConfig(c), {first_image.bytes(), second_image.bytes()},
                {.store = {.boot = &d.boot,
                           .slot_a = &d.slot_a,
                           .slot_b = &d.slot_b,
                           .factory = d.has_factory ? &d.factory : nullptr},
                 .trust = &trust,
                 .transport = &link,
                 .observer = &updates}),
        agent({.fleet = c.device.fleet,
               .device = c.device.id,
               .groups = groups,
               .model = c.model.id,
               .truth = c.source.truth,
               .publish_predictions = c.mqtt.publish_predictions,
               .max_image_bytes = c.model.max_image_bytes,
               .slot_bytes = d.slot_a.geometry().size_bytes,
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
               .updater = updater,
               .marker = note}) {
    link.Connect(agent);
  }

  bool Start(std::string* message);
  void Loop();
};

bool App::Start(std::string* message) {
  if (!Ok(note.Open(NotePath(config)))) {
    Say("cannot write " + NotePath(config) + ": a crash will not be blamed on any model; going on");
  }
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
  // Losing `data` loses no model and no trust state, so it stops nothing.
  for (const Status status : {log.Open(), backlog.Open()}) {
    if (!Ok(status))
      Say(std::string("the data partition is not usable (") + base::StatusName(status) + "); going on");
  }
  store::LastRun last;
  if (note.PreviousCrash(&last.digest)) {
    last.own_failure = true;
    last.reason = schema::Reason::Crash;
    Say("the previous run crashed inside the model of package " +
        std::string(base::ToHex(last.digest).brief()));
  }
  reporter.Send(telemetry::Event{.kind = schema::EventKind::Started, .detail = kVersionText}, {});
  const Status started = updater.Start(last);
  if (!Ok(started)) {
    *message = std::string("storage cannot be used (") + base::StatusName(started) + "): " +
               (started == Status::kUnimplemented
                    ? "it was written by a newer agent; install that one again"
                    : "check the sizes of boot and slots against model.max_image_bytes");
    return false;
  }
  note.Clear();
  note.InstallCrashHandler();
  learn::Model* champion = updater.champion();
  const uint64_t first_row = champion != nullptr && champion->samples() > 0 ? champion->last_id() + 1 : 0;
  if (!OpenSource(config, first_row, &devices, message)) return false;
  const update::UpdateStatus status = updater.Status();
  Say(std::string(kVersionText) + ": device " + config.device.id + " of fleet " + config.device.fleet + ", " +
      (champion != nullptr
           ? "serving " + std::string(status.champion_name.view()) + " " +
                 std::string(status.champion_version.view()) + " from row " + std::to_string(first_row)
           : std::string("no model yet")));
  return true;
}

void App::Loop() {
  bool was_connected = false;
  std::string last_error;
  uint64_t update_events = 0;
  int64_t trim_ns = devices.clock.MonotonicNs() + kSettleNs;  // 0: nothing to give back
  while (g_stop == 0) {
    const int64_t due_ns = agent.Step();
    const int64_t now_ns = devices.clock.MonotonicNs();
    if (updates.events() != update_events || mqtt.connected() != was_connected) {
      update_events = updates.events();
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
    pollfd events{.fd = mqtt.event_fd(), .events = POLLIN, .revents = 0};
    sigset_t open_signals;
    sigemptyset(&open_signals);
    // Interrupted by a stop signal or woken by the wire: both are looked at in the next turn.
    (void)::ppoll(&events, 1, &timeout, &open_signals);
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
  Say("stopped");
  return 0;
}

}  // namespace dipper::app
