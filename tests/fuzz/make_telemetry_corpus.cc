// Writes the seed corpora of the telemetry and compiled-spec inputs: make_telemetry_corpus tests/fuzz/corpus
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>

#include "agent/telemetry/encoders.h"
#include "tests/contract/learn/cases.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): a program, not a header

std::filesystem::path folder;

void Write(const char* corpus, const std::string& name, base::ByteView bytes) {
  std::filesystem::create_directories(folder / corpus);
  std::ofstream out(folder / corpus / name, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

template <typename M>
void WriteMessage(const char* name, const M& message) {
  alignas(16) static std::array<uint8_t, telemetry::kBirthBufferBytes> buffer;
  Write("telemetry", name, telemetry::Encode(message, buffer).value());
}

void WriteMessages() {
  const telemetry::Envelope envelope = {"boot-1", 0xFEDCBA9876543210U, 42, 1'700'000'000'123'456'789, "main"};
  base::Digest digest;
  digest.bytes.fill(0xAB);
  const telemetry::PackageInfo package = {digest, "motes", "2.0.1", {1, 7}};
  const telemetry::GateReport gate = {100, 0.5, 0.25, -0.5, 0.125, 0.01};
  const std::array<telemetry::MetricValue, 2> values = {
      telemetry::MakeMetric(telemetry::MetricId::kSamplesTotal, 1234, 5),
      telemetry::MakeMetric(telemetry::MetricId::kDriftStatistic, 1.5, 7, 3)};
  WriteMessage("metrics", telemetry::MetricsBatch{envelope, values});
  const std::array<telemetry::MetricValue, 4> compact = {
      telemetry::MakeMetric(telemetry::MetricId::kSamplesTotal, 1234, envelope.time_ns),
      telemetry::MakeMetric(telemetry::MetricId::kDriftFeatureStatistic, 0.1, envelope.time_ns, 3),
      telemetry::MakeMetric(telemetry::MetricId::kMae, 1e-300, envelope.time_ns),
      telemetry::MakeMetric(telemetry::MetricId::kRmse, std::numeric_limits<double>::quiet_NaN(),
                            envelope.time_ns)};
  WriteMessage("metrics-partial", telemetry::MetricsBatch{envelope, compact, true});
  const std::array<telemetry::Contribution, 2> contributions = {telemetry::Contribution{"temperature", 0.75},
                                                                telemetry::Contribution{"humidity", 0.25}};
  telemetry::Event event;
  event.envelope = envelope;
  event.kind = schema::EventKind::AnomalyRaised;
  event.package = package;
  event.image = digest;
  event.score = 0.999;
  event.contributions = contributions;
  event.gate = &gate;
  event.detail = "from \"here\"\n";
  WriteMessage("event", event);
  telemetry::UpdateStatus status;
  status.envelope = envelope;
  status.state = schema::UpdateState::Trial;
  status.target = status.serving = status.undo = package;
  status.blocks_done = 3;
  status.blocks_total = 4;
  status.gate = &gate;
  WriteMessage("update", status);
  const std::array<double, 3> probabilities = {0.5, 0.25, 0.25};
  telemetry::Prediction prediction;
  prediction.envelope = envelope;
  prediction.class_index = 1;
  prediction.probabilities = probabilities;
  prediction.has_interval = true;
  prediction.class_set = 6;
  WriteMessage("prediction", prediction);
  telemetry::CommandResponse response;
  response.envelope = envelope;
  response.number = 9;
  response.name = "undo";
  response.detail = "done";
  WriteMessage("response", response);
  const std::array<telemetry::FeatureInfo, 2> features = {telemetry::FeatureInfo{"temperature", "K", false},
                                                          telemetry::FeatureInfo{"mode", "", true}};
  const std::array<telemetry::ModelInfo, 1> models = {telemetry::ModelInfo{
      "main", "regression", "linear", "power", features, package, schema::SlotName::A, 1000, 2000, 3000}};
  const std::array<std::string_view, 1> groups = {"canary"};
  telemetry::Birth birth;
  birth.envelope = envelope;
  birth.device = "gw-1";
  birth.fleet = "plant";
  birth.groups = groups;
  birth.models = models;
  WriteMessage("birth", birth);
  const std::array<std::string_view, 2> names = {"temperature", "mode"};
  const std::array<float, 2> row = {21.5F, 1.0F};
  const std::array<telemetry::UncertainSample, 2> samples = {
      telemetry::UncertainSample{7, 1, 0.5, 1, 0, row}, telemetry::UncertainSample{8, 2, 0.25, -1, 3.5, row}};
  WriteMessage("uncertain", telemetry::UncertainSamples{envelope, 9, digest, names, samples});
  telemetry::Event wiped;
  wiped.envelope = envelope;
  wiped.kind = schema::EventKind::Wiped;
  wiped.count = 9;
  wiped.detail = "partitions that cannot be opened, of model pump";
  WriteMessage("wiped", wiped);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_telemetry_corpus FOLDER\n");
    return 2;
  }
  folder = argv[1];
  WriteMessages();
  for (const learn::testing::ModelCase& test : learn::testing::AllCases()) {
    const bool plain = test.target == "binary" || test.target == "ahead" || test.target == "scores";
    if (!plain && test.extra.empty()) continue;
    Write("spec", "compiled-" + test.name(), learn::testing::Compiled(SpecOf(test)).bytes());
  }
  return 0;
}
