// Drift detectors on streams whose mean changes every 10,000 values: rises found, mean delay, false alarms
// and time per value, from fixed seeds. A rise counts as found when an alarm follows it before the next
// change; every other alarm is false, a second one after the same rise and one after a fall included.
// Prints only; nothing is judged by time.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "agent/learn/drift/adwin.h"
#include "agent/learn/drift/cusum.h"
#include "agent/learn/drift/hddm_a.h"
#include "agent/learn/drift/page_hinkley.h"
#include "agent/learn/math/functions.h"
#include "agent/learn/math/random.h"

namespace dipper::learn {
namespace {

constexpr size_t kValues = 1'000'000;
constexpr size_t kPeriod = 10'000;
constexpr uint64_t kRises = 50;
constexpr uint64_t kSeeds = 10;

struct Kind {
  const char* name;
  bool normal;      // else errors, 0 or 1
  double low;       // mean before a rise
  double high;      // and after it
  double scale;     // of everything
  double together;  // correlation of one value with the next
};

constexpr Kind kKinds[] = {
    {"errors 0.2 <-> 0.4", false, 0.2, 0.4, 1, 0},
    {"errors 0.01 <-> 0.05", false, 0.01, 0.05, 1, 0},
    {"errors 0.2, no change", false, 0.2, 0.2, 1, 0},
    {"errors 0.01, no change", false, 0.01, 0.01, 1, 0},
    {"normal, 1 <-> 1.5 deviations", true, 1, 1.5, 1, 0},
    {"the same times 1e6", true, 1, 1.5, 1e6, 0},
    {"the same times 1e-6", true, 1, 1.5, 1e-6, 0},
    {"normal, no change", true, 1, 1, 1, 0},
    {"autocorrelated 0.8, 1 <-> 2 dev.", true, 1, 2, 1, 0.8},
    {"autocorrelated 0.8, no change", true, 1, 1, 1, 0.8},
};

double Normal(RandomState& random) {
  constexpr double kTurn = 6.283185307179586;
  return std::sqrt(-2.0 * Log(1.0 - NextUniform(random))) * Cos(kTurn * NextUniform(random));
}

std::vector<double> Draw(const Kind& kind, uint64_t seed) {
  RandomState random = SeedRandom(seed);
  std::vector<double> values(kValues);
  double noise = Normal(random);
  for (size_t i = 0; i < kValues; ++i) {
    const double mean = i / kPeriod % 2 == 1 ? kind.high : kind.low;
    if (kind.normal) {
      noise = kind.together * noise + std::sqrt(1.0 - kind.together * kind.together) * Normal(random);
      values[i] = kind.scale * (mean + noise);
    } else {
      values[i] = NextUniform(random) < mean ? kind.scale : 0.0;
    }
  }
  return values;
}

struct Score {
  uint64_t found = 0;
  uint64_t delay = 0;
  uint64_t false_alarms = 0;
  uint64_t most_false = 0;  // of one seed
  double seconds = 0;
};

struct alignas(16) Block {
  uint8_t byte[16];
};

template <typename Detector, typename Config>
void Run(const Config& config, const Kind& kind, const std::vector<double>& values, Score* score) {
  const base::Result<uint64_t> bytes = Detector::StateBytes(config);
  if (!bytes.ok()) std::abort();
  std::vector<Block> blocks(static_cast<size_t>(*bytes / sizeof(Block)));
  const base::MutableBytes memory(blocks.data()->byte, blocks.size() * sizeof(Block));
  if (Detector::Create(config, memory) != base::Status::kOk) std::abort();
  std::vector<uint64_t> alarms;
  const auto start = std::chrono::steady_clock::now();
  for (size_t i = 0; i < values.size(); ++i) {
    if (Detector(config, memory).Update(values[i]) == DriftLevel::kAlarm) alarms.push_back(i);
  }
  score->seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  uint64_t false_alarms = 0;
  uint64_t last_found = 0;  // period of the last rise that was found; no rise is in period 0
  for (const uint64_t at : alarms) {
    const uint64_t period = at / kPeriod;
    if (kind.low < kind.high && period % 2 == 1 && period != last_found) {
      last_found = period;
      score->found += 1;
      score->delay += at % kPeriod + 1;
    } else {
      false_alarms += 1;
    }
  }
  score->false_alarms += false_alarms;
  score->most_false = false_alarms > score->most_false ? false_alarms : score->most_false;
}

void Print(const char* detector, const Kind& kind, const Score& score) {
  const double seeds = static_cast<double>(kSeeds);
  std::printf("%-34s %-14s ", kind.name, detector);
  if (kind.low < kind.high) {
    std::printf("%6.1f %7.0f ", static_cast<double>(score.found) / seeds,
                score.found > 0 ? static_cast<double>(score.delay) / static_cast<double>(score.found) : 0.0);
  } else {
    std::printf("%6s %7s ", "-", "-");
  }
  std::printf("%7.1f %6llu %6.1f\n", static_cast<double>(score.false_alarms) / seeds,
              static_cast<unsigned long long>(score.most_false),
              score.seconds * 1e9 / (static_cast<double>(kValues) * seeds));
}

void PrintOthers() {
  std::printf("\nMOA (2025-09, JVM), errors 0.2 <-> 0.4, one seed:\n");
  std::printf("%-34s %-14s %6s %7s %7s %6s %6s\n", "", "detector", "found", "delay", "false", "", "ns");
  struct Other {
    const char* name;
    int found, delay, false_alarms, ns;
  };
  constexpr Other kOthers[] = {{"ADWIN", 50, 151, 0, 702},        {"SEED", 50, 103, 6, 203},
                               {"HDDM-A", 50, 205, 15, 168},      {"CUSUM", 50, 481, 14, 39},
                               {"HDDM-W", 50, 69, 379, 227},      {"DDM", 50, 1290, 7, 94},
                               {"Page-Hinkley", 19, 4258, 31, 17}};
  for (const Other& other : kOthers) {
    std::printf("%-34s %-14s %6d %7d %7d %6s %6d\n", "", other.name, other.found, other.delay,
                other.false_alarms, "", other.ns);
  }
}

void Table() {
  std::printf("%llu values, a change every %llu, %llu rises; means over %llu seeds\n",
              static_cast<unsigned long long>(kValues), static_cast<unsigned long long>(kPeriod),
              static_cast<unsigned long long>(kRises), static_cast<unsigned long long>(kSeeds));
  std::printf("%-34s %-14s %6s %7s %7s %6s %6s\n", "stream", "detector", "found", "delay", "false", "most",
              "ns");
  for (const Kind& kind : kKinds) {
    Score adwin;
    Score cusum;
    Score page_hinkley;
    Score hddm;
    for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
      const std::vector<double> values = Draw(kind, seed);
      Run<Adwin>(AdwinConfig{}, kind, values, &adwin);
      Run<Cusum>(CusumConfig{}, kind, values, &cusum);
      Run<PageHinkley>(PageHinkleyConfig{}, kind, values, &page_hinkley);
      Run<HddmA>(HddmAConfig{}, kind, values, &hddm);
    }
    Print("ADWIN", kind, adwin);
    Print("CUSUM", kind, cusum);
    Print("Page-Hinkley", kind, page_hinkley);
    Print("HDDM-A", kind, hddm);
  }
}

}  // namespace
}  // namespace dipper::learn

int main() {
  dipper::learn::Table();
  dipper::learn::PrintOthers();
  return 0;
}
