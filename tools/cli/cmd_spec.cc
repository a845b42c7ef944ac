// dipper spec: infers a spec from data, shows one.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "agent/base/number.h"
#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/desk_model.h"
#include "tools/lab/error.h"
#include "tools/lab/spec_init.h"
#include "tools/lab/spec_parts.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/spec_words.h"

namespace dipper::cli {
namespace {

struct SpecOptions {
  lab::SpecInitOptions init;
  std::string data;
  std::string budget = "256KiB";
  std::string task;
  std::string file;
  bool json = false;
};

/// The spec's text, with a word on the one value that nobody would guess the meaning of.
std::string WithReason(std::string text) {
  const size_t line = text.find("\nloss_bound = ");
  if (line == std::string::npos) return text;
  text.insert(
      line + 1,
      "# Of the health gate, in the target's unit: a loss counts as this at most. Inferred as 4 times the "
      "mean loss of\n# answering with the last known value, or a twentieth of the target's range.\n");
  return text;
}

void Init(SpecOptions options) {
  const base::Result<uint64_t> budget = base::ParseByteCount(options.budget);
  if (!budget.ok()) {
    throw lab::Error(lab::ExitCode::kUsage,
                     fmt::format("--budget '{}' is no byte count; write for example 256KiB", options.budget));
  }
  options.init.budget_bytes = *budget;
  if (!options.task.empty()) {
    const auto& tasks = lab::words::kTasks;
    options.init.task =
        static_cast<schema::Task>(std::find(tasks.begin(), tasks.end(), options.task) - tasks.begin());
  }
  const lab::SpecInitResult result = lab::InferSpec(lab::CsvTable::Read(options.data), options.init);
  for (const std::string& note : result.notes) Note(note);
  for (const std::string& warning : result.warnings) Warn(warning);
  fmt::print("{}", WithReason(lab::PrintSpecText(result.spec)));
}

/// Bytes of each part of the image, in its order.
std::vector<std::pair<std::string, uint64_t>> Parts(const learn::Spec& spec) {
  auto parts = lab::ImageParts(spec.table(), spec.plan().layout);
  uint64_t sum = 0;
  for (const auto& part : parts) sum += part.second;
  parts.emplace_back("header and tables", spec.state_bytes() - sum);
  return parts;
}

/// What the budget sizes where the spec leaves it open.
std::vector<std::pair<std::string, uint64_t>> Sizes(const learn::Layout& layout) {
  std::vector<std::pair<std::string, uint64_t>> sizes = {
      {"pending_samples", layout.unsupervised ? 0 : layout.pending_capacity},
      {"truth_samples", layout.truth_capacity},
      {"loss_window", layout.unsupervised ? 0 : layout.loss_window.window},
      {"auc_window", layout.auc_enabled ? layout.auc.window : 0}};
  std::erase_if(sizes, [](const auto& size) { return size.second == 0; });
  return sizes;
}

void Show(const SpecOptions& options) {
  const schema::SpecT table = lab::LoadSpec(options.file);
  const lab::DeskModel desk(table);
  const learn::Spec& spec = desk.spec();
  const std::string digest = HexText(spec.digest());
  const auto parts = Parts(spec);
  if (options.json) {
    Json json = {{"model_id", table.model_id},
                 {"task", lab::words::kTasks[static_cast<size_t>(table.task)]},
                 {"spec_sha256", digest},
                 {"spec_bytes", desk.spec_bytes().size()},
                 {"features", spec.feature_count()},
                 {"inputs", spec.input_count()},
                 {"classes", spec.class_count()},
                 {"budget_bytes", table.budget_bytes},
                 {"state_bytes", spec.state_bytes()}};
    for (const auto& [name, size] : Sizes(spec.plan().layout)) json[name] = size;
    for (const auto& [name, bytes] : parts) json["parts"].push_back({{"part", name}, {"bytes", bytes}});
    json["text"] = lab::PrintSpecText(table);
    PrintJson(json);
    return;
  }
  fmt::print("{}\n", lab::PrintSpecText(table));
  Table out({"# PART", "BYTES"});
  for (const auto& [name, bytes] : parts) out.AddRow({"# " + name, std::to_string(bytes)});
  out.AddRow({"# model image", std::to_string(spec.state_bytes())});
  out.Print();
  for (const auto& [name, size] : Sizes(spec.plan().layout)) fmt::print("# {} {}\n", name, size);
  fmt::print("# {} features, {} inputs of the learner, compiled {} bytes, sha256 {}\n", spec.feature_count(),
             spec.input_count(), desk.spec_bytes().size(), digest);
}

}  // namespace

void RegisterSpec(CLI::App& app, int&) {
  CLI::App* spec = app.add_subcommand("spec", "Make a spec from data, show a spec");
  spec->require_subcommand(1);
  const auto options = std::make_shared<SpecOptions>();
  CLI::App* init =
      spec->add_subcommand("init", "Print a sensible spec for a CSV file, from its first 1000 rows");
  init->add_option("--data", options->data, "CSV file with a header")->required();
  init->add_option("--label", options->init.label, "Label column");
  init->add_option("--learner", options->init.learner, "How it learns; race tries several")
      ->capture_default_str()
      ->check(CLI::IsMember(lab::words::kLearners));
  init->add_option("--budget", options->budget, "Bytes of a model image")->capture_default_str();
  init->add_option("--task", options->task, "Instead of what the label looks like")
      ->check(CLI::IsMember(lab::words::kTasks));
  init->add_option("--feature", options->init.feature, "Forecast this column instead of a label");
  init->add_option("--ahead", options->init.ahead, "Samples ahead to forecast")
      ->capture_default_str()
      ->check(CLI::Range(uint32_t{1}, learn::kMaxAhead));
  init->add_option("--label-delay", options->init.label_delay, "Samples until a label usually comes")
      ->check(CLI::Range(uint32_t{0}, learn::kMaxPending - 1));
  init->add_option("--seed", options->init.seed, "Seed of the model's generator")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{0}, uint64_t{INT64_MAX}));
  init->add_option("--model-id", options->init.model_id, "Id of the model")->capture_default_str();
  init->callback([options] { Init(*options); });
  CLI::App* show = spec->add_subcommand("show", "Check a spec; show it whole and the bytes of its parts");
  show->add_option("file", options->file, "Spec text, or compiled spec")->required();
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options] { Show(*options); });
}

}  // namespace dipper::cli
