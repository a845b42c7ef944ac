// Shared steps.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {

using base::Ok;
using base::Status;

const Packages& Pack() {
  static const Packages packages;
  return packages;
}

Status Checkpoint(Run& run, SlotId slot, const Bytes& package, uint64_t samples) {
  const Bytes gate(100, 7);
  run.store.HealthyPeriod();
  const Status status = run.store.WriteCheckpoint(slot, samples, MakeImage(samples), gate);
  if (Ok(status)) run.told.samples[Key(package)] = samples;
  return status;
}

Status Healthy(Run& run) {
  run.told.trial_starts = 0;  // A mark that the cut interrupts may have landed all the same.
  return run.store.HealthyMark();
}

Status StageNext(Run& run, const Bytes& package) {
  const Status begun = run.store.BeginStage(DigestOf(package), VersionOf(package), package.size());
  DIPPER_RETURN_IF_ERROR(begun);
  run.told.stage_begun = true;
  run.told.samples.erase(Key(package));
  DIPPER_RETURN_IF_ERROR(StageBytes(run.store, package));
  DIPPER_RETURN_IF_ERROR(run.store.CommitStage());
  run.told.staged = DigestOf(package);
  run.told.ended.erase(Key(package));
  return Status::kOk;
}

Status BeginTrial(Run& run) {
  DIPPER_RETURN_IF_ERROR(run.store.BeginTrial());
  ++run.told.trial_starts;
  return Status::kOk;
}

Status Confirm(Run& run, const Bytes& package) {
  run.told.in_flight = DigestOf(package);
  run.told.staged = {};
  run.told.stage_begun = false;
  DIPPER_RETURN_IF_ERROR(run.store.Confirm());
  run.told.champion = run.told.in_flight;
  run.told.confirmed.insert(run.told.champion.bytes);
  run.told.in_flight = {};
  run.told.trial_starts = 0;
  return Status::kOk;
}

Status EndTrial(Run& run, const Bytes& package, schema::Reason reason) {
  run.told.staged = {};
  DIPPER_RETURN_IF_ERROR(run.store.EndTrial(reason));
  run.told.ended.insert(Key(package));
  run.told.trial_starts = 0;
  if (IsOwnFailure(reason)) run.told.denied.insert(Key(package));
  return Status::kOk;
}

schema::Reason Undo(Run& run, const Bytes& package) {
  run.told.in_flight = DigestOf(package);
  StartDecision decision;
  const auto refusal = run.store.Undo(&decision);
  if (!refusal.ok()) return schema::Reason::Unknown;
  run.told.in_flight = {};
  if (*refusal == schema::Reason::None) run.told.champion = decision.digest;
  return *refusal;
}

Scenario Prepared(const char* name, const std::vector<Bytes>& packages, bool has_factory) {
  Scenario scenario;
  scenario.name = name;
  scenario.has_factory = has_factory;
  StoreWorld world;
  world.has_factory = has_factory;
  if (has_factory) world.BurnFactory(Pack().factory);
  Told& told = scenario.told;
  Session session(world, told);
  const auto decision = session.Start({});
  DIPPER_CHECK(decision.ok());
  TakeReport(*decision, session.store().record(), &told);
  told.good = {Key(Pack().p1), Key(Pack().p2), Key(Pack().p3), Key(Pack().factory), Key(Pack().next_epoch)};
  Run run = session.MakeRun(told);
  for (const Bytes& package : packages) {
    if (!run.store.healthy()) DIPPER_CHECK(Ok(Healthy(run)));
    DIPPER_CHECK(Ok(StageNext(run, package)) && Ok(BeginTrial(run)) && Ok(Confirm(run, package)));
    DIPPER_CHECK(Ok(Checkpoint(run, run.store.record().lkg_slot, package, 100)));
  }
  told.floor = session.store().record().floor;
  world.Restart(0);
  scenario.before = world.Save();
  scenario.run = [](Run&) {};
  scenario.reached = [](StoreWorld&, const Told&) { return ""; };
  return scenario;
}

void RunBefore(Scenario& scenario, const LastRun& last, const std::function<void(Run&)>& run) {
  StoreWorld world;
  world.has_factory = scenario.has_factory;
  world.Load(scenario.before);
  Session session(world, scenario.told);
  const base::Digest champion = scenario.told.champion;
  const auto decision = session.Start(last);
  DIPPER_CHECK(decision.ok() && Ok(decision->storage));
  if (decision->stepped_down && decision->denied) scenario.told.denied.insert(champion.bytes);
  TakeReport(*decision, session.store().record(), &scenario.told);
  Run now = session.MakeRun(scenario.told);
  run(now);
  world.Restart(0);
  // A base of its own, so that the snapshots of the scenario hold only what it changes.
  for (hal::PartitionSim* part : world.parts()) part->Load(Bytes(part->bytes().begin(), part->bytes().end()));
  scenario.before = world.Save();
}

std::string ServedIs(StoreWorld& world, const Bytes& package) {
  const auto record = world.CurrentRecord();
  return record && record->lkg_digest == DigestOf(package) && !record->HasTrial()
             ? ""
             : "another model is champion";
}

std::vector<Scenario> MakeScenarios() {
  std::vector<Scenario> scenarios;
  AddInstallScenarios(&scenarios);
  AddTrialScenarios(&scenarios);
  AddChampionScenarios(&scenarios);
  AddUndoScenarios(&scenarios);
  AddTrustScenarios(&scenarios);
  AddRingScenarios(&scenarios);
  AddModelsScenarios(&scenarios);
  return scenarios;
}

}  // namespace dipper::store
