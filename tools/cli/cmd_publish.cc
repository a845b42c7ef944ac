// dipper publish: puts a package's head and blocks on the broker as retained messages, then the signed offer
// (docs/reference/topics.md).
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "agent/telemetry/topics.h"
#include "tools/cli/command.h"
#include "tools/cli/mqtt_client.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/retained_package.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"

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
  std::string offer;      ///< A finished offer to publish instead of making one.
  std::string offer_out;  ///< Where to write the offer instead of publishing.
  std::string rollout;
  uint64_t number = 0;
  double expires_hours = 168;
  uint32_t spread_seconds = 0;
  bool override_denied = false;
  bool cancel = false;
  bool no_verify = false;
  bool force = false;
  bool json = false;
  bool clear = false;
  double keep_hours = 0;
  std::string until_devices;  ///< File of the devices whose end --keep waits for,
  uint64_t until_count = 0;   ///< or how many.
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

std::vector<std::string> OfferTopics(const std::string& fleet, const Target& target, std::string_view model) {
  if (target.scope == schema::TargetScope::Fleet) {
    return {std::string(telemetry::OfferTopic(fleet, telemetry::kEverybody, model).view())};
  }
  std::vector<std::string> topics;
  for (const std::string& name : target.names)
    topics.emplace_back(telemetry::OfferTopic(fleet, name, model).view());
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

/// The offer with the highest number that the topics hold.
struct Standing {
  std::string topic;
  package::OfferFacts facts;  ///< Number 0: there is none.
};

Standing StandingOffer(MqttClient& client, const std::string& fleet, const std::vector<std::string>& topics,
                       const package::TrustRoot& root) {
  Standing standing;
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    package::OfferFacts facts;
    // Only a number that the rollout role has signed counts; who it was for and when does not matter.
    const Reason reason = package::VerifyOffer(event.payload, root, {fleet, "", {}}, {}, &facts);
    const bool signed_well = reason == Reason::None || reason == Reason::WrongTarget ||
                             reason == Reason::Expired || reason == Reason::NotYetValid;
    if (signed_well && facts.number > standing.facts.number) standing = {std::string(event.topic), facts};
  });
  for (const std::string& topic : topics) client.Subscribe(topic);
  client.Run(std::chrono::milliseconds(300));  // retained messages follow the broker's answer
  client.SetOnMessage({});
  return standing;
}

/// Devices take offers in the order of their numbers: what is below the standing one, or another offer with
/// its number, does nothing.
void CheckNumber(const PublishOptions& options, const package::Bytes& offer, const Standing& standing) {
  package::OfferFacts facts;
  static_cast<void>(package::InspectOffer(offer, &facts));
  const bool again = facts.number == standing.facts.number && facts.package == standing.facts.package &&
                     facts.cancel == standing.facts.cancel;
  if (facts.number > standing.facts.number || again) return;
  const std::string what = fmt::format("devices would ignore offer {}: {} holds offer {} already",
                                       facts.number, standing.topic, standing.facts.number);
  if (!options.no_verify) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("{}; nothing was published. Make it with --number {} or above, or leave --number away",
                    what, standing.facts.number + 1));
  }
  Warn(what + "; published because of --no-verify");
}

package::Bytes MakeOffer(const PublishOptions& options, const Target& target, const PackageFile& file,
                         uint64_t number, const Signers& signers) {
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
  const auto bytes = package::DraftOffer(offer);
  if (!bytes.ok()) {
    throw Error(ExitCode::kUsage,
                "no offer was made: a device would refuse it; check --expires, --rollout and the names");
  }
  return SignDocument(*bytes, signers);
}

/// Throws unless devices with `root` take the offer when its time and target are right. Its number.
uint64_t CheckOffer(const PublishOptions& options, const PackageFile& file, const package::TrustRoot& root,
                    const package::Bytes& offer) {
  package::OfferFacts facts;
  const bool readable = package::InspectOffer(offer, &facts) == Reason::None;
  Reason reason = package::VerifyOffer(offer, root, {options.mqtt.fleet, "", {}}, {}, &facts);
  if (reason == Reason::BadFormat && readable) reason = Reason::UnknownKey;  // a draft without any signature
  if (reason == Reason::WrongTarget) {  // for somebody, who will then ask for the epoch
    const uint32_t epoch = package::EpochOfNumber(facts.number);
    const uint32_t current = root.epoch(schema::RoleName::Rollout);
    if (epoch != current) reason = epoch < current ? Reason::OldNumber : Reason::RootInvalid;
  }
  if (reason == Reason::None || reason == Reason::WrongTarget) {
    if (facts.package == file.manifest().package_digest()) return facts.number;
    throw Error(ExitCode::kVerificationFailed, fmt::format("{} offers package {}, not {}", options.offer,
                                                           base::ToHex(facts.package).brief(), options.file));
  }
  const std::string what = fmt::format("devices would refuse this offer: {}", DocumentReasonText(reason));
  if (!options.no_verify) throw Error(ExitCode::kVerificationFailed, what);
  Warn(what + "; published because of --no-verify");
  return facts.number;
}

/// Throws before anything is sent when these signers cannot make an offer that devices with `root` take.
void CheckSigners(const PublishOptions& options, const package::TrustRoot& root, const Signers& signers) {
  const package::RoleKeys& role = root.role(schema::RoleName::Rollout);
  size_t good = 0;
  for (const uint8_t index : role.keys) {
    good += std::ranges::any_of(
        signers, [&](const auto& signer) { return signer->public_key() == root.keys()[index]; });
  }
  if (good >= role.threshold) return;
  const std::string what = fmt::format(
      "devices would refuse this offer: {} of the {} needed --rollout-key are of the rollout role in {} "
      "(`dipper root "
      "show`)",
      good, role.threshold, options.root);
  if (!options.no_verify) throw Error(ExitCode::kVerificationFailed, what + "; nothing was published");
  Warn(what + "; published because of --no-verify");
}

/// Writes the offer instead of publishing it, for others to sign.
void WriteOffer(const PublishOptions& options, const Target& target, const PackageFile& file,
                const package::TrustRoot& root, const Signers& signers) {
  const uint64_t fresh = package::NumberInEpoch(root.epoch(schema::RoleName::Rollout), NowMs());
  const uint64_t number = options.number != 0 ? options.number : fresh;
  OutputFile output{.path = options.offer_out,
                    .kind = FileKind::kOffer,
                    .force = options.force,
                    .inputs = options.rollout_keys};
  output.inputs.insert(output.inputs.end(), {options.file, options.root, options.until_devices});
  WriteOutput(output, MakeOffer(options, target, file, number, signers));
  Note(
      fmt::format("wrote offer {} to {} with {} of {} signatures; add others with `dipper document sign`, "
                  "publish it with --offer",
                  number, options.offer_out, signers.size(), root.role(schema::RoleName::Rollout).threshold));
}

// Takes away the package and the offers of it.
void Clear(const PublishOptions& options, const PackageFile& file, const std::vector<std::string>& topics) {
  MqttClient client(options.mqtt);
  std::set<std::string> offers;
  client.SetOnMessage([&](const telemetry::TransportEvent& event) {
    package::OfferFacts facts;
    static_cast<void>(package::InspectOffer(event.payload, &facts));
    if (facts.package == file.manifest().package_digest()) offers.emplace(event.topic);
  });
  for (const std::string& topic : topics) client.Subscribe(topic);
  client.Run(std::chrono::milliseconds(300));  // retained messages follow the broker's answer
  client.SetOnMessage({});
  for (const std::string& topic : topics) client.Unsubscribe(topic);
  for (const std::string& topic : offers) client.Publish(topic, {}, true);
  RetainedPackage(client, options.mqtt.fleet, file).Clear();
  Note(fmt::format("cleared {} and {} offers of it; devices that lack blocks cannot fetch them any more",
                   file.path(), offers.size()));
}

/// One id a line; blank lines and those that begin with # say nothing.
std::vector<std::string> ReadDevices(const std::string& path) {
  constexpr uint64_t kMaxBytes = 16 << 20;
  const auto bytes = lab::ReadFile(path, kMaxBytes);
  std::istringstream lines(std::string(bytes.begin(), bytes.end()));
  std::set<std::string> devices;
  uint32_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::string id = line.substr(begin, line.find_last_not_of(" \t\r") + 1 - begin);
    if (!telemetry::IsNodeId(id)) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("{}:{}: \"{}\" is not a device; write one id a line, 1 to 64 of A-Z a-z 0-9 _ -", path,
                      number, id));
    }
    devices.insert(id);
  }
  if (devices.empty()) {
    throw Error(ExitCode::kUsage, fmt::format("{} names no device; write one id a line", path));
  }
  return {devices.begin(), devices.end()};
}

/// Who must have ended the offer before --keep clears.
KeepWatch WatchOf(const PublishOptions& options, const Target& target) {
  const bool asked = !options.until_devices.empty() || options.until_count > 0;
  if (asked && options.keep_hours <= 0) {
    throw Error(ExitCode::kUsage,
                "--until-devices and --until-count say how long --keep stays; give --keep too");
  }
  if (asked && target.scope == schema::TargetScope::List) {
    throw Error(
        ExitCode::kUsage,
        "--to device:ID says already whose end is waited for; leave --until-devices and --until-count "
        "to offers for the fleet or for groups");
  }
  KeepWatch watch{
      .fleet = options.mqtt.fleet, .model = {}, .number = 0, .devices = {}, .count = options.until_count};
  if (target.scope == schema::TargetScope::List) watch.devices = target.names;
  if (!options.until_devices.empty()) watch.devices = ReadDevices(options.until_devices);
  return watch;
}

/// "3 confirmed, 1 rejected".
std::string Ends(const KeepOutcome& outcome) {
  std::map<std::string, uint32_t> counts;
  for (const auto& [device, state] : outcome.ended) {
    ++counts[state == schema::UpdateState::Confirmed  ? "confirmed"
             : state == schema::UpdateState::FellBack ? "fell back"
             : state == schema::UpdateState::Rejected ? "rejected"
                                                      : "failed"];
  }
  std::vector<std::string> parts;
  parts.reserve(counts.size());
  for (const auto& [end, count] : counts) parts.push_back(fmt::format("{} {}", count, end));
  return parts.empty() ? "none has ended" : fmt::format("{}", fmt::join(parts, ", "));
}

// Looks after the package until the devices have ended its offer, then takes it away.
void Keep(const PublishOptions& options, const KeepWatch& watch, MqttClient& client, const PackageFile& file,
          const std::vector<std::string>& topics, const package::Bytes& offer) {
  RetainedPackage retained(client, options.mqtt.fleet, file);
  retained.AddOffer(topics, offer);
  const auto time = std::chrono::seconds(static_cast<int64_t>(options.keep_hours * 3600));
  const KeepOutcome outcome = KeepRetained(client, retained, watch, time, [](uint32_t count) {
    Note(fmt::format("restored {} messages that the broker had lost or that were not the package's", count));
  });
  if (outcome.complete) {
    retained.Clear();
    Note(fmt::format("every device has finished ({}); the package is off the broker", Ends(outcome)));
  } else if (watch.devices.empty() && watch.count == 0) {
    Note("the time is over; the package stays on the broker, `dipper publish --clear` takes it away");
  } else if (watch.devices.empty()) {
    throw Error(ExitCode::kThresholdBreached,
                fmt::format("{} of {} devices have finished ({}); the package stays on the broker",
                            outcome.ended.size(), watch.count, Ends(outcome)));
  } else {
    throw Error(ExitCode::kThresholdBreached,
                fmt::format("{} of {} devices have not finished: {}; the package stays on the broker",
                            outcome.missing.size(), outcome.missing.size() + outcome.ended.size(),
                            fmt::join(outcome.missing, " ")));
  }
}

void Publish(const PublishOptions& options) {
  const Target target = ParseTarget(options.to);
  KeepWatch watch = WatchOf(options, target);
  const package::TrustRoot root = LoadRoot(options.root);
  PackageFile file(options.file);
  if (options.clear) {
    if (options.mqtt.broker.empty()) throw Error(ExitCode::kUsage, "give --broker");
    Clear(options, file, OfferTopics(options.mqtt.fleet, target, file.manifest().model()));
    return;
  }
  Verify(file, root, options.no_verify);
  const Signers signers = OpenSigners(options.rollout_keys);
  if (!options.offer_out.empty()) {
    WriteOffer(options, target, file, root, signers);
    return;
  }
  package::Bytes offer;
  uint64_t number = options.number;
  if (!options.offer.empty()) {
    offer = lab::ReadFile(options.offer, package::kMaxDocumentBytes);
    number = CheckOffer(options, file, root, offer);
  } else if (signers.empty()) {
    throw Error(ExitCode::kUsage, "give --rollout-key, or a signed offer with --offer");
  } else {
    CheckSigners(options, root, signers);
  }
  const std::vector<std::string> topics = OfferTopics(options.mqtt.fleet, target, file.manifest().model());

  if (options.mqtt.broker.empty()) throw Error(ExitCode::kUsage, "give --broker, or --offer-out");
  MqttClient client(options.mqtt);
  const Standing standing = StandingOffer(client, options.mqtt.fleet, topics, root);
  // Whole and checked before the first block: nothing is left on the broker for an offer that is none.
  if (offer.empty()) {
    const uint64_t fresh = package::NumberInEpoch(root.epoch(schema::RoleName::Rollout), NowMs());
    if (number == 0) number = std::max(fresh, standing.facts.number + 1);
    offer = MakeOffer(options, target, file, number, signers);
    CheckOffer(options, file, root, offer);
  }
  CheckNumber(options, offer, standing);
  if (!options.cancel) RetainedPackage(client, options.mqtt.fleet, file).Publish();
  for (const std::string& topic : topics) client.Publish(topic, offer, true);
  client.WaitForPublications();

  const std::string digest = HexText(file.manifest().package_digest());
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
  } else {
    fmt::print("{} {} {} ({}), offer {}, to {}\n", options.cancel ? "cancelled" : "published",
               file.manifest().name(), file.manifest().version(), digest.substr(0, 12), number,
               fmt::join(options.to, " "));
  }
  std::fflush(stdout);  // what comes now may take long
  watch.model = std::string(file.manifest().model());
  watch.number = number;
  if (options.keep_hours > 0) Keep(options, watch, client, file, topics, offer);
}

}  // namespace

void RegisterPublish(CLI::App& app, int&) {
  const auto options = std::make_shared<PublishOptions>();
  CLI::App* command = app.add_subcommand("publish", "Put a package on the broker and offer it to devices");
  command->add_option("package", options->file, "Signed package (.dpkg)")->required();
  AddMqttOptions(*command, options->mqtt);
  command->get_option("--broker")->required(false);  // --offer-out needs none
  command->add_option("--root", options->root, "Trust root that the devices have")->required();
  command->add_option("--to", options->to, "fleet, group:NAME or device:ID; again for more of one kind")
      ->required();
  command->add_option("--rollout-key", options->rollout_keys,
                      fmt::format("Key of the rollout role: {}; again for more", kKeyHelp));
  auto* offer_in =
      command->add_option("--offer", options->offer, "Publish this signed offer instead of making one");
  command
      ->add_option("--offer-out", options->offer_out,
                   "Write the offer, for others to sign (`dipper document sign`), and publish nothing")
      ->excludes(offer_in);
  command->add_flag("--force", options->force, std::string("Of --offer-out: ") + kForceHelp);
  command->add_option("--rollout", options->rollout, "Name of the rollout; default: r and the number");
  command->add_option("--number", options->number,
                      "Offer number; default: the time in ms, above the offer that stands");
  command->add_option("--expires", options->expires_hours, "Hours until the offer expires")
      ->check(AboveZero())
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
  auto* keep =
      command->add_option("--keep", options->keep_hours,
                          "Hours to stay and restore what the broker loses, until every device of --to, "
                          "--until-devices or --until-count has ended the offer; then clear");
  keep->check(AboveZero());
  auto* until_devices = command->add_option(
      "--until-devices", options->until_devices,
      "With --keep and an offer to the fleet or a group: clear when the devices of this file "
      "(one id a line) have ended the offer");
  command
      ->add_option("--until-count", options->until_count,
                   "The same when so many devices have ended it, whichever")
      ->check(AboveZero())
      ->excludes(until_devices);
  command->add_flag("--clear", options->clear, "Take the package and its offers off the broker again")
      ->excludes(keep)
      ->excludes("--cancel");
  command->callback([options] { Publish(*options); });
}

}  // namespace dipper::cli
