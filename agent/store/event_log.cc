// Event log: a ring of fixed entries; the place of an entry is its sequence modulo the ring's length.
#include "agent/store/event_log.h"

#include <algorithm>

#include "agent/base/sha256.h"
#include "agent/store/boot_layout.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint32_t kEventMagic = 0x54564544;  // "DEVT"
constexpr uint16_t kEventLayout = 1;
constexpr uint32_t kPayloadOffset = 72;
static_assert(kPayloadOffset + kMaxEventPayload <= kEventBytes);

struct Decoded {
  Event event;
  base::Digest previous;
};

/// The views of the result point into `bytes`.
base::Result<Decoded> DecodeEvent(base::ByteView bytes) {
  const auto length = Unseal(bytes, kEventMagic, kEventLayout);
  if (!length.ok()) return length.status();
  if (*length < kPayloadOffset || *length > kPayloadOffset + kMaxEventPayload) return Status::kDataLoss;
  base::ByteReader reader(bytes.subspan(kEnvelopeBytes));
  Decoded decoded;
  decoded.event.sequence = reader.Get<uint64_t>();
  decoded.event.time_ns = reader.Get<int64_t>();
  decoded.event.kind = reader.Get<uint16_t>();
  decoded.event.reason = reader.Get<uint16_t>();
  decoded.event.model = reader.Get<uint8_t>();
  reader.Get<uint8_t>();
  reader.Get<uint16_t>();
  decoded.previous = reader.GetDigest();
  decoded.event.payload = bytes.subspan(kPayloadOffset, *length - kPayloadOffset);
  return decoded;
}

}  // namespace

EventLog::EventLog(hal::Partition& data) : data_(data) {}

Status EventLog::Open() {
  DIPPER_ASSIGN_OR_RETURN(const DataLayout layout, ComputeDataLayout(data_.geometry()));
  stride_ = std::max(kEventBytes, data_.geometry().write_unit_bytes);
  begin_ = layout.events_offset;
  capacity_ = layout.events_bytes / stride_;
  newest_ = 0;
  newest_digest_ = {};
  const auto bytes = base::MutableBytes(entry_).first(kEventBytes);
  for (uint64_t place = 0; place < capacity_; ++place) {
    if (!base::Ok(ReadRetrying(data_, begin_ + place * stride_, bytes))) continue;
    const auto decoded = DecodeEvent(bytes);
    if (!decoded.ok() && decoded.status() == Status::kUnimplemented) return Status::kUnimplemented;
    if (!decoded.ok() || decoded->event.sequence > kMaxSequence) continue;
    if (decoded->event.sequence % capacity_ != place || decoded->event.sequence <= newest_) continue;
    newest_ = decoded->event.sequence;
    newest_digest_ = base::Sha256Of(bytes.first(kPayloadOffset + decoded->event.payload.size()));
  }
  open_ = true;
  return Status::kOk;
}

base::Result<uint64_t> EventLog::Append(const Event& event) {
  if (!open_) return Status::kFailedPrecondition;
  if (event.payload.size() > kMaxEventPayload) return Status::kInvalidArgument;
  const base::MutableBytes whole = base::MutableBytes(entry_).first(stride_);
  std::fill(whole.begin(), whole.end(), uint8_t{0});
  base::ByteWriter writer(whole.subspan(kEnvelopeBytes));
  writer.Put(newest_ + 1);
  writer.Put(event.time_ns);
  writer.Put(event.kind);
  writer.Put(event.reason);
  writer.Put(event.model);
  writer.Put(uint8_t{0});
  writer.Put(uint16_t{0});
  writer.PutDigest(newest_digest_);
  DIPPER_CHECK(writer.position() + kEnvelopeBytes == kPayloadOffset);
  writer.PutBytes(event.payload);
  const auto bytes = whole.first(kEnvelopeBytes + writer.position());
  Seal(bytes, kEventMagic, kEventLayout);
  DIPPER_RETURN_IF_ERROR(data_.Write(OffsetOf(newest_ + 1), whole));
  ++newest_;
  newest_digest_ = base::Sha256Of(bytes);
  return newest_;
}

uint64_t EventLog::oldest() const {
  if (newest_ == 0) return 0;
  return newest_ > capacity_ ? newest_ - capacity_ + 1 : 1;
}

base::Result<Event> EventLog::Read(uint64_t sequence, base::MutableBytes buffer) {
  if (!open_ || sequence == 0 || sequence < oldest() || sequence > newest_) return Status::kNotFound;
  if (buffer.size() < kEventBytes) return Status::kResourceExhausted;
  const auto bytes = buffer.first(kEventBytes);
  DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(sequence), bytes));
  const auto decoded = DecodeEvent(bytes);
  if (!decoded.ok() || decoded->event.sequence != sequence) return Status::kNotFound;
  return decoded->event;
}

base::Result<uint64_t> EventLog::CountBreaks() {
  if (!open_) return Status::kFailedPrecondition;
  uint64_t breaks = 0;
  base::Digest previous;
  bool linked = false;  // The entry before was read; the oldest one's predecessor is gone.
  const auto bytes = base::MutableBytes(entry_).first(kEventBytes);
  for (uint64_t sequence = oldest(); sequence != 0 && sequence <= newest_; ++sequence) {
    DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(sequence), bytes));
    const auto decoded = DecodeEvent(bytes);
    const bool intact = decoded.ok() && decoded->event.sequence == sequence;
    if (!intact || (linked && decoded->previous != previous)) ++breaks;
    linked = intact;
    if (intact) previous = base::Sha256Of(bytes.first(kPayloadOffset + decoded->event.payload.size()));
  }
  return breaks;
}

}  // namespace dipper::store
