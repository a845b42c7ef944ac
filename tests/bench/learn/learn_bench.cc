// Time per sample of Observe plus Learn, all metrics on, for every learner at 4, 16, 64 and 200 features (and
// every case of the contract suite), with labels at once and 64 samples late. One iteration is a batch of
// 1,024 samples. Names: learn/<learner>/<features>/<prompt|late> and case/<name>/prompt. Prints only; nothing
// is judged by time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/learn/bench_cases.h"
#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

constexpr uint64_t kBatch = 1024;
constexpr uint64_t kLate = 64;

void Measure(benchmark::State& state, const schema::SpecT& table, uint64_t delay) {
  Compiled compiled(table);
  if (!compiled.Parse().ok()) return state.SkipWithError(compiled.why());
  Fixture model(table);
  const Rows rows = Draw(model.spec().feature_count(), LabelClasses(model.spec()));
  Output out;
  Outcome outcome;
  uint64_t id = 0;
  const auto run = [&](uint64_t samples) {
    for (uint64_t i = 0; i < samples; ++i) {
      ++id;
      benchmark::DoNotOptimize(model->Observe(id, 0, rows.x[id % kRows], &out));
      if (id <= delay) continue;
      benchmark::DoNotOptimize(model->Learn(id - delay, rows.labels[(id - delay) % kRows], 1.0, &outcome));
    }
  };
  run(2 * kRows);  // windows are full and trees have grown
  for (auto _ : state) run(kBatch);
  const auto samples = state.iterations() * static_cast<int64_t>(kBatch);
  state.SetItemsProcessed(samples);  // items_per_second: samples per second
  state.counters["bytes"] = static_cast<double>(model.memory().size());
  state.counters["per_sample"] = benchmark::Counter(
      static_cast<double>(samples), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void Register(const std::string& name, const schema::SpecT& spec, uint64_t delay) {
  auto table = std::make_shared<schema::SpecT>(spec);
  benchmark::RegisterBenchmark(name.c_str(),
                               [table, delay](benchmark::State& state) { Measure(state, *table, delay); });
}

}  // namespace
}  // namespace dipper::learn::testing

int main(int argc, char** argv) {
  using namespace dipper::learn::testing;  // NOLINT: a program of one function
  for (const std::string learner : kLearners) {
    for (const uint32_t features : {4U, 16U, 64U, 200U}) {
      const std::string name = "learn/" + learner + "/" + std::to_string(features);
      Register(name + "/prompt", SpecWith(learner, features, 0), 0);
      Register(name + "/late", SpecWith(learner, features, kLate), kLate);
    }
  }
  for (const ModelCase& test : AllCases()) Register("case/" + test.name() + "/prompt", SpecOf(test), 0);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
