// Nanoseconds of verifying and decoding packages. package_cost makes the packages and runs it.
//
// usage: package_bench ROOT GROUP_KEY PACKAGE... [--benchmark_...]
#include <benchmark/benchmark.h>

#include "tests/bench/package/package_input.h"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc < 4) {
    std::fputs("usage: package_bench ROOT GROUP_KEY PACKAGE... [--benchmark_...]\n", stderr);
    return 2;
  }
  std::vector<std::unique_ptr<dipper::bench::PackageInput>> inputs;
  for (int i = 3; i < argc; ++i) {
    inputs.push_back(std::make_unique<dipper::bench::PackageInput>(argv[i], argv[1], argv[2]));
    dipper::bench::PackageInput* input = inputs.back().get();
    if (!input->Verify() || !input->Decode()) {
      std::fprintf(stderr, "%s does not verify and decode\n", argv[i]);
      return 5;
    }
    const std::string name(argv[i]);
    benchmark::RegisterBenchmark(("verify:" + name).c_str(), [input](benchmark::State& state) {
      for (auto _ : state) benchmark::DoNotOptimize(input->Verify());
    });
    benchmark::RegisterBenchmark(("decode:" + name).c_str(), [input](benchmark::State& state) {
      for (auto _ : state) benchmark::DoNotOptimize(input->Decode());
    });
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
