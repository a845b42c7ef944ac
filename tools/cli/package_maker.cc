// Implementation of package_maker.h but for what runs the model (package_self_test.cc).
#include "tools/cli/package_maker.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "agent/base/number.h"
#include "agent/base/sha256.h"
#include "tools/cli/content_keys.h"
#include "tools/cli/snapshot_file.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"
#include "tools/lab/files.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::cli {
namespace {

using lab::Error;
using lab::ExitCode;

constexpr uint64_t kMaxDataBytes = uint64_t{4} << 30U;

// Vetoes that are asked for when nobody says otherwise: an alarm that is on for one sample in twenty more is
// a storm, and half of all answers on another side is another model. Where losses are compared, they know
// better than the distribution of answers what is an improvement.
constexpr double kAlarmExcess = 0.05;
constexpr double kInstalledShift = 0.5;

lab::ImageFile LoadImage(const PackageOptions& options, const schema::SpecT& spec,
                         base::ByteView spec_bytes) {
  if (options.fresh == !options.image.empty()) {
    throw Error(ExitCode::kUsage,
                "say which image the package carries: --image FILE.dimg from `dipper train`, or --fresh for "
                "one that has "
                "learned nothing");
  }
  if (options.fresh) return lab::FreshImage(spec);
  lab::ImageFile image = lab::ReadImageFile(options.image);
  if (image.spec_digest != base::Sha256Of(spec_bytes)) {
    throw Error(ExitCode::kVerificationFailed,
                fmt::format("{} was trained with another spec than {}; train it again with this one",
                            options.image, options.spec));
  }
  return image;
}

double LossBound(const PackageOptions& options, const schema::SpecT& spec) {
  if (options.loss_bound > 0) return options.loss_bound;
  if (spec.loss_bound > 0) return spec.loss_bound;
  if (spec.task == schema::Task::Classification) return 1;
  if (spec.target != nullptr && spec.target->kind == schema::TargetKind::None) {
    throw Error(
        ExitCode::kUsage,
        "this model has no loss to compare: give --gate-kind installed, whose vetoes look at alarms and "
        "scores");
  }
  throw Error(
      ExitCode::kUsage,
      "the health gate needs the largest loss that counts; give --gate-loss-bound, in the unit of the "
      "target, or loss_bound in the spec (`dipper spec init` infers one); of a snapshot also --parent "
      "with the package that the device had");
}

std::unique_ptr<schema::GatePolicyT> MakeGate(const PackageOptions& options, const schema::SpecT& spec) {
  auto gate = std::make_unique<schema::GatePolicyT>();
  gate->kind = options.gate_kind == "installed" ? schema::GateKind::Installed : schema::GateKind::PairedLoss;
  gate->loss_bound = gate->kind == schema::GateKind::PairedLoss ? LossBound(options, spec) : 1;
  gate->margin = options.margin;
  gate->margin_ratio = options.margin_ratio;
  gate->alpha = options.alpha;
  gate->warmup_samples = options.warmup_samples;
  gate->recent = options.recent;
  gate->horizon = options.horizon;
  gate->deadline_samples = options.deadline_samples;
  gate->deadline_seconds = options.deadline_seconds;
  gate->at_deadline =
      options.at_deadline == "confirm" ? schema::AtDeadline::Confirm : schema::AtDeadline::FallBack;
  gate->link_required = options.link_required;
  gate->max_latency_ns = options.max_latency_us * 1000;
  gate->start_from_champion = options.start_from_champion;
  const bool alarms = spec.anomaly != nullptr;
  if (options.max_alarm_excess > 0 && !alarms) {
    throw Error(
        ExitCode::kUsage,
        "--gate-max-alarm-excess asks for alarms, and the spec has no [anomaly]; leave it out or add one");
  }
  gate->max_alarm_excess = options.max_alarm_excess >= 0 ? options.max_alarm_excess
                           : alarms                      ? kAlarmExcess
                                                         : 0;
  const bool installed = gate->kind == schema::GateKind::Installed;
  gate->max_score_shift = options.max_score_shift >= 0 ? options.max_score_shift
                          : installed                  ? kInstalledShift
                                                       : 0;
  if (gate->margin > gate->loss_bound) {
    throw Error(ExitCode::kUsage,
                fmt::format("--gate-margin {} is above the loss bound {}: nothing could be worse",
                            gate->margin, gate->loss_bound));
  }
  if (gate->deadline_samples == 0 && gate->deadline_seconds == 0) {
    throw Error(ExitCode::kUsage,
                "a trial must end: give --gate-deadline-samples or --gate-deadline-seconds");
  }
  return gate;
}

std::unique_ptr<schema::AgentVersion> ParseAgentVersion(const std::string& text) {
  if (text.empty()) return nullptr;
  std::array<uint16_t, 3> parts{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    const bool separated = i == 2 ? next == end : next != end && *next == '.';
    if (error != std::errc() || !separated) {
      throw Error(ExitCode::kUsage, fmt::format("--min-agent '{}' is no version; write it as 0.1.0", text));
    }
    at = next + 1;
  }
  return std::make_unique<schema::AgentVersion>(parts[0], parts[1], parts[2]);
}

base::Digest ParentDigest(const std::string& parent) {
  const auto digest = base::DigestFromHex(parent);
  if (digest.ok()) return *digest;
  if (!std::filesystem::exists(parent)) {
    throw Error(
        ExitCode::kNotFound,
        fmt::format("--parent '{}' is neither a package digest (64 hex digits) nor a package file", parent));
  }
  return PackageFile(parent).manifest().package_digest();
}

/// What the model was trained on: what the image file says, and for an image without that (`--fresh`, or one
/// that another program made) what the maker says.
base::Digest DataDigest(const PackageOptions& options, const base::Digest& from_image) {
  if (options.data.empty()) return from_image;
  const auto given = base::DigestFromHex(options.data);
  const base::Digest digest =
      given.ok() ? *given : base::Sha256Of(lab::ReadFile(options.data, kMaxDataBytes));
  if (!from_image.IsZero() && from_image != digest) {
    throw Error(
        ExitCode::kVerificationFailed,
        fmt::format("--data has digest {}, and {} says that it was trained on {}; leave --data away, or "
                    "train again",
                    base::ToHex(digest).brief(), options.image, base::ToHex(from_image).brief()));
  }
  return digest;
}

/// Public keys of the groups, each once.
std::vector<package::PublicKey> LoadGroups(const std::vector<std::string>& files) {
  std::vector<package::PublicKey> keys;
  for (const std::string& file : files) {
    if (!IsPublicKeyFile(file)) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("--encrypt-to {}: this is a private key; give the group's public half, FILE.pub of "
                      "`dipper key new --kind group --out FILE`",
                      file));
    }
    const package::PublicKey key = LoadPublicKey(file);
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      throw Error(
          ExitCode::kUsage,
          fmt::format("--encrypt-to {}: this group's key was given before; give each group once", file));
    }
    keys.push_back(key);
  }
  if (keys.size() > package::kMaxRecipients) {
    throw Error(ExitCode::kUsage,
                fmt::format("--encrypt-to was given {} times, a package takes at most {}; give "
                            "several groups one key, or build two packages",
                            keys.size(), package::kMaxRecipients));
  }
  return keys;
}

std::unique_ptr<schema::LineageT> MakeLineage(const PackageOptions& options, const base::Digest& data) {
  auto lineage = std::make_unique<schema::LineageT>();
  if (!options.parent.empty()) {
    lineage->parent = std::make_unique<schema::Sha256>(package::ToSchema(ParentDigest(options.parent)));
  }
  if (!data.IsZero()) lineage->data = std::make_unique<schema::Sha256>(package::ToSchema(data));
  if (!options.code.empty()) {
    const auto code = base::DigestFromHex(options.code);
    if (!code.ok())
      throw Error(ExitCode::kUsage, fmt::format("--code '{}' is not 64 hex digits", options.code));
    lineage->code = std::make_unique<schema::Sha256>(package::ToSchema(*code));
  }
  lineage->code_version = options.code_version;
  lineage->notes = options.notes;
  for (const std::string& text : options.metrics) {
    const size_t equals = text.find('=');
    const auto value = base::ParseDouble(equals == std::string::npos ? "" : text.substr(equals + 1));
    if (!value.ok()) throw Error(ExitCode::kUsage, fmt::format("--metric '{}' is not name=number", text));
    auto metric = std::make_unique<schema::MetricT>();
    metric->name = text.substr(0, equals);
    metric->value = *value;
    lineage->metrics.push_back(std::move(metric));
  }
  return lineage;
}

std::string RefusalText(schema::Reason reason) {
  if (reason == schema::Reason::BadFormat) {
    return "a name, version, hardware class, metric, note or gate value is out of range: names are 1 to 64 "
           "of letters, "
           "digits, '.', '+', '-', '_' and blanks (docs/reference/package.md)";
  }
  return ReasonText(reason);
}

}  // namespace

namespace {

package::Bytes MakeOf(const PackageOptions& options, const schema::SpecT& spec, lab::ImageFile image) {
  schema::ManifestT manifest;
  manifest.spec = lab::CompileSpec(spec);
  if (options.snapshot.empty()) image = LoadImage(options, spec, manifest.spec);
  manifest.model = spec.model_id;
  manifest.name = options.name;
  manifest.version = options.version;
  manifest.release_epoch = options.release_epoch;
  manifest.security_version = options.security_version;
  manifest.created = BuildTime();
  manifest.hardware = options.hardware;
  manifest.min_agent = ParseAgentVersion(options.min_agent);
  FillVersions(&manifest);
  if (!options.self_test.empty()) {
    manifest.self_test =
        MakeSelfTest(manifest.spec, image.image, options.self_test, options.self_test_rows, options.label);
  }
  manifest.gate = MakeGate(options, spec);
  manifest.lineage = MakeLineage(options, DataDigest(options, image.data_digest));
  const std::vector<package::PublicKey> groups = LoadGroups(options.encrypt_to);
  schema::Reason refusal = schema::Reason::None;
  const auto package = package::BuildPackage(manifest, image.image, &refusal, groups);
  if (package.status() == base::Status::kUnavailable) {
    throw Error(ExitCode::kFailure,
                "not encrypted: the system gave no randomness for the content key; check /dev/urandom");
  }
  if (!package.ok()) {
    throw Error(ExitCode::kUsage, fmt::format("devices would refuse this package: {}", RefusalText(refusal)));
  }
  return *package;
}

/// Of the package that a snapshot's model came in, when its file was named; 0: it was not.
double BoundOfParent(const PackageOptions& options, const base::Digest& parent) {
  std::vector<std::string> files = options.snapshot_packages;
  if (std::filesystem::is_regular_file(options.parent)) files.push_back(options.parent);
  for (const std::string& path : files) {
    const PackageFile file(path);
    if (file.manifest().package_digest() == parent) return file.manifest().gate().loss_bound();
  }
  return 0;
}

}  // namespace

package::Bytes MakePackage(const PackageOptions& options) {
  if (options.snapshot.empty() == options.spec.empty()) {
    throw Error(ExitCode::kUsage,
                "say what the package is made of: --spec with --image or --fresh, or --snapshot alone");
  }
  if (options.snapshot.empty()) return MakeOf(options, lab::LoadSpec(options.spec), {});
  if (options.fresh || !options.image.empty()) {
    throw Error(ExitCode::kUsage, "--snapshot brings its own image; leave --image and --fresh away");
  }
  const SnapshotFile snapshot =
      ReadSnapshot(options.snapshot, LoadContentKeys(options.snapshot_packages, options.group_keys));
  if (snapshot.encrypted && options.encrypt_to.empty()) {
    throw Error(
        ExitCode::kUsage,
        fmt::format("{}: its model is encrypted; give --encrypt-to with the public keys of the groups "
                    "that may read what it has learned",
                    options.snapshot));
  }
  PackageOptions of_snapshot = options;
  if (options.loss_bound == 0 && snapshot.spec.loss_bound == 0)
    of_snapshot.loss_bound = BoundOfParent(options, snapshot.package);
  if (options.parent.empty()) of_snapshot.parent = base::ToHex(snapshot.package).view();
  of_snapshot.notes += (options.notes.empty() ? "" : "; ") + snapshot.note;
  return MakeOf(of_snapshot, snapshot.spec, snapshot.image);
}

}  // namespace dipper::cli
