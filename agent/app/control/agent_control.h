// AgentControl: the running agent as the control socket sees it. Not thread-safe: the agent's loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/app/config/config.h"
#include "agent/app/control/target.h"
#include "agent/app/devices.h"
#include "agent/app/model_unit.h"
#include "agent/link/mqtt_session.h"
#include "agent/runtime/reporter.h"
#include "agent/update/trust.h"

namespace dipper::app {

class AgentControl final : public ControlTarget {
 public:
  /// What it looks at; all of it outlives this.
  struct Parts {
    const Config& config;
    Devices& devices;
    std::vector<std::unique_ptr<ModelUnit>>& models;
    link::MqttSession& mqtt;
    update::Trust& trust;
    store::EventLog& log;
    runtime::Reporter& reporter;
  };
  explicit AgentControl(const Parts& parts) : at_(parts), started_ns_(parts.devices.clock.MonotonicNs()) {}

  size_t ControlModelCount() override { return at_.models.size(); }
  ControlModel ControlModelAt(size_t index) override;
  ControlReadings ReadForControl() override;
  store::EventLog& ControlLog() override { return at_.log; }
  void OnOperator(std::string_view model, std::string_view what, schema::Reason outcome) override;

 private:
  Parts at_;
  int64_t started_ns_;
};

}  // namespace dipper::app
