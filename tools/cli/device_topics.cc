// Implementation of device_topics.h.
#include "tools/cli/device_topics.h"

#include <algorithm>
#include <set>

#include "agent/telemetry/home_assistant.h"
#include "agent/telemetry/topics.h"

namespace dipper::cli {
namespace {

constexpr std::chrono::milliseconds kQuiet{1000};
constexpr int kMaxRounds = 12;

}  // namespace

ClearedTopics ClearDeviceTopics(MqttClient& client, const std::string& fleet, const std::string& device,
                                const std::string& home_assistant) {
  ClearedTopics cleared;
  const std::string tree = std::string(telemetry::kTopicRoot) + fleet + "/" + device + "/";
  std::vector<std::string> filters = {tree + "#", std::string(telemetry::OfferTopic(fleet, device).view()),
                                      std::string(telemetry::ModelOfferFilter(fleet, device).view())};
  // A device of another fleet may have the same id: the object names the fleet.
  const std::string object = "/" + device + "/dipper_" + fleet + "_" + device + "_";
  if (!home_assistant.empty()) {
    for (const std::string_view component : telemetry::kHomeAssistantComponents)
      filters.push_back(home_assistant + "/" + std::string(component) + "/" + device + "/+/config");
  }
  std::set<std::string> waiting;
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    const std::string topic(event.topic);
    if (event.payload.empty()) return;  // our own clearing comes back so
    // What comes live may be retained for others: only asking anew would tell.
    if (!event.retained && topic.rfind(tree, 0) == 0) cleared.alive = true;
    const bool foreign =
        topic.rfind(telemetry::kTopicRoot, 0) != 0 && topic.find(object) == std::string::npos;
    if (event.retained && !foreign) waiting.insert(topic);
  });
  for (int round = 0; round < kMaxRounds; ++round) {
    for (const std::string& filter : filters) client.Subscribe(filter);
    cleared.alive = false;
    client.Run(kQuiet);
    for (const std::string& filter : filters) client.Unsubscribe(filter);
    if (waiting.empty() && !cleared.alive) break;
    for (const std::string& topic : waiting) {
      client.Publish(topic, {}, true);
      if (std::find(cleared.topics.begin(), cleared.topics.end(), topic) == cleared.topics.end())
        cleared.topics.push_back(topic);
    }
    client.WaitForPublications();
    waiting.clear();
  }
  client.SetOnMessage({});
  return cleared;
}

}  // namespace dipper::cli
