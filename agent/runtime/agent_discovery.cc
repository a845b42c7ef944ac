// Home Assistant's discovery messages, where the configuration asks for them: after each birth, as many at
// once as the wire takes.
#include <array>

#include "agent/runtime/agent.h"
#include "agent/telemetry/home_assistant.h"

namespace dipper::runtime {

void Agent::SendDiscovery() {
  const size_t entities = telemetry::HomeAssistantEntities(models_.size());
  if (config_.home_assistant.empty() || discovered_ >= entities) return;
  std::array<telemetry::HomeAssistantModel, store::kMaxModels> models{};
  for (size_t i = 0; i < models_.size(); ++i) models[i] = models_[i]->HomeAssistantParts();
  std::array<uint8_t, telemetry::kHomeAssistantBytes> buffer;
  for (; discovered_ < entities; ++discovered_) {
    const auto message = telemetry::EncodeHomeAssistant({.prefix = config_.home_assistant,
                                                         .hardware = config_.hardware,
                                                         .agent_version = config_.agent_version},
                                                        topics_, models.data(), discovered_, buffer);
    if (!message.ok()) continue;  // ids too long for a topic: that entity is not shown
    if (!Ok(at_.outbox.SendRetained(message->topic, message->text))) return;
  }
}

telemetry::HomeAssistantModel ModelRunner::HomeAssistantParts() {
  telemetry::HomeAssistantModel parts{.id = config_.id};
  const learn::Spec* spec = updater_->champion_spec();
  if (spec == nullptr) return parts;
  const learn::Layout& layout = spec->plan().layout;
  parts.serves = true;
  parts.scores = layout.anomaly_enabled;
  parts.classifies = layout.target.classification && !layout.unsupervised;
  parts.forecasts = !layout.target.classification && !layout.unsupervised;
  return parts;
}

}  // namespace dipper::runtime
