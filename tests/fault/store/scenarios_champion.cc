// The champion: checkpoints, its ladder rung by rung, bytes lost and come back.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

std::string RungIs(StoreWorld& world, Rung rung) {
  const auto record = world.CurrentRecord();
  return record && record->rung == rung ? "" : "the rung is another one";
}

void PushBytes(Scenario& scenario, const std::function<void(StoreWorld&)>& change) {
  StoreWorld world;
  world.Load(scenario.before);
  change(world);
  for (hal::PartitionSim* part : world.parts()) part->Load(Bytes(part->bytes().begin(), part->bytes().end()));
  scenario.before = world.Save();
}

/// Each after a healthy period, the last one refused without one.
Scenario Checkpoints() {
  Scenario scenario = Prepared("checkpoints", {Pack().p1});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run))) return;
    for (const uint64_t samples : {300U, 400U, 500U}) {
      if (!Ok(Checkpoint(run, SlotId::kA, Pack().p1, samples))) return;
    }
    if (run.store.WriteCheckpoint(SlotId::kA, 600, MakeImage(600)) == Status::kFailedPrecondition) {
      run.told.note = "refused";
    }
    static_cast<void>(run.store.PlannedStop());
  };
  scenario.reached = [](StoreWorld&, const Told& told) {
    if (told.note != "refused") return "a checkpoint without a healthy period since the newest was taken";
    return told.samples.at(Key(Pack().p1)) == 500 ? "" : "the last checkpoint was not written";
  };
  return scenario;
}

/// Starts are counted before they run; a planned stop takes its count back, a healthy mark clears all.
void AddCounts(std::vector<Scenario>* scenarios) {
  Scenario scenario = Prepared("start_is_counted", {Pack().p1});
  const auto counted = [](uint8_t wanted) {
    return [wanted](StoreWorld& world, const Told&) {
      const auto record = world.CurrentRecord();
      return std::string(record && record->unexplained_starts == wanted ? ""
                                                                        : "the count of starts is wrong");
    };
  };
  RunBefore(scenario, {}, [](Run&) {});
  const uint8_t now = 2;  // RunBefore's start and this one.
  scenario.reached = counted(now);
  scenarios->push_back(scenario);
  scenario.name = "planned_stop_takes_its_count_back";
  scenario.run = [](Run& run) { static_cast<void>(run.store.PlannedStop()); };
  scenario.reached = counted(now - 1);
  scenarios->push_back(scenario);
  scenario.name = "healthy_mark_clears_counts";
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = counted(0);
  scenarios->push_back(scenario);
}

/// Two packages confirmed, the second with two checkpoints.
Scenario Learned(const char* name) {
  Scenario scenario = Prepared(name, {Pack().p1, Pack().p2});
  RunBefore(scenario, {}, [](Run& run) {
    DIPPER_CHECK(Ok(Healthy(run)) && Ok(Checkpoint(run, SlotId::kB, Pack().p2, 200)));
  });
  scenario.told.ladder = true;
  scenario.told.good.clear();
  return scenario;
}

/// Three crashes a rung: newest, older, package, other slot, factory, none.
void AddLadder(std::vector<Scenario>* scenarios) {
  Scenario scenario = Learned("ladder");
  constexpr std::array kRungs = {Rung::kOlderCheckpoint, Rung::kPackageImage, Rung::kOtherSlot,
                                 Rung::kFactory, Rung::kNone};
  constexpr std::array kNames = {"older", "package", "other_slot", "factory", "none"};
  for (size_t i = 0; i < kRungs.size(); ++i) {
    for (int crash = 1; crash <= kMaxOwnFailures; ++crash) {
      scenario.last = {true, scenario.told.champion, schema::Reason::Crash};
      scenario.name = std::string("ladder.") + kNames[i] + "." + std::to_string(crash);
      const bool steps = crash == kMaxOwnFailures;
      const Rung rung = steps ? kRungs[i] : i == 0 ? Rung::kNewestCheckpoint : kRungs[i - 1];
      const bool denies = kRungs[i] >= Rung::kOtherSlot && steps;
      const size_t denied = scenario.told.denied.size() + (denies ? 1 : 0);
      scenario.reached = [rung, denied](StoreWorld& world, const Told& told) {
        if (told.denied.size() != denied) return std::string("leaving a slot does not deny its model");
        return RungIs(world, rung);
      };
      scenarios->push_back(scenario);
      RunBefore(scenario, scenario.last, [](Run&) {});
    }
  }
}

/// The champion fails while it runs, nine times in one run.
Scenario LadderInOneRun() {
  Scenario scenario = Prepared("ladder_in_one_run", {Pack().p1, Pack().p2});
  scenario.told.ladder = true;
  scenario.told.good = {Key(Pack().factory)};
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run))) return;
    for (int failure = 0; failure < 9; ++failure) {
      const auto decision = run.store.ChampionFailed(schema::Reason::NotFinite);
      if (!decision.ok() || !Ok(decision->storage) || !run.world.power.on) return;
      for (const Bytes* package : {&Pack().p1, &Pack().p2}) {
        if (run.store.IsDenied(DigestOf(*package))) run.told.denied.insert(Key(*package));
      }
      run.told.champion = decision->digest;
    }
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.denied.size() == 2 ? ServedIs(world, Pack().factory) : "the ladder was not gone down";
  };
  return scenario;
}

/// Twelve starts that nobody explains: a rung down, and nobody is denied.
Scenario Unexplained() {
  Scenario scenario = Learned("ladder_unexplained_starts");
  scenario.told.good = {Key(Pack().p1), Key(Pack().p2), Key(Pack().factory)};
  for (int start = 0; start < kMaxUnexplainedStarts; ++start) RunBefore(scenario, {}, [](Run&) {});
  scenario.reached = [](StoreWorld& world, const Told&) { return RungIs(world, Rung::kOlderCheckpoint); };
  return scenario;
}

/// Down from a model that raised the floor: neither the older one nor the factory's may serve.
Scenario LadderAboveTheFloor() {
  Scenario scenario = Prepared("ladder_never_below_the_floor", {Pack().p1, Pack().p3});
  scenario.told.ladder = true;
  scenario.told.good.clear();
  for (int crash = 0; crash < 5; ++crash) RunBefore(scenario, Crashed(Pack().p3), [](Run&) {});
  scenario.last = Crashed(Pack().p3);
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = [](StoreWorld& world, const Told&) { return RungIs(world, Rung::kNone); };
  return scenario;
}

/// Down from p2 when p1 is denied: to the factory's.
Scenario LadderPastADeniedOne() {
  Scenario scenario = Prepared("ladder_past_a_denied_model", {Pack().p1, Pack().p2});
  scenario.told.ladder = true;
  scenario.told.good.clear();
  RunBefore(scenario, {}, [](Run& run) {
    DIPPER_CHECK(Ok(run.store.Deny(DigestOf(Pack().p1), schema::Reason::SelfTest)));
    run.told.denied.insert(Key(Pack().p1));
  });
  for (int crash = 0; crash < 5; ++crash) RunBefore(scenario, Crashed(Pack().p2), [](Run&) {});
  scenario.last = Crashed(Pack().p2);
  scenario.reached = [](StoreWorld& world, const Told&) { return ServedIs(world, Pack().factory); };
  return scenario;
}

/// The newest checkpoint failed; from the older one a new one replaces it, and the rung is 0 again.
Scenario CheckpointOnALowerRung() {
  Scenario scenario = Learned("checkpoint_on_a_lower_rung");
  for (int crash = 0; crash < kMaxOwnFailures; ++crash) RunBefore(scenario, Crashed(Pack().p2), [](Run&) {});
  scenario.told.ladder = false;
  scenario.told.samples.clear();
  scenario.told.poisoned = 200;
  scenario.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(Checkpoint(run, SlotId::kB, Pack().p2, 300));
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.samples.empty() ? "nothing was written" : RungIs(world, Rung::kNewestCheckpoint);
  };
  return scenario;
}

/// A healthy mark on a lower rung must not bring the failed state back.
Scenario HealthOnALowerRung() {
  Scenario scenario = Learned("health_on_a_lower_rung");
  for (int crash = 0; crash < kMaxOwnFailures; ++crash) RunBefore(scenario, Crashed(Pack().p2), [](Run&) {});
  scenario.told.ladder = false;
  scenario.told.samples.clear();
  scenario.told.poisoned = 200;
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = [](StoreWorld& world, const Told&) { return RungIs(world, Rung::kOlderCheckpoint); };
  return scenario;
}

/// The champion has failed twice when the challenger is confirmed: the new one starts with clear counts.
Scenario ConfirmAfterFailures() {
  Scenario scenario = Prepared("confirm_after_failures", {Pack().p1});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, Pack().p2)) || !Ok(BeginTrial(run))) return;
    for (int failure = 0; failure < 2; ++failure) {
      if (!run.store.ChampionFailed(schema::Reason::OverBudget).ok()) return;
    }
    static_cast<void>(Confirm(run, Pack().p2));
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->own_failures == 0 ? ServedIs(world, Pack().p2) : "it inherits failures";
  };
  return scenario;
}

/// In safe mode a stage takes the slot whose mark is older.
Scenario StageInSafeMode() {
  Scenario scenario = Learned("stage_in_safe_mode");
  while (!scenario.told.champion.IsZero()) {
    RunBefore(scenario, {true, scenario.told.champion, schema::Reason::Crash}, [](Run&) {});
  }
  scenario.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(StageNext(run, Pack().p3));
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    // The ladder ended in A, whose mark is therefore the newer one.
    return record && record->trial_slot == SlotId::kB ? "" : "the slot with the newer mark was taken";
  };
  return scenario;
}

Scenario DeniedOtherSlot() {
  Scenario scenario = Prepared("denied_other_slot", {Pack().p1, Pack().p2});
  scenario.told.good.erase(Key(Pack().p1));
  scenario.run = [](Run& run) {
    if (!Ok(run.store.Deny(DigestOf(Pack().p1), schema::Reason::SelfTest))) return;
    run.told.denied.insert(Key(Pack().p1));
    static_cast<void>(Healthy(run));
  };
  scenario.reached = [](StoreWorld& world, const Told&) { return ServedIs(world, Pack().p2); };
  return scenario;
}

/// The champion's bytes are lost at rest: the former one serves, and is what counts from now on.
Scenario ChampionBytesLost() {
  Scenario scenario = Prepared("champion_bytes_lost", {Pack().p1, Pack().p2});
  PushBytes(scenario, [](StoreWorld& world) { world.LosePackage(SlotId::kB); });
  scenario.told.champion = DigestOf(Pack().p1);
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = [](StoreWorld& world, const Told&) { return ServedIs(world, Pack().p1); };
  return scenario;
}

/// They are unreadable for one start only. What was reported then holds.
Scenario ChampionBytesComeBack() {
  Scenario scenario = Prepared("champion_bytes_come_back", {Pack().p1, Pack().p2});
  scenario.run = [](Run& run) {
    if (!Ok(run.store.PlannedStop())) return;
    run.told.ladder = true;
    run.world.LosePackage(SlotId::kB);
    Session next(run.world, run.told);
    const auto decision = next.Start({});
    if (!run.world.power.on || !decision.ok() || !Ok(decision->storage)) return;
    TakeReport(*decision, next.store().record(), &run.told);
    run.world.LosePackage(SlotId::kB);  // The same bits once more.
    run.told.ladder = false;
  };
  scenario.reached = [](StoreWorld& world, const Told&) { return ServedIs(world, Pack().p1); };
  return scenario;
}

/// @param champion  In which slot it is: 1 B, 2 A.
Scenario FactoryReset(const char* name, size_t packages, bool has_factory) {
  std::vector<Bytes> confirmed = {Pack().p1, Pack().p2, MakePackage(1, 6)};
  confirmed.resize(packages);
  Scenario scenario = Prepared(name, confirmed, has_factory);
  const Bytes denied = MakePackage(1, 7);
  RunBefore(scenario, {}, [&](Run& run) {
    DIPPER_CHECK(Ok(run.store.Deny(DigestOf(denied), schema::Reason::SelfTest)) && Ok(Healthy(run)));
    run.told.denied.insert(Key(denied));
    DIPPER_CHECK(Ok(StageNext(run, Pack().p3)));  // A trial is pending: it goes too.
  });
  const base::Digest to = has_factory ? DigestOf(Pack().factory) : base::Digest{};
  scenario.run = [to](Run& run) {
    run.told.in_flight = to;
    run.told.leaving = true;
    run.told.staged = {};
    run.told.stage_begun = false;
    StartDecision decision;
    const auto refusal = run.store.FactoryReset(&decision);
    if (!refusal.ok() || *refusal != schema::Reason::None) return;
    run.told.champion = decision.digest;
    run.told.leaving = false;
    run.told.in_flight = {};
    run.told.samples.clear();
    run.told.erased = true;
  };
  scenario.reached = [to](StoreWorld& world, const Told& told) {
    const auto record = world.CurrentRecord();
    if (!told.erased) return "the reset was refused";
    return record && record->lkg_digest == to && !record->HasTrial() ? "" : "another model is champion";
  };
  return scenario;
}

/// The factory model is below the floor: refused, and nothing has changed.
Scenario FactoryResetRefused() {
  Scenario scenario = Prepared("factory_reset_refused", {Pack().p1, Pack().p3});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run))) return;
    StartDecision decision;
    const auto refusal = run.store.FactoryReset(&decision);
    if (refusal.ok() && *refusal == schema::Reason::RefusedFloor) run.told.note = "refused";
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.note == "refused" ? ServedIs(world, Pack().p3) : "a reset below the floor was not refused";
  };
  return scenario;
}

}  // namespace

void AddChampionScenarios(std::vector<Scenario>* scenarios) {
  scenarios->push_back(Checkpoints());
  AddCounts(scenarios);
  AddLadder(scenarios);
  scenarios->push_back(LadderInOneRun());
  scenarios->push_back(Unexplained());
  scenarios->push_back(LadderAboveTheFloor());
  scenarios->push_back(LadderPastADeniedOne());
  scenarios->push_back(CheckpointOnALowerRung());
  scenarios->push_back(HealthOnALowerRung());
  scenarios->push_back(ConfirmAfterFailures());
  scenarios->push_back(StageInSafeMode());
  scenarios->push_back(DeniedOtherSlot());
  scenarios->push_back(ChampionBytesLost());
  scenarios->push_back(ChampionBytesComeBack());
  scenarios->push_back(FactoryReset("factory_reset", 2, true));
  scenarios->push_back(FactoryReset("factory_reset_from_a", 3, true));
  scenarios->push_back(FactoryReset("factory_reset_without_factory", 2, false));
  scenarios->push_back(FactoryResetRefused());
}

}  // namespace dipper::store
