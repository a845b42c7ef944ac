// Assembly: everything one agent is made of, wired together and started in the right order; app.cc turns its
// loop. One thread uses it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/app/backlog_ring.h"
#include "agent/app/control/agent_control.h"
#include "agent/app/control/server.h"
#include "agent/app/devices.h"
#include "agent/app/guard.h"
#include "agent/app/heap_watch.h"
#include "agent/app/model_unit.h"
#include "agent/app/run_note.h"
#include "agent/app/self_check.h"
#include "agent/app/service_notify.h"
#include "agent/app/version.h"
#include "agent/base/time.h"
#include "agent/link/mqtt_session.h"
#include "agent/runtime/agent.h"

namespace dipper::app {

/// Name, release and machine of the running kernel.
std::string SystemText();

/// Members are made in this order and end in the reverse one.
struct Assembly {
  const Config& config;
  Devices& devices;
  uint64_t session;
  ServiceNotify service;
  RunNote note;
  HeapWatch heap{note};
  Guard guard{service, note};
  SelfCheck self_check;
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
  AgentControl operated{{config, devices, models, mqtt, trust, log, reporter}};
  ControlServer control{operated, devices.clock};

  Assembly(const Config& c, Devices& d, uint64_t session_id, const link::MqttConfig& mqtt_config)
      : config(c),
        devices(d),
        session(session_id),
        mqtt(mqtt_config),
        outbox({.backlog_bytes_per_s = static_cast<uint64_t>(c.mqtt.backlog_bytes_per_s),
                .json_mirror = c.mqtt.json_mirror,
                .max_bytes_per_day = c.telemetry.max_bytes_per_day},
               topics, mqtt, ring),
        reporter({.fleet = c.device.fleet,
                  .groups = groups,
                  .system = system_text,
                  .agent_version = kVersionText,
                  .interval_ms = static_cast<uint32_t>(c.telemetry.interval_ms),
                  .max_message_bytes = mqtt_config.max_message_bytes,
                  .backlog_bytes = c.storage.data_bytes,
                  .repeat_ms = static_cast<uint32_t>(c.telemetry.repeat_s * 1000)},
                 d.identity, session_id, d.clock, outbox, log),
        agent({.fleet = c.device.fleet,
               .device = c.device.id,
               .groups = groups,
               .telemetry_interval_ns = c.telemetry.interval_ms * base::kMillisecondNs,
               .healthy_after_ns = c.health.healthy_after_s * base::kSecondNs,
               .home_assistant = c.mqtt.home_assistant,
               .hardware = d.identity.hardware.view(),
               .agent_version = kVersionText},
              {.clock = d.clock,
               .source = *d.source,
               .system = *d.system,
               .transport = mqtt,
               .outbox = outbox,
               .reporter = reporter,
               .backlog = backlog,
               .log = log,
               .trust = trust,
               .turns = turns,
               .inlets = d.inlets,
               .labels = d.labels ? &*d.labels : nullptr}) {}

  /// Repairs, chooses and loads. False: `*message` says why there is no agent to run.
  bool Start(std::string* message);
  /// One line of how it goes, for `systemctl status`.
  std::string StatusLine();
  /// A piece of memory that must not change, once a second. False: it did; told, and nothing that this
  /// process would still write can be trusted.
  bool CheckMemory(int64_t now_ns);
  /// A challenger whose code takes more and more heap memory is over budget: its trial ends.
  void JudgeHeap();
  /// Update steps of all models so far.
  uint64_t UpdateEvents() const;

 private:
  bool OpenTrust(std::string* message);
  bool FinishWipe(std::string* left, std::string* message);
  void TellWiped(const std::string& left);
  bool ForgetModels(std::string* message);
  bool FindPlaces(std::array<uint32_t, kMaxModels>* places, std::string* message);
  void ReportLastEnd(const LastEnd& last);
  std::unique_ptr<ModelUnit> StartModel(const SharedParts& shared, uint32_t number, uint32_t place,
                                        const LastEnd& last, std::string* why, bool* too_old);
  bool StartModels(const LastEnd& last, std::string* message);
  void OutOfService(uint32_t number, schema::EventKind kind, const std::string& why);
  void StartSource();
  bool StartControl(std::string* message);
  void SetClockForward();
  void OpenWatchdog();
  bool newer_ = false;  ///< Storage of a newer agent: nothing of it is touched.
  int64_t next_check_ns_ = 0;
  base::Digest leak_told_{};  ///< Package that serves and leaks: said once.
};

}  // namespace dipper::app
