// dipper command: signs a command, sends it to a device and waits for its answer (docs/reference/topics.md).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

struct CommandOptions {
  MqttOptions mqtt;
  std::string name;
  std::string device;
  std::string model = "main";
  std::vector<std::string> command_keys;
  std::vector<std::string> arguments;
  uint64_t number = 0;
  double expires_minutes = 60;
  double wait_s = 10;
  bool json = false;
};

package::Bytes MakeCommand(const CommandOptions& options, uint64_t number) {
  std::vector<package::PrivateKey> keys;
  for (const std::string& path : options.command_keys) keys.push_back(LoadPrivateKey(path));
  schema::CommandT command;
  command.fleet = options.mqtt.fleet;
  command.target = std::make_unique<schema::DeviceTargetT>();
  command.target->scope = schema::TargetScope::List;
  command.target->names = {options.device};
  command.model = options.model;
  command.number = number;
  command.issued = static_cast<int64_t>(NowMs() / 1000);
  command.not_after = command.issued + static_cast<int64_t>(options.expires_minutes * 60);
  command.name = options.name;
  for (const std::string& text : options.arguments) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ExitCode::kUsage, "--arg takes KEY=VALUE, not " + text);
    auto argument = std::make_unique<schema::ArgumentT>();
    argument->key = text.substr(0, equals);
    argument->value = text.substr(equals + 1);
    command.arguments.push_back(std::move(argument));
  }
  const auto bytes = package::BuildCommand(command, keys);
  if (!bytes.ok()) {
    throw Error(ExitCode::kUsage,
                "no command was made: the device would refuse it; check --expires and the names");
  }
  return *bytes;
}

// The device's answer, kept beyond the event.
struct Answer {
  bool came = false;
  schema::CommandStatus status = schema::CommandStatus::Done;
  std::string reason;
  std::string detail;
  std::string json;
};

void ReadAnswer(base::ByteView payload, uint64_t number, Answer* answer) {
  const auto decoded = telemetry::Decode<schema::CommandResponse>(payload);
  if (!decoded.ok() || decoded.value()->number() != number) return;
  const schema::CommandResponse& response = *decoded.value();
  answer->came = true;
  answer->status = response.status();
  answer->reason = telemetry::WordOf(response.reason()).view();
  if (response.detail() != nullptr) answer->detail = response.detail()->str();
  std::array<uint8_t, telemetry::kJsonBufferBytes> text;
  const auto json = telemetry::ToJson(payload, text);
  if (json.ok()) answer->json = json.value();
}

void Print(const CommandOptions& options, const Answer& answer) {
  if (options.json) {
    Json out = Json::parse(answer.json);
    out["device"] = options.device;
    PrintJson(out);
    return;
  }
  std::string line =
      fmt::format("{} on {}: {}", options.name, options.device, telemetry::WordOf(answer.status).view());
  if (answer.reason != "none") line += " (" + answer.reason + ")";
  if (!answer.detail.empty()) line += ": " + answer.detail;
  fmt::print("{}\n", line);
}

void SendCommand(const CommandOptions& options, int& exit_code) {
  if (!telemetry::IsNodeId(options.device)) {
    throw Error(ExitCode::kUsage,
                fmt::format("\"{}\" is not a device; use 1 to 64 of A-Z a-z 0-9 _ -", options.device));
  }
  const uint64_t number = options.number != 0 ? options.number : NowMs();
  const package::Bytes command = MakeCommand(options, number);
  MqttClient client(options.mqtt);
  Answer answer;
  client.SetOnMessage(
      [&](const telemetry::TransportEvent& event) { ReadAnswer(event.payload, number, &answer); });
  const telemetry::DeviceTopics topics(options.mqtt.fleet, options.device);
  client.Subscribe(std::string(topics.Of(telemetry::TopicKind::kResponse).view()));
  client.Publish(topics.Of(telemetry::TopicKind::kCommand).view(), command, false);
  client.WaitForPublications();
  client.Run(std::chrono::milliseconds(static_cast<int64_t>(options.wait_s * 1000)),
             [&] { return answer.came; });
  if (!answer.came) {
    throw Error(
        ExitCode::kUnreachable,
        fmt::format("{} did not answer command {} within {} s; the broker keeps the command for it until it "
                    "expires, and the answer will be seen with `dipper watch`",
                    options.device, number, options.wait_s));
  }
  Print(options, answer);
  if (answer.status != schema::CommandStatus::Done) exit_code = static_cast<int>(ExitCode::kFailure);
}

}  // namespace

void RegisterCommand(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<CommandOptions>();
  CLI::App* command =
      app.add_subcommand("command", "Tell a device what to do, signed, and wait for its answer");
  command
      ->add_option("name", options->name, "fall_back, undo, freeze, unfreeze, checkpoint or override_denied")
      ->required()
      ->check(CLI::IsMember({"fall_back", "undo", "freeze", "unfreeze", "checkpoint", "override_denied"}));
  AddMqttOptions(*command, options->mqtt);
  command->add_option("--device", options->device, "Device id")->required();
  command->add_option("--model", options->model, "Model id")->capture_default_str();
  command
      ->add_option("--command-key", options->command_keys, "Private key of the command role; again for more")
      ->required();
  command->add_option("--arg", options->arguments, "KEY=VALUE, for example digest=<hex> for override_denied");
  command->add_option("--number", options->number, "Command number; default: the time in ms");
  command->add_option("--expires", options->expires_minutes, "Minutes until the command expires")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--wait", options->wait_s, "Seconds to wait for the answer")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print the answer as JSON");
  command->callback([options, &exit_code] { SendCommand(*options, exit_code); });
}

}  // namespace dipper::cli
