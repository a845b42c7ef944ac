// dipper package: builds, signs, verifies and shows model packages (docs/reference/package.md).
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "tools/cli/command.h"
#include "tools/cli/document_files.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/cli/package_maker.h"
#include "tools/cli/signing.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/error.h"

namespace dipper::cli {
namespace {

using schema::Reason;

std::string HexOrEmpty(const schema::Sha256* digest) {
  return digest == nullptr ? "" : HexText(package::ToDigest(*digest));
}

std::string VersionText(const base::SecurityVersion& version) {
  return version.epoch == 0 ? std::to_string(version.version)
                            : fmt::format("{}.{}", version.epoch, version.version);
}

OutputFile OutputOf(const PackageOptions& options) {
  OutputFile output{.path = options.out,
                    .kind = FileKind::kPackage,
                    .force = options.force,
                    .inputs = {options.spec, options.image, options.snapshot, options.self_test, options.data,
                               options.parent}};
  for (const auto* files : {&options.snapshot_packages, &options.group_keys, &options.encrypt_to})
    output.inputs.insert(output.inputs.end(), files->begin(), files->end());
  return output;
}

void Build(const PackageOptions& options) {
  const OutputFile output = OutputOf(options);
  CheckOutput(output);
  const package::Bytes bytes = MakePackage(options);
  WriteOutput(output, bytes);
  const PackageFile file(options.out);
  fmt::print("{}\n", HexText(file.manifest().package_digest()));
  Note(fmt::format(
      "wrote {}: {} {} of model {}, {} in {} blocks, image {}, self-test of {} steps; not signed yet",
      options.out, options.name, options.version, file.manifest().model(), ByteText(bytes.size()),
      file.manifest().block_count(), ByteText(file.manifest().image_bytes()),
      file.manifest().self_test_steps()));
  if (file.manifest().self_test_steps() == 0) {
    Warn(
        "without a self-test a device cannot notice that its arithmetic differs from this machine's; add "
        "--self-test");
  }
}

struct FileOptions {
  std::string file;
  std::string key;
  std::string root;
  std::string out;
  std::vector<std::string> group_keys;
  bool force = false;
  bool json = false;
};

void SignFile(const FileOptions& options) {
  const PackageFile file(options.file);
  const std::unique_ptr<Signer> signer = OpenSigner(options.key);
  if (!options.root.empty() &&
      !IsOfRole(signer->public_key(), LoadRoot(options.root), schema::RoleName::Release)) {
    throw lab::Error(
        lab::ExitCode::kVerificationFailed,
        fmt::format("key {} is not of the release role in {}: devices would refuse the package; nothing "
                    "was signed",
                    base::ToHex(signer->id()).brief(), options.root));
  }
  const package::Bytes bytes = SignPackageFile(file.bytes(), *signer);
  const std::string& out = options.out.empty() ? options.file : options.out;
  WriteOutput({.path = out,
               .kind = FileKind::kPackage,
               .force = options.force,
               .inputs = {options.key, options.root}},
              bytes);
  Note(fmt::format("signed {} with key {}", out, base::ToHex(signer->id()).brief()));
}

/// What verification found; `reason` None means good.
struct Verdict {
  Reason reason = Reason::None;
  std::string self_test = "none";
};

/// @param keys  Empty: an encrypted payload stays closed, and only its hashes are checked.
Verdict Check(PackageFile& file, const package::TrustRoot& root, const package::GroupKeys& keys) {
  Verdict verdict;
  verdict.reason = file.Verify(root);
  if (verdict.reason != Reason::None) return verdict;
  if (file.manifest().encrypted() && keys.size() == 0) {
    verdict.self_test = "not run (encrypted; give --group-key)";
    return verdict;
  }
  package::Secret key;
  verdict.reason = package::OpenContentKey(file.manifest(), &keys, &key);
  if (verdict.reason != Reason::None) return verdict;
  const std::vector<uint8_t> image = file.DecodeImage(&key);
  if (file.manifest().self_test_steps() == 0) return verdict;
  const bool passed = RunSelfTest(file.manifest(), image);
  verdict.self_test = passed ? "passed" : "failed";
  if (!passed) verdict.reason = Reason::SelfTest;
  return verdict;
}

package::GroupKeys LoadGroupKeys(const std::vector<std::string>& files) {
  package::GroupKeys keys;
  for (const std::string& file : files) {
    if (keys.Add(LoadGroupKey(file)) == base::Status::kResourceExhausted) {
      throw lab::Error(lab::ExitCode::kUsage,
                       fmt::format("at most {} group keys at a time", package::kMaxGroupKeys));
    }
  }
  return keys;
}

int VerifyFile(const FileOptions& options) {
  const package::TrustRoot root = LoadRoot(options.root);
  PackageFile file(options.file);
  const Verdict verdict = Check(file, root, LoadGroupKeys(options.group_keys));
  const bool good = verdict.reason == Reason::None;
  const bool expired = root.ExpiredAt({BuildTime(), true});
  if (options.json) {
    Json out;
    out["file"] = options.file;
    out["digest"] = HexText(file.manifest().package_digest());
    out["verified"] = good;
    out["reason"] = ReasonName(verdict.reason);
    out["self_test"] = verdict.self_test;
    out["encrypted"] = file.manifest().encrypted();
    out["root_version"] = root.version();
    out["root_expired"] = expired;
    PrintJson(out);
  } else if (good) {
    fmt::print("good  {}  {} {}  self-test {}\n", HexText(file.manifest().package_digest()),
               file.manifest().name(), file.manifest().version(), verdict.self_test);
  }
  if (expired) Warn("the root has expired: devices with a synchronized clock take no new package under it");
  if (good) return static_cast<int>(lab::ExitCode::kOk);
  const std::string why =
      verdict.reason == Reason::SelfTest
          ? "the self-test ends in another image than the package says; it was built by a program "
            "that computes differently, so build it again"
          : ReasonText(verdict.reason);
  throw lab::Error(lab::ExitCode::kVerificationFailed, fmt::format("{}: {}", options.file, why));
}

Json GateJson(const schema::GatePolicy& gate) {
  Json out;
  out["kind"] = gate.kind() == schema::GateKind::Installed ? "installed" : "paired_loss";
  out["loss_bound"] = gate.loss_bound();
  out["margin"] = gate.margin();
  out["margin_ratio"] = gate.margin_ratio();
  out["alpha"] = gate.alpha();
  out["warmup_samples"] = gate.warmup_samples();
  out["recent"] = gate.recent();
  out["horizon"] = gate.horizon();
  out["deadline_samples"] = gate.deadline_samples();
  out["deadline_seconds"] = gate.deadline_seconds();
  out["at_deadline"] = gate.at_deadline() == schema::AtDeadline::Confirm ? "confirm" : "fall_back";
  out["link_required"] = gate.link_required();
  out["max_latency_us"] = gate.max_latency_ns() / 1000;
  out["max_alarm_excess"] = gate.max_alarm_excess();
  out["max_score_shift"] = gate.max_score_shift();
  out["start_from_champion"] = gate.start_from_champion();
  return out;
}

std::string OrEmpty(const flatbuffers::String* text) { return text == nullptr ? "" : text->str(); }

Json LineageJson(const schema::Lineage* lineage) {
  Json out = Json::object();
  if (lineage == nullptr) return out;
  out["parent"] = HexOrEmpty(lineage->parent());
  out["data"] = HexOrEmpty(lineage->data());
  out["code"] = HexOrEmpty(lineage->code());
  out["code_version"] = OrEmpty(lineage->code_version());
  out["notes"] = OrEmpty(lineage->notes());
  out["metrics"] = Json::object();
  if (lineage->metrics() == nullptr) return out;
  for (const schema::Metric* metric : *lineage->metrics())
    out["metrics"][metric->name()->str()] = metric->value();
  return out;
}

std::vector<std::string> Hardware(const schema::Manifest& table) {
  std::vector<std::string> names;
  if (table.hardware() == nullptr) return names;
  for (const flatbuffers::String* name : *table.hardware()) names.push_back(name->str());
  return names;
}

/// Key ids of the groups that can read the payload; empty: everybody can.
std::vector<std::string> Recipients(const schema::Manifest& table) {
  std::vector<std::string> ids;
  if (table.encryption() == nullptr) return ids;
  for (const schema::Recipient* recipient : *table.encryption()->recipients())
    ids.push_back(HexOrEmpty(&recipient->key_id()));
  return ids;
}

std::string AgentText(const schema::AgentVersion* version) {
  return version == nullptr ? ""
                            : fmt::format("{}.{}.{}", version->major(), version->minor(), version->patch());
}

Json PackageJson(const PackageFile& file) {
  const package::Manifest& manifest = file.manifest();
  const schema::Manifest& table = manifest.table();
  Json out;
  out["digest"] = HexText(manifest.package_digest());
  out["model"] = manifest.model();
  out["name"] = manifest.name();
  out["version"] = manifest.version();
  out["release_epoch"] = table.release_epoch();
  out["security_version"] = table.security_version();
  out["created"] = table.created();
  out["package_bytes"] = file.bytes().size();
  out["head_bytes"] = manifest.header().head_bytes();
  out["image_bytes"] = manifest.image_bytes();
  out["image_sha256"] = HexText(manifest.image_digest());
  out["blocks"] = manifest.block_count();
  out["feature_schema"] = HexText(manifest.feature_schema());
  out["hardware"] = Hardware(table);
  out["min_agent"] = AgentText(table.min_agent());
  out["numerics_version"] = table.numerics_version();
  out["layouts"] = Json::object();
  if (table.layouts() != nullptr) {
    for (const schema::LayoutVersion* layout : *table.layouts())
      out["layouts"][layout->kind()->str()] = layout->version();
  }
  out["self_test_steps"] = manifest.self_test_steps();
  out["self_test_sha256"] = manifest.self_test_steps() == 0 ? "" : HexText(manifest.self_test_digest());
  out["gate"] = GateJson(manifest.gate());
  out["lineage"] = LineageJson(table.lineage());
  out["encrypted_to"] = Recipients(table);
  out["signed_by"] = Json::array();
  for (const auto& signature : package::ReadSignatures(file.bytes()))
    out["signed_by"].push_back(HexText(signature.key_id));
  return out;
}

/// A value as a person reads it: lists joined, texts without quotes.
std::string Plain(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& item : value) text += (text.empty() ? "" : ", ") + Plain(item);
  return text;
}

void ShowFile(const FileOptions& options) {
  const PackageFile file(options.file);
  Json json = PackageJson(file);
  if (options.json) {
    PrintJson(json);
    return;
  }
  json["created"] = TimeText(file.manifest().table().created());
  json["security_version"] = VersionText(file.manifest().security_version());
  json.erase("release_epoch");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_object()) {
      fmt::print("{:<18}{}\n", key, Plain(value));
      continue;
    }
    for (const auto& [inner, inner_value] : value.items()) {
      const bool empty = inner_value.is_string() && inner_value.get_ref<const std::string&>().empty();
      if (!empty) fmt::print("{:<18}{} {}\n", key, inner, Plain(inner_value));
    }
  }
  Note("shown without asking who signed it; `dipper package verify` asks");
}

void AddBuildOptions(CLI::App* build, PackageOptions* o) {
  build->add_option("--spec", o->spec, "Spec text (TOML) or compiled spec");
  auto* image = build->add_option("--image", o->image, "Model image made by `dipper train`");
  build->add_flag("--fresh", o->fresh, "Carry an image that has learned nothing")->excludes(image);
  build->add_option("--snapshot", o->snapshot,
                    "What a device has learned (`dipper snapshot fetch`): spec, image and lineage");
  build
      ->add_option("--package", o->snapshot_packages,
                   "Package of an encrypted model whose snapshot it is, for its key; repeatable")
      ->allow_extra_args(false);
  build
      ->add_option("--group-key", o->group_keys,
                   "Private key of a device group, to open that snapshot; repeatable")
      ->allow_extra_args(false);
  build->add_option("--name", o->name, "Name of the package")->required();
  build->add_option("--version", o->version, "Version, for people")->required();
  build
      ->add_option("--security-version", o->security_version,
                   "What devices never go below once it is confirmed")
      ->required();
  build->add_option("--release-epoch", o->release_epoch, "Epoch of the release role that will sign")
      ->capture_default_str();
  build->add_option("--hardware", o->hardware, "Hardware class that may run it; repeatable; none: any")
      ->allow_extra_args(false);
  build->add_option("--min-agent", o->min_agent, "Oldest agent that may run it, as 0.1.0");
  build->add_option("--self-test", o->self_test, "CSV file whose first rows become the self-test");
  build->add_option("--self-test-rows", o->self_test_rows, "Rows of it")
      ->capture_default_str()
      ->check(CLI::Range(1U, package::kMaxSelfTestSteps / 2));
  build->add_option("--label", o->label, "Label column of the self-test data; default: the spec's target");
  build
      ->add_option("--encrypt-to", o->encrypt_to,
                   "Public key of a device group that may read the payload; repeatable; none: not encrypted")
      ->allow_extra_args(false);
  build->add_option("--data", o->data,
                    "Training data for the lineage: file or SHA-256; default: the image's");
  build->add_option("--parent", o->parent, "Digest or file of the package it was made from");
  build->add_option("--code", o->code, "SHA-256 of the training code, 64 hex digits, for the lineage");
  build->add_option("--code-version", o->code_version, "Version of the training code, for the lineage");
  build->add_option("--metric", o->metrics, "Claimed metric, as name=number; repeatable")
      ->allow_extra_args(false);
  build->add_option("--notes", o->notes, "Notes for the lineage");
  build->add_option("--out", o->out, "File to write")->required();
  build->add_flag("--force", o->force, kForceHelp);
}

void AddVetoOptions(CLI::App* build, PackageOptions* o) {
  const CLI::Validator share = CLI::Range(0.0, 0.999);
  build
      ->add_option("--gate-max-alarm-excess", o->max_alarm_excess,
                   "Veto without labels: share of samples by which its alarm may be on more often; 0: none; "
                   "default: 0.05 if the spec has [anomaly]")
      ->check(share);
  build
      ->add_option(
          "--gate-max-score-shift", o->max_score_shift,
          "Veto without labels: difference of the distributions of answers, 0 to 1; 0: none; default: "
          "0.5 for --gate-kind installed")
      ->check(share);
}

void AddGateOptions(CLI::App* build, PackageOptions* o) {
  build->add_option("--gate-kind", o->gate_kind, "Health gate")
      ->capture_default_str()
      ->check(CLI::IsMember({"paired_loss", "installed"}));
  build
      ->add_option("--gate-loss-bound", o->loss_bound,
                   "Largest loss that counts; default: the spec's, 1 for classes")
      ->check(AboveZero());
  build->add_option("--gate-margin", o->margin, "Mean loss by which it may be worse and still be confirmed")
      ->capture_default_str()
      ->check(NotNegative());
  build
      ->add_option("--gate-margin-ratio", o->margin_ratio,
                   "The same as a share of the rival's loss, beside it")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 10.0));
  build->add_option("--gate-alpha", o->alpha, "Chance of a wrong verdict")->capture_default_str();
  build->add_option("--gate-warmup-samples", o->warmup_samples, "Labels learned before any counts")
      ->capture_default_str();
  build->add_option("--gate-recent", o->recent, "Newest labels that must agree with a verdict")
      ->capture_default_str();
  build
      ->add_option("--gate-deadline-samples", o->deadline_samples, "Labels after which a trial ends; 0: none")
      ->capture_default_str();
  build
      ->add_option("--gate-deadline-seconds", o->deadline_seconds,
                   "Powered-on time after which it ends; 0: none")
      ->capture_default_str();
  build->add_option("--gate-at-deadline", o->at_deadline, "What happens then")
      ->capture_default_str()
      ->check(CLI::IsMember({"fall_back", "confirm"}));
  build->add_flag("--gate-link-required", o->link_required,
                  "Confirm only after the broker was reached in the trial, where it could be reached before");
  build
      ->add_option("--gate-max-latency-us", o->max_latency_us,
                   "Median time of one sample; 0: the device's limit")
      ->capture_default_str();
  AddVetoOptions(build, o);
  build
      ->add_option("--gate-horizon", o->horizon,
                   "Samples between a prediction and its label; 0: from the spec")
      ->capture_default_str();
  build->add_flag("--start-from-champion", o->start_from_champion,
                  "Its trial starts with what the champion has learned, if the specs are the same");
}

}  // namespace

void RegisterPackage(CLI::App& app, int& exit_code) {
  CLI::App* package = app.add_subcommand("package", "Build, sign, verify and show model packages");
  package->require_subcommand(1);
  const auto build_options = std::make_shared<PackageOptions>();
  CLI::App* build = package->add_subcommand("build", "Build an unsigned package and print its digest");
  AddBuildOptions(build, build_options.get());
  AddGateOptions(build, build_options.get());
  build->callback([build_options] { Build(*build_options); });

  const auto options = std::make_shared<FileOptions>();
  CLI::App* sign = package->add_subcommand("sign", "Add a release signature");
  sign->add_option("file", options->file, "Package")->required();
  sign->add_option("--key", options->key, std::string("Key of the release role: ") + kKeyHelp)->required();
  sign->add_option("--root", options->root, "Trust root of the devices: the key must be of its release role");
  sign->add_option("--out", options->out, "File to write; default: the package itself");
  sign->add_flag("--force", options->force, kForceHelp);
  sign->callback([options] { SignFile(*options); });
  CLI::App* verify = package->add_subcommand("verify", "Check every byte, the signatures and the self-test");
  verify->add_option("file", options->file, "Package")->required();
  verify->add_option("--root", options->root, "Trust root")->required();
  verify
      ->add_option("--group-key", options->group_keys,
                   "Private key of a device group, to look into an encrypted payload; repeatable")
      ->allow_extra_args(false);
  verify->add_flag("--json", options->json, "Print JSON");
  verify->callback([options, &exit_code] { exit_code = VerifyFile(*options); });
  CLI::App* show = package->add_subcommand("show", "Show what is in a package");
  show->add_option("file", options->file, "Package")->required();
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options] { ShowFile(*options); });
}

}  // namespace dipper::cli
