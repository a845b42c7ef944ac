// dipper command: signs a command, sends it to a device and waits for its answer (docs/reference/topics.md).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "agent/base/number.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

struct CommandOptions {
  MqttOptions mqtt;
  std::string name;
  std::string device;
  std::string model;  ///< Empty: main, or the device itself.
  std::vector<std::string> command_keys;
  std::string root;
  std::string document;  ///< A finished command to send instead of making one.
  std::string out;       ///< Where to write it instead of sending.
  std::vector<std::string> arguments;
  uint64_t number = 0;
  double expires_minutes = 60;
  double wait_s = 10;
  bool yes = false;
  bool force = false;
  bool json = false;
};

constexpr const char* kWipe = "wipe";

/// The only command that is about the whole device, and the only one that nothing brings back.
void CheckWipe(CommandOptions* options) {
  if (options->name != kWipe) {
    if (options->model.empty()) options->model = telemetry::kMainModel;
    return;
  }
  if (!options->model.empty())
    throw Error(ExitCode::kUsage, "wipe is of the whole device, with every model: leave --model away");
  if (options->yes) return;
  throw Error(ExitCode::kNeedsConfirmation,
              fmt::format("wipe erases for good what {} has learned and holds: models, images, recordings, "
                          "log, backlog; say so with --yes",
                          options->device));
}

using Arguments = std::vector<std::pair<std::string, std::string>>;

/// What commands take; a device passes over what it does not know, and says no more than bad_format of the
/// rest.
struct KnownArgument {
  std::string_view command, key, what;
  bool required;
  bool (*good)(const std::string& value);
};
constexpr uint64_t kMostPredictions = 100'000;  // docs/reference/topics.md
const KnownArgument kArguments[] = {
    {"predictions", "count", "how many predictions, 0 to 100000; without it 1", false,
     [](const std::string& value) {
       const auto count = base::ParseUint(value);
       return count.ok() && *count <= kMostPredictions;
     }},
    {"override_denied", "package", "the digest of the denied package, 64 hex digits", true,
     [](const std::string& value) { return base::DigestFromHex(value).ok(); }},
};

/// Throws unless the device would understand them.
void CheckArguments(const std::string& command, const Arguments& arguments) {
  const KnownArgument* known = std::ranges::find(kArguments, command, &KnownArgument::command);
  const std::string takes = known == std::end(kArguments) ? command + " takes no --arg"
                                                          : fmt::format("{} takes --arg {}=VALUE: {}",
                                                                        command, known->key, known->what);
  bool given = false;
  for (const auto& [key, value] : arguments) {
    if (known == std::end(kArguments) || key != known->key)
      throw Error(ExitCode::kUsage, fmt::format("--arg {} is unknown: {}", key, takes));
    if (given) throw Error(ExitCode::kUsage, fmt::format("--arg {} is given twice: {}", key, takes));
    if (!known->good(value))
      throw Error(ExitCode::kUsage, fmt::format("--arg {}={} cannot be read: {}", key, value, takes));
    given = true;
  }
  if (known != std::end(kArguments) && known->required && !given)
    throw Error(ExitCode::kUsage, fmt::format("--arg {} is missing: {}", known->key, takes));
}

package::Bytes MakeCommand(const CommandOptions& options, uint64_t number) {
  CommandParts parts{.fleet = options.mqtt.fleet,
                     .device = options.device,
                     .model = options.model,
                     .number = number,
                     .issued = static_cast<int64_t>(NowMs() / 1000),
                     .expires_minutes = options.expires_minutes,
                     .name = options.name,
                     .arguments = {}};
  for (const std::string& text : options.arguments) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(ExitCode::kUsage, "--arg takes KEY=VALUE, not " + text);
    parts.arguments.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  CheckArguments(options.name, parts.arguments);
  return MakeSignedCommand(parts, options.command_keys);
}

/// The root, if one was given: it tells the role's epoch, and what devices would refuse.
std::optional<package::TrustRoot> RootOf(const CommandOptions& options) {
  if (options.root.empty()) return std::nullopt;
  return LoadRoot(options.root);
}

uint64_t NextNumber(const CommandOptions& options, const std::optional<package::TrustRoot>& root) {
  if (options.number != 0) return options.number;
  return package::NumberInEpoch(root ? root->epoch(schema::RoleName::Command) : 0, NowMs());
}

/// Throws when devices with this root would refuse the command. Its number.
uint64_t CheckCommand(const CommandOptions& options, const std::optional<package::TrustRoot>& root,
                      const package::Bytes& command) {
  package::CommandFacts facts;
  const schema::Reason reason = package::InspectCommand(command, &facts);
  if (reason == schema::Reason::None && root)
    facts = CheckCommandFor(*root, command, options.mqtt.fleet, options.device);
  if (reason == schema::Reason::None && facts.name.view() != options.name) {
    throw Error(ExitCode::kUsage, fmt::format("{} is a command {}, not {}; nothing was sent",
                                              options.document, facts.name.view(), options.name));
  }
  if (reason == schema::Reason::None) return facts.number;
  throw Error(ExitCode::kVerificationFailed,
              fmt::format("{} would refuse this command: {}", options.device, DocumentReasonText(reason)));
}

// The device's answer, kept beyond the event.
struct Answer {
  bool came = false;
  std::string distrust;  ///< Why it refused some command meanwhile that it could not verify; empty: none.
  schema::CommandStatus status = schema::CommandStatus::Done;
  std::string reason;
  std::string detail;
  std::string json;
};

void ReadAnswer(base::ByteView payload, uint64_t number, Answer* answer) {
  const auto decoded = telemetry::Decode<schema::CommandResponse>(payload);
  if (!decoded.ok()) return;
  const schema::CommandResponse& response = *decoded.value();
  // Nothing of a document that cannot be verified is looked at, so such an answer names none.
  if (response.number() == 0 && response.status() == schema::CommandStatus::Refused)
    answer->distrust = telemetry::WordOf(response.reason()).view();
  if (response.number() != number) return;
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
  const std::optional<package::TrustRoot> root = RootOf(options);
  package::Bytes command;
  if (!options.document.empty()) {
    command = lab::ReadFile(options.document, package::kMaxDocumentBytes);
  } else {
    if (options.command_keys.empty() && options.out.empty())
      throw Error(ExitCode::kUsage, "give --command-key, or a signed command with --document");
    command = MakeCommand(options, NextNumber(options, root));
  }
  if (!options.out.empty()) {
    OutputFile output{.path = options.out,
                      .kind = FileKind::kCommand,
                      .force = options.force,
                      .inputs = options.command_keys};
    output.inputs.insert(output.inputs.end(), {options.root, options.document});
    WriteOutput(output, command);
    Note(fmt::format("wrote {}; others sign it with `dipper document sign`, then send it with --document",
                     options.out));
    return;
  }
  const uint64_t number = CheckCommand(options, root, command);
  if (options.mqtt.broker.empty()) throw Error(ExitCode::kUsage, "give --broker, or --out");
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
  if (!answer.came && !answer.distrust.empty()) {
    throw Error(ExitCode::kUnreachable,
                fmt::format("{} did not answer command {} within {} s, but refused one that it could not "
                            "verify ({}): is it signed by enough keys of the command role of its root?",
                            options.device, number, options.wait_s, answer.distrust));
  }
  if (!answer.came) {
    throw Error(
        ExitCode::kUnreachable,
        fmt::format(
            "{} did not answer command {} within {} s{}. The broker keeps the command for it until it "
            "expires",
            options.device, number, options.wait_s, SilenceText(options.mqtt.fleet, root.has_value())));
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
      ->add_option("name", options->name,
                   "fall_back, undo, freeze, unfreeze, checkpoint, override_denied, predictions, "
                   "uncertain_samples or wipe")
      ->required()
      ->check(CLI::IsMember({"fall_back", "undo", "freeze", "unfreeze", "checkpoint", "override_denied",
                             "predictions", "uncertain_samples", kWipe}));
  AddMqttOptions(*command, options->mqtt);
  command->get_option("--broker")->required(false);  // --out needs none
  command->add_option("--device", options->device, "Device id")->required();
  command->add_option("--model", options->model, "Model id (main); wipe takes none");
  command->add_option("--command-key", options->command_keys,
                      fmt::format("Key of the command role: {}; again for more", kKeyHelp));
  command->add_option("--root", options->root,
                      "Trust root that the device has: for the epoch of command numbers, and to check first");
  auto* document =
      command->add_option("--document", options->document, "Send this signed command instead of making one");
  command
      ->add_option("--out", options->out,
                   "Write the command, for others to sign (`dipper document sign`), and send nothing")
      ->excludes(document);
  command->add_flag("--force", options->force, std::string("Of --out: ") + kForceHelp);
  command->add_option("--arg", options->arguments,
                      "KEY=VALUE: package=DIGEST of override_denied, count=N of predictions");
  command->add_option("--number", options->number, "Command number; default: the time in ms");
  command->add_option("--expires", options->expires_minutes, "Minutes until the command expires")
      ->check(AboveZero())
      ->capture_default_str();
  command->add_option("--wait", options->wait_s, "Seconds to wait for the answer")
      ->check(NotNegative())
      ->capture_default_str();
  command->add_flag("--yes", options->yes, "Of wipe: erase for good");
  command->add_flag("--json", options->json, "Print the answer as JSON");
  command->callback([options, &exit_code] {
    CheckWipe(options.get());
    SendCommand(*options, exit_code);
  });
}

}  // namespace dipper::cli
