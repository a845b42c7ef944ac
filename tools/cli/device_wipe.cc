// Implementation of device_wipe.h.
#include "tools/cli/device_wipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/output.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using State = WipedDevice::State;

// As long as the broker may keep it for a device that is away.
constexpr double kExpiresMinutes = 60;

struct Waiting {
  uint64_t number = 0;
  WipedDevice* told = nullptr;
};

std::string Text(const flatbuffers::String* text) { return text == nullptr ? std::string() : text->str(); }

void TakeAnswer(const schema::CommandResponse& answer, const Waiting& waiting) {
  if (answer.number() != waiting.number || waiting.told->state == State::kWiped) return;
  const bool good = answer.status() == schema::CommandStatus::Done;
  waiting.told->state = good ? State::kAnswered : State::kRefused;
  if (good) return;
  waiting.told->detail = telemetry::WordOf(answer.reason()).view();
  if (const std::string detail = Text(answer.detail()); !detail.empty())
    waiting.told->detail += ": " + detail;
}

void TakeEvent(const schema::Event& event, const Waiting& waiting) {
  if (event.kind() != schema::EventKind::Wiped || event.count() != waiting.number) return;
  waiting.told->state = State::kWiped;
  waiting.told->detail = Text(event.detail());
}

package::Bytes MakeWipe(const WipeOrder& order, const package::TrustRoot& root, const std::string& device,
                        uint64_t number) {
  const auto now_s = static_cast<int64_t>(NowMs() / 1000);
  package::Bytes command = MakeSignedCommand({.fleet = order.fleet,
                                              .device = device,
                                              .model = "",
                                              .number = number,
                                              .issued = now_s,
                                              .expires_minutes = kExpiresMinutes,
                                              .name = "wipe",
                                              .arguments = {}},
                                             order.command_keys);
  package::CommandFacts facts;
  const schema::Reason reason =
      package::VerifyCommand(command, root, {order.fleet, device, {}}, {now_s, true}, &facts);
  if (reason == schema::Reason::None) return command;
  throw lab::Error(lab::ExitCode::kVerificationFailed,
                   fmt::format("{} would refuse the command wipe: {}; nothing was changed", device,
                               DocumentReasonText(reason)));
}

}  // namespace

std::vector<WipedDevice> WipeDevices(MqttClient& client, const WipeOrder& order) {
  const package::TrustRoot root = LoadRoot(order.root);
  const uint64_t first = package::NumberInEpoch(root.epoch(schema::RoleName::Command), NowMs());
  std::vector<WipedDevice> told;
  for (const std::string& device : order.devices) told.push_back({.device = device, .detail = {}});
  std::map<std::string, Waiting, std::less<>> waiting;
  std::vector<package::Bytes> commands;
  for (WipedDevice& one : told) {
    const uint64_t number = first + commands.size();
    commands.push_back(MakeWipe(order, root, one.device, number));
    waiting[one.device] = {number, &one};
  }
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    const auto topic = telemetry::ParseTopic(event.topic);
    const auto found = topic.ok() ? waiting.find(topic->node) : waiting.end();
    if (found == waiting.end() || topic->json) return;
    if (const auto answer = telemetry::Decode<schema::CommandResponse>(event.payload); answer.ok())
      TakeAnswer(**answer, found->second);
    // The end may come by the backlog: it was stored before there was a connection.
    if (const auto happened = telemetry::Decode<schema::Event>(event.payload); happened.ok())
      TakeEvent(**happened, found->second);
  });
  using telemetry::TopicKind;
  for (const std::string& device : order.devices) {
    const telemetry::DeviceTopics topics(order.fleet, device);
    for (const TopicKind kind : {TopicKind::kResponse, TopicKind::kEvent, TopicKind::kBacklog})
      client.Subscribe(std::string(topics.Of(kind).view()));
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    const telemetry::DeviceTopics topics(order.fleet, order.devices[i]);
    client.Publish(topics.Of(TopicKind::kCommand).view(), commands[i], false);
  }
  client.WaitForPublications();
  client.Run(order.wait, [&] {
    return std::ranges::all_of(told, [](const WipedDevice& one) {
      return one.state == State::kWiped || one.state == State::kRefused;
    });
  });
  client.SetOnMessage({});
  return told;
}

}  // namespace dipper::cli
