// Implementation of fleet_view.h.
#include "tools/cli/fleet_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "agent/telemetry/encoders.h"

namespace dipper::cli {
namespace {

using telemetry::MessageKind;
using telemetry::MetricId;

std::string Text(const flatbuffers::String* text) { return text == nullptr ? std::string() : text->str(); }

std::string PackageText(const schema::PackageInfo* package) {
  return package == nullptr ? std::string() : Text(package->name()) + " " + Text(package->version());
}

void Track(DeviceView& device, const schema::Envelope& envelope) {
  if (envelope.model() != nullptr) device.model = envelope.model()->str();
  if (envelope.sequence() != 0) device.sessions[envelope.session()].Add(envelope.sequence());
  // A device restarts now and then; what was long ago need not be kept.
  if (device.sessions.size() > 64) device.sessions.erase(device.sessions.begin());
}

/// What a batch leaves out has not changed.
void Apply(DeviceView& device, const schema::MetricsBatch& batch) {
  telemetry::ForEachReading(batch, [&](uint16_t id, uint16_t, double value, int64_t) {
    switch (static_cast<MetricId>(id)) {
      case MetricId::kSamplesTotal:
        device.samples = value >= 0 && value < 1e18 ? static_cast<uint64_t>(value) : 0;
        break;
      case MetricId::kLossMean:
        device.loss = value;
        break;
      case MetricId::kTrivialLossMean:
        device.trivial_loss = value;
        break;
      default:
        break;
    }
  });
}

void Apply(DeviceView& device, const schema::Event& event) {
  device.last_event = telemetry::WordOf(event.kind()).view();
  if (event.kind() == schema::EventKind::UpdateStep) {
    device.last_event =
        fmt::format("{} -> {}", telemetry::WordOf(event.from()).view(), telemetry::WordOf(event.to()).view());
  }
  if (event.reason() != schema::Reason::None) {
    device.last_event += fmt::format(" ({})", telemetry::WordOf(event.reason()).view());
  }
  const std::string package = PackageText(event.package());
  if (!package.empty()) device.last_event += " " + package;
}

void Apply(DeviceView& device, const schema::UpdateStatus& update) {
  device.package = PackageText(update.serving());
  device.update = telemetry::WordOf(update.state()).view();
  if (update.state() == schema::UpdateState::Transferring) {
    device.update += fmt::format(" {}/{}", update.blocks_done(), update.blocks_total());
  } else if (update.state() == schema::UpdateState::Trial && update.gate() != nullptr) {
    device.update += fmt::format(" {} labels", update.gate()->samples());
  } else if (update.reason() != schema::Reason::None) {
    device.update += fmt::format(" ({})", telemetry::WordOf(update.reason()).view());
  }
  if (update.frozen()) device.update += ", frozen";
}

void Apply(DeviceView& device, const schema::Birth& birth) {
  if (birth.models() == nullptr || birth.models()->size() == 0) return;
  const schema::ModelInfo* model = birth.models()->Get(0);
  device.model = Text(model->id());
  const std::string package = PackageText(model->serving());
  if (!package.empty()) device.package = package;
}

void Apply(DeviceView& device, const schema::CommandResponse& response) {
  device.last_event =
      fmt::format("command {}: {}", Text(response.name()), telemetry::WordOf(response.status()).view());
}

void Apply(DeviceView&, const schema::Prediction&) {}
void Apply(DeviceView&, const schema::UncertainSamples&) {}

template <typename T>
bool Take(DeviceView& device, base::ByteView payload, bool apply = true) {
  const auto decoded = telemetry::Decode<T>(payload);
  if (!decoded.ok()) return false;
  Track(device, *decoded.value()->envelope());
  if (apply) Apply(device, *decoded.value());
  return true;
}

}  // namespace

void SequenceTracker::Add(uint64_t sequence) {
  if (received_ == 0) {
    lowest_ = highest_ = sequence;
    received_ = 1;
    return;
  }
  if (sequence > highest_) {
    const uint64_t skipped = sequence - highest_ - 1;
    if (skipped > kMaxGaps - gaps_.size()) {
      gaps_uncounted_ += skipped;
    } else {
      for (uint64_t gap = highest_ + 1; gap < sequence; ++gap) gaps_.insert(gap);
    }
    highest_ = sequence;
    ++received_;
  } else if (sequence < lowest_) {  // the backlog brings what was before we looked
    const uint64_t skipped = lowest_ - sequence - 1;
    if (skipped > kMaxGaps - gaps_.size()) {
      gaps_uncounted_ += skipped;
    } else {
      for (uint64_t gap = sequence + 1; gap < lowest_; ++gap) gaps_.insert(gap);
    }
    lowest_ = sequence;
    ++received_;
  } else if (gaps_.erase(sequence) > 0) {
    ++received_;
  }
}

uint64_t DeviceView::missing() const {
  uint64_t sum = 0;
  for (const auto& [session, tracker] : sessions) sum += tracker.missing();
  return sum;
}

bool FleetView::AddMessage(DeviceView& device, base::ByteView payload, bool live) {
  switch (telemetry::KindOf(payload)) {
    case MessageKind::kMetrics:
      // The backlog comes behind the whole batch that a connection begins with: its values are older.
      return Take<schema::MetricsBatch>(device, payload, live);
    case MessageKind::kEvent:
      return Take<schema::Event>(device, payload);
    case MessageKind::kUpdate:
      return Take<schema::UpdateStatus>(device, payload);
    case MessageKind::kBirth:
      return Take<schema::Birth>(device, payload);
    case MessageKind::kPrediction:
      return Take<schema::Prediction>(device, payload);
    case MessageKind::kUncertain:
      return Take<schema::UncertainSamples>(device, payload);
    case MessageKind::kResponse:
      return Take<schema::CommandResponse>(device, payload);
    case MessageKind::kUnknown:
      break;
  }
  return false;
}

bool FleetView::Add(const telemetry::ParsedTopic& topic, base::ByteView payload) {
  const std::string name(topic.node);
  if (topic.json || topic.kind == telemetry::TopicKind::kOffer || name.empty()) return false;
  if (!wanted_.empty() && !wanted_.contains(name)) return false;
  if (!devices_.contains(name) && devices_.size() >= kMaxDevices) return false;
  DeviceView& device = devices_[name];
  if (topic.kind != telemetry::TopicKind::kState) {
    const bool readable = AddMessage(device, payload, topic.kind != telemetry::TopicKind::kBacklog);
    unreadable_ += readable ? 0u : 1u;
    return readable;
  }
  const auto json = nlohmann::json::parse(base::AsText(payload), nullptr, false);
  const bool readable = json.is_object() && json.contains("state") && json["state"].is_string();
  unreadable_ += readable ? 0u : 1u;
  if (readable) device.state = json["state"] == "online" ? "online" : "offline";
  return readable;
}

}  // namespace dipper::cli
