// The JSON mirror: walks a verified message and prints it flat.
#include <array>

#include "agent/base/time.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/json_writer.h"

namespace dipper::telemetry {
namespace {

std::string_view View(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

void PutDigest(JsonWriter& json, const schema::Digest256* digest) {
  base::Digest copy;
  std::memcpy(copy.bytes.data(), digest->bytes()->Data(), copy.bytes.size());
  json.Text(base::ToHex(copy).view());
}

void PutWord(JsonWriter& json, std::string_view key, const Word& word) {
  json.Key(key);
  json.Text(word.view());
}

void PutText(JsonWriter& json, std::string_view key, const flatbuffers::String* text) {
  if (text == nullptr) return;
  json.Key(key);
  json.Text(View(text));
}

void PutEnvelope(JsonWriter& json, const schema::Envelope& e) {
  if (!View(e.boot()).empty()) {
    json.Key("boot");
    json.Text(View(e.boot()));
  }
  json.Key("session");
  json.Hex64(e.session());
  if (e.sequence() != 0) {
    json.Key("sequence");
    json.Uint(e.sequence());
  }
  json.Key("time_ms");
  json.Int(e.time_ns() / base::kMillisecondNs);
  PutText(json, "model", e.model());
}

void PutPackage(JsonWriter& json, std::string_view prefix, const schema::PackageInfo* p) {
  if (p == nullptr) return;
  if (p->digest() != nullptr) {
    json.Key("digest", prefix);
    PutDigest(json, p->digest());
  }
  json.Key("name", prefix);
  json.Text(View(p->name()));
  json.Key("version", prefix);
  json.Text(View(p->version()));
  json.Key("release_epoch", prefix);
  json.Uint(p->release_epoch());
  json.Key("security_version", prefix);
  json.Uint(p->security_version());
}

void PutGate(JsonWriter& json, const schema::GateReport* gate) {
  if (gate == nullptr) return;
  const auto count = [&](std::string_view name, uint64_t value) {
    json.Key(name);
    json.Uint(value);
  };
  const auto number = [&](std::string_view name, double value) {
    json.Key(name);
    json.Number(value);
  };
  count("gate.samples", gate->samples());
  count("gate.observed", gate->observed());
  count("gate.labelled", gate->labelled());
  count("gate.compared", gate->compared());
  number("gate.champion_loss", gate->champion_loss());
  number("gate.challenger_loss", gate->challenger_loss());
  number("gate.lower", gate->lower());
  number("gate.upper", gate->upper());
  number("gate.margin", gate->margin());
  number("gate.champion_alarm_rate", gate->champion_alarm_rate());
  number("gate.challenger_alarm_rate", gate->challenger_alarm_rate());
  number("gate.score_shift", gate->score_shift());
}

/// "learner_samples_total", "drift_feature_statistic_3", "metric_9999".
void PutMetricKey(JsonWriter& json, uint16_t id, uint16_t index) {
  const MetricRow* row = FindMetric(id);
  std::array<char, 64> name{};
  size_t size = 0;
  const auto add = [&](std::string_view text) {
    for (char c : text) {
      if (size < name.size()) name[size++] = c;
    }
  };
  if (row != nullptr) {
    add(row->name);
  } else {
    add("metric_");
    add(base::FormatUint(id).view());
  }
  if (index != 0) {
    add("_");
    add(base::FormatUint(index).view());
  }
  json.Key({name.data(), size});
}

// In the order of ForEachReading; a float is written with its own digits, not with those of the double.
void PutBody(JsonWriter& json, const schema::MetricsBatch& m) {
  if (m.partial()) {
    json.Key("partial");
    json.Bool(true);
  }
  if (m.whole() != nullptr) {
    for (const schema::WholeValue* value : *m.whole()) {
      PutMetricKey(json, value->id(), value->index());
      json.Uint(value->value());
    }
  }
  if (m.real() != nullptr) {
    for (const schema::RealValue* value : *m.real()) {
      PutMetricKey(json, value->id(), value->index());
      json.Float(value->value());
    }
  }
  for (const schema::MetricValue* value : *m.values()) {
    PutMetricKey(json, value->id(), value->index());
    json.Number(value->value());
  }
}

void PutAlarm(JsonWriter& json, const schema::Event& m) {
  PutWord(json, "severity", WordOf(m.severity()));
  json.Key("alarm");
  json.Uint(m.alarm());
  json.Key("peak");
  json.Number(m.peak());
  json.Key("lasted_seconds");
  json.Number(static_cast<double>(m.lasted_ns()) * 1e-9);
}

void PutBody(JsonWriter& json, const schema::Event& m) {
  PutWord(json, "kind", WordOf(m.kind()));
  if (m.kind() == schema::EventKind::UpdateStep) {
    PutWord(json, "from", WordOf(m.from()));
    PutWord(json, "to", WordOf(m.to()));
  }
  if (m.reason() != schema::Reason::None) PutWord(json, "reason", WordOf(m.reason()));
  PutPackage(json, "package", m.package());
  if (m.image() != nullptr) {
    json.Key("image");
    PutDigest(json, m.image());
  }
  if (m.kind() == schema::EventKind::AnomalyRaised || m.kind() == schema::EventKind::AnomalyCleared ||
      m.kind() == schema::EventKind::DriftWarning || m.kind() == schema::EventKind::DriftAlarm) {
    json.Key("sample_id");
    json.Uint(m.sample_id());
    json.Key("score");
    json.Number(m.score());
    json.Key("threshold");
    json.Number(m.threshold());
  }
  if (m.severity() != schema::Severity::None) PutAlarm(json, m);
  if (m.contributions() != nullptr) {
    for (const schema::Contribution* c : *m.contributions()) {
      json.Key(View(c->feature()), "contribution");
      json.Number(c->share());
    }
  }
  PutGate(json, m.gate());
  if (m.count() != 0) {
    json.Key("count");
    json.Uint(m.count());
  }
  PutText(json, "detail", m.detail());
}

void PutBody(JsonWriter& json, const schema::UpdateStatus& m) {
  PutWord(json, "state", WordOf(m.state()));
  PutWord(json, "reason", WordOf(m.reason()));
  json.Key("offer_number");
  json.Uint(m.offer_number());
  PutPackage(json, "target", m.target());
  PutPackage(json, "serving", m.serving());
  PutWord(json, "serving_slot", WordOf(m.serving_slot()));
  if (m.serving_image() != nullptr) {
    json.Key("serving_image");
    PutDigest(json, m.serving_image());
  }
  PutPackage(json, "undo", m.undo());
  const std::array<std::pair<std::string_view, uint64_t>, 6> numbers = {{{"floor_epoch", m.floor_epoch()},
                                                                         {"floor_version", m.floor_version()},
                                                                         {"blocks_done", m.blocks_done()},
                                                                         {"blocks_total", m.blocks_total()},
                                                                         {"tries_left", m.tries_left()},
                                                                         {"rung", m.rung()}}};
  for (const auto& [name, value] : numbers) {
    json.Key(name);
    json.Uint(value);
  }
  json.Key("frozen");
  json.Bool(m.frozen());
  PutGate(json, m.gate());
}

// An interval without ends says nothing but that; a set is always a list, of every class if need be.
void PutInterval(JsonWriter& json, const schema::Prediction& m) {
  if (!m.has_interval()) return;
  json.Key("interval_unbounded");
  json.Bool(m.unbounded());
  if (m.class_index() >= 0) {
    json.Key("class_set");
    json.OpenArray();
    for (uint64_t c = 0; c < 64; ++c) {
      if ((m.class_set() >> c & 1) != 0) json.Uint(c);
    }
    json.CloseArray();
  } else if (!m.unbounded()) {
    json.Key("interval_low");
    json.Number(m.low());
    json.Key("interval_high");
    json.Number(m.high());
  }
}

void PutBody(JsonWriter& json, const schema::Prediction& m) {
  json.Key("id");
  json.Uint(m.id());
  json.Key("cold");
  json.Bool(m.cold());
  json.Key("value");
  json.Number(m.value());
  if (m.class_index() >= 0) {
    json.Key("class_index");
    json.Int(m.class_index());
  }
  if (m.probabilities() != nullptr) {
    json.Key("probabilities");
    json.OpenArray();
    for (const float p : *m.probabilities()) json.Number(static_cast<double>(p));
    json.CloseArray();
  }
  if (m.has_score()) {
    json.Key("anomaly_score");
    json.Number(m.anomaly_score());
    json.Key("anomaly_active");
    json.Bool(m.anomaly_active());
  }
  PutInterval(json, m);
  if (m.has_uncertainty()) {
    json.Key("uncertainty");
    json.Number(m.uncertainty());
  }
  if (m.package() != nullptr) {
    json.Key("package");
    PutDigest(json, m.package());
  }
}

void PutBody(JsonWriter& json, const schema::UncertainSamples& m) {
  json.Key("command");
  json.Uint(m.command());
  if (m.package() != nullptr) {
    json.Key("package");
    PutDigest(json, m.package());
  }
  json.Key("features");
  json.OpenArray();
  for (const flatbuffers::String* feature : *m.features()) json.Text({feature->c_str(), feature->size()});
  json.CloseArray();
  json.Key("samples");
  json.OpenArray();
  for (const schema::UncertainSample* sample : *m.samples()) {
    json.OpenObject();
    json.Key("id");
    json.Uint(sample->id());
    json.Key("time_ms");
    json.Int(sample->time_ns() / base::kMillisecondNs);
    json.Key("uncertainty");
    json.Number(sample->uncertainty());
    json.Key(sample->class_index() >= 0 ? "class_index" : "value");
    if (sample->class_index() >= 0) {
      json.Int(sample->class_index());
    } else {
      json.Number(sample->value());
    }
    json.Key("values");
    json.OpenArray();
    for (const float value : *sample->values()) json.Number(static_cast<double>(value));
    json.CloseArray();
    json.CloseObject();
  }
  json.CloseArray();
}

void PutBody(JsonWriter& json, const schema::CommandResponse& m) {
  json.Key("number");
  json.Uint(m.number());
  PutText(json, "name", m.name());
  PutWord(json, "status", WordOf(m.status()));
  PutWord(json, "reason", WordOf(m.reason()));
  json.Key("repeated");
  json.Bool(m.repeated());
  if (m.image() != nullptr) {
    json.Key("image");
    PutDigest(json, m.image());
  }
  PutText(json, "detail", m.detail());
}

void PutModel(JsonWriter& json, const schema::ModelInfo& m) {
  json.OpenObject();
  PutText(json, "id", m.id());
  PutText(json, "task", m.task());
  PutText(json, "learner", m.learner());
  PutText(json, "target", m.target());
  PutPackage(json, "serving", m.serving());
  PutWord(json, "slot", WordOf(m.slot()));
  json.Key("image_bytes");
  json.Uint(m.image_bytes());
  json.Key("max_image_bytes");
  json.Uint(m.max_image_bytes());
  json.Key("slot_bytes");
  json.Uint(m.slot_bytes());
  json.Key("features");
  json.OpenArray();
  if (m.features() != nullptr) {
    for (const schema::FeatureInfo* f : *m.features()) {
      json.OpenObject();
      PutText(json, "name", f->name());
      PutText(json, "unit", f->unit());
      json.Key("type");
      json.Text(f->categorical() ? "categorical" : "numeric");
      json.CloseObject();
    }
  }
  json.CloseArray();
  json.CloseObject();
}

void PutMetrics(JsonWriter& json, const schema::Birth& m) {
  json.Key("metrics");
  json.OpenArray();
  if (m.metrics() != nullptr) {
    for (const schema::MetricInfo* metric : *m.metrics()) {
      json.OpenObject();
      json.Key("id");
      json.Uint(metric->id());
      PutText(json, "name", metric->name());
      PutText(json, "unit", metric->unit());
      json.Key("type");
      json.Text(metric->type() == schema::MetricType::Counter ? "counter" : "gauge");
      json.Key("scope");
      json.Text(metric->scope() == schema::MetricScope::Model ? "model" : "device");
      json.CloseObject();
    }
  }
  json.CloseArray();
}

void PutBody(JsonWriter& json, const schema::Birth& m) {
  PutText(json, "device", m.device());
  PutText(json, "fleet", m.fleet());
  json.Key("groups");
  json.OpenArray();
  if (m.groups() != nullptr) {
    for (const flatbuffers::String* group : *m.groups()) json.Text(View(group));
  }
  json.CloseArray();
  PutText(json, "hardware", m.hardware());
  PutText(json, "system", m.system());
  PutText(json, "agent_version", m.agent_version());
  json.Key("numerics_version");
  json.Uint(m.numerics_version());
  json.Key("interval_ms");
  json.Uint(m.interval_ms());
  json.Key("max_message_bytes");
  json.Uint(m.max_message_bytes());
  json.Key("backlog_bytes");
  json.Uint(m.backlog_bytes());
  json.Key("repeat_ms");
  json.Uint(m.repeat_ms());
  json.Key("models");
  json.OpenArray();
  if (m.models() != nullptr) {
    for (const schema::ModelInfo* model : *m.models()) PutModel(json, *model);
  }
  json.CloseArray();
  PutMetrics(json, m);
}

template <typename T>
base::Result<std::string_view> Print(base::ByteView message, base::MutableBytes out) {
  DIPPER_ASSIGN_OR_RETURN(const T* table, Decode<T>(message));
  JsonWriter json(out);
  json.OpenObject();
  PutEnvelope(json, *table->envelope());
  PutBody(json, *table);
  json.CloseObject();
  if (json.overflow()) return base::Status::kResourceExhausted;
  return json.view();
}

}  // namespace

base::Result<std::string_view> ToJson(base::ByteView message, base::MutableBytes out) {
  switch (KindOf(message)) {
    case MessageKind::kMetrics:
      return Print<schema::MetricsBatch>(message, out);
    case MessageKind::kEvent:
      return Print<schema::Event>(message, out);
    case MessageKind::kUpdate:
      return Print<schema::UpdateStatus>(message, out);
    case MessageKind::kBirth:
      return Print<schema::Birth>(message, out);
    case MessageKind::kPrediction:
      return Print<schema::Prediction>(message, out);
    case MessageKind::kUncertain:
      return Print<schema::UncertainSamples>(message, out);
    case MessageKind::kResponse:
      return Print<schema::CommandResponse>(message, out);
    case MessageKind::kUnknown:
      break;
  }
  return base::Status::kInvalidArgument;
}

base::Result<std::string_view> EncodeState(const State& message, base::MutableBytes buffer) {
  JsonWriter json(buffer);
  json.OpenObject();
  json.Key("state");
  json.Text(message.online ? "online" : "offline");
  json.Key("boot");
  json.Text(message.boot);
  json.Key("session");
  json.Hex64(message.session);
  if (message.time_ns != 0) {
    json.Key("time_ms");
    json.Int(message.time_ns / base::kMillisecondNs);
  }
  json.CloseObject();
  if (json.overflow()) return base::Status::kResourceExhausted;
  return json.view();
}

}  // namespace dipper::telemetry
