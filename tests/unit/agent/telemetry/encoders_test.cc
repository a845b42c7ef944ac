// Messages: FlatBuffers there and back, the JSON mirror read by another library, limits and damaged bytes.
#include "agent/telemetry/encoders.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/agent/telemetry/some_envelope.h"

namespace dipper::telemetry {
namespace {

using base::Status;
using nlohmann::json;

base::Digest DigestOf(uint8_t fill) {
  base::Digest digest;
  digest.bytes.fill(fill);
  return digest;
}

PackageInfo SomePackage(uint8_t fill = 0xAB) { return {DigestOf(fill), "motes", "2.0.1", {1, 7}}; }

template <typename T>
json Mirror(const T& message) {
  static Buffers<kBirthBufferBytes> buffers;
  const auto encoded = Encode(message, buffers.message);
  EXPECT_TRUE(encoded.ok());
  const auto text = ToJson(encoded.value(), buffers.text);
  EXPECT_TRUE(text.ok()) << base::StatusName(text.status());
  return text.ok() ? json::parse(text.value()) : json();
}

TEST(Encoders, MetricsRoundTrip) {
  Buffers<kBirthBufferBytes> buffers;
  const std::vector<MetricValue> values = {MakeMetric(MetricId::kSamplesTotal, 1234, 5),
                                           MakeMetric(MetricId::kMae, 0.25, 6),
                                           MakeMetric(MetricId::kDriftStatistic, 1.5, 7, 3)};
  const auto encoded = Encode(MetricsBatch{SomeEnvelope(), values}, buffers.message);
  ASSERT_TRUE(encoded.ok());
  EXPECT_EQ(KindOf(encoded.value()), MessageKind::kMetrics);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(encoded.value().data()) % 8, 0u);
  const auto decoded = Decode<schema::MetricsBatch>(encoded.value());
  ASSERT_TRUE(decoded.ok());
  const schema::MetricsBatch& batch = *decoded.value();
  EXPECT_EQ(batch.envelope()->boot()->str(), "boot-1");
  EXPECT_EQ(batch.envelope()->session(), 0xFEDCBA9876543210u);
  EXPECT_EQ(batch.envelope()->sequence(), 42u);
  EXPECT_EQ(batch.envelope()->time_ns(), 1700000000123456789);
  EXPECT_EQ(batch.envelope()->model()->str(), "main");
  ASSERT_EQ(batch.values()->size(), 3u);
  EXPECT_EQ(batch.values()->Get(1)->value(), 0.25);
  EXPECT_EQ(batch.values()->Get(1)->time_ns(), 6);
  EXPECT_EQ(batch.values()->Get(2)->index(), 3u);
  EXPECT_EQ(Decode<schema::Event>(encoded.value()).status(), Status::kInvalidArgument);
}

TEST(Encoders, MetricsMirror) {
  const std::vector<MetricValue> values = {
      MakeMetric(MetricId::kSamplesTotal, 1234, 5), MakeMetric(MetricId::kDriftStatistic, 1.5, 7, 3),
      MakeMetric(MetricId::kMae, std::numeric_limits<double>::quiet_NaN(), 7), MetricValue(7, 8, 9999, 0)};
  const json j = Mirror(MetricsBatch{SomeEnvelope(), values});
  EXPECT_EQ(j["session"], "fedcba9876543210");
  EXPECT_EQ(j["sequence"], 42);
  EXPECT_EQ(j["time_ms"], 1700000000123);
  EXPECT_EQ(j["model"], "main");
  EXPECT_EQ(j["learner_samples_total"], 1234);
  EXPECT_EQ(j["drift_statistic_3"], 1.5);
  EXPECT_TRUE(j["prequential_mae"].is_null());
  EXPECT_EQ(j["metric_9999"], 8);
}

TEST(Encoders, EventRoundTripAndMirror) {
  const std::vector<Contribution> contributions = {{"temperature", 0.75}, {"humidity", 0.25}};
  const GateReport gate{500, 0.4, 0.6, 0.1, 0.3, 0.05};
  Event event;
  event.envelope = SomeEnvelope();
  event.kind = schema::EventKind::UpdateStep;
  event.from = schema::UpdateState::Trial;
  event.to = schema::UpdateState::FellBack;
  event.reason = schema::Reason::ShownWorse;
  event.package = SomePackage();
  event.image = DigestOf(0x11);
  event.contributions = contributions;
  event.gate = &gate;
  event.count = 3;
  event.detail = "quote \" backslash \\ newline \n and \xFF";
  const json j = Mirror(event);
  EXPECT_EQ(j["kind"], "update_step");
  EXPECT_EQ(j["from"], "trial");
  EXPECT_EQ(j["to"], "fell_back");
  EXPECT_EQ(j["reason"], "shown_worse");
  EXPECT_EQ(j["package.digest"], std::string(base::ToHex(DigestOf(0xAB)).view()));
  EXPECT_EQ(j["package.version"], "2.0.1");
  EXPECT_EQ(j["package.security_version"], 7);
  EXPECT_EQ(j["image"], std::string(base::ToHex(DigestOf(0x11)).view()));
  EXPECT_EQ(j["contribution.temperature"], 0.75);
  EXPECT_EQ(j["gate.samples"], 500);
  EXPECT_EQ(j["gate.upper"], 0.3);
  EXPECT_EQ(j["count"], 3);
  EXPECT_EQ(j["detail"], "quote \" backslash \\ newline \n and ?");
  EXPECT_FALSE(j.contains("score"));
  event.kind = schema::EventKind::AnomalyRaised;
  event.score = 0.9999;
  event.threshold = 0.999;
  event.sample_id = 77;
  const json raised = Mirror(event);
  EXPECT_EQ(raised["kind"], "anomaly_raised");
  EXPECT_EQ(raised["score"], 0.9999);
  EXPECT_EQ(raised["threshold"], 0.999);
  EXPECT_EQ(raised["sample_id"], 77);
}

TEST(Encoders, UpdateRoundTripAndMirror) {
  UpdateStatus update;
  update.envelope = SomeEnvelope();
  update.state = schema::UpdateState::Transferring;
  update.offer_number = 1700000000000;
  update.target = SomePackage(0x01);
  update.serving = SomePackage(0x02);
  update.serving_slot = schema::SlotName::B;
  update.serving_image = DigestOf(0x03);
  update.floor = {1, 5};
  update.blocks_done = 3;
  update.blocks_total = 16;
  update.tries_left = 2;
  update.frozen = true;
  const json j = Mirror(update);
  EXPECT_EQ(j["state"], "transferring");
  EXPECT_EQ(j["reason"], "none");
  EXPECT_EQ(j["offer_number"], 1700000000000);
  EXPECT_EQ(j["target.name"], "motes");
  EXPECT_EQ(j["serving_slot"], "b");
  EXPECT_EQ(j["blocks_done"], 3);
  EXPECT_EQ(j["blocks_total"], 16);
  EXPECT_EQ(j["floor_version"], 5);
  EXPECT_EQ(j["frozen"], true);
  EXPECT_FALSE(j.contains("undo.name"));
  update.blocks_done = 17;  // more than there are: refused by the reader
  Buffers<kBirthBufferBytes> buffers;
  const auto encoded = Encode(update, buffers.message);
  ASSERT_TRUE(encoded.ok());
  EXPECT_EQ(Decode<schema::UpdateStatus>(encoded.value()).status(), Status::kDataLoss);
}

TEST(Encoders, PredictionAndResponse) {
  const std::vector<double> probabilities = {0.25, 0.75};
  Prediction prediction;
  prediction.envelope = SomeEnvelope();
  prediction.id = 9;
  prediction.class_index = 1;
  prediction.probabilities = probabilities;
  prediction.has_score = true;
  prediction.anomaly_score = 0.5;
  const json p = Mirror(prediction);
  EXPECT_EQ(p["id"], 9);
  EXPECT_EQ(p["class_index"], 1);
  EXPECT_EQ(p["probabilities"], json::parse("[0.25,0.75]"));
  EXPECT_EQ(p["anomaly_score"], 0.5);
  EXPECT_FALSE(p.contains("interval_unbounded"));
  CommandResponse response;
  response.envelope = SomeEnvelope();
  response.number = 12;
  response.name = "undo";
  response.status = schema::CommandStatus::Refused;
  response.reason = schema::Reason::RefusedFloor;
  response.detail = "below the floor";
  const json r = Mirror(response);
  EXPECT_EQ(r["number"], 12);
  EXPECT_EQ(r["name"], "undo");
  EXPECT_EQ(r["status"], "refused");
  EXPECT_EQ(r["reason"], "refused_floor");
  EXPECT_EQ(r["repeated"], false);
}

TEST(Encoders, BirthHoldsTheCatalogue) {
  const std::vector<std::string_view> groups = {"canary", "indoor"};
  const std::vector<FeatureInfo> features = {{"temperature", "Cel", false}, {"kind", "", true}};
  ModelInfo model;
  model.id = "main";
  model.features = features;
  model.serving = SomePackage();
  Birth birth;
  birth.envelope = SomeEnvelope();
  birth.device = "mote-1";
  birth.fleet = "demo";
  birth.groups = groups;
  birth.models = {&model, 1};
  const json j = Mirror(birth);
  EXPECT_EQ(j["device"], "mote-1");
  EXPECT_EQ(j["groups"], json::parse(R"(["canary","indoor"])"));
  EXPECT_EQ(j["models"][0]["features"][1]["type"], "categorical");
  ASSERT_EQ(j["metrics"].size(), MetricCatalogue().size());
  EXPECT_EQ(j["metrics"][0]["name"], std::string(MetricCatalogue()[0].name));
}

TEST(Encoders, StateIsJson) {
  std::array<uint8_t, kStateBufferBytes> buffer{};
  const auto online = EncodeState({true, "boot-1", 255, 1700000000123000000}, buffer);
  ASSERT_TRUE(online.ok());
  EXPECT_EQ(
      json::parse(online.value()),
      json::parse(
          R"({"state":"online","boot":"boot-1","session":"00000000000000ff","time_ms":1700000000123})"));
  std::array<uint8_t, 10> small{};
  EXPECT_EQ(EncodeState({}, small).status(), Status::kResourceExhausted);
}

TEST(Encoders, LimitsAreRefusedBeforeAnythingIsWritten) {
  Buffers<kBirthBufferBytes> buffers;
  const std::vector<MetricValue> too_many(kMaxValues + 1);
  EXPECT_EQ(Encode(MetricsBatch{{}, too_many}, buffers.message).status(), Status::kResourceExhausted);
  const std::string long_text(kMaxTextBytes + 1, 'x');
  Event event;
  event.detail = long_text;
  EXPECT_EQ(Encode(event, buffers.message).status(), Status::kResourceExhausted);
  event.detail = {};
  const std::vector<Contribution> contributions(kMaxContributions + 1);
  event.contributions = contributions;
  EXPECT_EQ(Encode(event, buffers.message).status(), Status::kResourceExhausted);
  event.contributions = {};
  EXPECT_EQ(Encode(event, base::MutableBytes(buffers.message).first(64)).status(),
            Status::kResourceExhausted);
  EXPECT_TRUE(Encode(event, buffers.message).ok());
}

// The largest messages that the limits allow stay within their bounds; the allocator would abort otherwise.
TEST(Encoders, LargestMessagesFitTheirBounds) {
  const std::string text(kMaxTextBytes, 'x');
  const PackageInfo package{DigestOf(1), text, text, {0xFFFFFFFF, 0xFFFFFFFF}};
  const GateReport gate{~uint64_t{0}, -1, -1, -1, -1, -1};
  const std::string id(64, 'm');
  const Envelope envelope{text, ~uint64_t{0}, ~uint64_t{0}, -1, id};
  const auto check = [](const auto& message, size_t buffer_bytes) {
    const size_t bound = EncodedBound(message);
    EXPECT_LE(bound, buffer_bytes);
    std::vector<uint8_t> memory(bound + 32);
    const size_t shift = (16 - reinterpret_cast<uintptr_t>(memory.data()) % 16) % 16;
    const auto encoded = Encode(message, base::MutableBytes(memory).subspan(shift, base::AlignUp(bound, 16)));
    ASSERT_TRUE(encoded.ok());
    std::vector<uint8_t> text_out(256 * 1024);
    EXPECT_TRUE(ToJson(encoded.value(), text_out).ok());
  };
  const std::vector<MetricValue> values(kMaxValues, MakeMetric(MetricId::kMae, 1e-300, 1, 65535));
  check(MetricsBatch{envelope, values}, kMessageBufferBytes);
  const std::vector<Contribution> contributions(kMaxContributions, {text, 1.0});
  Event event{envelope,
              schema::EventKind::RawDataSent,
              schema::UpdateState::Failed,
              schema::UpdateState::Failed,
              schema::Reason::PolicyAtDeadline,
              package,
              DigestOf(2),
              ~uint64_t{0},
              1,
              1,
              contributions,
              &gate,
              ~uint64_t{0},
              text};
  check(event, kMessageBufferBytes);
  UpdateStatus update{envelope,
                      schema::UpdateState::Failed,
                      schema::Reason::PolicyAtDeadline,
                      ~uint64_t{0},
                      package,
                      package,
                      schema::SlotName::A,
                      DigestOf(3),
                      package,
                      {1, 1},
                      1,
                      1,
                      1,
                      1,
                      true,
                      &gate};
  check(update, kMessageBufferBytes);
  const std::vector<double> probabilities(kMaxProbabilities, 0.5);
  check(Prediction{envelope, ~uint64_t{0}, true, 1, 1, probabilities, true, 1, true, true, true, -1, 1,
                   ~uint64_t{0}},
        kMessageBufferBytes);
  check(CommandResponse{envelope, ~uint64_t{0}, text, schema::CommandStatus::Failed, schema::Reason::Unknown,
                        true, DigestOf(4), text},
        kMessageBufferBytes);
  const std::vector<FeatureInfo> features(kMaxFeatures, {text, text, true});
  const ModelInfo model{id, text, text, text, features, package, schema::SlotName::A, ~uint64_t{0}, 1, 1};
  const std::vector<ModelInfo> models(kMaxModels, model);
  const std::vector<std::string_view> groups(kMaxGroups, text);
  Birth birth{envelope, id, id, groups, text, text, text, 1, models, 1, 1, 1};
  std::vector<uint8_t> memory(EncodedBound(birth) + 32);
  const size_t shift = (16 - reinterpret_cast<uintptr_t>(memory.data()) % 16) % 16;
  EXPECT_TRUE(
      Encode(birth, base::MutableBytes(memory).subspan(shift, base::AlignUp(EncodedBound(birth), 16))).ok());
}

TEST(Encoders, AnIntervalHasEndsASetOrNeither) {
  Prediction prediction;
  prediction.has_interval = true;
  prediction.value = 2;
  prediction.low = 1.5;
  prediction.high = 2.5;
  json p = Mirror(prediction);
  EXPECT_EQ(p["interval_unbounded"], false);
  EXPECT_EQ(p["interval_low"], 1.5);
  EXPECT_EQ(p["interval_high"], 2.5);
  EXPECT_FALSE(p.contains("class_set"));
  prediction.unbounded = true;
  p = Mirror(prediction);
  EXPECT_EQ(p["interval_unbounded"], true);
  EXPECT_FALSE(p.contains("interval_low"));
  prediction.unbounded = false;
  prediction.class_index = 63;
  prediction.class_set = uint64_t{1} << 63 | 5;
  p = Mirror(prediction);
  EXPECT_EQ(p["class_set"], json::parse("[0,2,63]"));
  EXPECT_FALSE(p.contains("interval_low"));
}

// A birth that did not fit would never be sent: names and units as long as a spec may make them.
TEST(Encoders, TheBirthBufferHoldsSixtyFourFeatures) {
  const std::string name(128, 'n');
  const std::string id(64, 'm');
  const std::vector<FeatureInfo> features(64, {name, name, true});
  const ModelInfo model{id, id, id, name, features, SomePackage(), schema::SlotName::A, 1, 1, 1};
  const std::vector<std::string_view> groups(kMaxGroups, id);
  const Birth birth{SomeEnvelope(), id, id, groups, id, name, id, 1, {&model, 1}, 1, 1, 1};
  EXPECT_LE(EncodedBound(birth), kBirthBufferBytes);
  EXPECT_EQ(Mirror(birth)["models"][0]["features"].size(), 64U);
}

// Damaged bytes: never a crash; either refused, or still within every limit so that the mirror can be
// printed.
TEST(Encoders, DamagedBytesNeverHarm) {
  const std::vector<Contribution> contributions = {{"temperature", 0.75}};
  const GateReport gate{};
  Event event;
  event.envelope = SomeEnvelope();
  event.package = SomePackage();
  event.contributions = contributions;
  event.gate = &gate;
  event.detail = "text";
  Buffers<kBirthBufferBytes> buffers;
  const auto encoded = Encode(event, buffers.message);
  ASSERT_TRUE(encoded.ok());
  const std::vector<uint8_t> good(encoded.value().begin(), encoded.value().end());
  alignas(16) std::array<uint8_t, 1024> copy{};
  ASSERT_LE(good.size(), copy.size());
  int refused = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::copy(good.begin(), good.end(), copy.begin());
      copy[at] = static_cast<uint8_t>(copy[at] ^ (1 << bit));
      const auto text = ToJson(base::ByteView(copy).first(good.size()), buffers.text);
      refused += text.ok() ? 0 : 1;
      if (text.ok()) {
        EXPECT_TRUE(json::accept(text.value()));
      }
    }
  }
  EXPECT_GT(refused, 200);
  for (size_t length = 0; length + 8 <= good.size(); ++length) {  // the last bytes may be padding
    std::copy(good.begin(), good.end(), copy.begin());
    EXPECT_FALSE(ToJson(base::ByteView(copy).first(length), buffers.text).ok()) << length;
  }
  EXPECT_EQ(Decode<schema::Event>(base::ByteView(copy).subspan(1, 100)).status(), Status::kInvalidArgument);
}

TEST(Encoders, WordsAreSnakeCase) {
  EXPECT_EQ(WordOf(schema::UpdateState::FellBack).view(), "fell_back");
  EXPECT_EQ(WordOf(schema::Reason::BelowFloor).view(), "below_floor");
  EXPECT_EQ(WordOf(schema::EventKind::AnomalyCleared).view(), "anomaly_cleared");
  EXPECT_EQ(WordOf(schema::SlotName::None).view(), "none");
  EXPECT_EQ(WordOf(static_cast<schema::Reason>(999)).view(), "unknown_999");
}

// FlatBuffers' verifier checks where a vector begins in steps of 4 bytes; metric values are read in place.
TEST(Decoders, RefusesMetricValuesThatAreNotAligned) {
  const auto batch_at = [](uint32_t vector_offset) {
    alignas(16) static std::array<uint8_t, 80> bytes;
    bytes = {16, 0, 0, 0, 'D', 'M', 'E', 'T', 8, 0, 12, 0, 4, 0, 8, 0,  // root, identifier, vtable
             8,  0, 0, 0, 12,  0,   0,   0};                            // table: vtable, envelope
    base::Store(bytes.data() + 24, vector_offset - 24);                 // table: values
    base::Store<uint32_t>(bytes.data() + 28, 0x00040004);               // an envelope without fields
    base::Store<uint32_t>(bytes.data() + 32, 4);
    base::Store<uint32_t>(bytes.data() + vector_offset, 1);
    return base::ByteView(bytes);
  };
  EXPECT_TRUE(Decode<schema::MetricsBatch>(batch_at(44)).ok());
  EXPECT_EQ(Decode<schema::MetricsBatch>(batch_at(40)).status(), Status::kDataLoss);
}

TEST(Decoders, TakesABatchWithoutValues) {
  Buffers<kBirthBufferBytes> buffers;
  // An empty vector may begin anywhere: the length of the texts before it decides.
  const std::string_view letters = "abcdefgh";
  for (size_t length = 0; length <= letters.size(); ++length) {
    const auto encoded = Encode(MetricsBatch{{letters.substr(0, length), 1, 2, 3, {}}, {}}, buffers.message);
    ASSERT_TRUE(encoded.ok());
    EXPECT_TRUE(Decode<schema::MetricsBatch>(encoded.value()).ok()) << length;
  }
}

}  // namespace
}  // namespace dipper::telemetry
