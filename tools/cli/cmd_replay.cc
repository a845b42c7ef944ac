// dipper replay: runs a flight recording here and says whether it reaches the images that the device had.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "agent/base/time.h"
#include "tools/cli/command.h"
#include "tools/cli/content_keys.h"
#include "tools/cli/output.h"
#include "tools/cli/trust_files.h"
#include "tools/lab/files.h"
#include "tools/lab/replay.h"

namespace dipper::cli {
namespace {

struct ReplayOptions {
  std::string file;
  std::vector<std::string> packages, group_keys;
  bool json = false;
};

std::string WallText(const lab::ReplayResult& result) {
  return TimeText(result.newest.wall_ns / base::kSecondNs);
}

int64_t Median(std::vector<int64_t> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Json ToJson(const lab::ReplayResult& result, double seconds) {
  Json out;
  out["equal"] = !result.parting.has_value();
  out["segments"] = result.segments;
  out["first_record"] = result.first_record;
  out["last_record"] = result.last_record;
  out["samples"] = result.inputs;
  out["labels_alone"] = result.labels;
  out["digests_compared"] = result.compared;
  out["answers_compared"] = result.answers;
  out["left_out"] = result.left_out;
  out["update_steps"] = result.update_steps;
  out["gate_decisions"] = result.decisions;
  out["commands"] = result.commands;
  out["agent_version"] = result.newest.agent_version.view();
  out["champion_package"] = HexText(result.newest.lanes[0].package);
  out["champion_image"] = HexText(result.images[0]);
  out["challenger_image"] = HexText(result.images[1]);
  out["seconds"] = seconds;
  out["notes"] = result.notes;
  if (result.parting) {
    const lab::Parting& parting = *result.parting;
    out["parting"] = {{"segment", parting.segment},     {"digests_equal_at_record", parting.equal_at},
                      {"record", parting.record},       {"first", parting.exact()},
                      {"sample_id", parting.sample_id}, {"sample_time_ns", parting.time_ns},
                      {"what", parting.what},           {"of", parting.of},
                      {"recorded", parting.recorded},   {"computed", parting.computed}};
  }
  return out;
}

void PrintParting(const lab::ReplayResult& result) {
  const lab::Parting& parting = *result.parting;
  fmt::print("{} answers and {} digests compared; ", result.answers, result.compared);
  if (parting.exact()) {
    fmt::print("the {}'s {}s part at record {} of segment {}: sample {}, time {} ns\n", parting.what,
               parting.of, parting.record, parting.segment, parting.sample_id, parting.time_ns);
  } else {
    fmt::print(
        "the {}'s {} parts after record {}, at record {} of segment {} at the latest: sample {}, time {} "
        "ns\n",
        parting.what, parting.of, parting.equal_at, parting.record, parting.segment, parting.sample_id,
        parting.time_ns);
  }
  fmt::print("  recorded {}\n  computed {}\n", parting.recorded, parting.computed);
  if (parting.exact())
    fmt::print("every answer before is equal, and the images were at record {}\n", parting.equal_at);
}

void Print(const lab::ReplayResult& result, double seconds) {
  for (const std::string& note : result.notes) Warn(note);
  if (result.left_out != 0) {
    Warn(
        fmt::format("the device left out {} records of its source: its bytes of a day were used up, or its "
                    "medium failed",
                    result.left_out));
  }
  fmt::print(
      "replayed {} samples and {} late labels, records {} to {} of {} segments, in {:.2f} s ({:.0f} "
      "samples a second)\n",
      result.inputs, result.labels, result.first_record, result.last_record, result.segments, seconds,
      static_cast<double>(result.inputs) / std::max(seconds, 1e-9));
  fmt::print("recorded by agent {}, newest segment begun {}\n", result.newest.agent_version.view(),
             WallText(result));
  if (!result.timings_ns.empty()) {
    fmt::print("challenger's time a sample on the device: median {} us, most {} us, of {} that were timed\n",
               Median(result.timings_ns) / 1000, std::ranges::max(result.timings_ns) / 1000,
               result.timings_ns.size());
  }
  if (!result.parting) {
    fmt::print("{} answers and {} digests compared, all equal; champion {} of package {}\n", result.answers,
               result.compared, HexText(result.images[0]),
               base::ToHex(result.newest.lanes[0].package).brief());
    return;
  }
  PrintParting(result);
}

int RunReplay(const ReplayOptions& options) {
  lab::Recording recording(lab::ReadFile(options.file), options.file);
  uint64_t total = 0;
  for (const lab::RecordedSegment& segment : recording.segments()) total += segment.bytes.size();
  Progress progress("replaying", total);
  const auto begin = std::chrono::steady_clock::now();
  const lab::ReplayResult result =
      lab::Replay(recording, LoadContentKeys(options.packages, options.group_keys),
                  [&](uint64_t done) { progress.Update(done); });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  progress.Finish();
  if (options.json) {
    PrintJson(ToJson(result, took.count()));
  } else {
    Print(result, took.count());
  }
  return static_cast<int>(result.parting ? lab::ExitCode::kVerificationFailed : lab::ExitCode::kOk);
}

}  // namespace

void RegisterReplay(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<ReplayOptions>();
  CLI::App* replay = app.add_subcommand(
      "replay", "Run a device's flight recording here and compare every image with what it was there");
  replay
      ->add_option("file", options->file,
                   "Recording: `dipper-agent recording export`, `dipper snapshot fetch --recording`")
      ->required();
  replay
      ->add_option("--package", options->packages,
                   "Package of an encrypted model in it, for its key; repeatable")
      ->allow_extra_args(false);
  replay->add_option("--group-key", options->group_keys, "Private key of a device group; repeatable")
      ->allow_extra_args(false);
  replay->add_flag("--json", options->json, "Print JSON");
  replay->callback([options, &exit_code] { exit_code = RunReplay(*options); });
}

}  // namespace dipper::cli
