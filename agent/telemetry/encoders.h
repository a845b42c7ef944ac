// Messages to bytes and back: FlatBuffers is the wire format, flat JSON its mirror
// (docs/reference/topics.md). Encoding uses only the caller's buffer: no heap. Thread-safe: pure functions.
#pragma once

#include "agent/base/bytes.h"
#include "agent/base/fixed.h"
#include "agent/base/status.h"
#include "agent/telemetry/messages.h"

namespace dipper::telemetry {

/// Enough for every metrics batch, event, update, prediction and response within the limits of messages.h.
inline constexpr size_t kMessageBufferBytes = 16 * 1024;
/// Enough for a birth of one model with up to 64 features; larger ones need EncodedBound().
inline constexpr size_t kBirthBufferBytes = 48 * 1024;
/// Enough for the JSON of any message that fits kMessageBufferBytes.
inline constexpr size_t kJsonBufferBytes = 48 * 1024;
inline constexpr size_t kStateBufferBytes = 512;

/// Encodes into `buffer`; the result is a view of its tail, aligned to 8 bytes.
///
/// Cost: O(size) time, no heap. `buffer` is aligned to 16 bytes.
/// @returns kResourceExhausted: a count or text above the limits of messages.h, or `buffer` smaller than
///   EncodedBound(message), which is checked before anything is written.
base::Result<base::ByteView> Encode(const MetricsBatch& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const Event& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const UpdateStatus& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const Birth& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const Prediction& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const UncertainSamples& message, base::MutableBytes buffer);
base::Result<base::ByteView> Encode(const CommandResponse& message, base::MutableBytes buffer);

/// Upper bound of the encoded size, from counts and text lengths.
size_t EncodedBound(const MetricsBatch& message);
size_t EncodedBound(const Event& message);
size_t EncodedBound(const UpdateStatus& message);
size_t EncodedBound(const Birth& message);
size_t EncodedBound(const Prediction& message);
size_t EncodedBound(const UncertainSamples& message);
size_t EncodedBound(const CommandResponse& message);

/// JSON of `state`. kResourceExhausted: buffer too small.
base::Result<std::string_view> EncodeState(const State& message, base::MutableBytes buffer);

enum class MessageKind : uint8_t {
  kUnknown,
  kMetrics,
  kEvent,
  kUpdate,
  kBirth,
  kPrediction,
  kResponse,
  kUncertain
};

/// Reads the file identifier; the rest is not looked at.
MessageKind KindOf(base::ByteView bytes);

/// Verifies and range-checks received bytes; the result points into them. T is schema::MetricsBatch, Event,
/// UpdateStatus, Birth, Prediction, UncertainSamples or CommandResponse.
/// kInvalidArgument: not aligned to 8 bytes or another kind. kDataLoss: damaged, or above the limits of
/// messages.h.
template <typename T>
base::Result<const T*> Decode(base::ByteView bytes);

/// Calls `take(id, index, value, time_ns)` for each reading of a decoded batch, whatever its form.
template <typename Take>
void ForEachReading(const schema::MetricsBatch& batch, Take take) {
  const int64_t time_ns = batch.envelope()->time_ns();
  if (batch.whole() != nullptr) {
    for (const schema::WholeValue* v : *batch.whole())
      take(v->id(), v->index(), static_cast<double>(v->value()), time_ns);
  }
  if (batch.real() != nullptr) {
    for (const schema::RealValue* v : *batch.real())
      take(v->id(), v->index(), static_cast<double>(v->value()), time_ns);
  }
  for (const schema::MetricValue* v : *batch.values()) take(v->id(), v->index(), v->value(), v->time_ns());
}

/// The flat JSON mirror of an encoded message of any kind: one object, scalar members, dotted names for
/// nested parts
/// ("package.version"), arrays only of scalars but in a birth and `samples`. 64-bit ids and digests are hex
/// texts. Errors of Decode; kResourceExhausted: `out` too small.
base::Result<std::string_view> ToJson(base::ByteView message, base::MutableBytes out);

/// Words as the mirror, the tools and the documents print them: "fell_back", "below_floor", "anomaly_raised".
struct Word {
  base::FixedString<32> text;
  std::string_view view() const { return text.view(); }
};
Word WordOf(schema::EventKind kind);
Word WordOf(schema::UpdateState state);
Word WordOf(schema::Reason reason);
Word WordOf(schema::Severity severity);
Word WordOf(schema::CommandStatus status);
Word WordOf(schema::SlotName slot);

}  // namespace dipper::telemetry
