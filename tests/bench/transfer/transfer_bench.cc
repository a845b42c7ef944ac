// transfer_bench: how a package reaches 100, 1,000 and 10,000 devices through one Mosquitto on loopback, as
// retained groups and, beside it, from a chunk server. Prints a table; nothing is judged.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "tests/bench/transfer/load_run.h"
#include "tests/integration/support/mosquitto.h"

namespace dipper::bench {
namespace {

constexpr const char* kUsage =
    R"(usage: transfer_bench [--devices N]... [--block BYTES]... [--blocks N] [--way retained|chunks|chunk]...
                      [--mqtt 5|311]... [--spread S] [--limit S] [--json]
  --devices  default 100, 1000 and 10000; again for more rows, as --block, --way and --mqtt
  --block    bytes of a block as sent, at most 16384; default 4096 and 16384
  --blocks   of the package; default 64 of 4096 bytes, fewer of larger ones
  --way      retained: groups of 64 retained messages, what devices do; chunks: a server is asked for all blocks of
             a group at once; chunk: for one after the other. Default: all three
  --spread   seconds over which devices begin, by hash(device, rollout); default 0, all at once
  --limit    seconds after which a row ends; default 120
  --json     one JSON object a row
)";

struct Options {
  std::vector<uint32_t> devices, blocks_of;
  std::vector<std::string> ways;
  std::vector<link::MqttVersion> versions;
  uint32_t blocks = 0, spread_s = 0, limit_s = 120;
  bool json = false;
};

bool ParseNumber(const std::string& text, uint32_t least, uint32_t most, uint32_t* number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && *number >= least &&
         *number <= most;
}

bool Parse(const std::vector<std::string>& arguments, Options* options) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--json") {
      options->json = true;
      continue;
    }
    if (i + 1 == arguments.size()) return false;
    const std::string& value = arguments[++i];
    uint32_t number = 0;
    if (name == "--way") {
      if (value != "retained" && value != "chunks" && value != "chunk") return false;
      options->ways.push_back(value);
    } else if (name == "--mqtt") {
      if (value != "5" && value != "311") return false;
      options->versions.push_back(value == "5" ? link::MqttVersion::k5 : link::MqttVersion::k311);
    } else if (name == "--devices" && ParseNumber(value, 1, 100'000, &number)) {
      options->devices.push_back(number);
    } else if (name == "--block" && ParseNumber(value, 64, package::kBlockBytes, &number)) {
      options->blocks_of.push_back(number);
    } else if (name == "--blocks" && ParseNumber(value, 1, package::kMaxBlocks, &number)) {
      options->blocks = number;
    } else if (name == "--spread" && ParseNumber(value, 0, 3600, &number)) {
      options->spread_s = number;
    } else if (name == "--limit" && ParseNumber(value, 1, 3600, &number)) {
      options->limit_s = number;
    } else {
      return false;
    }
  }
  if (options->devices.empty()) options->devices = {100, 1000, 10'000};
  if (options->blocks_of.empty()) options->blocks_of = {4096, 16'384};
  if (options->ways.empty()) options->ways = {"retained", "chunks", "chunk"};
  if (options->versions.empty()) options->versions = {link::MqttVersion::k5};
  return true;
}

void PrintHead() {
  std::printf(
      "One Mosquitto with default limits, QoS 1, loopback. Every device runs the real transfer over the real "
      "store: it\n"
      "verifies the head's signature (heads: before the clock starts) and each block's SHA-256, all in one "
      "thread of\n"
      "this program, whose CPU time is `own`. Only equal pages of the simulated slots are shared.\n\n"
      "way       mqtt devices block x n    delivered of expected     complete failed again asked   heads  "
      "blocks  median"
      "    MB  broker: MB   CPU s  own: CPU s   MB\n");
}

void PrintRow(const std::string& way, const LoadFigures& f) {
  std::printf(
      "%-9s %4s %7u %5u x %-3u %10llu of %-10llu %6.1f%% %8u %6u %5llu %5llu %6.1fs %6.1fs %6.1fs %6.0f "
      "%10.1f %7.1f "
      "%11.1f %4.0f\n",
      way.c_str(), f.plan.version == link::MqttVersion::k5 ? "5" : "311", f.plan.devices, f.plan.block_bytes,
      f.plan.blocks, static_cast<unsigned long long>(f.delivered),
      static_cast<unsigned long long>(f.expected),
      100.0 * static_cast<double>(f.delivered) / static_cast<double>(f.expected), f.complete, f.failed,
      static_cast<unsigned long long>(f.sent_again), static_cast<unsigned long long>(f.asked_again),
      f.heads_s, f.blocks_s, f.median_s, static_cast<double>(f.received_bytes) / (1024 * 1024),
      f.broker_peak_mb, f.broker_cpu_s, f.own_cpu_s, f.own_peak_mb);
  std::fflush(stdout);
}

void PrintJson(const std::string& way, const LoadFigures& f) {
  std::printf(
      R"({"way":"%s","mqtt":"%s","devices":%u,"block_bytes":%u,"blocks":%u,"delivered":%llu,"expected":%llu,)"
      R"("complete":%u,"failed":%u,"disconnects":%u,"sent_again":%llu,"asked_again":%llu,"answered":%llu,)"
      R"("connect_s":%.3f,"heads_s":%.3f,"blocks_s":%.3f,"median_s":%.3f,"received_bytes":%llu,)"
      R"("broker_peak_mb":%.1f,"broker_cpu_s":%.2f,"own_cpu_s":%.2f,"own_peak_mb":%.1f})"
      "\n",
      way.c_str(), f.plan.version == link::MqttVersion::k5 ? "5" : "311", f.plan.devices, f.plan.block_bytes,
      f.plan.blocks, static_cast<unsigned long long>(f.delivered),
      static_cast<unsigned long long>(f.expected), f.complete, f.failed, f.disconnects,
      static_cast<unsigned long long>(f.sent_again), static_cast<unsigned long long>(f.asked_again),
      static_cast<unsigned long long>(f.answered), f.connect_s, f.heads_s, f.blocks_s, f.median_s,
      static_cast<unsigned long long>(f.received_bytes), f.broker_peak_mb, f.broker_cpu_s, f.own_cpu_s,
      f.own_peak_mb);
  std::fflush(stdout);
}

int Main(const std::vector<std::string>& arguments) {
  Options options;
  if (!Parse(arguments, &options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  if (const int skip = testing::SkipWithoutMosquitto(); skip != 0) return skip;
  if (!options.json) PrintHead();
  for (const link::MqttVersion version : options.versions) {
    for (const uint32_t block : options.blocks_of) {
      for (const uint32_t devices : options.devices) {
        for (const std::string& way : options.ways) {
          LoadPlan plan{.way = way == "retained" ? Way::kRetained : Way::kChunks,
                        .version = version,
                        .devices = devices,
                        .block_bytes = block,
                        .blocks = options.blocks != 0 ? options.blocks : std::max(1U, 64 * 4096 / block),
                        .ask_window = way == "chunk" ? 1U : 64U,
                        .spread_s = options.spread_s,
                        .limit_s = options.limit_s};
          const auto figures = RunLoad(plan);
          if (!figures) return 1;
          options.json ? PrintJson(way, *figures) : PrintRow(way, *figures);
        }
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace dipper::bench

int main(int argc, char** argv) { return dipper::bench::Main({argv + 1, argv + argc}); }
