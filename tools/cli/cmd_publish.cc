// dipper publish: puts a package's head and blocks on the broker as retained messages, then the signed offer
// (docs/reference/topics.md).
#include <fmt/format.h>

#include <algorithm>
#include <memory>

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
using schema::Reason;
using telemetry::Topic;

struct PublishOptions {
  MqttOptions mqtt;
  std::string file;
  std::string root;
  std::vector<std::string> to;
  std::vector<std::string> rollout_keys;
  std::string rollout;
  uint64_t number = 0;
  double expires_hours = 168;
  uint32_t spread_seconds = 0;
  bool override_denied = false;
  bool cancel = false;
  bool no_verify = false;
  bool json = false;
};

// Who is meant, and on which topics that is said.
struct Target {
  schema::TargetScope scope = schema::TargetScope::Fleet;
  std::vector<std::string> names;
};

Target ParseTarget(const std::vector<std::string>& to) {
  Target target;
  for (const std::string& text : to) {
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon);
    const std::string name = colon == std::string::npos ? "" : text.substr(colon + 1);
    const auto scope =
        kind == "fleet"   ? schema::TargetScope::Fleet
        : kind == "group" ? schema::TargetScope::Group
        : kind == "device"
            ? schema::TargetScope::List
            : throw Error(ExitCode::kUsage, "--to takes fleet, group:NAME or device:ID, not " + text);
    if (&text != to.data() && scope != target.scope) {
      throw Error(ExitCode::kUsage,
                  "one offer goes to the fleet, to groups or to devices; publish once for each kind");
    }
    target.scope = scope;
    if (scope == schema::TargetScope::Fleet) {
      if (!name.empty())
        throw Error(ExitCode::kUsage, "--to fleet takes no name; the fleet's name is --fleet");
      continue;
    }
    if (!telemetry::IsNodeId(name)) {
      throw Error(ExitCode::kUsage,
                  fmt::format("\"{}\" is not a device or group; use 1 to 64 of A-Z a-z 0-9 _ -", name));
    }
    target.names.push_back(name);
  }
  return target;
}

std::vector<std::string> OfferTopics(const std::string& fleet, const Target& target) {
  if (target.scope == schema::TargetScope::Fleet) {
    return {std::string(telemetry::OfferTopic(fleet, telemetry::kEverybody).view())};
  }
  std::vector<std::string> topics;
  for (const std::string& name : target.names) topics.emplace_back(telemetry::OfferTopic(fleet, name).view());
  return topics;
}

void Verify(PackageFile& file, const package::TrustRoot& root, bool no_verify) {
  const Reason reason = file.Verify(root);
  if (reason == Reason::None) return;
  const std::string what = fmt::format("{}: {}: {}", file.path(), ReasonName(reason), ReasonText(reason));
  if (!no_verify) {
    throw Error(ExitCode::kVerificationFailed,
                what + "; devices would refuse it (--no-verify publishes it all the same)");
  }
  Warn(what + "; published because of --no-verify");
}

// The number after the offers that the topics hold now, and not before the present time.
uint64_t NextNumber(MqttClient& client, const std::string& fleet, const std::vector<std::string>& topics,
                    const package::TrustRoot& root) {
  uint64_t number = NowMs();
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    package::OfferFacts facts;
    // Only a number that the rollout role has signed counts; who it was for and when does not matter.
    const Reason reason = package::VerifyOffer(event.payload, root, {fleet, "", {}}, {}, &facts);
    if (reason == Reason::None || reason == Reason::WrongTarget || reason == Reason::Expired ||
        reason == Reason::NotYetValid) {
      number = std::max(number, facts.number + 1);
    }
  });
  for (const std::string& topic : topics) client.Subscribe(topic);
  client.Run(std::chrono::milliseconds(300));  // retained messages follow the broker's answer
  client.SetOnMessage({});
  return number;
}

package::Bytes MakeOffer(const PublishOptions& options, const Target& target, const PackageFile& file,
                         uint64_t number, const std::vector<package::PrivateKey>& keys) {
  const package::Header& header = file.manifest().header();
  schema::OfferT offer;
  offer.fleet = options.mqtt.fleet;
  offer.target = std::make_unique<schema::DeviceTargetT>();
  offer.target->scope = target.scope;
  offer.target->names = target.names;
  offer.model = file.manifest().model();
  offer.rollout = options.rollout.empty() ? fmt::format("r{}", number) : options.rollout;
  offer.number = number;
  offer.issued = static_cast<int64_t>(NowMs() / 1000);
  offer.not_before = offer.issued;
  offer.not_after = offer.issued + static_cast<int64_t>(options.expires_hours * 3600);
  offer.package = std::make_unique<schema::Sha256>(package::ToSchema(file.manifest().package_digest()));
  offer.package_bytes = header.package_bytes();
  offer.head_bytes = static_cast<uint32_t>(header.head_bytes());
  offer.image_bytes = header.image_bytes;
  offer.spread_seconds = options.spread_seconds;
  offer.override_denied = options.override_denied;
  offer.cancel = options.cancel;
  const auto bytes = package::BuildOffer(offer, keys);
  if (!bytes.ok()) {
    throw Error(ExitCode::kUsage,
                "no offer was made: a device would refuse it; check --expires, --rollout and the names");
  }
  return *bytes;
}

// Head and blocks, each acknowledged.
void PublishPackage(MqttClient& client, const std::string& fleet, const PackageFile& file) {
  const package::Manifest& manifest = file.manifest();
  const base::ByteView bytes(file.bytes());
  Progress progress("publishing", manifest.block_count() + uint64_t{1});
  client.SetOnProgress([&](uint64_t done) { progress.Update(done); });
  for (uint32_t i = 0; i < manifest.block_count(); ++i) {
    const package::BlockInfo block = manifest.block(i);
    const Topic topic = telemetry::BlockTopic(fleet, manifest.package_digest(), i);
    client.Publish(topic.view(), bytes.subspan(block.package_offset, block.stored_bytes), true);
  }
  // Last, so that a device that has the manifest finds all blocks.
  const Topic topic = telemetry::ManifestTopic(fleet, manifest.package_digest());
  client.Publish(topic.view(), bytes.first(manifest.header().head_bytes()), true);
  client.WaitForPublications();
  client.SetOnProgress({});
}

void Publish(const PublishOptions& options) {
  const Target target = ParseTarget(options.to);
  const package::TrustRoot root = LoadRoot(options.root);
  PackageFile file(options.file);
  Verify(file, root, options.no_verify);
  std::vector<package::PrivateKey> keys;
  for (const std::string& path : options.rollout_keys) keys.push_back(LoadPrivateKey(path));
  const std::vector<std::string> topics = OfferTopics(options.mqtt.fleet, target);

  MqttClient client(options.mqtt);
  if (!options.cancel) PublishPackage(client, options.mqtt.fleet, file);
  const uint64_t number =
      options.number != 0 ? options.number : NextNumber(client, options.mqtt.fleet, topics, root);
  const package::Bytes offer = MakeOffer(options, target, file, number, keys);
  for (const std::string& topic : topics) client.Publish(topic, offer, true);
  client.WaitForPublications();

  const std::string digest(base::ToHex(file.manifest().package_digest()).view());
  if (options.json) {
    Json out;
    out["package"] = digest;
    out["model"] = std::string(file.manifest().model());
    out["name"] = std::string(file.manifest().name());
    out["version"] = std::string(file.manifest().version());
    out["number"] = number;
    out["blocks"] = file.manifest().block_count();
    out["package_bytes"] = file.manifest().header().package_bytes();
    out["cancel"] = options.cancel;
    out["topics"] = topics;
    PrintJson(out);
    return;
  }
  fmt::print("{} {} {} ({}), offer {}, to {}\n", options.cancel ? "cancelled" : "published",
             file.manifest().name(), file.manifest().version(), digest.substr(0, 12), number,
             fmt::join(options.to, " "));
}

}  // namespace

void RegisterPublish(CLI::App& app, int&) {
  const auto options = std::make_shared<PublishOptions>();
  CLI::App* command = app.add_subcommand("publish", "Put a package on the broker and offer it to devices");
  command->add_option("package", options->file, "Signed package (.dpkg)")->required();
  AddMqttOptions(*command, options->mqtt);
  command->add_option("--root", options->root, "Trust root that the devices have")->required();
  command->add_option("--to", options->to, "fleet, group:NAME or device:ID; again for more of one kind")
      ->required();
  command
      ->add_option("--rollout-key", options->rollout_keys, "Private key of the rollout role; again for more")
      ->required();
  command->add_option("--rollout", options->rollout, "Name of the rollout; default: r and the number");
  command->add_option("--number", options->number,
                      "Offer number; default: the time in ms, above the offer that stands");
  command->add_option("--expires", options->expires_hours, "Hours until the offer expires")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--spread", options->spread_seconds, "Seconds over which devices spread their start")
      ->capture_default_str();
  command->add_flag("--override-denied", options->override_denied,
                    "Try a package again that devices have denied");
  command->add_flag("--cancel", options->cancel,
                    "Withdraw the package from devices that have not confirmed it");
  command->add_flag("--no-verify", options->no_verify,
                    "Publish what the devices would refuse, to see them refuse it");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { Publish(*options); });
}

}  // namespace dipper::cli
