// dipper snapshot: fetches a device's learned image, or its flight recording, by a signed command.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "agent/base/sha256.h"
#include "agent/base/time.h"
#include "agent/runtime/recording/snapshot.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/signing.h"
#include "tools/cli/snapshot_arrival.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/recording.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

struct FetchOptions {
  MqttOptions mqtt;
  std::string device, model = "main", root, out;
  std::vector<std::string> command_keys;
  bool recording = false, json = false, force = false;
  uint64_t number = 0;
  double expires_minutes = 60, silence_s = 30;
  uint32_t asks = 3;
};

package::Bytes MakeCommand(const FetchOptions& options, uint64_t number) {
  return MakeSignedCommand({.fleet = options.mqtt.fleet,
                            .device = options.device,
                            .model = options.model,
                            .number = number,
                            .issued = static_cast<int64_t>(NowMs() / 1000),
                            .expires_minutes = options.expires_minutes,
                            .name = "snapshot",
                            .arguments = {{"what", options.recording ? "recording" : "image"}}},
                           options.command_keys);
}

std::string RefusalText(const FetchOptions& options, const std::string& reason) {
  const std::string what = options.recording ? "recording" : "image";
  if (reason == "not_allowed") {
    return fmt::format("{} does not let its {} leave: its configuration must say [snapshot] {} = true",
                       options.device, what, options.recording ? "upload_recording" : "upload");
  }
  if (reason == "no_model") {
    return options.recording
               ? fmt::format("{} has recorded nothing: set recorder.bytes there", options.device)
               : fmt::format("no model serves on {}", options.device);
  }
  if (reason == "busy") return fmt::format("{} is sending one already; try again later", options.device);
  return fmt::format("{} refused: {}", options.device, reason);
}

/// Asks, and asks again when nothing comes any more: what a broker that was restarted, or a device that was,
/// lost half way is sent anew.
class Fetcher {
 public:
  explicit Fetcher(const FetchOptions& options)
      : options_(options),
        root_(options.root.empty() ? std::nullopt : std::optional(LoadRoot(options.root))),
        client_(options.mqtt) {
    client_.SetPatient(true);
    client_.SetOnMessage([&](const telemetry::TransportEvent& event) { arrival_.OnMessage(event); });
    client_.Subscribe(std::string(topics_.Of(telemetry::TopicKind::kResponse).view()));
    client_.Subscribe(
        std::string(runtime::SnapshotFilter(options.mqtt.fleet, options.device, options.model).view()));
  }

  /// The whole file. Throws: refused (1), nothing came (6).
  std::vector<uint8_t> Fetch(std::string* digest) {
    while (asks_ < options_.asks) {
      Ask();
      std::vector<uint8_t> bytes = Wait(digest);
      if (!bytes.empty()) return bytes;
      if (asks_ == options_.asks) break;
      Note(fmt::format("nothing came for {} s, {} blocks so far: asking {} again", options_.silence_s,
                       arrival_.arrived(), options_.device));
    }
    throw Error(ExitCode::kUnreachable,
                ever_answered_ || arrival_.arrived() != 0
                    ? fmt::format("nothing came from {} for {} s after {} blocks; fetch it again",
                                  options_.device, options_.silence_s, arrival_.arrived())
                    : fmt::format("{} did not answer within {} s{}", options_.device, options_.silence_s,
                                  SilenceText(options_.mqtt.fleet, root_.has_value())));
  }

 private:
  void Ask() {
    const uint32_t epoch = root_ ? root_->epoch(schema::RoleName::Command) : 0;
    const uint64_t number =
        options_.number != 0 ? options_.number + asks_ : package::NumberInEpoch(epoch, NowMs());
    const package::Bytes command = MakeCommand(options_, number);
    if (root_) CheckCommandFor(*root_, command, options_.mqtt.fleet, options_.device);
    arrival_.Ask(number);
    client_.Publish(topics_.Of(telemetry::TopicKind::kCommand).view(), command, false);
    client_.WaitForPublications();
    ++asks_;
  }
  /// Of the first command's own answer only; asked again it may well be busy with the first.
  bool Refused() const { return arrival_.refused() && (asks_ == 1 || arrival_.refusal() != "busy"); }
  /// Empty: nothing came for the time of silence.
  std::vector<uint8_t> Wait(std::string* digest) {
    const auto silence = std::chrono::milliseconds(static_cast<int64_t>(options_.silence_s * 1000));
    while (true) {
      const uint64_t before = arrival_.arrived();
      const bool had_answer = arrival_.answered();
      std::vector<uint8_t> bytes;
      client_.Run(silence, [&] {
        if (Refused()) return true;
        bytes = arrival_.Whole(digest);
        return !bytes.empty() || arrival_.arrived() != before || arrival_.answered() != had_answer;
      });
      ever_answered_ = ever_answered_ || arrival_.answered();
      if (Refused()) throw Error(ExitCode::kFailure, RefusalText(options_, arrival_.refusal()));
      const bool silent = arrival_.arrived() == before && arrival_.answered() == had_answer;
      if (!bytes.empty() || silent) return bytes;
    }
  }

  const FetchOptions& options_;
  const std::optional<package::TrustRoot> root_;
  MqttClient client_;
  SnapshotArrival arrival_;
  const telemetry::DeviceTopics topics_{options_.mqtt.fleet, options_.device};
  uint32_t asks_ = 0;
  bool ever_answered_ = false;
};

void Fetch(const FetchOptions& options) {
  if (!telemetry::IsNodeId(options.device) || !telemetry::IsTopicId(options.model)) {
    throw Error(ExitCode::kUsage, "--device and --model take 1 to 64 of A-Z a-z 0-9 _ -");
  }
  // Samples are in a recording, and what was learned from them in an image: nobody else may read it.
  OutputFile output{.path = options.out,
                    .kind = FileKind::kRecording,
                    .force = options.force,
                    .inputs = options.command_keys,
                    .secret = true};
  output.inputs.insert(output.inputs.end(), {options.root, options.mqtt.ca, options.mqtt.cert,
                                             options.mqtt.key, options.mqtt.password_file});
  CheckOutput(output);
  Fetcher fetcher(options);
  std::string digest;
  const std::vector<uint8_t> bytes = fetcher.Fetch(&digest);
  lab::Recording file(bytes, options.out);  // it is what it says, or throws
  WriteOutput(output, bytes);
  const lab::RecordedSegment& newest = file.segments().back();
  const runtime::RecordedModel& model = newest.about.lanes[0];
  if (options.json) {
    Json out;
    out["file"] = options.out;
    out["digest"] = digest;
    out["bytes"] = bytes.size();
    out["kind"] = options.recording ? "recording" : "image";
    out["device"] = options.device;
    out["model"] = newest.head.ring.view();
    out["package"] = HexText(model.package);
    out["name"] = model.name.view();
    out["version"] = model.version.view();
    out["image"] = HexText(model.image);
    out["taken"] = TimeText(newest.about.wall_ns / base::kSecondNs);
    out["agent_version"] = newest.about.agent_version.view();
    PrintJson(out);
    return;
  }
  fmt::print("{}\n", digest);
  Note(fmt::format("wrote {}: {} of {} {} on {}, package {}, {}, taken {}", options.out,
                   options.recording ? "recording" : "image", model.name.view(), model.version.view(),
                   options.device, base::ToHex(model.package).brief(), ByteText(bytes.size()),
                   TimeText(newest.about.wall_ns / base::kSecondNs)));
}

}  // namespace

void RegisterSnapshot(CLI::App& app, int&) {
  CLI::App* snapshot = app.add_subcommand("snapshot", "Fetch what a device has learned, or recorded");
  snapshot->require_subcommand(1);
  const auto options = std::make_shared<FetchOptions>();
  CLI::App* fetch = snapshot->add_subcommand("fetch", "Ask a device for it, signed, and write a file");
  AddMqttOptions(*fetch, options->mqtt);
  fetch->add_option("--device", options->device, "Device id")->required();
  fetch->add_option("--model", options->model, "Model id")->capture_default_str();
  fetch
      ->add_option("--command-key", options->command_keys,
                   fmt::format("Key of the command role: {}", kKeyHelp))
      ->required();
  fetch->add_option(
      "--root", options->root,
      "Trust root that the device has: for the epoch of numbers, and to check the command first");
  fetch->add_flag("--recording", options->recording, "The flight recorder's file, instead of the image");
  fetch->add_option("--out", options->out, "File to write (mode 0600)")->required();
  fetch->add_flag("--force", options->force, kForceHelp);
  fetch->add_option("--number", options->number, "Command number; default: the time in ms");
  fetch->add_option("--expires", options->expires_minutes, "Minutes until the command expires")
      ->check(AboveZero())
      ->capture_default_str();
  fetch
      ->add_option("--silence", options->silence_s,
                   "Seconds without a block after which the device is asked again")
      ->check(AboveZero())
      ->capture_default_str();
  fetch->add_option("--asks", options->asks, "How often it is asked before it is given up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  fetch->add_flag("--json", options->json, "Print JSON");
  fetch->callback([options] { Fetch(*options); });
}

}  // namespace dipper::cli
