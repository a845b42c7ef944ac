// Encoding into the caller's buffer: the size is bounded from counts and text lengths before anything is
// written, so that the builder's allocator, which has no error path, cannot run out.
#include "agent/telemetry/encoders.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace dipper::telemetry {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using Text = Offset<flatbuffers::String>;

// Upper bounds of a table's own bytes with its vtable, padding and 32-byte digests; measured sizes are about
// half.
constexpr size_t kBuilderBytes = 512;  // the builder's notes at the buffer's other end
constexpr size_t kRootBytes = 448;
constexpr size_t kEnvelopeBytes = 128;
constexpr size_t kPackageBytes = 128;
constexpr size_t kGateBytes = 192;
constexpr size_t kRowBytes = 96;  // small tables in vectors, with their entry in the vector

size_t TextBound(std::string_view text) { return text.size() + 16; }
size_t Bound(const Envelope& e) { return kEnvelopeBytes + TextBound(e.boot) + TextBound(e.model); }
size_t Bound(const PackageInfo& p) { return kPackageBytes + TextBound(p.name) + TextBound(p.version); }

// Hands the caller's buffer to the builder, once.
class BufferAllocator final : public flatbuffers::Allocator {
 public:
  explicit BufferAllocator(base::MutableBytes buffer) : buffer_(buffer) {}
  uint8_t* allocate(size_t size) override {
    DIPPER_CHECK(size <= buffer_.size());
    return buffer_.data();
  }
  void deallocate(uint8_t*, size_t) override {}

 private:
  base::MutableBytes buffer_;
};

bool TextsFit(std::initializer_list<std::string_view> texts) {
  return std::all_of(texts.begin(), texts.end(),
                     [](std::string_view t) { return t.size() <= kMaxTextBytes; });
}
bool Fits(const Envelope& e) { return TextsFit({e.boot, e.model}); }
bool Fits(const PackageInfo& p) { return TextsFit({p.name, p.version}); }

Text MakeText(FlatBufferBuilder& builder, std::string_view text) {
  return text.empty() ? Text() : builder.CreateString(text.data(), text.size());
}

Offset<schema::Envelope> MakeEnvelope(FlatBufferBuilder& builder, const Envelope& e) {
  const Text boot = MakeText(builder, e.boot);
  const Text model = MakeText(builder, e.model);
  return schema::CreateEnvelope(builder, boot, e.session, e.sequence, e.time_ns, model);
}

schema::Digest256 MakeDigest(const base::Digest& digest) {
  return schema::Digest256(flatbuffers::span<const uint8_t, 32>(digest.bytes.data(), digest.bytes.size()));
}

Offset<schema::PackageInfo> MakePackage(FlatBufferBuilder& builder, const PackageInfo& p) {
  if (p.digest.IsZero()) return {};
  const Text name = MakeText(builder, p.name);
  const Text version = MakeText(builder, p.version);
  const schema::Digest256 digest = MakeDigest(p.digest);
  return schema::CreatePackageInfo(builder, &digest, name, version, p.security_version.epoch,
                                   p.security_version.version);
}

Offset<schema::GateReport> MakeGate(FlatBufferBuilder& builder, const GateReport* g) {
  if (g == nullptr) return {};
  return schema::CreateGateReport(builder, g->samples, g->champion_loss, g->challenger_loss, g->lower,
                                  g->upper, g->margin, g->observed, g->labelled, g->compared,
                                  g->champion_alarm_rate, g->challenger_alarm_rate, g->score_shift);
}

// Runs `body` (FlatBufferBuilder& -> Offset of the root) over `buffer`.
template <typename Body>
base::Result<base::ByteView> Build(base::MutableBytes buffer, size_t bound, const char* identifier,
                                   Body body) {
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  DIPPER_CHECK(address % 16 == 0);
  const size_t usable = buffer.size() / 16 * 16;
  if (usable < bound) return base::Status::kResourceExhausted;
  BufferAllocator allocator(buffer.first(usable));
  FlatBufferBuilder builder(usable, &allocator, false);
  builder.Align(8);  // whatever the fields, the result is aligned to 8
  builder.Finish(body(builder), identifier);
  return base::ByteView(builder.GetBufferPointer(), builder.GetSize());
}

enum class Form : uint8_t { kWhole, kReal, kFull };

/// Where a reading goes. What a float would round is told with a float's digits when it has a fraction: a
/// measured number; a whole one is exact whatever its size.
Form FormOf(const MetricValue& reading, int64_t batch_ns) {
  constexpr double kLargestWhole = std::numeric_limits<uint32_t>::max();
  const double value = reading.value();
  if (reading.time_ns() != batch_ns) return Form::kFull;
  if (!std::isfinite(value)) return Form::kReal;
  const bool whole = value == std::trunc(value);
  if (whole && value >= 0 && value <= kLargestWhole) return Form::kWhole;
  const double size = std::abs(value);
  if (size < static_cast<double>(std::numeric_limits<float>::min()) ||
      size > static_cast<double>(std::numeric_limits<float>::max())) {
    return Form::kFull;
  }
  const bool exact = static_cast<double>(static_cast<float>(value)) == value;
  return exact || !whole ? Form::kReal : Form::kFull;
}

/// The readings of one form as a vector of its structs; without one the field is left out, if it may be.
template <typename T, typename Make>
Offset<flatbuffers::Vector<const T*>> MakeReadings(FlatBufferBuilder& b, const MetricsBatch& m, Form form,
                                                   bool required, Make make) {
  const auto mine = [&](const MetricValue& v) { return FormOf(v, m.envelope.time_ns) == form; };
  const auto count = static_cast<size_t>(std::count_if(m.values.begin(), m.values.end(), mine));
  if (count == 0 && !required) return {};
  T* out = nullptr;
  const auto vector = b.CreateUninitializedVectorOfStructs(count, &out);
  for (const MetricValue& value : m.values) {
    if (mine(value)) *out++ = make(value);
  }
  return vector;
}

}  // namespace

size_t EncodedBound(const MetricsBatch& m) {
  return kBuilderBytes + kRootBytes + Bound(m.envelope) + 48 + m.values.size() * sizeof(MetricValue);
}

base::Result<base::ByteView> Encode(const MetricsBatch& m, base::MutableBytes buffer) {
  if (m.values.size() > kMaxValues || !Fits(m.envelope)) return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DMET", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const auto values =
        MakeReadings<MetricValue>(b, m, Form::kFull, true, [](const MetricValue& v) { return v; });
    const auto whole = MakeReadings<schema::WholeValue>(b, m, Form::kWhole, false, [](const MetricValue& v) {
      return schema::WholeValue(static_cast<uint32_t>(v.value()), v.id(), v.index());
    });
    const auto real = MakeReadings<schema::RealValue>(b, m, Form::kReal, false, [](const MetricValue& v) {
      return schema::RealValue(static_cast<float>(v.value()), v.id(), v.index());
    });
    return schema::CreateMetricsBatch(b, envelope, values, whole, real, m.partial);
  });
}

size_t EncodedBound(const Event& m) {
  size_t bytes = kBuilderBytes + kRootBytes + Bound(m.envelope) + Bound(m.package) + kGateBytes +
                 TextBound(m.detail) + 16;
  for (const Contribution& c : m.contributions) bytes += kRowBytes + TextBound(c.feature);
  return bytes;
}

base::Result<base::ByteView> Encode(const Event& m, base::MutableBytes buffer) {
  bool fits = m.contributions.size() <= kMaxContributions && Fits(m.envelope) && Fits(m.package) &&
              TextsFit({m.detail});
  for (const Contribution& c : m.contributions) fits = fits && TextsFit({c.feature});
  if (!fits) return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DEVT", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const auto package = MakePackage(b, m.package);
    std::array<Offset<schema::Contribution>, kMaxContributions> rows;
    for (size_t i = 0; i < m.contributions.size(); ++i) {
      const Text feature = MakeText(b, m.contributions[i].feature);
      rows[i] = schema::CreateContribution(b, feature, m.contributions[i].share);
    }
    const auto contributions = m.contributions.empty()
                                   ? Offset<flatbuffers::Vector<Offset<schema::Contribution>>>()
                                   : b.CreateVector(rows.data(), m.contributions.size());
    const auto gate = MakeGate(b, m.gate);
    const Text detail = MakeText(b, m.detail);
    const schema::Digest256 image = MakeDigest(m.image);
    return schema::CreateEvent(b, envelope, m.kind, m.from, m.to, m.reason, package,
                               m.image.IsZero() ? nullptr : &image, m.sample_id, m.score, m.threshold,
                               contributions, gate, m.count, detail, m.severity, m.alarm, m.peak,
                               m.lasted_ns);
  });
}

size_t EncodedBound(const UpdateStatus& m) {
  return kBuilderBytes + kRootBytes + Bound(m.envelope) + Bound(m.target) + Bound(m.serving) + Bound(m.undo) +
         kGateBytes;
}

base::Result<base::ByteView> Encode(const UpdateStatus& m, base::MutableBytes buffer) {
  if (!Fits(m.envelope) || !Fits(m.target) || !Fits(m.serving) || !Fits(m.undo))
    return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DUPD", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const auto target = MakePackage(b, m.target);
    const auto serving = MakePackage(b, m.serving);
    const auto undo = MakePackage(b, m.undo);
    const auto gate = MakeGate(b, m.gate);
    const schema::Digest256 image = MakeDigest(m.serving_image);
    return schema::CreateUpdateStatus(b, envelope, m.state, m.reason, m.offer_number, target, serving,
                                      m.serving_slot, m.serving_image.IsZero() ? nullptr : &image, undo,
                                      m.floor.epoch, m.floor.version, m.blocks_done, m.blocks_total,
                                      m.tries_left, m.rung, m.frozen, gate);
  });
}

size_t EncodedBound(const Prediction& m) {
  return kBuilderBytes + kRootBytes + Bound(m.envelope) + 16 + m.probabilities.size() * sizeof(float);
}

base::Result<base::ByteView> Encode(const Prediction& m, base::MutableBytes buffer) {
  if (m.probabilities.size() > kMaxProbabilities || !Fits(m.envelope))
    return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DPRD", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const schema::Digest256 package = MakeDigest(m.package);
    flatbuffers::Offset<flatbuffers::Vector<float>> probabilities;
    if (!m.probabilities.empty()) {
      float* out = nullptr;
      probabilities = b.CreateUninitializedVector(m.probabilities.size(), &out);
      for (size_t i = 0; i < m.probabilities.size(); ++i) out[i] = static_cast<float>(m.probabilities[i]);
    }
    return schema::CreatePrediction(b, envelope, m.id, m.cold, m.value, m.class_index, probabilities,
                                    m.has_score, m.anomaly_score, m.anomaly_active, m.has_interval,
                                    m.unbounded, m.low, m.high, m.class_set, m.has_uncertainty, m.uncertainty,
                                    m.package.IsZero() ? nullptr : &package);
  });
}

size_t EncodedBound(const UncertainSamples& m) {
  size_t bytes = kBuilderBytes + kRootBytes + Bound(m.envelope);
  for (const std::string_view feature : m.features) bytes += TextBound(feature);
  return bytes + m.samples.size() * (kRowBytes + 16 + m.features.size() * sizeof(float));
}

base::Result<base::ByteView> Encode(const UncertainSamples& m, base::MutableBytes buffer) {
  bool fits = Fits(m.envelope) && m.samples.size() <= kMaxUncertainSamples &&
              m.features.size() <= kMaxUncertainFeatures;
  for (const std::string_view feature : m.features) fits = fits && TextsFit({feature});
  for (const UncertainSample& sample : m.samples) fits = fits && sample.values.size() == m.features.size();
  if (!fits) return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DUNC", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const schema::Digest256 package = MakeDigest(m.package);
    std::array<Text, kMaxUncertainFeatures> names;
    for (size_t i = 0; i < m.features.size(); ++i)
      names[i] = b.CreateString(m.features[i].data(), m.features[i].size());
    const auto features = b.CreateVector(names.data(), m.features.size());
    std::array<Offset<schema::UncertainSample>, kMaxUncertainSamples> rows;
    for (size_t i = 0; i < m.samples.size(); ++i) {
      const UncertainSample& s = m.samples[i];
      const auto values = b.CreateVector(s.values.data(), s.values.size());
      rows[i] =
          schema::CreateUncertainSample(b, s.id, s.time_ns, s.uncertainty, s.class_index, s.value, values);
    }
    const auto samples = b.CreateVector(rows.data(), m.samples.size());
    return schema::CreateUncertainSamples(b, envelope, m.command, m.package.IsZero() ? nullptr : &package,
                                          features, samples);
  });
}

size_t EncodedBound(const CommandResponse& m) {
  return kBuilderBytes + kRootBytes + Bound(m.envelope) + TextBound(m.name) + TextBound(m.detail);
}

base::Result<base::ByteView> Encode(const CommandResponse& m, base::MutableBytes buffer) {
  if (!Fits(m.envelope) || !TextsFit({m.name, m.detail})) return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DRSP", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const Text name = MakeText(b, m.name);
    const Text detail = MakeText(b, m.detail);
    const schema::Digest256 image = MakeDigest(m.image);
    return schema::CreateCommandResponse(b, envelope, m.number, name, m.status, m.reason, m.repeated,
                                         m.image.IsZero() ? nullptr : &image, detail);
  });
}

size_t EncodedBound(const Birth& m) {
  size_t bytes = kBuilderBytes + kRootBytes + Bound(m.envelope) + TextBound(m.device) + TextBound(m.fleet) +
                 TextBound(m.hardware) + TextBound(m.system) + TextBound(m.agent_version);
  for (const std::string_view group : m.groups) bytes += TextBound(group) + 4;
  for (const ModelInfo& model : m.models) {
    bytes += kRootBytes + Bound(model.serving) + TextBound(model.id) + TextBound(model.task) +
             TextBound(model.learner) + TextBound(model.target);
    for (const FeatureInfo& f : model.features) bytes += kRowBytes + TextBound(f.name) + TextBound(f.unit);
  }
  for (const MetricRow& row : MetricCatalogue())
    bytes += kRowBytes + TextBound(row.name) + TextBound(row.unit);
  return bytes;
}

namespace {

bool Fits(const Birth& m) {
  bool fits = m.groups.size() <= kMaxGroups && m.models.size() <= kMaxModels && Fits(m.envelope) &&
              TextsFit({m.device, m.fleet, m.hardware, m.system, m.agent_version});
  for (const std::string_view group : m.groups) fits = fits && TextsFit({group});
  for (const ModelInfo& model : m.models) {
    fits = fits && model.features.size() <= kMaxFeatures && Fits(model.serving) &&
           TextsFit({model.id, model.task, model.learner, model.target});
    for (const FeatureInfo& f : model.features) fits = fits && TextsFit({f.name, f.unit});
  }
  return fits;
}

Offset<schema::ModelInfo> MakeModel(FlatBufferBuilder& b, const ModelInfo& m) {
  std::array<Offset<schema::FeatureInfo>, kMaxFeatures> rows;
  for (size_t i = 0; i < m.features.size(); ++i) {
    const Text name = MakeText(b, m.features[i].name);
    const Text unit = MakeText(b, m.features[i].unit);
    rows[i] = schema::CreateFeatureInfo(b, name, unit, m.features[i].categorical);
  }
  const auto features = b.CreateVector(rows.data(), m.features.size());
  const Text id = MakeText(b, m.id);
  const Text task = MakeText(b, m.task);
  const Text learner = MakeText(b, m.learner);
  const Text target = MakeText(b, m.target);
  const auto serving = MakePackage(b, m.serving);
  return schema::CreateModelInfo(b, id, task, learner, target, features, serving, m.slot, m.image_bytes,
                                 m.max_image_bytes, m.slot_bytes);
}

Offset<flatbuffers::Vector<Offset<schema::MetricInfo>>> MakeCatalogue(FlatBufferBuilder& b) {
  constexpr size_t kMaxRows = 256;
  std::array<Offset<schema::MetricInfo>, kMaxRows> rows;
  const auto catalogue = MetricCatalogue();
  DIPPER_CHECK(catalogue.size() <= kMaxRows);
  for (size_t i = 0; i < catalogue.size(); ++i) {
    const Text name = MakeText(b, catalogue[i].name);
    const Text unit = MakeText(b, catalogue[i].unit);
    rows[i] = schema::CreateMetricInfo(b, static_cast<uint16_t>(catalogue[i].id), name, unit,
                                       catalogue[i].type, catalogue[i].scope);
  }
  return b.CreateVector(rows.data(), catalogue.size());
}

}  // namespace

base::Result<base::ByteView> Encode(const Birth& m, base::MutableBytes buffer) {
  if (!Fits(m)) return base::Status::kResourceExhausted;
  return Build(buffer, EncodedBound(m), "DBTH", [&](FlatBufferBuilder& b) {
    const auto envelope = MakeEnvelope(b, m.envelope);
    const Text device = b.CreateString(m.device.data(), m.device.size());
    const Text fleet = b.CreateString(m.fleet.data(), m.fleet.size());
    std::array<Text, kMaxGroups> group_rows;
    for (size_t i = 0; i < m.groups.size(); ++i)
      group_rows[i] = b.CreateString(m.groups[i].data(), m.groups[i].size());
    const auto groups = b.CreateVector(group_rows.data(), m.groups.size());
    const Text hardware = MakeText(b, m.hardware);
    const Text system = MakeText(b, m.system);
    const Text agent_version = MakeText(b, m.agent_version);
    std::array<Offset<schema::ModelInfo>, kMaxModels> model_rows;
    for (size_t i = 0; i < m.models.size(); ++i) model_rows[i] = MakeModel(b, m.models[i]);
    const auto models = b.CreateVector(model_rows.data(), m.models.size());
    const auto metrics = MakeCatalogue(b);
    return schema::CreateBirth(b, envelope, device, fleet, groups, hardware, system, agent_version,
                               m.numerics_version, models, metrics, m.interval_ms, m.max_message_bytes,
                               m.backlog_bytes, m.repeat_ms);
  });
}

}  // namespace dipper::telemetry
