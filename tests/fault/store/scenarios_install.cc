// Installing: stage, confirm, fall back, first start, lost copies.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

Scenario InstallAndConfirm(const char* name, const Bytes& next, const std::vector<Bytes>& former) {
  Scenario scenario = Prepared(name, former);
  scenario.run = [next](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(Checkpoint(run, SlotId::kA, Pack().p1, 200))) return;
    if (!Ok(StageNext(run, next)) || !Ok(BeginTrial(run))) return;
    if (!Ok(Checkpoint(run, SlotId::kB, next, 50))) return;
    static_cast<void>(Confirm(run, next));
  };
  scenario.reached = [next](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    if (record && record->floor != VersionOf(next)) return std::string("the floor is not the champion's");
    return ServedIs(world, next);
  };
  return scenario;
}

/// Staged in one run, tried in the next, checkpointed and confirmed in the one after.
void AddStepwise(std::vector<Scenario>* scenarios) {
  Scenario stage = Prepared("install_stepwise.stage", {Pack().p1, Pack().p2});
  stage.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(StageNext(run, Pack().p3));
  };
  stage.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p3) ? "" : "nothing is staged";
  };
  Scenario trial = stage;
  trial.name = "install_stepwise.trial";
  RunBefore(trial, {}, stage.run);
  trial.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(Checkpoint(run, SlotId::kA, Pack().p3, 20));
  };
  trial.reached = [](StoreWorld&, const Told& told) {
    return told.samples.contains(Key(Pack().p3)) ? "" : "the challenger has no checkpoint";
  };
  Scenario confirm = trial;
  confirm.name = "install_stepwise.confirm";
  RunBefore(confirm, {}, trial.run);
  confirm.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(Confirm(run, Pack().p3));
  };
  confirm.reached = [](StoreWorld& world, const Told&) { return ServedIs(world, Pack().p3); };
  for (Scenario* scenario : {&stage, &trial, &confirm}) scenarios->push_back(*scenario);
}

Scenario FallBack(const char* name, schema::Reason reason) {
  const bool own = IsOwnFailure(reason);
  Scenario scenario = Prepared(name, {Pack().p1});
  if (own) scenario.told.good.erase(Key(Pack().p2));
  scenario.run = [reason](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(Checkpoint(run, SlotId::kA, Pack().p1, 200))) return;
    if (!Ok(StageNext(run, Pack().p2)) || !Ok(BeginTrial(run))) return;
    if (!Ok(Checkpoint(run, SlotId::kB, Pack().p2, 50))) return;
    static_cast<void>(EndTrial(run, Pack().p2, reason));
  };
  scenario.reached = [own](StoreWorld& world, const Told& told) {
    if (told.denied.empty() == own) return std::string("denied, or not, against rule 8");
    return ServedIs(world, Pack().p1);
  };
  return scenario;
}

/// The challenger's checkpoint is written, its barrier fails, and the gate confirms all the same: mark and
/// checkpoint lie unsynced in one slot.
Scenario ConfirmDuringCheckpoint() {
  Scenario scenario = Prepared("confirm_during_checkpoint", {Pack().p1});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, Pack().p2)) || !Ok(BeginTrial(run))) return;
    if (!Ok(Checkpoint(run, SlotId::kB, Pack().p2, 40))) return;
    const uint64_t done = run.world.b.calls(hal::SimCall::kSync);
    run.world.b.SetFault({.call = hal::SimCall::kSync, .first = done, .count = 2});
    static_cast<void>(Checkpoint(run, SlotId::kB, Pack().p2, 60));
    run.world.b.SetFault({});
    static_cast<void>(Confirm(run, Pack().p2));
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (told.samples.at(Key(Pack().p2)) != 40) return std::string("the second checkpoint was reported");
    return ServedIs(world, Pack().p2);
  };
  return scenario;
}

Scenario StageAfterConfirm() {
  Scenario scenario = Prepared("stage_after_confirm", {Pack().p1});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, Pack().p2)) || !Ok(BeginTrial(run))) return;
    if (Ok(Confirm(run, Pack().p2))) static_cast<void>(StageNext(run, Pack().p3));
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p3) ? "" : "nothing is staged";
  };
  return scenario;
}

/// A package that was confirmed, undone and is offered once more: its old bytes and mark are still there.
Scenario StageTheSameAgain() {
  Scenario scenario = Prepared("stage_the_same_again", {Pack().p1, Pack().p2});
  RunBefore(scenario, {},
            [](Run& run) { DIPPER_CHECK(Ok(Healthy(run)) && Undo(run, Pack().p1) == schema::Reason::None); });
  scenario.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(StageNext(run, Pack().p2));
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p2) ? "" : "nothing is staged";
  };
  return scenario;
}

/// The confirm's duplicate cannot be written; the next stage must not touch the slot that a copy still names.
Scenario StageAfterAFailedConfirm() {
  Scenario scenario = Prepared("stage_after_failed_confirm", {Pack().p1});
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, Pack().p2)) || !Ok(BeginTrial(run))) return;
    const uint64_t done = run.world.boot.calls(hal::SimCall::kWrite);
    run.world.boot.SetFault({.call = hal::SimCall::kWrite, .first = done + 1, .count = 2});
    const Status confirmed = Confirm(run, Pack().p2);
    run.world.boot.SetFault({});
    if (!Ok(confirmed)) static_cast<void>(StageNext(run, Pack().p3));
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (told.in_flight.IsZero()) return "the confirm did not fail";
    const auto record = world.CurrentRecord();
    return record && record->trial_digest == DigestOf(Pack().p3) ? "" : "nothing is staged";
  };
  return scenario;
}

Scenario FirstStart(const char* name, bool has_factory) {
  Scenario scenario;
  scenario.name = name;
  scenario.has_factory = has_factory;
  StoreWorld world;
  if (has_factory) {
    world.BurnFactory(Pack().factory);
    scenario.told.champion = DigestOf(Pack().factory);
  }
  scenario.before = world.Save();
  scenario.told.good = {Key(Pack().p1), Key(Pack().factory)};
  scenario.run = [](Run& run) {
    if (!Ok(Healthy(run)) || !Ok(StageNext(run, Pack().p1)) || !Ok(BeginTrial(run))) return;
    static_cast<void>(Confirm(run, Pack().p1));
  };
  scenario.reached = [](StoreWorld& at_end, const Told&) { return ServedIs(at_end, Pack().p1); };
  return scenario;
}

/// The device comes up with one record copy lost at rest, or both, and installs.
Scenario WithLostCopies(const char* name, bool first, bool second) {
  // A long past, so that its marks have high sequences.
  const std::vector<Bytes> former = {MakePackage(1, 60), MakePackage(1, 61), MakePackage(1, 62),
                                     MakePackage(1, 63), Pack().p1};
  Scenario scenario = InstallAndConfirm(name, Pack().p2, former);
  StoreWorld world;
  world.Load(scenario.before);
  if (first) world.LoseRecordCopy(0);
  if (second) world.LoseRecordCopy(1);
  for (hal::PartitionSim* part : world.parts()) part->Load(Bytes(part->bytes().begin(), part->bytes().end()));
  scenario.before = world.Save();
  scenario.told.recorded = !(first && second);
  return scenario;
}

}  // namespace

void AddInstallScenarios(std::vector<Scenario>* scenarios) {
  scenarios->push_back(InstallAndConfirm("install_confirm", Pack().p2, {Pack().p1}));
  scenarios->push_back(InstallAndConfirm("install_confirm_floor_raised", Pack().p3, {Pack().p1}));
  AddStepwise(scenarios);
  scenarios->push_back(FallBack("install_fall_back", schema::Reason::ShownWorse));
  scenarios->push_back(FallBack("install_cancelled", schema::Reason::Cancelled));
  scenarios->push_back(ConfirmDuringCheckpoint());
  scenarios->push_back(StageAfterConfirm());
  scenarios->push_back(StageTheSameAgain());
  scenarios->push_back(StageAfterAFailedConfirm());
  scenarios->push_back(FirstStart("first_start", true));
  scenarios->push_back(FirstStart("first_start_without_factory", false));
  scenarios->push_back(WithLostCopies("first_copy_lost", true, false));
  scenarios->push_back(WithLostCopies("second_copy_lost", false, true));
  scenarios->push_back(WithLostCopies("both_copies_lost", true, true));
}

}  // namespace dipper::store
