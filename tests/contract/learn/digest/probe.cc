// Runs a generated stream and a recorded one through every learner and prints the digest of each image.
// Compiled by compare_builds.sh for several machines, compilers and levels, whose lines must all be equal;
// also built as an ordinary program against the library of this build. Single-threaded.
//
// usage: probe SINGLE_HOP_CSV   (tests/data/suthaharan)
#include <cstdio>
#include <fstream>
#include <string>

#include "agent/base/number.h"
#include "agent/stream/csv.h"
#include "tests/contract/learn/cases.h"

namespace dipper::learn::testing {
namespace {

constexpr size_t kColumns = 6;  // reading, mote_id, indoor, humidity, temperature, label
constexpr uint64_t kDelay = 12;

struct Reading {
  double cells[kColumns];
};

std::vector<Reading> ReadRecording(const char* path) {
  std::vector<Reading> readings;
  std::ifstream file(path);
  std::string line, scratch;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::string_view cells[kColumns];
    uint32_t count = 0;
    scratch.resize(line.size());
    if (!base::Ok(stream::SplitLine(line, ',', scratch, cells, &count)) || count != kColumns) std::abort();
    Reading& reading = readings.emplace_back();
    for (size_t i = 0; i < kColumns; ++i) reading.cells[i] = base::ParseDouble(cells[i]).value();
  }
  return readings;
}

/// The readings in the file's order, one mote after another; the fourth mote is the missing category. Labels
/// come a minute late: the anomaly mark for two classes, the mote for more, otherwise the humidity of that
/// later moment.
void RunRecording(Model& model, const Spec& spec, const std::vector<Reading>& readings) {
  const uint32_t classes = LabelClasses(spec);
  const uint64_t first = model.last_id() + 1;
  for (uint64_t i = 0; i < readings.size(); ++i) {
    const auto& [number, mote, indoor, humidity, temperature, mark] = readings[i].cells;
    const float kind = mote > 3.0 ? std::numeric_limits<float>::quiet_NaN() : base::NarrowToFloat(mote - 1.0);
    const float x[4] = {base::NarrowToFloat(humidity), base::NarrowToFloat(temperature),
                        base::NarrowToFloat(indoor), kind};
    if (!base::Ok(model.Observe(first + i, static_cast<int64_t>(number), x, nullptr))) std::abort();
    if (i < kDelay) continue;
    const Reading& then = readings[i - kDelay];
    const double label = classes == 0   ? humidity
                         : classes == 2 ? then.cells[5]
                                        : then.cells[1] - (then.cells[1] > 3.0 ? 2.0 : 1.0);
    const base::Status status = model.Learn(first + i - kDelay, label, 1.0, nullptr);
    if (!base::Ok(status) && status != base::Status::kNotFound) std::abort();
  }
}

bool Print(const std::string& name, const Model& model) {
  const auto hex = base::ToHex(model.ImageDigest());
  std::printf("%s %.64s\n", name.c_str(), hex.text.data());
  return model.AllFinite();
}

int Main(const char* recording) {
  const std::vector<Reading> readings = ReadRecording(recording);
  if (readings.size() < 10000) {
    std::fprintf(stderr, "probe: cannot read %s\n", recording);
    return 2;
  }
  bool finite = true;
  for (const ModelCase& test : AllCases()) {
    if (test.slow) continue;  // under emulation a minute each; their learners are in other cases
    Fixture model(SpecOf(test));
    Stream stream(42);
    RunStream(model.model(), model.spec(), &stream, 12000, test.target == "regression" ? 5 : 0);
    finite = Print(test.name(), model.model()) && finite;
  }
  for (const ModelCase& test : AllCases()) {
    if (test.slow) continue;
    Fixture model(SpecOf(test));
    RunRecording(model.model(), model.spec(), readings);
    finite = Print(test.name() + "/suthaharan", model.model()) && finite;
  }
  return finite ? 0 : 1;
}

}  // namespace
}  // namespace dipper::learn::testing

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: probe SINGLE_HOP_CSV\n", stderr);
    return 2;
  }
  return dipper::learn::testing::Main(argv[1]);
}
