// Implementation of recorder_ring.h.
#include "agent/store/recorder_ring.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/store/boot_layout.h"
#include "agent/store/page.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint64_t kLengthBytes = 8;  // before each segment of a file

}  // namespace

uint64_t RecorderRoom(const hal::Geometry& geometry) {
  const auto layout = ComputeDataLayout(geometry);
  return layout.ok() ? geometry.size_bytes - layout->backlog_offset - layout->backlog_bytes : 0;
}

base::Result<RecorderArea> PlaceRecorder(const hal::Geometry& geometry, uint64_t bytes, uint32_t segments,
                                         uint32_t number, uint32_t models) {
  const uint64_t room = RecorderRoom(geometry);
  if (room == 0 || bytes > room || models == 0 || segments < 2) return Status::kResourceExhausted;
  const uint64_t unit = std::max<uint64_t>(geometry.erase_unit_bytes, kRecorderPageBytes);
  const uint64_t each = bytes / models / segments / unit * unit;
  // A head, the smallest bodies, one page.
  if (each < uint64_t{4} * kRecorderPageBytes || each > UINT32_MAX) return Status::kResourceExhausted;
  if (segments > kMaxRecorderSegments || unit % geometry.erase_unit_bytes != 0)
    return Status::kResourceExhausted;
  return RecorderArea{geometry.size_bytes - room + number * segments * each, each, segments};
}

RecorderRing::RecorderRing(hal::Partition& data, const RecorderArea& area, std::string_view ring)
    : data_(data), area_(area) {
  DIPPER_CHECK(area.segments >= 2 && area.segments <= kMaxRecorderSegments && base::Ok(ring_.Assign(ring)));
}

uint32_t RecorderRing::Unit() const { return std::max(kSectorBytes, data_.geometry().write_unit_bytes); }

Status RecorderRing::Open() {
  SegmentHead head;
  for (uint32_t place = 0; place < area_.segments; ++place) {
    places_[place] = {};
    DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(place), scratch_));
    const Status status = DecodeSegmentHead(scratch_, &head);
    if (!base::Ok(status) || head.ring != ring_ || head.segment_bytes != area_.segment_bytes) continue;
    places_[place].sequence = head.sequence;
    if (head.sequence <= newest_) continue;
    newest_ = head.sequence;
    place_ = place;
    next_page_ = head.pages_offset;
    allowance_ = head.allowance;
  }
  if (newest_ == 0) {
    place_ = area_.segments - 1;
    return Status::kOk;
  }
  // One that never got a page tells nothing of its run: runs that end at once must not wipe the ring.
  RecorderPage page;
  base::MutableBytes records;
  DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(place_) + next_page_, scratch_));
  newest_empty_ = !base::Ok(OpenPage(scratch_, &page, &records)) || page.segment != newest_;
  return Status::kOk;
}

uint32_t RecorderRing::NextPlace() const { return newest_empty_ ? place_ : (place_ + 1) % area_.segments; }

Status RecorderRing::WriteAt(uint32_t place, uint64_t offset, base::ByteView bytes) {
  written_ += bytes.size();
  return data_.Write(OffsetOf(place) + offset, bytes);
}

Status RecorderRing::WriteBodies(uint32_t place, SegmentHead* head, std::span<const BodyBytes> bodies) {
  const uint32_t unit = Unit();
  for (size_t i = 0; i < bodies.size(); ++i) {
    const base::ByteView bytes = bodies[i].bytes;
    const RecorderBody& body = head->bodies[i];
    const size_t whole = bytes.size() / unit * unit;
    if (whole > 0) DIPPER_RETURN_IF_ERROR(WriteAt(place, body.offset, bytes.first(whole)));
    if (whole == bytes.size()) continue;
    const auto tail = base::MutableBytes(scratch_).first(unit);
    std::ranges::fill(tail, uint8_t{0});
    std::ranges::copy(bytes.subspan(whole), tail.begin());
    DIPPER_RETURN_IF_ERROR(WriteAt(place, body.offset + whole, tail));
  }
  return Status::kOk;
}

Status RecorderRing::Begin(SegmentHead* head, std::span<const BodyBytes> bodies) {
  DIPPER_CHECK(bodies.size() <= kRecorderBodies);
  uint64_t offset = kRecorderPageBytes;
  head->bodies = {};
  for (size_t i = 0; i < bodies.size(); ++i) {
    if (bodies[i].bytes.size() > area_.segment_bytes) return Status::kResourceExhausted;
    RecorderBody& body = head->bodies[i];
    body = {.offset = static_cast<uint32_t>(offset),
            .bytes = static_cast<uint32_t>(bodies[i].bytes.size()),
            .crc = base::Crc32c(bodies[i].bytes),
            .sealed = !bodies[i].seal.empty()};
    if (body.sealed) std::ranges::copy(bodies[i].seal, body.seal.begin());
    offset += base::AlignUp(bodies[i].bytes.size(), Unit());
    if (offset > area_.segment_bytes) return Status::kResourceExhausted;
  }
  offset = base::AlignUp(offset, kRecorderPageBytes);
  if (offset + kRecorderPageBytes > area_.segment_bytes) return Status::kResourceExhausted;
  const uint32_t place = NextPlace();
  if (held_ && places_[place].sequence != 0) return Status::kFailedPrecondition;
  head->sequence = newest_ + 1;
  head->segment_bytes = static_cast<uint32_t>(area_.segment_bytes);
  head->pages_offset = static_cast<uint32_t>(offset);
  head->ring = ring_;
  open_ = false;
  if (places_[place].sequence > fetched_to_ && !newest_empty_) ++overwritten_;
  places_[place] = {};
  DIPPER_RETURN_IF_ERROR(data_.Erase(OffsetOf(place), area_.segment_bytes));
  DIPPER_RETURN_IF_ERROR(WriteBodies(place, head, bodies));
  DIPPER_RETURN_IF_ERROR(data_.Sync());
  EncodeSegmentHead(*head, scratch_);
  DIPPER_RETURN_IF_ERROR(WriteAt(place, 0, scratch_));
  DIPPER_RETURN_IF_ERROR(data_.Sync());
  newest_ = head->sequence;
  places_[place].sequence = newest_;
  place_ = place;
  next_page_ = offset;
  pages_ = 0;
  open_ = true;
  newest_empty_ = unsynced_ = false;
  return Status::kOk;
}

Status RecorderRing::Append(base::ByteView page, uint32_t used_bytes) {
  if (full()) return Status::kOutOfRange;
  const auto bytes = static_cast<size_t>(base::AlignUp(used_bytes, Unit()));
  // A page that failed is not tried again: half of it may lie there.
  const uint64_t at = next_page_;
  next_page_ += kRecorderPageBytes;
  ++pages_;
  unsynced_ = true;
  return WriteAt(place_, at, page.first(bytes));
}

Status RecorderRing::Sync() {
  if (!unsynced_) return Status::kOk;
  const Status status = data_.Sync();
  unsynced_ = !base::Ok(status);
  return status;
}

// ---- as a file

Status RecorderRing::BeginMeasure() {
  file_segments_ = 0;
  file_bytes_ = 0;
  measuring_ = {.bytes = kRecordingHeadBytes};
  if (open_) {
    measuring_.open_place = place_;
    measuring_.open_end = static_cast<uint32_t>(next_page_);
  }
  measured_to_ = open_ ? newest_ - 1 : newest_;
  for (uint32_t place = 0; place < area_.segments; ++place) {
    if (places_[place].sequence != 0) order_[measuring_.segments++] = place;
  }
  std::sort(order_.begin(), order_.begin() + measuring_.segments,
            [this](uint32_t a, uint32_t b) { return places_[a].sequence < places_[b].sequence; });
  return measuring_.segments == 0 ? Status::kNotFound : Status::kOk;
}

/// Head, bodies and the pages up to the first that is not whole. False: the segment ends here.
bool RecorderRing::MeasurePage(uint32_t place) {
  Measuring& now = measuring_;
  const Status read = ReadRetrying(data_, OffsetOf(place) + now.end, scratch_);
  if (now.end == 0) {
    now.unreadable = now.unreadable || read == Status::kUnavailable;
    SegmentHead head;
    if (!base::Ok(read) || !base::Ok(DecodeSegmentHead(scratch_, &head))) return false;
    if (head.sequence != places_[place].sequence) return false;
    now.end = head.pages_offset;
  } else {
    RecorderPage page;
    base::MutableBytes records;
    if (!base::Ok(read) || !base::Ok(OpenPage(scratch_, &page, &records))) return false;
    if (page.segment != places_[place].sequence || page.index != now.pages) return false;
    now.end += kRecorderPageBytes;
    ++now.pages;
  }
  const bool was_open = now.open_end != 0 && place == now.open_place;
  return now.end + kRecorderPageBytes <= (was_open ? now.open_end : area_.segment_bytes);
}

base::Result<bool> RecorderRing::MeasureSome(uint32_t pages) {
  Measuring& now = measuring_;
  for (; pages > 0 && now.at < now.segments; --pages) {
    const uint32_t place = order_[now.at];
    if (MeasurePage(place)) continue;
    if (now.end != 0) {  // a damaged head is no segment
      places_[place].file_bytes = now.end;
      now.bytes += kLengthBytes + now.end;
      order_[file_segments_++] = place;
    }
    ++now.at;
    now.pages = 0;
    now.end = 0;
  }
  if (now.at < now.segments) return false;
  if (file_segments_ == 0) return now.unreadable ? Status::kUnavailable : Status::kNotFound;
  file_bytes_ = now.bytes;
  return true;
}

base::Result<uint64_t> RecorderRing::MeasureFile() {
  DIPPER_RETURN_IF_ERROR(BeginMeasure());
  const auto done = MeasureSome(UINT32_MAX);
  if (!done.ok()) return done.status();
  return file_bytes_;
}

Status RecorderRing::ReadFile(uint64_t offset, base::MutableBytes to) {
  if (offset > file_bytes_ || to.size() > file_bytes_ - offset) return Status::kOutOfRange;
  const auto take = [&](uint64_t begin, base::ByteView part) {
    if (offset < begin || offset >= begin + part.size() || to.empty()) return;
    const base::ByteView from = part.subspan(static_cast<size_t>(offset - begin));
    const size_t count = std::min(from.size(), to.size());
    std::ranges::copy(from.first(count), to.begin());
    offset += count;
    to = to.subspan(count);
  };
  std::array<uint8_t, kRecordingHeadBytes> head;
  EncodeRecordingHead({file_bytes_, file_segments_}, head);
  take(0, head);
  uint64_t begin = kRecordingHeadBytes;
  for (uint32_t i = 0; i < file_segments_ && !to.empty(); ++i) {
    const Place& place = places_[order_[i]];
    std::array<uint8_t, kLengthBytes> length;
    base::Store(length.data(), place.file_bytes);
    take(begin, length);
    begin += kLengthBytes;
    if (!to.empty() && offset >= begin && offset < begin + place.file_bytes) {
      const auto count =
          static_cast<size_t>(std::min<uint64_t>(to.size(), begin + place.file_bytes - offset));
      DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(order_[i]) + offset - begin, to.first(count)));
      offset += count;
      to = to.subspan(count);
    }
    begin += place.file_bytes;
  }
  return Status::kOk;
}

}  // namespace dipper::store
