// The scenarios that the crash harness cuts.
#include "tests/fault/store/crash_harness.h"

namespace dipper::store {
namespace {

using base::Ok;

/// Packages: two of one security version, one that raises the floor, and the factory's.
struct Packages {
  Bytes p1 = MakePackage(1, 1);
  Bytes p2 = MakePackage(1, 2);
  Bytes p3 = MakePackage(2, 3);
  Bytes factory = MakePackage(1, 4);
};
const Packages& Pack() {
  static const Packages packages;
  return packages;
}

void Checkpoint(ModelStore& store, SlotId slot, const Bytes& package, uint64_t samples, Told& told) {
  const Bytes gate(100, 7);
  store.HealthyPeriod();
  if (Ok(store.WriteCheckpoint(slot, samples, MakeImage(samples), gate)))
    told.samples[DigestOf(package).bytes] = samples;
}

void Confirm(ModelStore& store, const Bytes& package, Told& told) {
  told.in_flight = DigestOf(package);
  if (!Ok(store.Confirm())) return;
  told.champion = told.in_flight;
  told.confirmed.insert(told.champion.bytes);
  told.in_flight = {};
}

/// A device with the factory model and, one after another, these packages confirmed; each with a checkpoint.
void Prepare(Scenario& scenario, const std::vector<Bytes>& packages) {
  StoreWorld world;
  world.BurnFactory(Pack().factory);
  auto store = world.NewStore();
  DIPPER_CHECK(store->Start({}).ok());
  Told& told = scenario.told;
  told.recorded = true;
  told.champion = DigestOf(Pack().factory);
  told.good = {DigestOf(Pack().p1).bytes, DigestOf(Pack().p2).bytes, DigestOf(Pack().p3).bytes,
               DigestOf(Pack().factory).bytes};
  for (const Bytes& package : packages) {
    DIPPER_CHECK(Ok(Install(*store, package)));
    told.champion = DigestOf(package);
    told.confirmed.insert(told.champion.bytes);
    Checkpoint(*store, store->record().lkg_slot, package, 100, told);
  }
  world.Restart(0);
  scenario.before = world.Save();
}

std::string ServedIs(StoreWorld& world, const Bytes& package) {
  const auto record = world.CurrentRecord();
  return record && record->lkg_digest == DigestOf(package) && !record->HasTrial()
             ? ""
             : "another model is champion";
}

Scenario InstallAndConfirm(const char* name, const Bytes& next) {
  Scenario scenario;
  scenario.name = name;
  Prepare(scenario, {Pack().p1});
  scenario.run = [next](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark())) return;
    Checkpoint(store, SlotId::kA, Pack().p1, 200, told);
    if (!Ok(Stage(store, next)) || !Ok(store.BeginTrial())) return;
    Checkpoint(store, SlotId::kB, next, 50, told);
    Confirm(store, next, told);
  };
  scenario.reached = [next](StoreWorld& world, const Told&) { return ServedIs(world, next); };
  return scenario;
}

Scenario InstallAndFallBack() {
  Scenario scenario;
  scenario.name = "install and fall back";
  Prepare(scenario, {Pack().p1});
  scenario.told.good.erase(DigestOf(Pack().p2).bytes);
  scenario.run = [](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark())) return;
    Checkpoint(store, SlotId::kA, Pack().p1, 200, told);
    if (!Ok(Stage(store, Pack().p2)) || !Ok(store.BeginTrial())) return;
    Checkpoint(store, SlotId::kB, Pack().p2, 50, told);
    if (Ok(store.EndTrial(schema::Reason::ShownWorse))) told.denied.insert(DigestOf(Pack().p2).bytes);
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.denied.empty() ? "nothing was denied" : ServedIs(world, Pack().p1);
  };
  return scenario;
}

Scenario Undo(const char* name, const Bytes& newer, bool allowed) {
  Scenario scenario;
  scenario.name = name;
  Prepare(scenario, {Pack().p1, newer});
  scenario.run = [](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark())) return;
    StartDecision decision;
    if (store.UndoTarget() != SlotId::kNone) told.in_flight = DigestOf(Pack().p1);
    const auto refusal = store.Undo(&decision);
    if (!refusal.ok() || *refusal != schema::Reason::None) return;
    told.champion = DigestOf(Pack().p1);
    told.in_flight = {};
  };
  scenario.reached = [newer, allowed](StoreWorld& world, const Told&) {
    return ServedIs(world, allowed ? Pack().p1 : newer);
  };
  return scenario;
}

Scenario Checkpoints() {
  Scenario scenario;
  scenario.name = "checkpoints";
  Prepare(scenario, {Pack().p1});
  scenario.run = [](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark())) return;
    for (uint64_t samples : {300U, 400U, 500U}) Checkpoint(store, SlotId::kA, Pack().p1, samples, told);
    static_cast<void>(store.PlannedStop());
  };
  scenario.reached = [](StoreWorld&, const Told& told) {
    return told.samples.at(DigestOf(Pack().p1).bytes) == 500 ? "" : "the last checkpoint was not written";
  };
  return scenario;
}

/// The champion fails by itself, again and again: down to the other slot, then to the factory model.
Scenario Ladder() {
  Scenario scenario;
  scenario.name = "ladder";
  Prepare(scenario, {Pack().p1, Pack().p2});
  scenario.told.ladder = true;
  scenario.told.good = {DigestOf(Pack().factory).bytes};
  scenario.run = [](StoreWorld& world, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark())) return;
    for (int failure = 0; failure < 9; ++failure) {
      const auto decision = store.ChampionFailed(schema::Reason::NotFinite);
      if (!decision.ok() || !Ok(decision->storage) || !world.power.on) return;
      for (const Bytes* package : {&Pack().p1, &Pack().p2}) {
        if (store.IsDenied(DigestOf(*package))) told.denied.insert(DigestOf(*package).bytes);
      }
      told.champion = decision->digest;
    }
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.denied.size() == 2 ? ServedIs(world, Pack().factory) : "the ladder was not gone down";
  };
  return scenario;
}

/// The note names the challenger after its last try.
Scenario TrialCrashes() {
  Scenario scenario;
  scenario.name = "trial ends by its own crash";
  Prepare(scenario, {Pack().p1});
  scenario.told.good.erase(DigestOf(Pack().p2).bytes);
  StoreWorld world;
  world.Load(scenario.before);
  for (int start = 0; start <= kTriesPerTrial; ++start) {
    auto store = world.NewStore();
    DIPPER_CHECK(store->Start({}).ok());
    if (start == 0) DIPPER_CHECK(Ok(store->HealthyMark()) && Ok(Stage(*store, Pack().p2)));
    world.Restart(0);
  }
  scenario.before = world.Save();
  scenario.last = {true, DigestOf(Pack().p2), schema::Reason::Crash};
  scenario.run = [](StoreWorld&, ModelStore& store, Told&) { static_cast<void>(store.HealthyMark()); };
  scenario.reached = [](StoreWorld& at_end, const Told& told) {
    return told.denied.empty() ? "nothing was denied" : ServedIs(at_end, Pack().p1);
  };
  return scenario;
}

/// The note names the champion for the third time, on its package image.
Scenario ChampionCrashes() {
  Scenario scenario;
  scenario.name = "champion leaves its slot at start";
  Prepare(scenario, {Pack().p1, Pack().p2});
  scenario.told.ladder = true;
  scenario.told.good = {DigestOf(Pack().p1).bytes};
  scenario.last = {true, DigestOf(Pack().p2), schema::Reason::Watchdog};
  StoreWorld world;
  world.Load(scenario.before);
  for (int start = 0; start < 5; ++start) {
    DIPPER_CHECK(world.NewStore()->Start(scenario.last).ok());
    world.Restart(0);
  }
  scenario.before = world.Save();
  scenario.run = [](StoreWorld&, ModelStore& store, Told&) { static_cast<void>(store.HealthyMark()); };
  scenario.reached = [](StoreWorld& at_end, const Told& told) {
    return told.denied.empty() ? "nothing was denied" : ServedIs(at_end, Pack().p1);
  };
  return scenario;
}

Scenario StageAfterConfirm() {
  Scenario scenario;
  scenario.name = "stage after confirm";
  Prepare(scenario, {Pack().p1});
  scenario.run = [](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark()) || !Ok(Stage(store, Pack().p2)) || !Ok(store.BeginTrial())) return;
    Confirm(store, Pack().p2, told);
    if (told.in_flight.IsZero()) static_cast<void>(Stage(store, Pack().p3));
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p3) ? "" : "nothing is staged";
  };
  return scenario;
}

Scenario FirstStart() {
  Scenario scenario;
  scenario.name = "first start";
  StoreWorld world;
  world.BurnFactory(Pack().factory);
  scenario.before = world.Save();
  scenario.told.champion = DigestOf(Pack().factory);
  scenario.told.good = {DigestOf(Pack().p1).bytes};
  scenario.run = [](StoreWorld&, ModelStore& store, Told& told) {
    if (!Ok(store.HealthyMark()) || !Ok(Stage(store, Pack().p1)) || !Ok(store.BeginTrial())) return;
    Confirm(store, Pack().p1, told);
  };
  scenario.reached = [](StoreWorld& at_end, const Told&) { return ServedIs(at_end, Pack().p1); };
  return scenario;
}

}  // namespace

std::vector<Scenario> MakeScenarios() {
  return {InstallAndConfirm("install and confirm", Pack().p2),
          InstallAndConfirm("install and confirm, floor raised", Pack().p3),
          InstallAndFallBack(),
          Undo("undo", Pack().p2, true),
          Undo("undo refused by the floor", Pack().p3, false),
          Checkpoints(),
          Ladder(),
          TrialCrashes(),
          ChampionCrashes(),
          StageAfterConfirm(),
          FirstStart()};
}

}  // namespace dipper::store
