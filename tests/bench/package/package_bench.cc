// Nanoseconds of verifying, decoding and installing packages, and what installing reads and writes.
// package_cost makes the packages and runs it.
//
// usage: package_bench ROOT GROUP_KEY PACKAGE... [--benchmark_...]
#include <benchmark/benchmark.h>

#include "tests/bench/package/install_device.h"

namespace {

/// Each iteration ends outside the time with a fall back: the next one finds the device as this one did.
void Install(benchmark::State& state, dipper::bench::InstallDevice& device) {
  for (auto _ : state) {
    const bool begun = device.Install();
    state.PauseTiming();
    if (!begun || !device.Drop()) state.SkipWithError("the trial does not begin");
    state.ResumeTiming();
  }
  using dipper::bench::MediumCounts;
  const MediumCounts slots = device.copied + device.verified + device.begun;
  const auto tell = [&](const char* name, uint64_t count) {
    state.counters[name] = static_cast<double>(count);
  };
  tell("read_copying", device.copied.read);
  tell("read_verifying", device.verified.read);
  tell("read_beginning", device.begun.read);
  tell("written", slots.written);
  tell("erased", slots.erased);
  tell("boot_read", device.boot.read);
  tell("boot_written", device.boot.written);
  tell("barriers", slots.barriers + device.boot.barriers);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc < 4) {
    std::fputs("usage: package_bench ROOT GROUP_KEY PACKAGE... [--benchmark_...]\n", stderr);
    return 2;
  }
  std::vector<std::unique_ptr<dipper::bench::PackageInput>> inputs;
  std::vector<std::unique_ptr<dipper::bench::InstallDevice>> devices;
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
    devices.push_back(std::make_unique<dipper::bench::InstallDevice>(argv[i], argv[1], argv[2]));
    dipper::bench::InstallDevice* device = devices.back().get();
    benchmark::RegisterBenchmark(("install:" + name).c_str(),
                                 [device](benchmark::State& state) { Install(state, *device); });
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
