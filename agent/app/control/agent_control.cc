// Implementation of agent_control.h.
#include "agent/app/control/agent_control.h"

namespace dipper::app {

ControlModel AgentControl::ControlModelAt(size_t index) {
  ModelUnit& model = *at_.models[index];
  ModelDevices& devices = model.devices();
  return {.id = model.id(),
          .updater = &model.updater(),
          .slot_a = &devices.slot_a,
          .slot_b = &devices.slot_b,
          .factory = devices.has_factory ? &devices.factory : nullptr,
          .recorder = model.recorder(),
          .lost = model.lost()};
}

ControlReadings AgentControl::ReadForControl() {
  std::string sources;
  for (const SourceConfig& source : at_.config.sources) {
    if (!sources.empty()) sources += ", ";
    sources += source.kind + (source.path.empty() ? "" : " " + source.path);
  }
  const package::TrustRoot& root = at_.trust.root();
  return {.device = at_.config.device.id,
          .fleet = at_.config.device.fleet,
          .broker = at_.config.mqtt.url,
          .link_error = at_.mqtt.last_error(),
          .connected = at_.mqtt.connected(),
          .source = sources,
          .source_trouble = std::string(at_.devices.source->trouble()),
          .clock_synchronized = at_.devices.clock.WallSynchronized(),
          .wall_ns = at_.devices.clock.WallNs(),
          .trusted_time_s = at_.trust.counters().trusted_time_s(),
          .root_version = root.version(),
          .root_expires_s = root.expires(),
          .root_expired = root.version() != 0 && root.ExpiredAt(at_.trust.Now()),
          .uptime_ns = at_.devices.clock.MonotonicNs() - started_ns_,
          .healthy_after_s = at_.config.health.healthy_after_s};
}

void AgentControl::OnOperator(std::string_view model, std::string_view what, schema::Reason outcome) {
  const std::string detail = "control socket: " + std::string(what);
  at_.reporter.Send(
      telemetry::Event{.kind = schema::EventKind::CommandDone, .reason = outcome, .detail = detail}, model);
}

}  // namespace dipper::app
