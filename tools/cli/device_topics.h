// What a device left on the broker: retained messages of its tree and offers to it alone. Errors are
// lab::Error. Not thread-safe.
#pragma once

#include <string>
#include <vector>

#include "tools/cli/mqtt_client.h"

namespace dipper::cli {

struct ClearedTopics {
  std::vector<std::string> topics;  ///< Cleared, in order.
  bool alive = false;               ///< The device published meanwhile: it still has a connection.
};

/// Clears every retained message of the device, again until none comes back for a second. Blocks: 2 s or so,
/// at most 15 s when the device goes on publishing. Throws: 6 unreachable, 1 refused.
/// @param home_assistant  Prefix of the discovery topics where the device announced itself; empty: nowhere.
ClearedTopics ClearDeviceTopics(MqttClient& client, const std::string& fleet, const std::string& device,
                                const std::string& home_assistant);

}  // namespace dipper::cli
