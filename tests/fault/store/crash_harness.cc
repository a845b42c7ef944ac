// Cuts, outcomes, starts and the invariants.
#include "tests/fault/store/crash_harness.h"

#include <algorithm>

namespace dipper::store {
namespace {

using base::Status;

uint64_t HashOf(const Media& media) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const Bytes& part : media.bytes) {
    for (size_t i = 0; i + 8 <= part.size(); i += 8) {
      hash = (hash ^ base::Load<uint64_t>(part.data() + i)) * 0x100000001B3;
      hash ^= hash >> 29;
    }
  }
  return hash;
}

std::string Hex(const base::Digest& digest) { return std::string(base::ToHex(digest).brief()); }

}  // namespace

void CrashHarness::Violate(const std::string& what) {
  if (violation_.empty()) violation_ = where_ + ": " + what;
}

void CrashHarness::Run(const Scenario& scenario) {
  where_ = scenario.name + ", clean run";
  CleanRun(scenario);
  const uint64_t operations = operations_;
  for (uint64_t k = 0; k < operations && violation_.empty(); ++k) CutAt(scenario, k);
}

/// The run that is cut: what it has reported before the cut is in `told`.
void CrashHarness::FirstStart(const Scenario& scenario, Told* told) {
  auto store = world_.NewStore();
  const base::Digest champion = told->champion;
  const auto decision = store->Start(scenario.last);
  if (!decision.ok() || !world_.power.on) return;
  if (!base::Ok(decision->storage)) return Violate("a start with power could not write");
  if (decision->trial_ended && decision->denied) told->denied.insert(decision->ended_digest.bytes);
  if (decision->stepped_down && decision->denied) told->denied.insert(champion.bytes);
  told->champion = decision->digest;
  told->recorded = true;
  scenario.run(world_, *store, *told);
}

void CrashHarness::CleanRun(const Scenario& scenario) {
  world_.Load(scenario.before);
  Told told = scenario.told;
  FirstStart(scenario, &told);
  operations_ = world_.power.operations;
  const std::string missing = scenario.reached(world_, told);
  if (!missing.empty()) return Violate("it did not happen: " + missing);
  world_.Restart(0);
  Explore(world_.Save(), told);
}

void CrashHarness::CutAt(const Scenario& scenario, uint64_t operation) {
  where_ = scenario.name + ", cut at operation " + std::to_string(operation);
  world_.Load(scenario.before);
  world_.power.cut_at = operation;
  Told told = scenario.told;
  FirstStart(scenario, &told);
  if (world_.power.on) return Violate("the run ended before the cut: it is not deterministic");
  ForEachOutcome(limits_.samples, [&] { Explore(world_.Save(), told); });
}

/// Calls `then` on each media content that the pending touches can leave.
void CrashHarness::ForEachOutcome(uint64_t samples, const std::function<void()>& then) {
  std::vector<Media> outcomes;
  const uint64_t touches = world_.pending_touches();
  if (touches <= limits_.enumerated_touches) {
    for (uint64_t landed = 0; landed < uint64_t{1} << touches; ++landed)
      outcomes.push_back(world_.OutcomeWith(landed));
  }
  for (uint64_t i = 0; i < samples && touches > 0; ++i) {
    outcomes.push_back(world_.Outcome(i < 2 ? i : limits_.seed * 1000003 + i * 97 + 2));
  }
  for (const Media& media : outcomes) {
    world_.Load(media);
    then();
    if (!violation_.empty()) return;
  }
}

void CrashHarness::Explore(const Media& media, const Told& told) {
  if (!seen_.insert(HashOf(media) ^ (told.in_flight.IsZero() ? 0 : 0x5DEECE66D)).second) return;
  ++states_;
  for (const Loss loss : {Loss::kNone, Loss::kCopy0, Loss::kCopy1, Loss::kBoth, Loss::kChampionBytes}) {
    if (!StartAndCheck(media, told, loss, Loss::kNone)) return;
    if (loss != Loss::kNone && !StartAndCheck(media, told, Loss::kNone, loss)) return;
  }
  if (!StartAndCheck(media, told, Loss::kBoth, Loss::kBoth)) return;
  if (!StartAndCheck(media, told, Loss::kNone, Loss::kNone)) return;
  if (states_ % 4 == 0) {
    const std::string broken = CheckUpdateStillWorks();
    if (!broken.empty()) return Violate(broken);
  }
  CutRecovery(media, told);
}

/// Cuts the recovery at each of its operations, then starts once more.
void CrashHarness::CutRecovery(const Media& media, const Told& told) {
  world_.Load(media);
  static_cast<void>(world_.NewStore()->Start({}));
  const uint64_t operations = world_.power.operations;
  const std::string where = where_;
  for (uint64_t j = 0; j < operations && violation_.empty(); j += limits_.second_cut_stride) {
    where_ = where + ", recovery cut at " + std::to_string(j);
    world_.Load(media);
    world_.power.cut_at = j;
    static_cast<void>(world_.NewStore()->Start({}));
    ForEachOutcome(limits_.second_cut_samples, [&] {
      const Media after = world_.Save();
      if (!seen_.insert(HashOf(after) ^ 0xA5A5A5A5).second) return;
      ++states_;
      StartAndCheck(after, told, Loss::kNone, Loss::kNone);
    });
  }
  where_ = where;
}

void CrashHarness::Lose(Loss loss) {
  if (loss == Loss::kCopy0 || loss == Loss::kBoth) world_.LoseRecordCopy(0);
  if (loss == Loss::kCopy1 || loss == Loss::kBoth) world_.LoseRecordCopy(1);
  const auto record = world_.CurrentRecord();
  const bool in_slot = record && (record->lkg_slot == SlotId::kA || record->lkg_slot == SlotId::kB);
  if (loss == Loss::kChampionBytes && in_slot) world_.LosePackage(record->lkg_slot);
}

bool CrashHarness::StartAndCheck(const Media& media, Told told, Loss first, Loss second) {
  world_.Load(media);
  Lose(first);
  if (!CheckedStart(&told, first)) return false;
  Lose(second);
  return CheckedStart(&told, second);
}

/// One start; then what it reported binds the next one.
bool CrashHarness::CheckedStart(Told* told, Loss loss) {
  ++starts_;
  for (uint32_t copy = 0; copy < 2; ++copy) {
    if (const auto record = world_.RecordCopy(copy)) told->floor = std::max(told->floor, record->floor);
  }
  const auto before = world_.CurrentRecord();
  if (!before && told->recorded && loss == Loss::kNone) {
    Violate("I1: no valid record after a cut");
    return false;
  }
  // A copy lost at rest while the other one is torn by the cut: both are lost.
  if (!before) loss = Loss::kBoth;
  auto store = world_.NewStore();
  const auto decision = store->Start({});
  if (!decision.ok()) {
    Violate("start refused: " + std::string(base::StatusName(decision.status())));
    return false;
  }
  // What a process that dies right after its start leaves: everything that was not synced may be lost.
  world_.Restart(0);
  std::string broken = Check(*store, *decision, *told, loss);
  if (broken.empty()) broken = CheckTry(before, *decision);
  if (!broken.empty()) {
    Violate(broken + " (loss " + std::to_string(static_cast<int>(loss)) + ")");
    return false;
  }
  told->champion = decision->digest;
  told->in_flight = {};
  told->confirmed.insert(decision->digest.bytes);
  told->recorded = true;
  if (loss == Loss::kBoth) told->denied.clear();
  // With the champion's bytes lost, the other slot serves with whatever a stage had left of its learning.
  if (loss == Loss::kChampionBytes) told->samples.clear();
  return true;
}

std::string CrashHarness::Check(ModelStore& store, const StartDecision& decision, const Told& told,
                                Loss loss) {
  if (!base::Ok(decision.storage)) return "a start with power could not write";
  const auto record = world_.CurrentRecord();
  if (!record) return "I1: no valid record after a start";
  if (record->lkg_slot != decision.serve || record->lkg_digest != decision.digest) {
    return "I6: the durable record does not say what was reported";
  }
  if (record->floor < told.floor) return "I4: the floor went back";
  if (decision.serve != SlotId::kNone && decision.version < record->floor)
    return "I3: the champion is below the floor";
  for (const DeniedEntry& entry : record->denied) {
    if (told.good.contains(entry.digest.bytes)) return "a good model is denied: " + Hex(entry.digest);
  }
  if (loss != Loss::kBoth) {
    for (const auto& digest : told.denied) {
      if (!store.IsDenied(base::Digest{digest})) return "a reported denial is lost";
    }
  }
  if (decision.trial && told.denied.contains(decision.trial_digest.bytes)) return "a denied model runs";
  return CheckServed(decision, told, loss);
}

std::string CrashHarness::CheckServed(const StartDecision& decision, const Told& told, Loss loss) {
  if (decision.serve != SlotId::kNone) {
    hal::PartitionSim& part = world_.slot(decision.serve);
    const uint64_t offset = StoreWorld::kSlot.erase_unit_bytes;
    const auto header = DecodeSlotHeader(part.bytes().first(kSlotHeaderBytes));
    if (!header.ok()) return "I2: the champion's header is bad";
    const auto facts = world_.verifier.Verify(part, offset, header->package_bytes);
    if (!facts.ok() || facts->digest != decision.digest) return "I2: the champion's bytes are bad";
    if (decision.serve != SlotId::kFactory && !told.confirmed.contains(decision.digest.bytes) &&
        decision.digest != told.in_flight) {
      return "an unconfirmed model is served: " + Hex(decision.digest);
    }
    if (told.denied.contains(decision.digest.bytes) && loss != Loss::kBoth)
      return "I3: a denied model is served";
  }
  if (loss == Loss::kChampionBytes || told.ladder) return "";
  if (decision.digest != told.champion && (told.in_flight.IsZero() || decision.digest != told.in_flight)) {
    return "I6: serves " + Hex(decision.digest) + ", reported was " + Hex(told.champion);
  }
  const auto samples = told.samples.find(decision.digest.bytes);
  if (samples == told.samples.end()) return "";
  Slot slot;
  if (!base::Ok(slot.Open(&world_.slot(decision.serve), false))) return "the slot cannot be opened";
  const CheckpointScan scan = slot.ScanCheckpoints(decision.digest);
  if (scan.count() == 0 || decision.source != ImageSource::kNewestCheckpoint ||
      scan.info[scan.Newest()].samples < samples->second) {
    return "I8: learned state lost beyond one interval";
  }
  return "";
}

std::string CrashHarness::CheckTry(const std::optional<BootRecord>& before, const StartDecision& decision) {
  const auto after = world_.CurrentRecord();
  if (!decision.trial || !before || !after) return "";
  const bool taken =
      after->trial_digest == before->trial_digest && after->tries_left + 1 == before->tries_left;
  return taken ? "" : "I5: a trial runs whose try is not durable";
}

/// After whatever happened: the device takes a new package, and keeps it through a loss of both records.
std::string CrashHarness::CheckUpdateStillWorks() {
  const Bytes package = MakePackage(9, 99);
  auto store = world_.NewStore();
  if (!store->Start({}).ok() || !base::Ok(store->HealthyMark())) return "a later start failed";
  const Status ended = store->EndTrial(schema::Reason::Superseded);
  if (!base::Ok(ended) && ended != Status::kNotFound) return "a pending trial cannot be ended";
  if (!base::Ok(Install(*store, package))) return "a later update does not work";
  Lose(Loss::kBoth);
  const auto decision = world_.NewStore()->Start({});
  return decision.ok() && decision->digest == DigestOf(package) ? "" : "a later update is lost";
}

}  // namespace dipper::store
