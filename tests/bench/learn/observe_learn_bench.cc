// Time per sample of Observe plus a prompt Learn, all metrics on, for every learner and target of the
// contract suite, and for eight numeric features with two classes. Prints only; nothing is judged by time.
#include <benchmark/benchmark.h>

#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

void Measure(benchmark::State& state, const schema::SpecT& table) {
  Fixture model(table);
  const uint32_t features = model.spec().feature_count();
  const uint32_t classes = LabelClasses(model.spec());
  Stream stream(1);
  Numbers numbers(2);
  std::vector<std::vector<float>> rows(4096);
  std::vector<double> labels(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const Stream::Sample sample = stream.Next(classes);
    rows[i].assign(sample.x, sample.x + std::min<size_t>(features, 4));
    while (rows[i].size() < features) rows[i].push_back(static_cast<float>(numbers.Normal()));
    labels[i] = sample.label;
  }
  uint64_t id = 0;
  Output out;
  Outcome outcome;
  for (auto _ : state) {
    const size_t at = id % rows.size();
    ++id;
    benchmark::DoNotOptimize(model->Observe(id, 0, rows[at], &out));
    benchmark::DoNotOptimize(model->Learn(id, labels[at], 1.0, &outcome));
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["image_bytes"] = static_cast<double>(model.memory().size());
}

schema::SpecT EightFeatures(const std::string& learner) {
  schema::SpecT spec = MakeSpec(learner, 8, 2);
  AddStage(&spec, schema::StandardScalerT());
  AddDrift(&spec);
  return spec;
}

}  // namespace
}  // namespace dipper::learn::testing

int main(int argc, char** argv) {
  using namespace dipper::learn::testing;  // NOLINT: a program of one function
  for (const char* learner : {"linear", "rls", "hoeffding_tree"}) {
    benchmark::RegisterBenchmark(
        (std::string(learner) + "_8_features").c_str(),
        [learner](benchmark::State& state) { Measure(state, EightFeatures(learner)); });
  }
  for (const ModelCase& test : AllCases()) {
    benchmark::RegisterBenchmark(test.name().c_str(),
                                 [test](benchmark::State& state) { Measure(state, SpecOf(test)); });
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
