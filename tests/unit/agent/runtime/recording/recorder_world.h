// A device with a flight recorder, and its recording as a file. Single-threaded.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tests/unit/agent/runtime/agent_world.h"
#include "tools/lab/replay.h"
#include "tools/lab/spec_text.h"
#include "tools/lab/train.h"

namespace dipper::runtime::test {

inline constexpr store::RecorderArea kSmallRing{.segment_bytes = 96 * 1024, .segments = 4};
inline constexpr uint64_t kPlenty = 1ULL << 30;

inline std::string SensorLine(uint64_t row) {
  learn::testing::Numbers numbers(row + 1);
  const double x = numbers.Normal();
  const std::string label = row % 5 == 4 ? "" : std::to_string(2 * x + 0.1 * numbers.Normal());
  return std::to_string(x) + "," + (row % 7 == 0 ? "" : std::to_string(numbers.Normal())) + "," + label;
}

inline schema::SpecT SensorSpec(const std::string& learner = "linear") {
  schema::SpecT spec = learn::testing::MakeSpec(learner, 2, 0);
  spec.target->name = "label";
  return spec;
}

/// A package whose trial its losses decide.
inline Release PairedRelease(const schema::SpecT& spec, const std::string& version,
                             const std::vector<package::PublicKey>& groups = {}) {
  schema::SpecT copy = spec;
  copy.budget_bytes = 64 * 1024;
  const auto edit = [&](schema::ManifestT& manifest, auto& image) {
    manifest.model = copy.model_id;
    manifest.spec = lab::CompileSpec(copy);
    image = lab::FreshImage(copy).image;
    manifest.gate = std::make_unique<schema::GatePolicyT>();
    manifest.gate->kind = schema::GateKind::PairedLoss;
    manifest.gate->loss_bound = 4;
    manifest.gate->margin = 0.2;
    manifest.gate->deadline_samples = 100'000;
  };
  return update::test::MakeRelease(version, 1, {.edit = edit, .groups = groups});
}

inline std::unique_ptr<World> MakeWorld(const store::RecorderArea& area = kSmallRing,
                                        uint64_t bytes_per_day = kPlenty) {
  return std::make_unique<World>(
      "f0,f1,label", SensorLine, 0, std::vector<std::string>{"main"},
      RecorderConfig{.agent_version = "0.1.0-test", .session = 7, .bytes_per_day = bytes_per_day}, area);
}

/// Begins a fetch. @returns the file's bytes.
inline base::Result<uint64_t> BeginFetch(Recorder& recorder) {
  DIPPER_RETURN_IF_ERROR(recorder.BeginFetch());
  for (;;) {
    DIPPER_ASSIGN_OR_RETURN(const bool done, recorder.Measure(3));
    if (done) return recorder.file_bytes();
  }
}

/// The file of what the recorder holds; empty: it has none.
inline std::vector<uint8_t> Fetch(World& world) {
  Recorder& recorder = *world.box(0).recorder;
  const auto bytes = BeginFetch(recorder);
  if (!bytes.ok()) return {};
  std::vector<uint8_t> file(*bytes);
  // In pieces of no round size, as a transfer takes it.
  for (size_t at = 0; at < file.size(); at += 1021) {
    const size_t count = std::min<size_t>(1021, file.size() - at);
    DIPPER_CHECK(Ok(recorder.ReadFile(at, base::MutableBytes(file).subspan(at, count))));
  }
  recorder.Release(true);
  return file;
}

inline lab::ReplayResult ReplayOf(const std::vector<uint8_t>& file, const lab::ContentKeys& keys = {}) {
  lab::Recording recording(file, "device.drec");
  return lab::Replay(recording, keys);
}

}  // namespace dipper::runtime::test
