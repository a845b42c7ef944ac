// Implementation of view.h.
#include "agent/app/control/view.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "agent/app/control/text.h"
#include "agent/package/manifest.h"
#include "agent/store/boot_layout.h"
#include "agent/store/slot.h"
#include "agent/telemetry/encoders.h"

namespace dipper::app {

using base::Status;

namespace {

struct alignas(16) Block {
  uint8_t bytes[16];
};

/// Name and version out of a package at rest. It was verified when it came; here it is only shown.
bool ReadNames(hal::Partition& partition, uint64_t offset, PackageView* package) {
  std::vector<Block> memory(base::AlignUp(package::kMaxHeadBytes, 16) / sizeof(Block));
  const base::MutableBytes bytes(memory.data()->bytes, memory.size() * sizeof(Block));
  package::Header header;
  if (!Ok(partition.Read(offset, bytes.first(package::kHeaderBytes)))) return false;
  if (package::ParseHeader(bytes.first(package::kHeaderBytes), &header) != schema::Reason::None) return false;
  const base::MutableBytes head = bytes.first(header.head_bytes());
  package::Manifest manifest;
  if (!Ok(partition.Read(offset, head))) return false;
  if (package::Manifest::Parse(header, head, &manifest) != schema::Reason::None) return false;
  if (manifest.package_digest() != package->digest) return false;
  package->name = manifest.name();
  package->version = manifest.version();
  package->security_version = manifest.security_version();
  return true;
}

std::string HoldsText(const SlotView& view, const store::BootRecord& record) {
  if (view.id == store::SlotId::kFactory) return record.lkg_slot == view.id ? "champion" : "factory";
  if (view.id == record.lkg_slot) return "champion";
  if (view.id == record.trial_slot) return "trial";
  return view.has_mark && view.mark.digest == view.package.digest ? "previous" : "unconfirmed";
}

PackageView Loaded(const base::Digest& digest, std::string_view name, std::string_view version) {
  return {
      .digest = digest, .name = std::string(name), .version = std::string(version), .security_version = {}};
}

ModelView ViewModel(const ControlModel& model, store::EventLog& log, bool with_slots) {
  update::Updater& updater = *model.updater;
  const update::UpdateStatus status = updater.Status();
  ModelView view;
  view.id = model.id;
  view.has_record = true;
  view.state = status.state;
  view.reason = status.reason;
  view.offer_number = status.offer_number;
  view.blocks_have = status.blocks_have;
  view.blocks_total = status.blocks_total;
  view.offered = status.offered;
  view.lost = model.lost;
  view.champion = Loaded(status.champion, status.champion_name.view(), status.champion_version.view());
  view.challenger =
      Loaded(status.challenger, status.challenger_name.view(), status.challenger_version.view());
  if (learn::Model* champion = updater.champion(); champion != nullptr) {
    view.samples = champion->samples();
    view.labels = champion->labels_learned();
    view.frozen = champion->frozen();
  }
  if (learn::Model* challenger = updater.challenger(); challenger != nullptr) {
    view.challenger_samples = challenger->samples();
  }
  view.healthy = updater.store().healthy();
  view.checkpoints_written = status.checkpoints;
  view.checkpoint_failures = status.checkpoint_failures;
  if (const auto gate = updater.ReadGate(); gate.ok()) {
    view.has_gate = true;
    view.gate = *gate;
  }
  view.record = updater.store().record();
  view.undo.digest = status.undo_package;
  view.undo_slot = status.undo_target;
  view.serving_since_ns = FindConfirm(log, status.champion);
  if (!with_slots) return view;
  view.slots.push_back(ViewSlot(*model.slot_a, store::SlotId::kA, view.record));
  view.slots.push_back(ViewSlot(*model.slot_b, store::SlotId::kB, view.record));
  if (model.factory != nullptr) {
    view.slots.push_back(ViewSlot(*model.factory, store::SlotId::kFactory, view.record));
  }
  for (const SlotView& slot : view.slots) {
    if (slot.id == view.undo_slot) view.undo = slot.package;
  }
  return view;
}

}  // namespace

std::string SlotText(store::SlotId id) {
  switch (id) {
    case store::SlotId::kA:
      return "A";
    case store::SlotId::kB:
      return "B";
    case store::SlotId::kFactory:
      return "factory";
    case store::SlotId::kNone:
      break;
  }
  return "none";
}

std::string RungText(store::Rung rung) {
  switch (rung) {
    case store::Rung::kNewestCheckpoint:
      return "newest checkpoint";
    case store::Rung::kOlderCheckpoint:
      return "older checkpoint";
    case store::Rung::kPackageImage:
      return "package image";
    case store::Rung::kOtherSlot:
      return "other slot";
    case store::Rung::kFactory:
      return "factory model";
    case store::Rung::kNone:
      break;
  }
  return "none: safe mode";
}

SlotView ViewSlot(hal::Partition& partition, store::SlotId id, const store::BootRecord& record) {
  SlotView view;
  view.id = id;
  auto slot = std::make_unique<store::Slot>();
  if (!Ok(slot->Open(&partition, id == store::SlotId::kFactory))) {
    view.holds = "damaged";
    return view;
  }
  const auto header = slot->ReadHeader();
  if (!header.ok()) {
    view.holds = header.status() == Status::kUnimplemented ? "newer_agent"
                 : id == record.lkg_slot                   ? "damaged"
                                                           : "empty";
    return view;
  }
  view.package.digest = header->digest;
  view.package_bytes = header->package_bytes;
  const bool readable = ReadNames(partition, slot->layout().package_offset, &view.package);
  if (id != store::SlotId::kFactory) {
    if (const auto mark = slot->NewestMark(); mark.ok()) {
      view.has_mark = true;
      view.mark = *mark;
    }
    const store::CheckpointScan scan = slot->ScanCheckpoints(view.package.digest);
    for (uint32_t area = 0; area < 2; ++area) {
      if (scan.valid[area]) view.checkpoints.push_back(scan.info[area]);
    }
    std::ranges::sort(view.checkpoints, std::ranges::greater{}, &store::CheckpointInfo::sequence);
  }
  view.holds = readable ? HoldsText(view, record) : "damaged";
  return view;
}

base::Result<store::BootRecord> ReadBootRecord(hal::Partition& boot, uint32_t place) {
  const auto layout = store::ComputeBootLayout(boot.geometry());
  if (!layout.ok() || place >= layout->models) return Status::kNotFound;
  store::CopyPair pair;
  std::vector<uint8_t> page(store::kRecordPageBytes);
  pair.Configure(boot, layout->Record(place));
  DIPPER_RETURN_IF_ERROR(pair.Load(base::MutableBytes(page).first(layout->record_bytes)));
  return store::DecodeBootRecord(base::ByteView(page).first(store::kBootRecordBytes));
}

std::string LostText(const base::Digest& digest, const SlotView& slot) {
  std::string text = "package";
  const bool named = slot.package.digest == digest && !slot.package.name.empty();
  if (named) text = Printable(slot.package.name) + " " + Printable(slot.package.version);
  text += " (" + std::string(base::ToHex(digest).brief()) + ")";
  return text +
         (slot.id == store::SlotId::kFactory ? " in the factory partition"
                                             : " in slot " + SlotText(slot.id)) +
         " is damaged or gone";
}

std::string LostText(const store::BootRecord& record, std::span<const SlotView> slots) {
  if (record.lkg_slot != store::SlotId::kNone || record.rung == store::Rung::kNone) return {};
  if (record.floor == base::SecurityVersion{}) return {};
  const SlotView* newest = nullptr;
  for (const SlotView& slot : slots) {
    if (!slot.has_mark || slot.id == record.trial_slot || record.IsDenied(slot.mark.digest)) continue;
    if (newest == nullptr || slot.mark.sequence > newest->mark.sequence) newest = &slot;
  }
  return newest != nullptr ? LostText(newest->mark.digest, *newest)
                           : "what served here was reset, or its slot is gone";
}

int64_t FindConfirm(store::EventLog& log, const base::Digest& package) {
  alignas(16) std::array<uint8_t, store::kEventBytes> buffer;
  alignas(16) std::array<uint8_t, store::kEventBytes> aligned;
  if (package.IsZero()) return 0;
  for (uint64_t sequence = log.newest(); sequence != 0 && sequence >= log.oldest(); --sequence) {
    const auto entry = log.Read(sequence, buffer);
    if (!entry.ok() || entry->kind != static_cast<uint16_t>(schema::EventKind::UpdateStep)) continue;
    std::ranges::copy(entry->payload, aligned.begin());
    const auto event = telemetry::Decode<schema::Event>(base::ByteView(aligned).first(entry->payload.size()));
    if (!event.ok() || (*event)->to() != schema::UpdateState::Confirmed) continue;
    const schema::PackageInfo* about = (*event)->package();
    if (about == nullptr || about->digest() == nullptr) continue;
    base::Digest digest;
    for (uint32_t i = 0; i < digest.bytes.size(); ++i) digest.bytes[i] = about->digest()->bytes()->Get(i);
    if (digest == package) return entry->time_ns;
  }
  return 0;
}

ControlView ViewRunning(ControlTarget& target, std::string_view only, bool with_slots) {
  ControlView view;
  view.running = true;
  view.readings = target.ReadForControl();
  view.pid = ::getpid();
  for (size_t i = 0; i < target.ControlModelCount(); ++i) {
    const ControlModel model = target.ControlModelAt(i);
    if (only.empty() || model.id == only)
      view.models.push_back(ViewModel(model, target.ControlLog(), with_slots));
  }
  return view;
}

}  // namespace dipper::app
