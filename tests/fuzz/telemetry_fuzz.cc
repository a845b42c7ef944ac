// Any bytes as a telemetry message, as the tools and the agent itself receive them: decoded, mirrored as
// JSON, and, when accepted, encoded again from its values, which must give the same mirror.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"

namespace {

using namespace dipper;  // NOLINT(google-build-using-namespace): an entry file, not a header
using telemetry::MessageKind;

constexpr size_t kMaxInput = 32 * 1024;

struct Memory {
  alignas(16) std::array<uint8_t, kMaxInput> message;
  alignas(16) std::array<uint8_t, telemetry::kMessageBufferBytes> again;
  std::array<uint8_t, telemetry::kJsonBufferBytes> text;
  std::array<uint8_t, telemetry::kJsonBufferBytes> text_again;
};

std::string_view View(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
}

base::Digest DigestOf(const schema::Digest256* from) {
  base::Digest digest;
  if (from != nullptr) std::memcpy(digest.bytes.data(), from->bytes()->Data(), digest.bytes.size());
  return digest;
}

telemetry::Envelope EnvelopeOf(const schema::Envelope& e) {
  return {View(e.boot()), e.session(), e.sequence(), e.time_ns(), View(e.model())};
}

/// A package without a digest is "absent" to the encoder, so such a message has no way back: `*whole` says
/// so.
telemetry::PackageInfo PackageOf(const schema::PackageInfo* p, bool* whole) {
  if (p == nullptr) return {};
  const telemetry::PackageInfo package = {DigestOf(p->digest()),
                                          View(p->name()),
                                          View(p->version()),
                                          {p->release_epoch(), p->security_version()}};
  *whole = *whole && !package.digest.IsZero();
  return package;
}

bool LostDigest(const schema::Digest256* digest) { return digest != nullptr && DigestOf(digest).IsZero(); }

const telemetry::GateReport* GateOf(const schema::GateReport* g, telemetry::GateReport* out) {
  if (g == nullptr) return nullptr;
  *out = {g->samples(), g->champion_loss(), g->challenger_loss(), g->lower(), g->upper(), g->margin()};
  return out;
}

/// The mirror of an accepted message is one JSON object. nullopt-like: empty when it does not fit.
std::string_view MirrorOf(base::ByteView message, base::MutableBytes out) {
  const auto text = telemetry::ToJson(message, out);
  if (!text.ok()) {
    DIPPER_CHECK(text.status() == base::Status::kResourceExhausted);
    return {};
  }
  const auto parsed = nlohmann::json::parse(*text, nullptr, false);
  DIPPER_CHECK(parsed.is_object());
  return *text;
}

template <typename M>
void EncodeAgain(const M& message, std::string_view mirror, Memory& memory) {
  const auto encoded = telemetry::Encode(message, memory.again);
  DIPPER_CHECK(encoded.ok());
  const std::string_view again = MirrorOf(*encoded, memory.text_again);
  if (!mirror.empty() && again != mirror) {
    std::fprintf(stderr, "received: %.*s\nencoded again: %.*s\n", static_cast<int>(mirror.size()),
                 mirror.data(), static_cast<int>(again.size()), again.data());
  }
  // What the encoder makes within its limits always has a mirror.
  DIPPER_CHECK(!again.empty() && (mirror.empty() || again == mirror));
}

/// An absent text and an empty one are the same to the encoder, but not always to the mirror.
bool Empty(const flatbuffers::String* text) { return text != nullptr && text->size() == 0; }

using Reading = std::tuple<uint16_t, uint16_t, int64_t, uint64_t>;  // id, index, time, bits of the value

/// What a reader may hold of a value that is encoded again: a fraction as a float has it.
double Kept(double value, bool of_the_batch) {
  if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
  if (value == 0) return 0;
  const double size = std::abs(value);
  const bool normal = size >= static_cast<double>(std::numeric_limits<float>::min()) &&
                      size <= static_cast<double>(std::numeric_limits<float>::max());
  const bool fraction = value != std::trunc(value);
  return of_the_batch && normal && fraction ? static_cast<double>(static_cast<float>(value)) : value;
}

std::vector<Reading> ReadingsOf(const schema::MetricsBatch& m) {
  std::vector<Reading> readings;
  telemetry::ForEachReading(m, [&](uint16_t id, uint16_t index, double value, int64_t time_ns) {
    const double kept = Kept(value, time_ns == m.envelope()->time_ns());
    readings.emplace_back(id, index, time_ns, std::bit_cast<uint64_t>(kept));
  });
  std::sort(readings.begin(), readings.end());
  return readings;
}

/// Readings move to the smallest form that holds them, so that their order is another one.
void Again(const schema::MetricsBatch& m, std::string_view, Memory& memory) {
  std::vector<telemetry::MetricValue> values;
  telemetry::ForEachReading(m, [&](uint16_t id, uint16_t index, double value, int64_t time_ns) {
    values.emplace_back(time_ns, value, id, index);
  });
  const auto encoded = telemetry::Encode(
      telemetry::MetricsBatch{EnvelopeOf(*m.envelope()), values, m.partial()}, memory.again);
  DIPPER_CHECK(encoded.ok());
  const auto again = telemetry::Decode<schema::MetricsBatch>(*encoded);
  DIPPER_CHECK(again.ok() && (*again)->partial() == m.partial());
  DIPPER_CHECK(ReadingsOf(**again) == ReadingsOf(m));
  DIPPER_CHECK(!MirrorOf(*encoded, memory.text_again).empty());
}

void Again(const schema::Event& m, std::string_view mirror, Memory& memory) {
  bool whole = !Empty(m.detail()) && !LostDigest(m.image());
  telemetry::GateReport gate;
  std::vector<telemetry::Contribution> contributions;
  if (m.contributions() != nullptr) {
    for (const schema::Contribution* c : *m.contributions())
      contributions.push_back({View(c->feature()), c->share()});
  }
  const telemetry::PackageInfo package = PackageOf(m.package(), &whole);
  const telemetry::Event event = {.envelope = EnvelopeOf(*m.envelope()),
                                  .kind = m.kind(),
                                  .from = m.from(),
                                  .to = m.to(),
                                  .reason = m.reason(),
                                  .package = package,
                                  .image = DigestOf(m.image()),
                                  .sample_id = m.sample_id(),
                                  .score = m.score(),
                                  .threshold = m.threshold(),
                                  .contributions = contributions,
                                  .gate = GateOf(m.gate(), &gate),
                                  .count = m.count(),
                                  .detail = View(m.detail()),
                                  .severity = m.severity(),
                                  .alarm = m.alarm(),
                                  .peak = m.peak(),
                                  .lasted_ns = m.lasted_ns()};
  if (whole) EncodeAgain(event, mirror, memory);
}

void Again(const schema::UpdateStatus& m, std::string_view mirror, Memory& memory) {
  bool whole = !LostDigest(m.serving_image());
  telemetry::GateReport gate;
  telemetry::UpdateStatus status;
  status.envelope = EnvelopeOf(*m.envelope());
  status.state = m.state();
  status.reason = m.reason();
  status.offer_number = m.offer_number();
  status.target = PackageOf(m.target(), &whole);
  status.serving = PackageOf(m.serving(), &whole);
  status.serving_slot = m.serving_slot();
  status.serving_image = DigestOf(m.serving_image());
  status.undo = PackageOf(m.undo(), &whole);
  status.floor = {m.floor_epoch(), m.floor_version()};
  status.blocks_done = m.blocks_done();
  status.blocks_total = m.blocks_total();
  status.tries_left = m.tries_left();
  status.rung = m.rung();
  status.frozen = m.frozen();
  status.gate = GateOf(m.gate(), &gate);
  DIPPER_CHECK(status.blocks_done <= status.blocks_total);
  if (whole) EncodeAgain(status, mirror, memory);
}

void Again(const schema::Prediction& m, std::string_view mirror, Memory& memory) {
  std::vector<double> probabilities;
  if (m.probabilities() != nullptr) {
    for (const float p : *m.probabilities()) probabilities.push_back(static_cast<double>(p));
    if (probabilities.empty()) return;  // an empty list and none differ in the mirror
  }
  telemetry::Prediction prediction;
  prediction.envelope = EnvelopeOf(*m.envelope());
  prediction.id = m.id();
  prediction.cold = m.cold();
  prediction.value = m.value();
  prediction.class_index = m.class_index();
  prediction.probabilities = probabilities;
  prediction.has_score = m.has_score();
  prediction.anomaly_score = m.anomaly_score();
  prediction.anomaly_active = m.anomaly_active();
  prediction.has_interval = m.has_interval();
  prediction.unbounded = m.unbounded();
  prediction.low = m.low();
  prediction.high = m.high();
  prediction.class_set = m.class_set();
  prediction.has_uncertainty = m.has_uncertainty();
  prediction.uncertainty = m.uncertainty();
  prediction.package = DigestOf(m.package());
  if (!LostDigest(m.package())) EncodeAgain(prediction, mirror, memory);
}

void Again(const schema::UncertainSamples& m, std::string_view mirror, Memory& memory) {
  if (LostDigest(m.package())) return;
  std::vector<std::string_view> features;
  for (const flatbuffers::String* feature : *m.features()) features.push_back(View(feature));
  std::vector<std::vector<float>> values;
  for (const schema::UncertainSample* sample : *m.samples())
    values.emplace_back(sample->values()->begin(), sample->values()->end());
  std::vector<telemetry::UncertainSample> samples;
  for (const schema::UncertainSample* sample : *m.samples()) {
    samples.push_back({.id = sample->id(),
                       .time_ns = sample->time_ns(),
                       .uncertainty = sample->uncertainty(),
                       .class_index = sample->class_index(),
                       .value = sample->value(),
                       .values = values[samples.size()]});
  }
  EncodeAgain(telemetry::UncertainSamples{.envelope = EnvelopeOf(*m.envelope()),
                                          .command = m.command(),
                                          .package = DigestOf(m.package()),
                                          .features = features,
                                          .samples = samples},
              mirror, memory);
}

void Again(const schema::CommandResponse& m, std::string_view mirror, Memory& memory) {
  if (Empty(m.name()) || Empty(m.detail()) || LostDigest(m.image())) return;
  telemetry::CommandResponse response;
  response.envelope = EnvelopeOf(*m.envelope());
  response.number = m.number();
  response.name = View(m.name());
  response.status = m.status();
  response.reason = m.reason();
  response.repeated = m.repeated();
  response.image = DigestOf(m.image());
  response.detail = View(m.detail());
  EncodeAgain(response, mirror, memory);
}

void Again(const schema::Birth& m, std::string_view, Memory&) {
  // The encoder adds its own catalogue, so there is no way back; what was promised is read instead.
  DIPPER_CHECK(telemetry::IsNodeId(View(m.device())) && telemetry::IsTopicId(View(m.fleet())));
  if (m.models() == nullptr) return;
  for (const schema::ModelInfo* model : *m.models()) DIPPER_CHECK(telemetry::IsTopicId(View(model->id())));
}

template <typename T>
void Try(base::ByteView message, Memory& memory) {
  const auto table = telemetry::Decode<T>(message);
  if (!table.ok()) {
    DIPPER_CHECK(!telemetry::ToJson(message, memory.text).ok());
    return;
  }
  const schema::Envelope& envelope = *(*table)->envelope();
  DIPPER_CHECK(View(envelope.boot()).size() <= telemetry::kMaxTextBytes);
  const std::string_view mirror = MirrorOf(message, memory.text);
  if (!Empty(envelope.model())) Again(**table, mirror, memory);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Memory memory;
  if (size > kMaxInput) return 0;
  if (size > 0) std::memcpy(memory.message.data(), data, size);
  const base::ByteView message = base::ByteView(memory.message).first(size);
  switch (telemetry::KindOf(message)) {
    case MessageKind::kMetrics:
      Try<schema::MetricsBatch>(message, memory);
      break;
    case MessageKind::kEvent:
      Try<schema::Event>(message, memory);
      break;
    case MessageKind::kUpdate:
      Try<schema::UpdateStatus>(message, memory);
      break;
    case MessageKind::kBirth:
      Try<schema::Birth>(message, memory);
      break;
    case MessageKind::kPrediction:
      Try<schema::Prediction>(message, memory);
      break;
    case MessageKind::kUncertain:
      Try<schema::UncertainSamples>(message, memory);
      break;
    case MessageKind::kResponse:
      Try<schema::CommandResponse>(message, memory);
      break;
    case MessageKind::kUnknown:
      DIPPER_CHECK(telemetry::ToJson(message, memory.text).status() == base::Status::kInvalidArgument);
      break;
  }
  return 0;
}
