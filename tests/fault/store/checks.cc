// The invariants, asked of the real code and of the bytes that are on the medium.
#include <algorithm>

#include "agent/store/model_places.h"
#include "tests/fault/store/crash_harness.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

std::string Hex(const base::Digest& digest) { return std::string(base::ToHex(digest).brief()); }

/// I2 and I7: the bytes under the name are the bytes of that name.
bool BytesAre(StoreWorld& world, SlotId id, const base::Digest& digest) {
  hal::PartitionSim& part = world.slot(id);
  const auto header = DecodeSlotHeader(part.bytes().first(kSlotHeaderBytes));
  if (!header.ok()) return false;
  const auto facts = world.verifier.Verify(part, StoreWorld::kSlot.erase_unit_bytes, header->package_bytes);
  return facts.ok() && facts->digest == digest;
}

std::string CheckRecord(StoreWorld& world, const StartDecision& decision, const Told& told) {
  const auto record = world.CurrentRecord();
  if (!record) return "I1: no valid record after a start";
  if (record->lkg_slot != decision.serve || record->lkg_digest != decision.digest) {
    return "I6: the durable record does not say what was reported";
  }
  if (record->reset_pending) return "a factory reset that has begun is not finished by the start";
  if (record->floor < told.floor) return "I4: the floor went back";
  if (decision.serve != SlotId::kNone && decision.version < record->floor) {
    return "I3: the champion is below the floor";
  }
  for (const DeniedEntry& entry : record->denied) {
    if (told.good.contains(entry.digest.bytes)) return "a good model is denied: " + Hex(entry.digest);
  }
  return "";
}

std::string CheckDenied(ModelStore& store, const StartDecision& decision, const Told& told, Loss loss) {
  if (decision.trial && told.denied.contains(decision.trial_digest.bytes)) return "a denied model runs";
  if (decision.serve != SlotId::kNone && told.denied.contains(decision.digest.bytes) && loss != Loss::kBoth) {
    return "I3: a denied model is served";
  }
  if (loss == Loss::kBoth) return "";  // With both records the ring is lost.
  for (const DigestBytes& digest : told.denied) {
    if (!store.IsDenied(base::Digest{digest})) return "a reported denial is lost";
  }
  for (const DigestBytes& digest : told.allowed) {
    if (store.IsDenied(base::Digest{digest})) return "a reported override is lost";
  }
  return "";
}

std::string CheckTrial(StoreWorld& world, const StartDecision& decision, const Told& told,
                       const std::optional<BootRecord>& before, Loss loss) {
  const auto after = world.CurrentRecord();
  if (decision.trial && !BytesAre(world, decision.trial_slot, decision.trial_digest)) {
    return "I7: a trial runs on bytes that are not its package";
  }
  if (decision.trial && before && after) {
    const bool taken =
        after->trial_digest == before->trial_digest && after->tries_left + 1 == before->tries_left;
    if (!taken) return "I5: a trial runs whose try is not durable";
    if (told.trial_starts + 1 > kTriesPerTrial) return "I5: more trial starts in a row than tries";
  }
  if (decision.trial && told.ended.contains(decision.trial_digest.bytes) &&
      told.staged != decision.trial_digest) {
    return "a trial whose end was reported runs again";
  }
  const bool records_lost = loss == Loss::kBoth || loss == Loss::kCopy0 || loss == Loss::kCopy1;
  if (told.staged.IsZero() || records_lost || loss == Loss::kTrial ||
      told.ended.contains(told.staged.bytes)) {
    return "";
  }
  if (decision.trial_ended && decision.ended_digest == told.staged) {
    const bool excused = decision.trial_end_reason == schema::Reason::OutOfTries || decision.denied ||
                         decision.trial_end_reason == schema::Reason::Denied;
    return excused ? "" : "a reported stage is lost: its bytes are not there";
  }
  const bool pending = decision.trial && decision.trial_digest == told.staged;
  const bool served = decision.digest == told.staged || told.champion == told.staged;
  return pending || served || told.ladder ? "" : "a reported stage is lost";
}

/// I8: what a reported checkpoint held is still there.
std::string CheckLearned(StoreWorld& world, const StartDecision& decision, const Told& told, Loss loss) {
  if (decision.serve == SlotId::kFactory || decision.serve == SlotId::kNone) return "";
  const auto samples = told.samples.find(decision.digest.bytes);
  Slot slot;
  if (!Ok(slot.Open(&world.slot(decision.serve), false))) return "the slot cannot be opened";
  const CheckpointScan scan = slot.ScanCheckpoints(decision.digest);
  if (told.poisoned != 0 && loss != Loss::kBoth && scan.count() != 0 &&
      decision.source != ImageSource::kPackage) {
    const uint32_t area = decision.source == ImageSource::kOlderCheckpoint ? scan.Oldest() : scan.Newest();
    if (scan.info[area].samples == told.poisoned) return "a learned state that failed is served again";
  }
  if (samples == told.samples.end()) return "";
  // A reset that had begun to erase is forgotten with both records; what it left serves, without what it
  // erased.
  if (told.leaving && loss == Loss::kBoth) return "";
  const bool kept = scan.count() != 0 && decision.source == ImageSource::kNewestCheckpoint &&
                    scan.info[scan.Newest()].samples >= samples->second;
  return kept ? "" : "I8: learned state lost beyond one interval";
}

std::string CheckServed(StoreWorld& world, const StartDecision& decision, const Told& told, Loss loss) {
  const bool expected = !told.in_flight.IsZero() || told.leaving;
  if (decision.serve != SlotId::kNone) {
    if (!BytesAre(world, decision.serve, decision.digest)) return "I2: the champion's bytes are bad";
    if (decision.serve != SlotId::kFactory && !told.confirmed.contains(decision.digest.bytes) &&
        decision.digest != told.in_flight) {
      return "an unconfirmed model is served: " + Hex(decision.digest);
    }
  }
  if (loss == Loss::kChampion || told.ladder) return "";
  if (decision.digest != told.champion && !(expected && decision.digest == told.in_flight)) {
    return "I6: serves " + Hex(decision.digest) + ", reported was " + Hex(told.champion);
  }
  return CheckLearned(world, decision, told, loss);
}

std::string CheckErased(StoreWorld& world) {
  for (const SlotId id : {SlotId::kA, SlotId::kB}) {
    Slot slot;
    if (!Ok(slot.Open(&world.slot(id), false))) return "the slot cannot be opened";
    const SlotLayout& layout = slot.layout();
    const base::ByteView bytes = world.slot(id).bytes();
    const auto blank = [](base::ByteView part) {
      return std::all_of(part.begin(), part.end(), [](uint8_t byte) { return byte == 0xFF; });
    };
    if (!blank(bytes.first(layout.mark_offset)) || !blank(bytes.subspan(layout.checkpoint_offset))) {
      return "a factory reset was reported and something of the past is left";
    }
  }
  return "";
}

}  // namespace

std::string CheckState(StoreWorld& world, Session& session, const StartDecision& decision, const Told& told,
                       const std::optional<BootRecord>& before, Loss loss) {
  if (!Ok(decision.storage)) return "a start with power could not write";
  if (!before && told.recorded && loss != Loss::kBoth) return "I1: no valid record after a cut";
  std::string broken = CheckRecord(world, decision, told);
  if (broken.empty()) broken = CheckDenied(session.store(), decision, told, loss);
  if (broken.empty()) broken = CheckTrial(world, decision, told, before, loss);
  if (broken.empty()) broken = CheckServed(world, decision, told, loss);
  if (broken.empty() && told.stage_begun && told.in_flight.IsZero() &&
      session.store().UndoTarget() != SlotId::kNone) {
    broken = "there is an undo target after a stage has begun";
  }
  if (broken.empty() && told.erased) broken = CheckErased(world);
  return broken;
}

std::string CheckTrust(Session& session, Told* told) {
  if (!told->trust) return "";
  Counters& counters = session.counters();
  if (!told->offer.Settle(counters.offer(0))) return "a reported offer number is lost";
  if (!told->command.Settle(counters.command())) return "a reported command is lost";
  if (!told->transfer.Settle(counters.transfer(0))) return "a reported transfer is lost";
  if (!told->time.Settle(counters.trusted_time_s())) return "trusted time went back";
  Bytes buffer(RootStore::kMaxRootBytes);
  const auto root = session.roots().Load(buffer);
  if (!root.ok() && root.status() != Status::kNotFound) return "the trust root cannot be read";
  const Bytes found = root.ok() ? Bytes(root->begin(), root->end()) : Bytes();
  return told->root.Settle(found) ? "" : "a reported trust root is lost";
}

std::string CheckRings(Session& session, Told* told) {
  if (!told->rings) return "";
  EventLog& log = session.log();
  Bytes buffer(kEventBytes);
  for (const auto& [sequence, payload] : told->events) {
    if (sequence < log.oldest()) continue;  // Overwritten by design; what was appended later is newer.
    const auto event = log.Read(sequence, buffer);
    const bool kept = event.ok() && std::equal(payload.begin(), payload.end(), event->payload.begin(),
                                               event->payload.end());
    // The entry whose place an unsynced append was about to take may be gone.
    const bool replaced = sequence + log.capacity() <= told->newest_event;
    if (!kept && !replaced) return "a synced event is lost: " + std::to_string(sequence);
  }
  const auto breaks = log.CountBreaks();
  if (!breaks.ok()) return "the event log cannot be walked";
  // Unsynced appends may land in any order: at most one break for each of them.
  const uint64_t last = told->events.empty() ? 0 : told->events.rbegin()->first;
  const uint64_t unsynced = told->newest_event - last;
  if (*breaks > 2 * unsynced) return "the event log has " + std::to_string(*breaks) + " breaks";
  told->newest_event = std::max(log.newest(), told->newest_event);
  Backlog& backlog = session.backlog();
  Bytes payload(kMaxBacklogEntryBytes);
  uint64_t from = 0;
  for (auto entry = backlog.Peek(from, payload); entry.ok(); entry = backlog.Peek(from, payload)) {
    if (entry->sequence < from) return "the backlog gives an entry out of order";
    const auto wanted = told->backlog.find(entry->sequence);
    if (wanted != told->backlog.end() && !std::equal(wanted->second.begin(), wanted->second.end(),
                                                     entry->payload.begin(), entry->payload.end())) {
      return "the backlog gives other bytes under a sequence";
    }
    for (auto kept = told->backlog.lower_bound(from); kept != told->backlog.end(); ++kept) {
      if (kept->first >= entry->sequence) break;
      return "a synced backlog entry is lost: " + std::to_string(kept->first);
    }
    from = entry->sequence + 1;
  }
  const auto lost = told->backlog.lower_bound(from);
  if (lost != told->backlog.end()) return "a synced backlog entry is lost: " + std::to_string(lost->first);
  const uint64_t synced = told->backlog.empty() ? 0 : told->backlog.rbegin()->first;
  if (backlog.next_sequence() <= synced) return "the backlog gives a sequence again";
  return "";
}

std::string CheckPlaces(StoreWorld& world, const Told& told) {
  if (!told.second_model) return "";
  const Media before = world.Save();
  Counters counters(world.boot);
  const std::array<PlaceRequest, 2> models = {PlaceRequest{"main", &world.a, &world.b}, PlaceRequest{"next"}};
  std::array<uint32_t, 2> places{};
  const bool found = Ok(counters.Load()) && Ok(AssignPlaces(world.boot, counters, models, places));
  std::string broken;
  if (!found) {
    broken = "a model finds no place";
  } else if (places[0] != 0) {
    broken = "a model has lost its place";
  } else if (counters.offer(places[1]).number != 0) {
    broken = "a model got another one's numbers";
  } else if (told.forgotten && places[1] != 1) {
    broken = "the place of a forgotten model is not free";
  }
  CopyPair records;
  Bytes page(kRecordPageBytes);
  records.Configure(world.boot, ComputeBootLayout(StoreWorld::kBoot).value().Record(places[1]));
  if (broken.empty() && records.Load(page) != Status::kNotFound) broken = "a model got another one's record";
  world.Load(before);
  return broken;
}

std::string CheckUpdateStillWorks(StoreWorld& world) {
  // Above every epoch and version of the scenarios, so that no floor is in its way.
  const Bytes package = MakePackage(9, 99, 1200, 9);
  auto store = world.NewStore();
  if (!store->Start({}).ok() || !Ok(store->HealthyMark())) return "a later start failed";
  const Status ended = store->EndTrial(schema::Reason::Superseded);
  if (!Ok(ended) && ended != Status::kNotFound) return "a pending trial cannot be ended";
  if (!Ok(Install(*store, package))) return "a later update does not work";
  for (const uint32_t copy : {0U, 1U}) world.LoseRecordCopy(copy);
  const auto decision = world.NewStore()->Start({});
  return decision.ok() && decision->digest == DigestOf(package) ? "" : "a later update is lost";
}

}  // namespace dipper::store
