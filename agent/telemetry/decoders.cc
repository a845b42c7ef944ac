// Received bytes are hostile: FlatBuffers' verifier first, then every count, text and id.
#include <array>

#include "agent/telemetry/encoders.h"
#include "agent/telemetry/topics.h"

namespace dipper::telemetry {
namespace {

constexpr flatbuffers::uoffset_t kMaxDepth = 16;
constexpr flatbuffers::uoffset_t kMaxTables = 4096;

struct Identifier {
  MessageKind kind;
  const char* text;
};
constexpr std::array<Identifier, 7> kIdentifiers = {{
    {MessageKind::kMetrics, "DMET"},
    {MessageKind::kEvent, "DEVT"},
    {MessageKind::kUpdate, "DUPD"},
    {MessageKind::kBirth, "DBTH"},
    {MessageKind::kPrediction, "DPRD"},
    {MessageKind::kResponse, "DRSP"},
    {MessageKind::kUncertain, "DUNC"},
}};

bool TextOk(const flatbuffers::String* text) { return text == nullptr || text->size() <= kMaxTextBytes; }

template <typename V>
bool CountOk(const V* vector, size_t limit) {
  return vector == nullptr || vector->size() <= limit;
}

bool Check(const schema::Envelope& e) {
  return TextOk(e.boot()) && (e.model() == nullptr || IsTopicId({e.model()->c_str(), e.model()->size()}));
}
bool Check(const schema::PackageInfo* p) {
  return p == nullptr || (TextOk(p->name()) && TextOk(p->version()));
}

bool Check(const schema::MetricsBatch& m) {
  // FlatBuffers' verifier looks at a vector's place in steps of 4 bytes; these structs are read in place.
  const auto address = reinterpret_cast<uintptr_t>(m.values()->Data());
  const bool aligned = m.values()->size() == 0 || address % alignof(schema::MetricValue) == 0;
  const size_t whole = m.whole() == nullptr ? 0 : m.whole()->size();
  const size_t real = m.real() == nullptr ? 0 : m.real()->size();
  return aligned && m.values()->size() <= kMaxValues && whole <= kMaxValues && real <= kMaxValues &&
         m.values()->size() + whole + real <= kMaxValues;
}
bool Check(const schema::Event& m) {
  if (!Check(m.package()) || !TextOk(m.detail()) || !CountOk(m.contributions(), kMaxContributions))
    return false;
  if (m.contributions() != nullptr) {
    for (const schema::Contribution* c : *m.contributions()) {
      if (!TextOk(c->feature())) return false;
    }
  }
  return true;
}
bool Check(const schema::UpdateStatus& m) {
  return Check(m.target()) && Check(m.serving()) && Check(m.undo()) && m.blocks_done() <= m.blocks_total();
}
bool Check(const schema::Prediction& m) { return CountOk(m.probabilities(), kMaxProbabilities); }
bool Check(const schema::UncertainSamples& m) {
  const size_t features = m.features()->size();
  if (features > kMaxUncertainFeatures || m.samples()->size() > kMaxUncertainSamples) return false;
  for (const flatbuffers::String* feature : *m.features()) {
    if (!TextOk(feature)) return false;
  }
  for (const schema::UncertainSample* sample : *m.samples()) {
    if (sample->values()->size() != features) return false;
  }
  return true;
}
bool Check(const schema::CommandResponse& m) { return TextOk(m.name()) && TextOk(m.detail()); }

bool CheckModel(const schema::ModelInfo& m) {
  if (m.id() == nullptr || !IsTopicId({m.id()->c_str(), m.id()->size()})) return false;
  if (!TextOk(m.task()) || !TextOk(m.learner()) || !TextOk(m.target()) || !Check(m.serving())) return false;
  if (!CountOk(m.features(), kMaxFeatures)) return false;
  if (m.features() == nullptr) return true;
  for (const schema::FeatureInfo* f : *m.features()) {
    if (!TextOk(f->name()) || !TextOk(f->unit())) return false;
  }
  return true;
}

bool Check(const schema::Birth& m) {
  if (!IsNodeId({m.device()->c_str(), m.device()->size()}) ||
      !IsTopicId({m.fleet()->c_str(), m.fleet()->size()})) {
    return false;
  }
  if (!TextOk(m.hardware()) || !TextOk(m.system()) || !TextOk(m.agent_version())) return false;
  if (!CountOk(m.groups(), kMaxGroups) || !CountOk(m.models(), kMaxModels) || !CountOk(m.metrics(), 1024))
    return false;
  if (m.groups() != nullptr) {
    for (const flatbuffers::String* group : *m.groups()) {
      if (!TextOk(group)) return false;
    }
  }
  if (m.models() != nullptr) {
    for (const schema::ModelInfo* model : *m.models()) {
      if (!CheckModel(*model)) return false;
    }
  }
  if (m.metrics() != nullptr) {
    for (const schema::MetricInfo* metric : *m.metrics()) {
      if (!TextOk(metric->name()) || !TextOk(metric->unit())) return false;
    }
  }
  return true;
}

template <typename T>
constexpr MessageKind kKindOfTable = MessageKind::kUnknown;
template <>
constexpr MessageKind kKindOfTable<schema::MetricsBatch> = MessageKind::kMetrics;
template <>
constexpr MessageKind kKindOfTable<schema::Event> = MessageKind::kEvent;
template <>
constexpr MessageKind kKindOfTable<schema::UpdateStatus> = MessageKind::kUpdate;
template <>
constexpr MessageKind kKindOfTable<schema::Birth> = MessageKind::kBirth;
template <>
constexpr MessageKind kKindOfTable<schema::Prediction> = MessageKind::kPrediction;
template <>
constexpr MessageKind kKindOfTable<schema::CommandResponse> = MessageKind::kResponse;
template <>
constexpr MessageKind kKindOfTable<schema::UncertainSamples> = MessageKind::kUncertain;

}  // namespace

MessageKind KindOf(base::ByteView bytes) {
  if (bytes.size() < 8) return MessageKind::kUnknown;
  const std::string_view found = base::AsText(bytes.subspan(4, 4));
  for (const Identifier& identifier : kIdentifiers) {
    if (found == identifier.text) return identifier.kind;
  }
  return MessageKind::kUnknown;
}

template <typename T>
base::Result<const T*> Decode(base::ByteView bytes) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 8 != 0 || KindOf(bytes) != kKindOfTable<T>) {
    return base::Status::kInvalidArgument;
  }
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxDepth, kMaxTables);
  if (!verifier.VerifyBuffer<T>(nullptr)) return base::Status::kDataLoss;
  const T* table = flatbuffers::GetRoot<T>(bytes.data());
  if (!Check(*table->envelope()) || !Check(*table)) return base::Status::kDataLoss;
  return table;
}

template base::Result<const schema::MetricsBatch*> Decode(base::ByteView);
template base::Result<const schema::Event*> Decode(base::ByteView);
template base::Result<const schema::UpdateStatus*> Decode(base::ByteView);
template base::Result<const schema::Birth*> Decode(base::ByteView);
template base::Result<const schema::Prediction*> Decode(base::ByteView);
template base::Result<const schema::CommandResponse*> Decode(base::ByteView);
template base::Result<const schema::UncertainSamples*> Decode(base::ByteView);

}  // namespace dipper::telemetry
