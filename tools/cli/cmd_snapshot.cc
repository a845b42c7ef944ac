// dipper snapshot: fetches a device's learned image, or its flight recording, by a signed command.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "agent/base/sha256.h"
#include "agent/runtime/snapshot.h"
#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/cli/signing.h"
#include "tools/cli/snapshot_file.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

struct FetchOptions {
  MqttOptions mqtt;
  std::string device, model = "main", root, out;
  std::vector<std::string> command_keys;
  bool recording = false, json = false;
  uint64_t number = 0;
  double expires_minutes = 60, silence_s = 30;
};

/// The blocks of one file, as they come: in any order, some of them twice.
class Arrival {
 public:
  explicit Arrival(const FetchOptions& options, uint64_t number) : options_(options), number_(number) {}

  void OnMessage(const telemetry::TransportEvent& event) {
    const std::string_view topic = event.topic;
    if (topic.ends_with("/rsp")) {
      OnAnswer(event.payload);
      return;
    }
    const size_t block_at = topic.rfind('/');
    const size_t digest_at = block_at == std::string_view::npos ? block_at : topic.rfind('/', block_at - 1);
    if (digest_at == std::string_view::npos) return;
    const auto digest = base::DigestFromHex(topic.substr(digest_at + 1, block_at - digest_at - 1));
    const auto block = runtime::DecodeSnapshotBlock(event.payload);
    if (!digest.ok() || !block.ok()) return;
    // Of another fetch, or of one that was cut off before: ours begins after the answer.
    File& file = files_[std::string(base::ToHex(*digest).view())];
    file.digest = *digest;
    file.total = block->total_bytes;
    file.blocks[block->index].assign(block->bytes.begin(), block->bytes.end());
    ++arrived_;
  }
  bool refused() const { return answered_ && !refusal_.empty(); }
  const std::string& refusal() const { return refusal_; }
  bool answered() const { return answered_; }
  uint64_t arrived() const { return arrived_; }

  /// The first file that is whole; empty: none yet.
  std::vector<uint8_t> Whole(std::string* digest) const {
    for (const auto& [name, file] : files_) {
      const uint64_t count = (file.total + runtime::kSnapshotBlockBytes - 1) / runtime::kSnapshotBlockBytes;
      if (file.blocks.size() != count) continue;
      std::vector<uint8_t> bytes;
      for (const auto& [index, part] : file.blocks) bytes.insert(bytes.end(), part.begin(), part.end());
      if (bytes.size() != file.total || base::Sha256Of(bytes) != file.digest) continue;
      *digest = name;
      return bytes;
    }
    return {};
  }

 private:
  struct File {
    base::Digest digest;
    uint64_t total = 0;
    std::map<uint32_t, std::vector<uint8_t>> blocks;
  };
  void OnAnswer(base::ByteView payload) {
    const auto decoded = telemetry::Decode<schema::CommandResponse>(payload);
    if (!decoded.ok() || decoded.value()->number() != number_) return;
    answered_ = true;
    if (decoded.value()->status() == schema::CommandStatus::Done) return;
    refusal_ = telemetry::WordOf(decoded.value()->reason()).view();
  }

  const FetchOptions& options_;
  uint64_t number_;
  bool answered_ = false;
  std::string refusal_;
  uint64_t arrived_ = 0;
  std::map<std::string, File> files_;
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

void Fetch(const FetchOptions& options) {
  if (!telemetry::IsNodeId(options.device) || !telemetry::IsTopicId(options.model)) {
    throw Error(ExitCode::kUsage, "--device and --model take 1 to 64 of A-Z a-z 0-9 _ -");
  }
  const uint32_t epoch = options.root.empty() ? 0 : LoadRoot(options.root).epoch(schema::RoleName::Command);
  const uint64_t number = options.number != 0 ? options.number : package::NumberInEpoch(epoch, NowMs());
  const package::Bytes command = MakeCommand(options, number);
  MqttClient client(options.mqtt);
  client.SetPatient(true);
  Arrival arrival(options, number);
  client.SetOnMessage([&](const telemetry::TransportEvent& event) { arrival.OnMessage(event); });
  const telemetry::DeviceTopics topics(options.mqtt.fleet, options.device);
  client.Subscribe(std::string(topics.Of(telemetry::TopicKind::kResponse).view()));
  client.Subscribe(
      std::string(runtime::SnapshotFilter(options.mqtt.fleet, options.device, options.model).view()));
  client.Publish(topics.Of(telemetry::TopicKind::kCommand).view(), command, false);
  client.WaitForPublications();
  const auto silence = std::chrono::milliseconds(static_cast<int64_t>(options.silence_s * 1000));
  std::string digest;
  std::vector<uint8_t> bytes;
  while (bytes.empty()) {
    const uint64_t before = arrival.arrived();
    const bool had_answer = arrival.answered();
    client.Run(silence, [&] {
      if (arrival.refused()) return true;
      bytes = arrival.Whole(&digest);
      return !bytes.empty() || arrival.arrived() != before || arrival.answered() != had_answer;
    });
    if (arrival.refused()) throw Error(ExitCode::kFailure, RefusalText(options, arrival.refusal()));
    if (bytes.empty() && arrival.arrived() == before && arrival.answered() == had_answer) {
      throw Error(ExitCode::kUnreachable,
                  arrival.answered() || before != 0
                      ? fmt::format("nothing came from {} for {} s after {} blocks; fetch it again",
                                    options.device, options.silence_s, before)
                      : fmt::format("{} did not answer within {} s", options.device, options.silence_s));
    }
  }
  lab::Recording file(bytes, options.out);  // it is what it says, or throws
  lab::WriteFile(options.out, bytes);
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
    out["package"] = std::string(base::ToHex(model.package).view());
    out["name"] = model.name.view();
    out["version"] = model.version.view();
    out["image"] = std::string(base::ToHex(model.image).view());
    out["taken"] = TimeText(newest.about.wall_ns / 1'000'000'000);
    out["agent_version"] = newest.about.agent_version.view();
    PrintJson(out);
    return;
  }
  fmt::print("{}\n", digest);
  Note(fmt::format("wrote {}: {} of {} {} on {}, package {}, {}, taken {}", options.out,
                   options.recording ? "recording" : "image", model.name.view(), model.version.view(),
                   options.device, base::ToHex(model.package).brief(), ByteText(bytes.size()),
                   TimeText(newest.about.wall_ns / 1'000'000'000)));
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
  fetch->add_option("--root", options->root, "Trust root that the device has, for the epoch of numbers");
  fetch->add_flag("--recording", options->recording, "The flight recorder's file, instead of the image");
  fetch->add_option("--out", options->out, "File to write")->required();
  fetch->add_option("--number", options->number, "Command number; default: the time in ms");
  fetch->add_option("--expires", options->expires_minutes, "Minutes until the command expires")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fetch->add_option("--silence", options->silence_s, "Seconds without a block after which it is given up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fetch->add_flag("--json", options->json, "Print JSON");
  fetch->callback([options] { Fetch(*options); });
}

}  // namespace dipper::cli
