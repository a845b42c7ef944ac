// dipper explain: which inputs an answer comes from, and which matter in general.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>

#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/lab/error.h"
#include "tools/lab/explain.h"
#include "tools/lab/spec_text.h"
#ifdef DIPPER_CLI_PACKAGE
#include "agent/package/seal.h"
#include "tools/cli/trust_files.h"
#endif

namespace dipper::cli {
namespace {

constexpr int kDigits = 4;

struct Options {
  std::string spec;
  std::string data;
  std::string image;
  std::vector<std::string> group_keys;
  std::string format = "text";
  lab::ExplainOptions explain;
  uint64_t row = 0;
  bool importance = false;
};

/// Places of the values, largest magnitude first; equal ones in their order.
std::vector<size_t> BySize(const std::vector<double>& values) {
  std::vector<size_t> places(values.size());
  std::iota(places.begin(), places.end(), size_t{0});
  std::stable_sort(places.begin(), places.end(),
                   [&values](size_t a, size_t b) { return std::fabs(values[a]) > std::fabs(values[b]); });
  return places;
}

std::string Signed(double value) { return (value < 0 ? "" : "+") + NumberText(value, kDigits); }

void PrintRowText(const lab::Explanation& all, const lab::ExplainedRow& row) {
  fmt::print("row {}: {} {}{}\n", row.row,
             row.output.empty() ? "answer" : "P(" + row.output + ") =", NumberText(row.answer, kDigits),
             row.label.empty() ? "" : ", label " + row.label);
  Table table({"PART", "VALUE", "ADDS"});
  for (const size_t i : BySize(row.terms)) {
    const bool plain = i < row.inputs.size() && i < all.features.size() && all.inputs[i] == all.features[i];
    table.AddRow({all.inputs[i], plain ? fmt::format("{:g}", row.inputs[i]) : "", Signed(row.terms[i])});
  }
  table.AddRow({"(base)", "", Signed(row.base)});
  table.AddRow({"(no input)", "", Signed(row.rest)});
  table.AddRow({"= answer", "", NumberText(row.answer, kDigits)});
  table.Print();
  fmt::print("\n");
}

void PrintText(const lab::Explanation& all, const Options& options) {
  for (const lab::ExplainedRow& row : all.rows) PrintRowText(all, row);
  if (!options.importance) return;
  fmt::print("importance after {} labels\n", all.learned);
  Table table({"INPUT", "SHARE"});
  for (const size_t i : BySize(all.importance))
    table.AddRow({all.inputs[i], NumberText(all.importance[i], kDigits)});
  table.Print();
}

Json Named(const std::vector<std::string>& names, const std::vector<double>& values) {
  Json json = Json::array();
  for (size_t i = 0; i < values.size(); ++i) json.push_back({{"input", names[i]}, {"value", values[i]}});
  return json;
}

void PrintAsJson(const lab::Explanation& all, const Options& options) {
  Json json;
  json["learned"] = all.learned;
  json["rows"] = Json::array();
  for (const lab::ExplainedRow& row : all.rows) {
    Json one = {{"row", row.row}, {"answer", row.answer}, {"base", row.base}, {"rest", row.rest}};
    if (!row.output.empty()) one["class"] = row.output;
    if (!row.label.empty()) one["label"] = row.label;
    one["features"] = Named(all.features, row.inputs);
    one["contributions"] = Named(all.inputs, row.terms);
    json["rows"].push_back(one);
  }
  if (options.importance) json["importance"] = Named(all.inputs, all.importance);
  PrintJson(json);
}

/// What is explained: a spec, and what it has learned before the first row.
struct Source {
  schema::SpecT spec;
  std::optional<lab::ImageFile> image;
};

bool IsPackage(const std::string& path) {
  constexpr std::string_view kMagic = "DIPPERPK";
  std::array<char, kMagic.size()> start{};
  std::ifstream file(path, std::ios::binary);
  return file.read(start.data(), start.size()) && std::string_view(start.data(), start.size()) == kMagic;
}

#ifdef DIPPER_CLI_PACKAGE
/// Every byte is checked against the package's own hashes; who signed it is not asked, nothing is installed.
Source LoadPackage(const Options& options) {
  if (!options.image.empty()) {
    throw lab::Error(lab::ExitCode::kUsage,
                     "--image: a package has its image inside; give the spec to use another one");
  }
  PackageFile file(options.spec);
  package::GroupKeys keys;
  for (const std::string& path : options.group_keys) {
    if (keys.Add(LoadGroupKey(path)) == base::Status::kResourceExhausted) {
      throw lab::Error(lab::ExitCode::kUsage,
                       fmt::format("at most {} group keys at a time", package::kMaxGroupKeys));
    }
  }
  package::Secret key;
  const schema::Reason reason = package::OpenContentKey(file.manifest(), &keys, &key);
  if (reason == schema::Reason::NoGroupKey && keys.size() == 0) {
    throw lab::Error(
        lab::ExitCode::kUsage,
        fmt::format("{} is encrypted; give the private key of a group that it is for, --group-key",
                    options.spec));
  }
  if (reason != schema::Reason::None) {
    throw lab::Error(lab::ExitCode::kVerificationFailed,
                     fmt::format("{}: {}", options.spec, ReasonText(reason)));
  }
  Source source = {lab::DecompileSpec(file.manifest().spec()), lab::ImageFile()};
  source.image->image = file.DecodeImage(&key);
  return source;
}
#else
Source LoadPackage(const Options& options) {
  throw lab::Error(lab::ExitCode::kUsage,
                   fmt::format("{} is a package, and this dipper was built without packages; give the spec "
                               "and --image",
                               options.spec));
}
#endif

Source LoadSource(const Options& options) {
  if (IsPackage(options.spec)) return LoadPackage(options);
  if (!options.group_keys.empty())
    throw lab::Error(lab::ExitCode::kUsage, "--group-key: only an encrypted package needs one");
  Source source = {lab::LoadSpec(options.spec), std::nullopt};
  if (!options.image.empty()) source.image = lab::ReadImageFile(options.image);
  return source;
}

void Explain(const Options& options, bool row_given) {
  lab::ExplainOptions explain = options.explain;
  if (row_given) explain.row = options.row;
  const Source source = LoadSource(options);
  const lab::Explanation all = lab::Explain(source.spec, lab::CsvTable::Read(options.data),
                                            source.image.has_value() ? &*source.image : nullptr, explain);
  for (const std::string& warning : all.warnings) Warn(warning);
  if (options.format == "json") {
    PrintAsJson(all, options);
  } else {
    PrintText(all, options);
  }
}

}  // namespace

void RegisterExplain(CLI::App& app, int&) {
  CLI::App* explain =
      app.add_subcommand("explain", "Say which inputs an answer comes from, and which matter in general");
  const auto options = std::make_shared<Options>();
  explain->add_option("spec", options->spec, "Spec text, compiled spec, or package")->required();
  explain->add_option("data", options->data, "CSV file with a header; rows before are learned")->required();
  CLI::Option* row =
      explain->add_option("--row", options->row, "Explain this row, counted from 0")->check(NotNegative());
  explain->add_option("--last", options->explain.last, "Explain the last rows")
      ->capture_default_str()
      ->check(AboveZero())
      ->excludes(row);
  explain->add_option("--class", options->explain.output, "Class to explain, instead of the answer");
  explain->add_option("--image", options->image, "Start from this image of `dipper train`");
  explain
      ->add_option("--group-key", options->group_keys,
                   "Private key of a device group, to look into an encrypted package; repeatable")
      ->allow_extra_args(false);
  explain->add_option("--label", options->explain.label, "Label column, if not the spec's");
  explain->add_flag("--importance", options->importance, "Also say how much each input matters in general");
  explain->add_option("--format", options->format, "text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  explain->callback([options, row] { Explain(*options, row->count() > 0); });
}

}  // namespace dipper::cli
