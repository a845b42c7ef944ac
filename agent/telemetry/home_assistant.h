// What Home Assistant needs to show a device by itself: one retained message an entity, of its MQTT discovery
// format (topic `<prefix>/<component>/<node>/<object>/config`, Home Assistant's MQTT integration). The values
// are those of the JSON mirror. Thread-safe: pure functions. No heap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "agent/base/bytes.h"
#include "agent/base/status.h"
#include "agent/telemetry/topics.h"

namespace dipper::telemetry {

/// The second level of a topic: by whether the entity is on or off only.
inline constexpr std::array<std::string_view, 2> kHomeAssistantComponents = {"sensor", "binary_sensor"};

/// Views must outlive the calls.
struct HomeAssistantDevice {
  std::string_view prefix{};  ///< First level of the topics; Home Assistant's default is homeassistant.
  std::string_view hardware{};
  std::string_view agent_version{};
};

/// What a model has; an entity without its part is taken away from Home Assistant.
struct HomeAssistantModel {
  std::string_view id{};
  bool serves = false;  ///< There is a champion.
  bool classifies = false, forecasts = false, scores = false;
};

inline constexpr size_t kHomeAssistantBytes = 2048;  ///< Enough for any entity.

struct HomeAssistantMessage {
  Topic topic;
  std::string_view text;  ///< Empty: the entity is taken away.
};

/// Entities of a device with so many models.
size_t HomeAssistantEntities(size_t models);

/// @param index   0 to HomeAssistantEntities - 1.
/// @param models  As many as told there.
/// kInvalidArgument: ids or prefix do not make a topic. kResourceExhausted: buffer too small.
base::Result<HomeAssistantMessage> EncodeHomeAssistant(const HomeAssistantDevice& device,
                                                       const DeviceTopics& topics,
                                                       const HomeAssistantModel* models, size_t index,
                                                       base::MutableBytes buffer);

}  // namespace dipper::telemetry
