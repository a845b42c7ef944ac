// Has devices erase what they learned and hold, before they are retired or replaced: the signed command wipe,
// its answer, and the event that tells the end. Errors are lab::Error. Not thread-safe.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tools/cli/mqtt_client.h"

namespace dipper::cli {

struct WipeOrder {
  std::string fleet;
  std::vector<std::string> devices;
  std::vector<std::string> command_keys;
  std::string
      root;  ///< For the epoch of command numbers; also what says whether devices would take the command.
  std::chrono::seconds wait{60};
};

struct WipedDevice {
  enum class State : uint8_t { kSilent, kRefused, kAnswered, kWiped };
  std::string device;
  State state = State::kSilent;
  std::string detail;  ///< Of a refusal or of the event: English.
};

/// One command each, sent at once; blocks until every device has told its end, at most `wait`.
/// Throws: 2 or 5 when no valid command can be made, 6 unreachable, 1 refused by the broker.
std::vector<WipedDevice> WipeDevices(MqttClient& client, const WipeOrder& order);

}  // namespace dipper::cli
