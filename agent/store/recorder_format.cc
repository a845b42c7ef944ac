// Implementation of recorder_format.h.
#include "agent/store/recorder_format.h"

#include <algorithm>

#include "agent/store/page.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint32_t kSegmentMagic = 0x47535244;    // "DRSG"
constexpr uint32_t kPageMagic = 0x47505244;       // "DRPG"
constexpr uint32_t kRecordingMagic = 0x4C465244;  // "DRFL"
constexpr uint16_t kRecordingLayout = 1;
constexpr uint32_t kTextBytes = 64;
constexpr uint32_t kBodyBytes = 16 + kRecorderSealBytes;
constexpr uint32_t kFixedHeadBytes =
    kEnvelopeBytes + 4 * 8 + 4 * 4 + 4 + kTextBytes + kRecorderBodies * kBodyBytes;
static_assert(kFixedHeadBytes + kMaxAboutBytes <= kRecorderPageBytes);

bool GoodPlaces(const SegmentHead& head) {
  if (head.sequence == 0 || head.sequence > kMaxSequence || head.first_record > kMaxSequence) return false;
  if (head.segment_bytes < head.pages_offset || head.pages_offset < kRecorderPageBytes) return false;
  if (head.pages_offset % kRecorderPageBytes != 0) return false;
  return std::ranges::all_of(head.bodies, [&](const RecorderBody& body) {
    return body.offset <= head.pages_offset && body.bytes <= head.pages_offset - body.offset;
  });
}

}  // namespace

void EncodeSegmentHead(const SegmentHead& head, base::MutableBytes page) {
  DIPPER_CHECK(page.size() == kRecorderPageBytes && head.about_bytes <= kMaxAboutBytes);
  std::ranges::fill(page, uint8_t{0});
  base::ByteWriter writer(page.subspan(kEnvelopeBytes));
  writer.Put(head.sequence);
  writer.Put(head.first_record);
  writer.Put(head.left_out);
  writer.Put(head.allowance);
  writer.Put(head.segment_bytes);
  writer.Put(head.pages_offset);
  writer.Put(head.about_bytes);
  writer.Put(static_cast<uint32_t>(head.ring.view().size()));
  std::array<char, kTextBytes> text{};
  std::ranges::copy(head.ring.view(), text.begin());
  writer.PutBytes(base::AsBytes({text.data(), text.size()}));
  writer.Put(uint32_t{0});
  for (const RecorderBody& body : head.bodies) {
    writer.Put(body.offset);
    writer.Put(body.bytes);
    writer.Put(body.crc);
    writer.Put(uint32_t{body.sealed ? 1U : 0U});
    writer.PutBytes(body.seal);
  }
  writer.PutBytes(head.About());
  DIPPER_CHECK(!writer.overflow());
  Seal(page.first(kEnvelopeBytes + writer.position()), kSegmentMagic, kRecordingLayout);
}

Status DecodeSegmentHead(base::ByteView page, SegmentHead* head) {
  DIPPER_ASSIGN_OR_RETURN(const uint32_t length, Unseal(page, kSegmentMagic, kRecordingLayout));
  *head = {};
  base::ByteReader reader(page.first(length).subspan(kEnvelopeBytes));
  head->sequence = reader.Get<uint64_t>();
  head->first_record = reader.Get<uint64_t>();
  head->left_out = reader.Get<uint64_t>();
  head->allowance = reader.Get<uint64_t>();
  head->segment_bytes = reader.Get<uint32_t>();
  head->pages_offset = reader.Get<uint32_t>();
  head->about_bytes = reader.Get<uint32_t>();
  const auto text_bytes = reader.Get<uint32_t>();
  std::array<uint8_t, kTextBytes> text{};
  reader.GetBytes(text);
  static_cast<void>(reader.Get<uint32_t>());
  for (RecorderBody& body : head->bodies) {
    body.offset = reader.Get<uint32_t>();
    body.bytes = reader.Get<uint32_t>();
    body.crc = reader.Get<uint32_t>();
    body.sealed = reader.Get<uint32_t>() != 0;
    reader.GetBytes(body.seal);
  }
  if (head->about_bytes > kMaxAboutBytes || text_bytes > kTextBytes) return Status::kDataLoss;
  reader.GetBytes(base::MutableBytes(head->about).first(head->about_bytes));
  if (reader.overflow() || !GoodPlaces(*head)) return Status::kDataLoss;
  return head->ring.Assign(base::AsText(base::ByteView(text).first(text_bytes)));
}

base::MutableBytes PageSeal(base::MutableBytes page) {
  return page.subspan(kPageHeadBytes, kRecorderSealBytes);
}

base::MutableBytes PageRecords(base::MutableBytes page) {
  return page.subspan(kPageHeadBytes + kRecorderSealBytes, kPageRecordBytes);
}

uint32_t SealPage(const RecorderPage& about, uint32_t bytes, base::MutableBytes page) {
  DIPPER_CHECK(page.size() == kRecorderPageBytes && bytes <= kPageRecordBytes);
  const uint32_t length = kPageHeadBytes + kRecorderSealBytes + bytes;
  std::ranges::fill(page.subspan(length), uint8_t{0});
  if (!about.sealed) std::ranges::fill(PageSeal(page), uint8_t{0});
  base::ByteWriter writer(page.first(kPageHeadBytes).subspan(kEnvelopeBytes));
  writer.Put(about.segment);
  writer.Put(about.first_record);
  writer.Put(about.index);
  writer.Put(about.records | (about.sealed ? 1U << 31 : 0));
  Seal(page.first(length), kPageMagic, kRecordingLayout);
  return length;
}

Status OpenPage(base::MutableBytes page, RecorderPage* about, base::MutableBytes* records) {
  DIPPER_ASSIGN_OR_RETURN(const uint32_t length, Unseal(page, kPageMagic, kRecordingLayout));
  if (length < kPageHeadBytes + kRecorderSealBytes) return Status::kDataLoss;
  base::ByteReader reader(page.first(kPageHeadBytes).subspan(kEnvelopeBytes));
  about->segment = reader.Get<uint64_t>();
  about->first_record = reader.Get<uint64_t>();
  about->index = reader.Get<uint32_t>();
  const auto count = reader.Get<uint32_t>();
  about->records = count & ~(1U << 31);
  about->sealed = count >> 31 != 0;
  *records = page.subspan(kPageHeadBytes + kRecorderSealBytes, length - kPageHeadBytes - kRecorderSealBytes);
  return Status::kOk;
}

void EncodeRecordingHead(const RecordingHead& head, base::MutableBytes out) {
  std::ranges::fill(out.first(kRecordingHeadBytes), uint8_t{0});
  base::ByteWriter writer(out.first(kRecordingHeadBytes).subspan(kEnvelopeBytes));
  writer.Put(head.bytes);
  writer.Put(head.segments);
  Seal(out.first(kRecordingHeadBytes), kRecordingMagic, kRecordingLayout);
}

base::Result<RecordingHead> DecodeRecordingHead(base::ByteView bytes) {
  if (bytes.size() < kRecordingHeadBytes) return Status::kDataLoss;
  DIPPER_ASSIGN_OR_RETURN(const uint32_t length,
                          Unseal(bytes.first(kRecordingHeadBytes), kRecordingMagic, kRecordingLayout));
  if (length != kRecordingHeadBytes) return Status::kDataLoss;
  base::ByteReader reader(bytes.first(kRecordingHeadBytes).subspan(kEnvelopeBytes));
  RecordingHead head;
  head.bytes = reader.Get<uint64_t>();
  head.segments = reader.Get<uint32_t>();
  if (head.segments > kMaxRecorderSegments) return Status::kDataLoss;
  return head;
}

}  // namespace dipper::store
