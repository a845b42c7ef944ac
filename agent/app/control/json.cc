// JSON of the control side's answers, one object a line.
#include <array>

#include "agent/app/control/text.h"
#include "agent/app/version.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/json_writer.h"

namespace dipper::app {

using telemetry::JsonWriter;

namespace {

constexpr uint64_t kFormatVersion = 1;
constexpr size_t kJsonBytes = 64 * 1024;  // four models with all their slots take 12 KiB

template <typename Fill>
std::string Object(std::string_view type, Fill fill) {
  std::vector<uint8_t> buffer(kJsonBytes);
  JsonWriter json(buffer);
  json.OpenObject();
  json.Key("dipper");
  json.Uint(kFormatVersion);
  json.Key("type");
  json.Text(type);
  fill(json);
  json.CloseObject();
  return json.overflow() ? std::string() : std::string(json.view());
}

void Put(JsonWriter& json, std::string_view key, std::string_view text) {
  json.Key(key);
  json.Text(text);
}
void PutUint(JsonWriter& json, std::string_view key, uint64_t value) {
  json.Key(key);
  json.Uint(value);
}
void PutBool(JsonWriter& json, std::string_view key, bool value) {
  json.Key(key);
  json.Bool(value);
}
void PutNumber(JsonWriter& json, std::string_view key, double value) {
  json.Key(key);
  json.Number(value);
}
void PutDigest(JsonWriter& json, std::string_view key, const base::Digest& digest) {
  Put(json, key, digest.IsZero() ? std::string_view{} : base::ToHex(digest).view());
}
void PutVersion(JsonWriter& json, std::string_view key, const base::SecurityVersion& version) {
  json.Key(key);
  json.OpenObject();
  PutUint(json, "epoch", version.epoch);
  PutUint(json, "version", version.version);
  json.CloseObject();
}

void PutPackage(JsonWriter& json, std::string_view key, const PackageView& package) {
  json.Key(key);
  json.OpenObject();
  PutDigest(json, "digest", package.digest);
  Put(json, "name", package.name);
  Put(json, "version", package.version);
  json.CloseObject();
}

void PutGate(JsonWriter& json, const update::GateReport& gate) {
  json.Key("gate");
  json.OpenObject();
  PutUint(json, "seen", gate.seen);
  PutUint(json, "counted", gate.counted);
  PutNumber(json, "challenger_loss", gate.challenger_loss);
  PutNumber(json, "rival_loss", gate.rival_loss);
  PutNumber(json, "excess", gate.excess);
  PutNumber(json, "lower", gate.lower);
  PutNumber(json, "upper", gate.upper);
  PutNumber(json, "recent_excess", gate.recent_excess);
  PutNumber(json, "loss_bound", gate.loss_bound);
  PutUint(json, "observed", gate.veto.samples);
  PutUint(json, "compared", gate.veto.counted);
  PutNumber(json, "champion_alarm_rate", gate.veto.champion_alarm_rate);
  PutNumber(json, "challenger_alarm_rate", gate.veto.challenger_alarm_rate);
  PutNumber(json, "score_shift", gate.veto.score_shift);
  json.CloseObject();
}

void PutRecord(JsonWriter& json, const store::BootRecord& record) {
  PutVersion(json, "floor", record.floor);
  Put(json, "rung", RungText(record.rung));
  PutUint(json, "tries_left", record.tries_left);
  PutUint(json, "tries_given_back", record.tries_given_back);
  PutUint(json, "own_failures", record.own_failures);
  PutUint(json, "unexplained_starts", record.unexplained_starts);
  json.Key("denied");
  json.OpenArray();
  for (const store::DeniedEntry& denied : record.denied) {
    if (denied.digest.IsZero()) continue;
    json.OpenObject();
    PutDigest(json, "digest", denied.digest);
    Put(json, "reason", telemetry::WordOf(denied.reason).view());
    json.CloseObject();
  }
  json.CloseArray();
}

void PutHead(JsonWriter& json, const ModelView& model) {
  Put(json, "id", model.id);
  Put(json, "storage",
      model.storage_of_newer_agent ? "newer_agent"
      : model.has_record           ? "good"
                                   : "no_record");
}

void PutStatus(JsonWriter& json, const ModelView& model) {
  json.OpenObject();
  PutHead(json, model);
  PutPackage(json, "champion", model.champion);
  Put(json, "lost", model.lost);
  Put(json, "champion_slot", SlotText(model.record.lkg_slot));
  json.Key("since_ns");
  json.Int(model.serving_since_ns);
  PutUint(json, "samples", model.samples);
  PutUint(json, "labels", model.labels);
  PutBool(json, "frozen", model.frozen);
  PutBool(json, "healthy", model.healthy);
  Put(json, "state", telemetry::WordOf(model.state).view());
  Put(json, "reason", telemetry::WordOf(model.reason).view());
  PutUint(json, "offer_number", model.offer_number);
  PutDigest(json, "offered", model.offered);
  PutUint(json, "blocks_have", model.blocks_have);
  PutUint(json, "blocks_total", model.blocks_total);
  PutPackage(json, "challenger", model.challenger);
  Put(json, "challenger_slot", SlotText(model.record.trial_slot));
  PutUint(json, "challenger_samples", model.challenger_samples);
  if (model.has_gate) PutGate(json, model.gate);
  PutPackage(json, "undo", model.undo);
  PutRecord(json, model.record);
  PutUint(json, "checkpoints", model.checkpoints_written);
  PutUint(json, "checkpoint_failures", model.checkpoint_failures);
  json.CloseObject();
}

void PutSlot(JsonWriter& json, const SlotView& slot, bool undo) {
  json.OpenObject();
  Put(json, "slot", SlotText(slot.id));
  Put(json, "holds", slot.holds);
  PutBool(json, "undo_target", undo);
  PutPackage(json, "package", slot.package);
  PutVersion(json, "security_version", slot.package.security_version);
  PutUint(json, "package_bytes", slot.package_bytes);
  if (slot.has_mark) {
    json.Key("mark");
    json.OpenObject();
    PutDigest(json, "digest", slot.mark.digest);
    PutUint(json, "sequence", slot.mark.sequence);
    PutVersion(json, "floor", slot.mark.floor);
    json.CloseObject();
  }
  json.Key("checkpoints");
  json.OpenArray();
  for (const store::CheckpointInfo& checkpoint : slot.checkpoints) {
    json.OpenObject();
    PutUint(json, "sequence", checkpoint.sequence);
    PutUint(json, "samples", checkpoint.samples);
    PutUint(json, "image_bytes", checkpoint.image_bytes);
    PutDigest(json, "image", checkpoint.image_digest);
    PutUint(json, "gate_bytes", checkpoint.gate_bytes);
    json.CloseObject();
  }
  json.CloseArray();
  json.CloseObject();
}

}  // namespace

std::string StatusJson(const ControlView& view) {
  return Object("status", [&](JsonWriter& json) {
    const ControlReadings& at = view.readings;
    PutBool(json, "running", view.running);
    Put(json, "device", at.device);
    Put(json, "fleet", at.fleet);
    if (view.running) {
      Put(json, "agent_version", kVersionText);
      PutUint(json, "pid", static_cast<uint64_t>(view.pid));
      json.Key("uptime_ns");
      json.Int(at.uptime_ns);
      Put(json, "broker", at.broker);
      PutBool(json, "connected", at.connected);
      Put(json, "link_error", at.link_error);
      Put(json, "source", at.source);
      Put(json, "source_trouble", at.source_trouble);
      PutBool(json, "clock_synchronized", at.clock_synchronized);
      json.Key("time_ns");
      json.Int(at.wall_ns);
      PutUint(json, "root_version", at.root_version);
      json.Key("root_expires_s");
      json.Int(at.root_expires_s);
      PutBool(json, "root_expired", at.root_expired);
    }
    PutUint(json, "trusted_time_s", at.trusted_time_s);
    json.Key("models");
    json.OpenArray();
    for (const ModelView& model : view.models) PutStatus(json, model);
    json.CloseArray();
  });
}

std::string SlotsJson(const ControlView& view) {
  return Object("slots", [&](JsonWriter& json) {
    PutBool(json, "running", view.running);
    json.Key("models");
    json.OpenArray();
    for (const ModelView& model : view.models) {
      json.OpenObject();
      PutHead(json, model);
      PutRecord(json, model.record);
      json.Key("slots");
      json.OpenArray();
      for (const SlotView& slot : model.slots) {
        PutSlot(json, slot, slot.id == model.undo_slot && !model.undo.digest.IsZero());
      }
      json.CloseArray();
      json.CloseObject();
    }
    json.CloseArray();
  });
}

std::string EventJson(const store::Event& event) {
  std::vector<uint8_t> buffer(telemetry::kJsonBufferBytes);
  alignas(16) std::array<uint8_t, store::kEventBytes> aligned{};
  std::copy(event.payload.begin(), event.payload.end(), aligned.begin());
  const auto mirror = telemetry::ToJson(base::ByteView(aligned).first(event.payload.size()), buffer);
  std::string head = Object("event", [&](JsonWriter& json) {
    PutUint(json, "log", event.sequence);
    json.Key("time_ns");
    json.Int(event.time_ns);
    Put(json, "kind", telemetry::WordOf(static_cast<schema::EventKind>(event.kind)).view());
    PutBool(json, "readable", mirror.ok());
  });
  if (!mirror.ok()) return head;
  // The mirror is a flat object of its own: it goes in whole, under one name.
  return head.substr(0, head.size() - 1) + ",\"event\":" + std::string(*mirror) + "}";
}

std::string OutcomeJson(std::string_view request, std::string_view model, bool ok, schema::Reason reason,
                        std::string_view message) {
  return Object("outcome", [&](JsonWriter& json) {
    Put(json, "request", request);
    Put(json, "model", model);
    PutBool(json, "ok", ok);
    Put(json, "reason", telemetry::WordOf(reason).view());
    Put(json, "message", message);
  });
}

}  // namespace dipper::app
