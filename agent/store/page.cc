// Envelopes and pairs of copies.
#include "agent/store/page.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/store/mutation.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr int kReadAttempts = 3;
constexpr int kMatchAttempts = 2;
constexpr size_t kCrcOffset = 12;

uint32_t EnvelopeCrc(base::ByteView bytes) {
  return base::Crc32c(bytes.subspan(kEnvelopeBytes), base::Crc32c(bytes.first(kCrcOffset)));
}

}  // namespace

void Seal(base::MutableBytes bytes, uint32_t magic, uint16_t layout) {
  DIPPER_CHECK(bytes.size() >= kEnvelopeBytes && bytes.size() <= UINT32_MAX);
  base::ByteWriter writer(bytes);
  writer.Put(magic);
  writer.Put(layout);
  writer.Put(uint16_t{0});
  writer.Put(static_cast<uint32_t>(bytes.size()));
  writer.Put(EnvelopeCrc(bytes));
}

base::Result<uint32_t> Unseal(base::ByteView bytes, uint32_t magic, uint16_t layout) {
  if (bytes.size() < kEnvelopeBytes) return Status::kDataLoss;
  base::ByteReader reader(bytes);
  const auto found_magic = reader.Get<uint32_t>();
  const auto found_layout = reader.Get<uint16_t>();
  reader.Get<uint16_t>();
  const auto length = reader.Get<uint32_t>();
  const auto crc = reader.Get<uint32_t>();
  if (found_magic != magic || length < kEnvelopeBytes || length > bytes.size()) return Status::kDataLoss;
  if (crc != EnvelopeCrc(bytes.first(length))) return Status::kDataLoss;
  if (found_layout != layout) return Status::kUnimplemented;
  return length;
}

base::ByteWriter BodyWriter(base::MutableBytes out, uint32_t length) {
  DIPPER_CHECK(out.size() == length && length > kEnvelopeBytes);
  return base::ByteWriter(out.subspan(kEnvelopeBytes));
}

void SealFilled(base::MutableBytes out, const base::ByteWriter& writer, uint32_t magic, uint16_t layout) {
  DIPPER_CHECK(!writer.overflow() && writer.position() + kEnvelopeBytes == out.size());
  Seal(out, magic, layout);
}

base::Result<base::ByteReader> UnsealBody(base::ByteView bytes, uint32_t magic, uint16_t layout,
                                          uint32_t length) {
  DIPPER_ASSIGN_OR_RETURN(const uint32_t found, Unseal(bytes, magic, layout));
  if (found != length) return Status::kDataLoss;
  return base::ByteReader(bytes.subspan(kEnvelopeBytes, length - kEnvelopeBytes));
}

void PutVersion(base::ByteWriter& writer, base::SecurityVersion version) {
  writer.Put(version.epoch);
  writer.Put(version.version);
}

base::SecurityVersion GetVersion(base::ByteReader& reader) {
  base::SecurityVersion version;
  version.epoch = reader.Get<uint32_t>();
  version.version = reader.Get<uint32_t>();
  return version;
}

Status ReadRetrying(hal::Partition& partition, uint64_t offset, base::MutableBytes to) {
  Status status = Status::kUnavailable;
  for (int attempt = 0; attempt < kReadAttempts && status == Status::kUnavailable; ++attempt) {
    status = partition.Read(offset, to);
  }
  return status;
}

Status CheckGeometry(const hal::Geometry& geometry) {
  const bool usable = geometry.write_unit_bytes >= 1 && geometry.write_unit_bytes <= kMaxWriteUnit &&
                      kMaxWriteUnit % geometry.write_unit_bytes == 0 &&
                      geometry.erase_unit_bytes >= kSectorBytes &&
                      geometry.erase_unit_bytes % kSectorBytes == 0 &&
                      geometry.erase_unit_bytes % geometry.write_unit_bytes == 0;
  return usable ? Status::kOk : Status::kInvalidArgument;
}

void CopyPair::Configure(hal::Partition& partition, const CopyPairLayout& layout) {
  partition_ = &partition;
  layout_ = layout;
  current_ = 1;
  sequence_ = 0;
}

Status CopyPair::ReadCopy(uint32_t copy, base::MutableBytes page) {
  DIPPER_CHECK(partition_ != nullptr && page.size() >= layout_.page_bytes);
  const base::MutableBytes bytes = page.first(layout_.page_bytes);
  auto length = base::Result<uint32_t>(Status::kDataLoss);
  // Read once more when it does not match: a bit may have flipped on the way and not on the medium.
  for (int attempt = 0; attempt < kMatchAttempts && length.status() == Status::kDataLoss; ++attempt) {
    if (!base::Ok(ReadRetrying(*partition_, OffsetOf(copy), bytes))) return Status::kDataLoss;
    length = Unseal(bytes, layout_.magic, layout_.layout);
  }
  if (!length.ok()) return length.status();
  if (*length < kPagedHeadBytes) return Status::kDataLoss;
  return base::Load<uint64_t>(bytes.data() + kEnvelopeBytes) <= kMaxSequence ? Status::kOk
                                                                             : Status::kDataLoss;
}

Status CopyPair::Load(base::MutableBytes page) {
  std::array<Status, 2> status{};
  std::array<uint64_t, 2> sequence{};
  for (uint32_t copy = 0; copy < 2; ++copy) {
    status[copy] = ReadCopy(copy, page);
    if (status[copy] == Status::kUnimplemented && !Mutated(Mutation::kUnknownLayoutIsAbsent)) {
      return Status::kUnimplemented;
    }
    if (base::Ok(status[copy])) sequence[copy] = base::Load<uint64_t>(page.data() + kEnvelopeBytes);
  }
  if (!base::Ok(status[0]) && !base::Ok(status[1])) {
    current_ = 1;
    sequence_ = 0;
    return Status::kNotFound;
  }
  const bool first = base::Ok(status[0]) && (!base::Ok(status[1]) || sequence[0] > sequence[1]);
  current_ = first ? 0 : 1;
  sequence_ = sequence[current_];
  return ReadCopy(current_, page);
}

Status CopyPair::ReadBack(uint64_t offset, base::ByteView expected) {
  std::array<uint8_t, kSectorBytes> chunk;
  for (size_t done = 0; done < expected.size(); done += chunk.size()) {
    const size_t count = std::min(chunk.size(), expected.size() - done);
    DIPPER_RETURN_IF_ERROR(ReadRetrying(*partition_, offset + done, base::MutableBytes(chunk).first(count)));
    if (!std::equal(chunk.begin(), chunk.begin() + static_cast<ptrdiff_t>(count),
                    expected.begin() + static_cast<ptrdiff_t>(done))) {
      return Status::kUnavailable;
    }
  }
  return Status::kOk;
}

Status CopyPair::WriteOther(base::MutableBytes page, uint32_t length, bool sync) {
  DIPPER_CHECK(partition_ != nullptr && length >= kPagedHeadBytes && length <= layout_.page_bytes);
  const uint32_t unit = partition_->geometry().write_unit_bytes;
  const size_t whole = base::AlignUp(length, unit);
  DIPPER_CHECK(whole <= page.size());
  base::Store(page.data() + kEnvelopeBytes, sequence_ + 1);
  Seal(page.first(length), layout_.magic, layout_.layout);
  std::fill(page.begin() + length, page.begin() + static_cast<ptrdiff_t>(whole), uint8_t{0});
  const uint32_t other = 1 - current_;
  Status status = Status::kUnavailable;
  for (int attempt = 0; attempt < kWriteAttempts && !base::Ok(status); ++attempt) {
    status = partition_->Write(OffsetOf(other), page.first(whole));
    if (base::Ok(status) && sync) status = partition_->Sync();
    if (base::Ok(status) && !Mutated(Mutation::kRecordNotReadBack))
      status = ReadBack(OffsetOf(other), page.first(whole));
  }
  DIPPER_RETURN_IF_ERROR(status);
  current_ = other;
  ++sequence_;
  return Status::kOk;
}

}  // namespace dipper::store
