// Backlog: a ring of entries that start at sector boundaries and never wrap inside; found again by their
// headers.
#include "agent/store/backlog.h"

#include <algorithm>

#include "agent/base/crc32c.h"
#include "agent/store/boot_layout.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint32_t kBacklogMagic = 0x474C4244;  // "DBLG"
constexpr uint16_t kBacklogLayout = 1;
constexpr uint32_t kHeaderBytes = 40;
constexpr uint32_t kFirstPositionBytes = kPagedHeadBytes + 24;  // before there was a tally
constexpr uint32_t kPositionBytes = kFirstPositionBytes + 16;
constexpr uint32_t kSaveEvery = 64;

}  // namespace

Backlog::Backlog(hal::Partition& data) : data_(data) {}

uint64_t Backlog::SectorsFor(uint64_t payload_bytes) const {
  return (kHeaderBytes + payload_bytes + stride_ - 1) / stride_;
}

uint64_t Backlog::LiveSectors() const {
  if (empty()) return 0;
  const uint64_t distance = (next_sector_ + sectors_ - first_sector_) % sectors_;
  return distance == 0 ? sectors_ : distance;
}

base::Result<Backlog::Entry> Backlog::ReadHeader(uint64_t sector) {
  std::array<uint8_t, kHeaderBytes> bytes;
  DIPPER_RETURN_IF_ERROR(ReadRetrying(data_, OffsetOf(sector), bytes));
  DIPPER_ASSIGN_OR_RETURN(base::ByteReader reader,
                          UnsealBody(bytes, kBacklogMagic, kBacklogLayout, kHeaderBytes));
  Entry entry;
  entry.sector = sector;
  entry.sequence = reader.Get<uint64_t>();
  entry.length = reader.Get<uint32_t>();
  entry.payload_crc = reader.Get<uint32_t>();
  entry.kind = reader.Get<uint16_t>();
  const bool good = entry.sequence != 0 && entry.sequence <= kMaxSequence && entry.length != 0 &&
                    entry.length <= kMaxBacklogEntryBytes && sector + SectorsFor(entry.length) <= sectors_;
  if (!good) return Status::kDataLoss;
  return entry;
}

bool Backlog::IsWhole(const Entry& entry) {
  uint32_t crc = 0;
  for (uint64_t done = 0; done < entry.length;) {
    const auto part =
        base::MutableBytes(scratch_).first(std::min<uint64_t>(scratch_.size(), entry.length - done));
    if (!base::Ok(ReadRetrying(data_, OffsetOf(entry.sector) + kHeaderBytes + done, part))) return false;
    crc = base::Crc32c(part, crc);
    done += part.size();
  }
  return crc == entry.payload_crc;
}

/// First entry with sequence in [from, next_) among `window` sectors from `sector` on, around the ring.
base::Result<Backlog::Entry> Backlog::FindFrom(uint64_t sector, uint64_t window, uint64_t from) {
  for (uint64_t seen = 0; seen < window;) {
    const auto entry = ReadHeader((sector + seen) % sectors_);
    if (entry.ok() && entry->sequence >= from && entry->sequence < next_) return *entry;
    // Over an entry that is not wanted but whole; sector by sector through what is damaged or left over: a
    // header of an earlier lap may stand before sectors that have been written since.
    const bool skip = entry.ok() && entry->sequence >= first_ && entry->sequence < next_ && IsWhole(*entry);
    seen += skip ? SectorsFor(entry->length) : 1;
  }
  return Status::kNotFound;
}

Status Backlog::Open() {
  DIPPER_ASSIGN_OR_RETURN(const DataLayout layout, ComputeDataLayout(data_.geometry()));
  stride_ = std::max(kSectorBytes, data_.geometry().write_unit_bytes);
  begin_ = layout.backlog_offset;
  sectors_ = layout.backlog_bytes / stride_;
  position_.Configure(data_, layout.backlog_position);
  const Status status = position_.Load(scratch_);
  if (!base::Ok(status) && status != Status::kNotFound) return status;
  first_ = next_ = 1;
  if (base::Ok(status) && base::Load<uint32_t>(scratch_.data() + 8) >= kFirstPositionBytes) {
    base::ByteReader reader(base::ByteView(scratch_).subspan(kPagedHeadBytes));
    const auto first = reader.Get<uint64_t>();
    const auto next = reader.Get<uint64_t>();
    const auto dropped = reader.Get<uint64_t>();
    if (first <= kMaxSequence && next <= kMaxSequence) {
      first_ = std::max<uint64_t>(first, 1);
      next_ = std::max(next, first_);
      dropped_ = dropped;
    }
    if (base::Load<uint32_t>(scratch_.data() + 8) >= kPositionBytes) {
      tally_.day = reader.Get<uint64_t>();
      tally_.bytes = reader.Get<uint64_t>();
    }
  }
  Entry last;
  for (uint64_t sector = 0; sector < sectors_; ++sector) {
    const auto entry = ReadHeader(sector);
    if (!entry.ok() && entry.status() == Status::kUnimplemented) return Status::kUnimplemented;
    if (entry.ok() && entry->sequence > last.sequence) last = *entry;
  }
  next_sector_ = last.sequence == 0 ? 0 : After(last);
  next_ = std::max(next_, last.sequence + 1);
  const auto oldest = FindFrom(next_sector_, sectors_, first_);
  first_ = oldest.ok() ? oldest->sequence : next_;
  first_sector_ = oldest.ok() ? oldest->sector : next_sector_;
  open_ = true;
  return Status::kOk;
}

/// Drops the oldest entries until `needed` sectors from next_sector_ on are free.
Status Backlog::MakeRoom(uint64_t needed) {
  while (sectors_ - LiveSectors() < needed) {
    const auto oldest = FindFrom(first_sector_, LiveSectors(), first_);
    const uint64_t next_first = oldest.ok() ? oldest->sequence + 1 : next_;
    dropped_ += next_first - first_;
    first_ = next_first;
    first_sector_ = oldest.ok() ? After(*oldest) : next_sector_;
    dirty_ = true;
  }
  return Status::kOk;
}

Status Backlog::WriteEntry(const Entry& entry, base::ByteView payload) {
  const auto sector = base::MutableBytes(scratch_).first(stride_);
  std::fill(sector.begin(), sector.end(), uint8_t{0});
  const auto header = sector.first(kHeaderBytes);
  base::ByteWriter writer = BodyWriter(header, kHeaderBytes);
  writer.Put(entry.sequence);
  writer.Put(entry.length);
  writer.Put(entry.payload_crc);
  writer.Put(entry.kind);
  writer.Put(uint16_t{0});
  writer.Put(uint32_t{0});
  SealFilled(header, writer, kBacklogMagic, kBacklogLayout);
  const size_t head = std::min<size_t>(payload.size(), stride_ - kHeaderBytes);
  std::copy_n(payload.begin(), head, sector.begin() + kHeaderBytes);
  DIPPER_RETURN_IF_ERROR(data_.Write(OffsetOf(entry.sector), sector));
  const base::ByteView rest = payload.subspan(head);
  const size_t whole = rest.size() / stride_ * stride_;
  if (whole > 0) DIPPER_RETURN_IF_ERROR(data_.Write(OffsetOf(entry.sector + 1), rest.first(whole)));
  const base::ByteView tail = rest.subspan(whole);
  if (tail.empty()) return Status::kOk;
  std::fill(sector.begin(), sector.end(), uint8_t{0});
  std::copy(tail.begin(), tail.end(), sector.begin());
  return data_.Write(OffsetOf(entry.sector + 1 + whole / stride_), sector);
}

base::Result<uint64_t> Backlog::Append(uint16_t kind, base::ByteView payload) {
  if (!open_) return Status::kFailedPrecondition;
  const uint64_t count = SectorsFor(payload.size());
  if (payload.empty() || payload.size() > kMaxBacklogEntryBytes || count > sectors_ / 2) {
    return Status::kInvalidArgument;
  }
  const uint64_t gap = next_sector_ + count > sectors_ ? sectors_ - next_sector_ : 0;
  DIPPER_RETURN_IF_ERROR(MakeRoom(gap + count));
  Entry entry;
  entry.sector = gap != 0 ? 0 : next_sector_;
  entry.sequence = next_;
  entry.length = static_cast<uint32_t>(payload.size());
  entry.payload_crc = base::Crc32c(payload);
  entry.kind = kind;
  // What an earlier lap left in the gap must not look like entries of this one.
  Status status = Status::kOk;
  for (uint64_t i = 0; i < gap && base::Ok(status); ++i) {
    const auto sector = base::MutableBytes(scratch_).first(stride_);
    std::fill(sector.begin(), sector.end(), uint8_t{0});
    status = data_.Write(OffsetOf(next_sector_ + i), sector);
  }
  if (base::Ok(status)) status = WriteEntry(entry, payload);
  if (!base::Ok(status)) {
    ++dropped_;
    dirty_ = true;
    return status;
  }
  if (empty()) first_sector_ = entry.sector;
  next_sector_ = After(entry);
  return next_++;
}

bool Backlog::PayloadIntact(const Entry& entry, base::MutableBytes payload) {
  return base::Ok(ReadRetrying(data_, OffsetOf(entry.sector) + kHeaderBytes, payload)) &&
         base::Crc32c(payload) == entry.payload_crc;
}

base::Result<BacklogEntry> Backlog::Peek(uint64_t from, base::MutableBytes buffer) {
  if (!open_) return Status::kFailedPrecondition;
  for (uint64_t wanted = std::max(from, first_); wanted < next_;) {
    const auto entry = FindFrom(first_sector_, LiveSectors(), wanted);
    if (!entry.ok()) {
      if (wanted > first_) return Status::kNotFound;
      dropped_ += next_ - first_;
      first_ = next_;
      dirty_ = true;
      return Status::kNotFound;
    }
    if (wanted == first_ && entry->sequence > first_) {
      dropped_ += entry->sequence - first_;
      first_ = entry->sequence;
      first_sector_ = entry->sector;
      dirty_ = true;
    }
    if (entry->length > buffer.size()) return Status::kResourceExhausted;
    const auto payload = buffer.first(entry->length);
    if (PayloadIntact(*entry, payload)) return BacklogEntry{entry->sequence, entry->kind, payload};
    wanted = entry->sequence + 1;
    if (entry->sequence == first_) {
      ++dropped_;
      first_ = wanted;
      first_sector_ = After(*entry);
      dirty_ = true;
    }
  }
  return Status::kNotFound;
}

Status Backlog::Drop(uint64_t sequence) {
  if (!open_) return Status::kFailedPrecondition;
  if (sequence >= next_) return Status::kInvalidArgument;
  if (sequence < first_) return Status::kOk;
  const auto next = FindFrom(first_sector_, LiveSectors(), sequence + 1);
  unsaved_drops_ += static_cast<uint32_t>(sequence + 1 - first_);
  first_ = sequence + 1;
  first_sector_ = next.ok() ? next->sector : next_sector_;
  dirty_ = true;
  return unsaved_drops_ >= kSaveEvery ? StorePosition() : Status::kOk;
}

Status Backlog::StorePosition() {
  std::fill(scratch_.begin(), scratch_.end(), uint8_t{0});
  base::ByteWriter writer(base::MutableBytes(scratch_).subspan(kPagedHeadBytes));
  writer.Put(first_);
  writer.Put(next_);
  writer.Put(dropped_);
  writer.Put(tally_.day);
  writer.Put(tally_.bytes);
  DIPPER_RETURN_IF_ERROR(position_.WriteOther(scratch_, kPositionBytes));
  dirty_ = false;
  unsaved_drops_ = 0;
  return Status::kOk;
}

Status Backlog::Flush() {
  if (!open_) return Status::kFailedPrecondition;
  return dirty_ ? StorePosition() : data_.Sync();
}

}  // namespace dipper::store
