// The health gate against pairs of models whose true difference is known: how often it confirms a worse one,
// falls back from a better one, and how many labels it needs. Fixed seeds; prints a table, or JSON lines for
// plot.py. A verdict is wrong when the running average of the conditional expected excess, which is what the
// gate bounds (docs/reference/update.md), says the opposite at that very label.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "agent/update/gate.h"
#include "tests/bench/gate/loss_pairs.h"

namespace dipper::bench {
namespace {

using update::Gate;
using update::GateConfig;
using update::GateVerdict;

constexpr uint64_t kDeadline = 20'000;
constexpr double kAlpha = 0.05;
constexpr double kMarginRatio = 0.05;  // still "not worse"
constexpr uint32_t kRecent = 200;
constexpr uint64_t kWarmup = 100;
constexpr uint32_t kLook = 8;  // labels between looks; the bounds hold for any
// A restart every so many labels goes back to the last checkpoint of the gate, as on a device.
constexpr uint64_t kRestartEvery = 700, kCheckpointEvery = 300;

constexpr double kDifferences[] = {-0.5, -0.2, -0.1, 0, 0.05, 0.1, 0.2, 0.5};
constexpr uint32_t kDelays[] = {0, 10, 200};

struct Cell {
  PairsConfig pairs;
  uint32_t delay = 0;
  bool restarts = false;
};

struct Outcome {
  GateVerdict verdict = GateVerdict::kDeadlineFallBack;
  uint64_t labels = 0;
  double true_excess = 0;  // running average at the verdict
};

struct Totals {
  int runs = 0, confirmed = 0, fell_back = 0, undecided = 0;
  int wrong_confirms = 0, wrong_fall_backs = 0;
  double labels_median = 0, labels_p90 = 0;  // of the runs that were decided
};

GateConfig MakeGateConfig(const Cell& cell) {
  GateConfig config;
  config.loss_bound = cell.pairs.kind == LossKind::kErrors ? 1 : kLossBound;
  config.margin_ratio = kMarginRatio;
  config.alpha = kAlpha;
  config.warmup_samples = kWarmup;
  config.recent = kRecent;
  config.deadline_samples = kDeadline;
  config.horizon = std::max(cell.delay, 1u);
  return config;
}

/// One trial. With restarts the gate is saved and brought back as the updater does it; the samples since the
/// checkpoint are lost to the test and to the truth alike, since the trial goes on from there.
Outcome RunTrial(const Cell& cell, uint64_t seed) {
  LossPairs pairs(cell.pairs, seed);
  const GateConfig config = MakeGateConfig(cell);
  const base::Digest package{};
  Gate gate(config, package);
  std::vector<uint8_t> saved(update::kGateStateBytes);
  double excess = 0, saved_excess = 0;
  uint64_t counted = 0, saved_counted = 0;
  (void)gate.Save(saved);
  Outcome outcome;
  for (uint64_t i = 1;; ++i) {
    const LossPair pair = pairs.Next();
    gate.Add(pair.challenger, pair.rival);
    if (i > kWarmup) {
      excess += pair.challenger_mean - (1 + kMarginRatio) * pair.rival_mean;
      ++counted;
    }
    if (cell.restarts && i % kCheckpointEvery == 0) {
      (void)gate.Save(saved);
      saved_excess = excess;
      saved_counted = counted;
    }
    if (cell.restarts && i % kRestartEvery == 0) {
      gate = Gate(config, package);
      if (!base::Ok(gate.Restore(saved))) std::abort();
      excess = saved_excess;
      counted = saved_counted;
    }
    // A restart takes labels back, so a trial with many of them may pass the deadline's count a while later.
    if (i % kLook != 0 && i < kDeadline) continue;
    const GateVerdict verdict = gate.Verdict();
    if (verdict == GateVerdict::kContinue && i < 3 * kDeadline) continue;
    outcome.verdict = verdict;
    outcome.labels = i;
    outcome.true_excess = counted == 0 ? 0 : excess / static_cast<double>(counted);
    return outcome;
  }
}

double Quantile(std::vector<uint64_t> sorted, double share) {
  if (sorted.empty()) return NAN;
  return static_cast<double>(sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))]);
}

Totals RunCell(const Cell& cell, int runs) {
  Totals totals;
  totals.runs = runs;
  std::vector<uint64_t> labels;
  for (int run = 0; run < runs; ++run) {
    const Outcome outcome = RunTrial(cell, static_cast<uint64_t>(run) + 1);
    const bool confirmed = outcome.verdict == GateVerdict::kConfirm;
    const bool fell_back = outcome.verdict == GateVerdict::kFallBack;
    totals.confirmed += confirmed;
    totals.fell_back += fell_back;
    totals.undecided += !confirmed && !fell_back;
    totals.wrong_confirms += confirmed && outcome.true_excess > 0;
    totals.wrong_fall_backs += fell_back && outcome.true_excess < 0;
    if (confirmed || fell_back) labels.push_back(outcome.labels);
  }
  std::sort(labels.begin(), labels.end());
  totals.labels_median = Quantile(labels, 0.5);
  totals.labels_p90 = Quantile(labels, 0.9);
  return totals;
}

const char* Name(LossKind kind) { return kind == LossKind::kErrors ? "errors" : "absolute"; }

const char* Name(Course course) {
  switch (course) {
    case Course::kIndependent:
      return "independent";
    case Course::kCorrelated:
      return "correlated";
    case Course::kLearning:
      return "both learn";
    case Course::kTurning:
      return "better first";
  }
  return "?";
}

void PrintHead() {
  std::printf(
      "margin %.0f %% of the rival's loss, alpha %.2f, deadline %llu labels, recent %u, "
      "a look every %u labels\n\n",
      100 * kMarginRatio, kAlpha, static_cast<unsigned long long>(kDeadline), kRecent, kLook);
  std::printf("%-9s %-13s %5s %-8s %10s | %8s %9s %9s | %14s %15s | %7s %7s\n", "loss", "course", "delay",
              "restarts", "difference", "confirm%", "fallback%", "deadline%", "wrong confirm%",
              "wrong fallback%", "labels", "p90");
}

void Print(const Cell& cell, const Totals& totals, bool json) {
  const auto percent = [&](int count) { return 100.0 * count / totals.runs; };
  if (json) {
    std::printf(
        "{\"loss\":\"%s\",\"course\":\"%s\",\"delay\":%u,\"restarts\":%s,\"difference\":%g,\"runs\":%d,"
        "\"confirmed\":%d,\"fell_back\":%d,\"undecided\":%d,\"wrong_confirms\":%d,"
        "\"wrong_fall_backs\":%d",
        Name(cell.pairs.kind), Name(cell.pairs.course), cell.delay, cell.restarts ? "true" : "false",
        cell.pairs.difference, totals.runs, totals.confirmed, totals.fell_back, totals.undecided,
        totals.wrong_confirms, totals.wrong_fall_backs);
    if (std::isfinite(totals.labels_median))
      std::printf(",\"labels_median\":%.0f,\"labels_p90\":%.0f", totals.labels_median, totals.labels_p90);
    std::printf("}\n");
  } else {
    std::printf("%-9s %-13s %5u %-8s %+9.0f%% | %8.1f %9.1f %9.1f | %14.1f %15.1f | %7.0f %7.0f\n",
                Name(cell.pairs.kind), Name(cell.pairs.course), cell.delay, cell.restarts ? "yes" : "no",
                100 * cell.pairs.difference, percent(totals.confirmed), percent(totals.fell_back),
                percent(totals.undecided), percent(totals.wrong_confirms), percent(totals.wrong_fall_backs),
                totals.labels_median, totals.labels_p90);
  }
  std::fflush(stdout);
}

int RunAll(int runs, bool json) {
  if (!json) PrintHead();
  double worst_confirm = 0, worst_fall_back = 0;
  for (const LossKind kind : {LossKind::kAbsolute, LossKind::kErrors}) {
    for (const Course course :
         {Course::kIndependent, Course::kCorrelated, Course::kLearning, Course::kTurning}) {
      for (const uint32_t delay : kDelays) {
        for (const bool restarts : {false, true}) {
          for (const double difference : kDifferences) {
            Cell cell;
            const bool overlap = course != Course::kIndependent;
            cell.pairs = {kind, course, difference, overlap ? std::max(delay, 1u) : 1};
            cell.delay = delay;
            cell.restarts = restarts;
            const Totals totals = RunCell(cell, runs);
            Print(cell, totals, json);
            worst_confirm = std::max(worst_confirm, 1.0 * totals.wrong_confirms / runs);
            worst_fall_back = std::max(worst_fall_back, 1.0 * totals.wrong_fall_backs / runs);
          }
        }
      }
    }
  }
  if (!json) {
    std::printf("\nworst cell: %.1f %% wrong confirms, %.1f %% wrong fall backs (bound: %.0f %% each)\n",
                100 * worst_confirm, 100 * worst_fall_back, 100 * kAlpha);
  }
  return 0;
}

}  // namespace
}  // namespace dipper::bench

int main(int argc, char** argv) {
  int runs = 200;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--runs") == 0 && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      runs = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr,
                   "usage: gate_bench [--runs N] [--json]\n  --runs N  trials a line, default 200\n"
                   "  --json    one JSON object a line, for tests/bench/gate/plot.py\n");
      return 2;
    }
  }
  return dipper::bench::RunAll(runs, json);
}
