// Cuts, outcomes and starts.
#include "tests/fault/store/crash_harness.h"

#include <algorithm>
#include <cstdio>

namespace dipper::store {

using base::Ok;

void CrashHarness::Violate(const std::string& what) {
  if (!violation_.empty()) return;
  violation_ = what;
  violation_id_ = scenario_->name + ":" + path_.Text();
}

void CrashHarness::Say(const std::string& what) const {
  if (verbose_) std::printf("  %s\n", what.c_str());
}

void CrashHarness::Run(const Scenario& scenario) {
  scenario_ = &scenario;
  world_.has_factory = scenario.has_factory;
  path_ = {};
  CleanRun(scenario);
  for (uint64_t k = 0; k < operations_ && violation_.empty() && states_ < limits_.max_states; ++k) {
    CutAt(scenario, k);
  }
}

/// A start that may be cut. The end of a trial without tries may have landed without a report.
base::Result<StartDecision> CrashHarness::StartOf(Session* session, const LastRun& last, Told* told) {
  const auto before = world_.CurrentRecord();
  const bool last_try = before && before->HasTrial() && before->tries_left == 0;
  auto decision = session->Start(last);
  if (!world_.power.on && last_try) told->staged = {};
  return decision;
}

/// The run that is cut: what it has reported before the cut is in `told`. False: violated.
bool CrashHarness::FirstRun(const Scenario& scenario, uint64_t cut, Told* told) {
  world_.Load(scenario.before);
  world_.power.cut_at = cut;
  Session session(world_, *told);
  const base::Digest champion = told->champion;
  const auto decision = StartOf(&session, scenario.last, told);
  if (decision.ok() && world_.power.on) {
    if (!Ok(decision->storage)) {
      Violate("a start with power could not write");
      return false;
    }
    if (decision->stepped_down && decision->denied) told->denied.insert(champion.bytes);
    TakeReport(*decision, session.store().record(), told);
    struct Run run = session.MakeRun(*told);
    scenario.run(run);
  }
  return true;
}

void CrashHarness::CleanRun(const Scenario& scenario) {
  Told told = scenario.told;
  if (!FirstRun(scenario, hal::SimPower::kNever, &told)) return;
  operations_ = world_.power.operations;
  const std::string missing = scenario.reached(world_, told);
  if (!missing.empty()) return Violate("it did not happen: " + missing);
  world_.Restart(0);
  path_.outcome = {true, 0};
  Explore(world_.Save(), told);
}

void CrashHarness::CutAt(const Scenario& scenario, uint64_t operation) {
  path_ = {};
  path_.cut = operation;
  Told told = scenario.told;
  if (!FirstRun(scenario, operation, &told)) return;
  if (world_.power.on) return Violate("the run ended before the cut: it is not deterministic");
  const uint64_t enumerated = std::max(limits_.enumerated_touches, scenario.enumerated_touches);
  ForEachOutcome(enumerated, limits_.samples, [&](const Outcome& outcome) {
    path_.outcome = outcome;
    Explore(world_.Save(), told);
  });
}

void CrashHarness::Apply(const Outcome& outcome) {
  world_.Load(outcome.seeded ? world_.Outcome(outcome.value) : world_.OutcomeWith(outcome.value));
}

/// Calls `then` on each media content that the pending touches can leave: all combinations up to `touches` of
/// them; beyond, none, all, and `samples` seeded ones.
void CrashHarness::ForEachOutcome(uint64_t touches, uint64_t samples,
                                  const std::function<void(const Outcome&)>& then) {
  const uint64_t pending = world_.pending_touches();
  std::vector<std::pair<Outcome, Media>> outcomes;
  if (pending <= touches) {
    for (uint64_t landed = 0; landed < uint64_t{1} << pending; ++landed) {
      outcomes.emplace_back(Outcome{false, landed}, world_.OutcomeWith(landed));
    }
  } else {
    for (const uint64_t seed : {uint64_t{0}, uint64_t{1}}) {
      outcomes.emplace_back(Outcome{true, seed}, world_.Outcome(seed));
    }
  }
  // Torn inside a sector and garbage come from seeds only.
  for (uint64_t i = 0; i < samples && pending > 0; ++i) {
    outcomes.emplace_back(Outcome{true, i + 2}, world_.Outcome(i + 2));
  }
  for (const auto& [outcome, media] : outcomes) {
    world_.Load(media);
    then(outcome);
    if (!violation_.empty()) return;
  }
}

/// The same content with the same promises is tried once only.
bool CrashHarness::IsNew(const Told& told, uint64_t salt) {
  const uint64_t hash = world_.Save().Hash() * 0x9E3779B97F4A7C15 + told.Fingerprint() + salt;
  if (!seen_.insert(hash).second) return false;
  ++states_;
  return true;
}

void CrashHarness::Explore(const Media& media, const Told& told) {
  constexpr std::array kLosses = {Loss::kNone,     Loss::kCopy0, Loss::kCopy1, Loss::kBoth,
                                  Loss::kChampion, Loss::kTrial, Loss::kRoot0, Loss::kRoot1};
  const StatePath entry = path_;
  const uint64_t before = states_;
  for (const Loss first : kLosses) {
    if (first != Loss::kNone && first != Loss::kBoth && states_ == before) break;  // nothing new here
    world_.Load(media);
    Told after_first = told;
    path_ = entry;
    path_.first = first;
    if (!Lose(first) || !IsNew(told, static_cast<uint64_t>(first))) continue;
    if (!StartAndCheck(&after_first, first)) return;
    if (first != Loss::kNone && first != Loss::kBoth) continue;
    const Media started = world_.Save();
    path_.starts = 2;
    for (const Loss second : kLosses) {
      if (first == Loss::kBoth && second != Loss::kBoth) continue;
      world_.Load(started);
      Told after_second = after_first;
      path_.second = second;
      if (!Lose(second) || !IsNew(after_first, static_cast<uint64_t>(second))) continue;
      if (!StartAndCheck(&after_second, second)) return;
    }
  }
  path_ = entry;
  if (states_ == before) return;
  if (states_ % limits_.update_every == 0) TryUpdate(media, told, Loss::kNone);
  if (violation_.empty() && path_.recovery_cut == StatePath::kNotCut) CutRecovery(media, told);
}

void CrashHarness::TryUpdate(const Media& media, const Told& told, Loss first) {
  static_cast<void>(told);
  path_.first = first;
  path_.starts = 3;
  world_.Load(media);
  const std::string broken = CheckUpdateStillWorks(world_);
  if (!broken.empty()) Violate(broken);
  path_.starts = 1;
}

/// A start and its healthy mark, cut at operation `cut`; what was reported until then is in `told`.
bool CrashHarness::Recover(Told* told, uint64_t cut) {
  world_.power.cut_at = cut;
  Session session(world_, *told);
  const auto decision = StartOf(&session, {}, told);
  if (!decision.ok() || !world_.power.on) return decision.ok();
  TakeReport(*decision, session.store().record(), told);
  told->trial_starts = 0;
  static_cast<void>(session.store().HealthyMark());
  return true;
}

/// Cuts the recovery at each of its operations, with every outcome, then starts once more.
void CrashHarness::CutRecovery(const Media& media, const Told& told) {
  world_.Load(media);
  Told unused = told;
  Recover(&unused, hal::SimPower::kNever);
  const uint64_t operations = world_.power.operations;
  const StatePath entry = path_;
  for (uint64_t j = 0; j < operations && violation_.empty(); ++j) {
    world_.Load(media);
    Told after = told;
    Recover(&after, j);
    path_ = entry;
    path_.recovery_cut = j;
    ForEachOutcome(limits_.recovery_touches, limits_.recovery_samples, [&](const Outcome& outcome) {
      path_.recovery_outcome = outcome;
      Told again = after;
      if (IsNew(again, 7)) StartAndCheck(&again, Loss::kNone);
    });
  }
  path_ = entry;
}

/// False: there is nothing to lose.
bool CrashHarness::Lose(Loss loss) {
  const auto record = world_.CurrentRecord();
  const auto in_slot = [](SlotId id) { return id == SlotId::kA || id == SlotId::kB; };
  switch (loss) {
    case Loss::kNone:
      return true;
    case Loss::kCopy0:
    case Loss::kCopy1: {
      const uint32_t copy = loss == Loss::kCopy0 ? 0 : 1;
      if (!world_.RecordCopy(copy)) return false;
      world_.LoseRecordCopy(copy);
      return true;
    }
    case Loss::kBoth:
      for (const uint32_t copy : {0U, 1U}) world_.LoseRecordCopy(copy);
      return record.has_value();
    case Loss::kChampion:
      if (record && in_slot(record->lkg_slot)) world_.LosePackage(record->lkg_slot);
      return record && in_slot(record->lkg_slot);
    case Loss::kTrial:
      if (record && in_slot(record->trial_slot)) world_.LosePackage(record->trial_slot);
      return record && in_slot(record->trial_slot);
    case Loss::kRoot0:
    case Loss::kRoot1:
      return LoseRoot(loss == Loss::kRoot0 ? 0 : 1);
  }
  return false;
}

bool CrashHarness::RootValid(uint32_t copy) {
  const CopyPairLayout roots = ComputeBootLayout(StoreWorld::kBoot).value().roots;
  const auto page = world_.boot.bytes().subspan(roots.offset + copy * roots.stride, roots.page_bytes);
  return Unseal(page, roots.magic, roots.layout).ok();
}

bool CrashHarness::LoseRoot(uint32_t copy) {
  if (!scenario_->told.trust || !RootValid(copy)) return false;
  const CopyPairLayout roots = ComputeBootLayout(StoreWorld::kBoot).value().roots;
  world_.boot.FlipBits(roots.offset + copy * roots.stride + 100, 0x04);
  return true;
}

/// One start; then what it reported binds the next one.
bool CrashHarness::StartAndCheck(Told* told, Loss loss) {
  ++starts_;
  for (uint32_t copy = 0; copy < 2; ++copy) {
    if (const auto record = world_.RecordCopy(copy)) told->floor = std::max(told->floor, record->floor);
  }
  const auto before = world_.CurrentRecord();
  // A copy lost at rest while the other one is torn by the cut: both are lost.
  const bool copy_lost = loss == Loss::kCopy0 || loss == Loss::kCopy1;
  if (!before && copy_lost) loss = Loss::kBoth;
  // With the newest record a taken try is lost too: one more start.
  if (copy_lost && told->trial_starts > 0) --told->trial_starts;
  // The same for the trust root: without a copy the one from the config counts.
  if ((loss == Loss::kRoot0 || loss == Loss::kRoot1) && !HasRoot()) told->root = {};
  Session session(world_, *told);
  const auto decision = session.Start({});
  if (!decision.ok()) {
    Violate("start refused: " + std::string(base::StatusName(decision.status())));
    return false;
  }
  Say("start: serves slot " + std::to_string(static_cast<int>(decision->serve)) + " package " +
      std::string(base::ToHex(decision->digest).brief()) + (decision->trial ? ", trial runs" : "") +
      (decision->recovered ? ", recovered" : ""));
  // What a process that dies right after its start leaves: everything that was not synced is lost.
  world_.Restart(0);
  std::string broken = CheckState(world_, session, *decision, *told, before, loss);
  if (broken.empty()) broken = CheckTrust(session, told);
  if (broken.empty()) broken = CheckRings(session, told);
  if (broken.empty()) broken = CheckPlaces(world_, *told);
  if (!broken.empty()) {
    Violate(broken);
    return false;
  }
  if (loss == Loss::kBoth) told->denied.clear();
  if (loss == Loss::kBoth) told->allowed.clear();
  if (loss == Loss::kBoth) told->poisoned = 0;
  // With the champion's bytes lost, the other slot serves with whatever a stage had left of its learning.
  if (loss == Loss::kChampion) told->samples.clear();
  if (loss == Loss::kTrial) told->staged = {};
  TakeReport(*decision, session.store().record(), told);
  return true;
}

}  // namespace dipper::store
