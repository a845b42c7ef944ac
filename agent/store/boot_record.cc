// Boot record: fields, denied ring and encoding.
#include "agent/store/boot_record.h"

#include <algorithm>

#include "agent/store/boot_layout.h"
#include "agent/store/page.h"

namespace dipper::store {
namespace {

using base::Status;

constexpr uint16_t kFirstOwnFailure = 40;
constexpr uint16_t kLastOwnFailure = 59;

bool KnownSlot(SlotId slot) {
  return slot == SlotId::kA || slot == SlotId::kB || slot == SlotId::kFactory || slot == SlotId::kNone;
}

bool InRange(const BootRecord& record) {
  return KnownSlot(record.lkg_slot) && KnownSlot(record.trial_slot) &&
         record.trial_slot != SlotId::kFactory && record.tries_left <= kTriesPerTrial &&
         record.tries_given_back <= kMaxTriesGivenBack && record.own_failures <= kMaxOwnFailures &&
         record.unexplained_starts <= kMaxUnexplainedStarts + 1 && record.rung <= Rung::kNone &&
         (record.rung != Rung::kNone || record.lkg_slot == SlotId::kNone) &&
         (record.lkg_slot == SlotId::kNone) == record.lkg_digest.IsZero() &&
         (record.trial_slot == SlotId::kNone) == record.trial_digest.IsZero() &&
         (!record.HasTrial() || record.trial_slot != record.lkg_slot);
}

}  // namespace

bool IsOwnFailure(schema::Reason reason) {
  const auto number = static_cast<uint16_t>(reason);
  return number >= kFirstOwnFailure && number <= kLastOwnFailure;
}

bool BootRecord::IsDenied(const base::Digest& digest) const {
  if (digest.IsZero()) return false;
  return std::any_of(denied.begin(), denied.end(),
                     [&](const DeniedEntry& entry) { return entry.digest == digest; });
}

void BootRecord::Deny(const base::Digest& digest, schema::Reason reason) {
  DIPPER_CHECK(!digest.IsZero());
  const Status removed = RemoveDenied(digest);
  static_cast<void>(removed);  // Absent is the usual case.
  auto place = std::find_if(denied.begin(), denied.end(),
                            [](const DeniedEntry& entry) { return entry.digest.IsZero(); });
  if (place == denied.end()) {
    std::move(denied.begin() + 1, denied.end(), denied.begin());
    place = denied.end() - 1;
  }
  *place = {digest, reason};
}

Status BootRecord::RemoveDenied(const base::Digest& digest) {
  const auto place = std::find_if(denied.begin(), denied.end(),
                                  [&](const DeniedEntry& entry) { return entry.digest == digest; });
  if (digest.IsZero() || place == denied.end()) return Status::kNotFound;
  std::move(place + 1, denied.end(), place);
  denied.back() = {};
  return Status::kOk;
}

void BootRecord::ClearTrial() {
  trial_slot = SlotId::kNone;
  trial_digest = {};
  tries_left = 0;
  tries_given_back = 0;
}

void EncodeBootRecord(const BootRecord& record, base::MutableBytes out) {
  base::ByteWriter writer = BodyWriter(out, kBootRecordBytes);
  writer.Put(record.sequence);
  writer.Put(record.lkg_slot);
  writer.Put(record.trial_slot);
  writer.Put(record.tries_left);
  writer.Put(record.tries_given_back);
  writer.Put(record.own_failures);
  writer.Put(record.unexplained_starts);
  writer.Put(record.rung);
  writer.Put(static_cast<uint8_t>(record.reset_pending ? 1 : 0));
  writer.PutDigest(record.lkg_digest);
  writer.PutDigest(record.trial_digest);
  PutVersion(writer, record.lkg_version);
  PutVersion(writer, record.floor);
  for (const DeniedEntry& entry : record.denied) {
    writer.PutDigest(entry.digest);
    writer.Put(entry.reason);
    writer.Put(uint16_t{0});
  }
  SealFilled(out, writer, kBootRecordMagic, kBootRecordLayout);
}

base::Result<BootRecord> DecodeBootRecord(base::ByteView bytes) {
  DIPPER_ASSIGN_OR_RETURN(base::ByteReader reader,
                          UnsealBody(bytes, kBootRecordMagic, kBootRecordLayout, kBootRecordBytes));
  BootRecord record;
  record.sequence = reader.Get<uint64_t>();
  record.lkg_slot = reader.Get<SlotId>();
  record.trial_slot = reader.Get<SlotId>();
  record.tries_left = reader.Get<uint8_t>();
  record.tries_given_back = reader.Get<uint8_t>();
  record.own_failures = reader.Get<uint8_t>();
  record.unexplained_starts = reader.Get<uint8_t>();
  record.rung = reader.Get<Rung>();
  record.reset_pending = (reader.Get<uint8_t>() & 1) != 0;
  record.lkg_digest = reader.GetDigest();
  record.trial_digest = reader.GetDigest();
  record.lkg_version = GetVersion(reader);
  record.floor = GetVersion(reader);
  for (DeniedEntry& entry : record.denied) {
    entry.digest = reader.GetDigest();
    entry.reason = reader.Get<schema::Reason>();
    reader.Get<uint16_t>();
  }
  if (reader.overflow() || !InRange(record)) return Status::kDataLoss;
  return record;
}

}  // namespace dipper::store
