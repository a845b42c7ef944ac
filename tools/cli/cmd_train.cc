// dipper train: pretrains a model image from a CSV file.
#include <fmt/format.h>

#include <limits>
#include <memory>

#include "agent/base/number.h"
#include "agent/base/sha256.h"
#include "tools/cli/command.h"
#include "tools/cli/output.h"
#include "tools/cli/output_file.h"
#include "tools/lab/error.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::cli {
namespace {

struct TrainOptions {
  std::string spec;
  std::string data;
  std::string label;
  std::string rows;
  std::string out;
  bool force = false;
  bool json = false;
};

/// "a:b", either may be left out: rows a to b - 1, counted from 0.
void ParseRows(const std::string& text, uint64_t* first, uint64_t* end) {
  *first = 0;
  *end = std::numeric_limits<uint64_t>::max();
  if (text.empty()) return;
  const size_t colon = text.find(':');
  bool good = colon != std::string::npos;
  const auto parse = [&](const std::string& part, uint64_t* value) {
    if (part.empty()) return;
    const base::Result<uint64_t> number = base::ParseUint(part);
    good = good && number.ok();
    if (number.ok()) *value = *number;
  };
  if (good) {
    parse(text.substr(0, colon), first);
    parse(text.substr(colon + 1), end);
  }
  if (!good || *first >= *end) {
    throw lab::Error(lab::ExitCode::kUsage,
                     fmt::format("--rows '{}' is no range; write a:b for rows a to b - 1, counted "
                                 "from 0, for example 0:5000",
                                 text));
  }
}

void Train(const TrainOptions& options) {
  uint64_t first = 0;
  uint64_t end = 0;
  ParseRows(options.rows, &first, &end);
  const OutputFile output{.path = options.out,
                          .kind = FileKind::kImage,
                          .force = options.force,
                          .inputs = {options.spec, options.data}};
  CheckOutput(output);
  const schema::SpecT spec = lab::LoadSpec(options.spec);
  std::vector<std::string> warnings;
  const lab::ImageFile file =
      lab::TrainImage(spec, lab::CsvTable::Read(options.data), options.label, first, end, &warnings);
  for (const std::string& warning : warnings) Warn(warning);
  WriteOutput(output, lab::EncodeImageFile(file));
  const std::string image_digest = HexText(base::Sha256Of(file.image));
  const std::string data_digest = HexText(file.data_digest);
  if (options.json) {
    PrintJson({{"file", options.out},
               {"image_bytes", file.image.size()},
               {"image_sha256", image_digest},
               {"spec_sha256", HexText(file.spec_digest)},
               {"data_sha256", data_digest},
               {"first_row", file.first_row},
               {"end_row", file.end_row},
               {"labels", file.labels}});
    return;
  }
  fmt::print("{}\n", image_digest);
  Note(fmt::format("wrote {}: {} of image after rows {}:{}, {} labels learned; data {}", options.out,
                   ByteText(file.image.size()), file.first_row, file.end_row, file.labels, data_digest));
}

}  // namespace

void RegisterTrain(CLI::App& app, int&) {
  CLI::App* train = app.add_subcommand("train", "Pretrain a model image from a CSV file");
  const auto options = std::make_shared<TrainOptions>();
  train->add_option("--spec", options->spec, "Spec text, or compiled spec")->required();
  train->add_option("--data", options->data, "CSV file with a header")->required();
  train->add_option("--out", options->out, "Image file to write (.dimg)")->required();
  train->add_option("--label", options->label, "Label column, if not the spec's");
  train->add_option("--rows", options->rows, "Rows a:b, a to b - 1 counted from 0; all without it");
  train->add_flag("--force", options->force, kForceHelp);
  train->add_flag("--json", options->json, "Print JSON");
  train->callback([options] { Train(*options); });
}

}  // namespace dipper::cli
