// dipper eval: the prequential run over a CSV file, beside the trivial rival.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>

#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/lab/csv_table.h"
#include "tools/lab/prequential.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/spec_words.h"

namespace dipper::cli {
namespace {

using lab::EvalResult;
using lab::ScoredRange;
using lab::Scores;

struct Options {
  std::string spec;
  std::string data;
  lab::EvalOptions eval;
  uint64_t seed = 0;
  bool json = false;
};

/// A score, how it is called, and whether this run has it.
struct ScoreField {
  const char* name;
  double Scores::*member;
};
constexpr ScoreField kFields[] = {
    {"accuracy", &Scores::accuracy}, {"kappa", &Scores::kappa}, {"kappa_temporal", &Scores::kappa_temporal},
    {"mae", &Scores::mae},           {"rmse", &Scores::rmse},   {"auc", &Scores::auc},
    {"pr_auc", &Scores::pr_auc}};

bool Applies(const EvalResult& result, const ScoreField& field) {
  if (field.member == &Scores::auc || field.member == &Scores::pr_auc) return result.has_flags;
  const bool error = field.member == &Scores::mae || field.member == &Scores::rmse;
  return error ? !std::isnan(result.whole.model.mae) : !std::isnan(result.whole.model.accuracy);
}

void AddScores(const EvalResult& result, const Scores& scores, Json* json) {
  for (const ScoreField& field : kFields) {
    if (Applies(result, field)) (*json)[field.name] = scores.*field.member;
  }
}

Json RangeJson(const EvalResult& result, const ScoredRange& range) {
  Json json;
  json["n"] = range.model.rows;
  AddScores(result, range.model, &json);
  json["trivial"] = Json::object();
  AddScores(result, range.trivial, &json["trivial"]);
  return json;
}

void PrintResultJson(const EvalResult& result, const Options& options) {
  Json json;
  json["n"] = result.rows;
  json["task"] = lab::words::kTasks[static_cast<size_t>(result.task)];
  AddScores(result, result.whole.model, &json);
  json["trivial"] = Json::object();
  AddScores(result, result.whole.trivial, &json["trivial"]);
  json["second_half"] = RangeJson(result, result.second_half);
  json["worst_block"] = nullptr;
  if (result.worst_block.has_value()) {
    Json block = {{"block", result.worst_block_index}, {"first_row", result.worst_block_first_row}};
    block.update(RangeJson(result, *result.worst_block));
    json["worst_block"] = block;
  }
  json["ns_per_sample"] = result.ns_per_sample;
  json["state_bytes"] = result.state_bytes;
  json["peak_rss_bytes"] = result.peak_rss_bytes;
  json["state_sha256"] = HexText(result.state_digest);
  json["drift_alarms"] = result.drift_alarms;
  json["anomaly_events"] = result.anomaly_events;
  json["scored"] = result.whole.model.rows;
  json["label_delay"] = options.eval.label_delay;
  json["seed"] = result.seed;
  json["spec_sha256"] = HexText(result.spec_digest);
  json["skipped_rows"] = result.skipped_rows;
  json["unlabelled_rows"] = result.unlabelled_rows;
  json["unknown_labels"] = result.unknown_labels;
  json["other_labels"] = result.other_labels;
  json["missing_cells"] = result.missing_cells;
  json["bad_cells"] = result.bad_cells;
  json["unseen_cells"] = result.unseen_cells;
  PrintJson(json);
}

void PrintResultText(const EvalResult& result, const Options& options) {
  fmt::print("{}: {} rows, {} scored, {}{}\n\n", options.data, result.rows, result.whole.model.rows,
             lab::words::kTasks[static_cast<size_t>(result.task)],
             result.forecast ? " by forecast"
             : options.eval.label_delay == 0
                 ? ", labels prompt"
                 : fmt::format(", labels {} rows late", options.eval.label_delay));
  Table table({"SCORE", "MODEL", "TRIVIAL", "2ND HALF", "WORST OF 20"});
  for (const ScoreField& field : kFields) {
    if (!Applies(result, field)) continue;
    const auto text = [&](const Scores& scores) { return NumberText(scores.*field.member, 4); };
    table.AddRow({field.name, text(result.whole.model), text(result.whole.trivial),
                  text(result.second_half.model),
                  result.worst_block.has_value() ? text(result.worst_block->model) : "-"});
  }
  table.Print();
  fmt::print("\nspeed   {:.0f} ns a sample, {:.0f} samples/s\n", result.ns_per_sample,
             1e9 / result.ns_per_sample);
  fmt::print("memory  {} bytes of model image ({}), process peak {}\n", result.state_bytes,
             ByteText(result.state_bytes), ByteText(result.peak_rss_bytes));
  fmt::print("drift   {} alarms\n", result.drift_alarms);
  if (result.anomaly) fmt::print("anomaly {} events raised\n", result.anomaly_events);
  fmt::print("image   sha256 {}\n", HexText(result.state_digest));
}

void Eval(const Options& options, bool seed_given) {
  lab::EvalOptions eval = options.eval;
  if (seed_given) eval.seed = options.seed;
  const EvalResult result =
      lab::Evaluate(lab::LoadSpec(options.spec), lab::CsvTable::Read(options.data), eval);
  for (const std::string& note : result.notes) Note(note);
  for (const std::string& warning : result.warnings) Warn(warning);
  if (options.json) {
    PrintResultJson(result, options);
  } else {
    PrintResultText(result, options);
  }
  const lab::Verdict verdict = lab::VerdictOf(result);
  const bool label = !result.forecast && result.task == schema::Task::Classification;
  if (verdict == lab::Verdict::kNotBetter) {
    Warn(fmt::format(
        "the model is not better than the trivial rival (the last available {}): it has learned nothing "
        "useful",
        label ? "label" : "value"));
  } else if (verdict == lab::Verdict::kBetterForRare) {
    Warn(
        "the model's accuracy is not above the trivial rival's (the last available label), but its kappa or "
        "AUC is: "
        "a class is rare, so judge by those");
  }
}

}  // namespace

void RegisterEval(CLI::App& app, int&) {
  CLI::App* eval =
      app.add_subcommand("eval", "Run a spec over a CSV file, test-then-train, beside the trivial rival");
  const auto options = std::make_shared<Options>();
  eval->add_option("--spec", options->spec, "Spec text, or compiled spec")->required();
  eval->add_option("--data", options->data, "CSV file with a header")->required();
  eval->add_option("--label", options->eval.label, "Label column, if not the spec's");
  eval->add_option("--label-delay", options->eval.label_delay,
                   "Labels of rows <= i - N are available after row i is observed")
      ->capture_default_str()
      ->check(NotNegative());
  CLI::Option* seed =
      eval->add_option("--seed", options->seed, "Instead of the spec's seed")->check(NotNegative());
  eval->add_flag("--json", options->json, "Print JSON");
  eval->callback([options, seed] { Eval(*options, seed->count() > 0); });
}

}  // namespace dipper::cli
