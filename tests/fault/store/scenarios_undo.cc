// Undo: to the right model, or the right refusal.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;

/// @param setup  Before the scenario, on the prepared device.
Scenario UndoTo(const char* name, const std::vector<Bytes>& packages, schema::Reason wanted,
                const std::function<void(Run&)>& setup) {
  Scenario scenario = Prepared(name, packages);
  if (setup) RunBefore(scenario, {}, setup);
  const Bytes champion = packages.back();
  const Bytes previous = packages.front();
  scenario.run = [previous, wanted](Run& run) {
    if (!Ok(Healthy(run))) return;
    // Refusals change nothing: nothing is in flight then.
    const base::Digest champion_now = run.told.champion;
    const schema::Reason reason = Undo(run, previous);
    if (reason == wanted) run.told.note = "as wanted";
    if (reason != schema::Reason::None && reason != schema::Reason::Unknown) run.told.champion = champion_now;
  };
  const bool done = wanted == schema::Reason::None;
  scenario.reached = [champion, previous, done](StoreWorld& world, const Told& told) -> std::string {
    if (told.note != "as wanted") return "undo gave another answer";
    const auto record = world.CurrentRecord();
    return record && record->lkg_digest == DigestOf(done ? previous : champion) ? ""
                                                                                : "another model is champion";
  };
  return scenario;
}

}  // namespace

void AddUndoScenarios(std::vector<Scenario>* scenarios) {
  const Packages& pack = Pack();
  scenarios->push_back(UndoTo("undo", {pack.p1, pack.p2}, schema::Reason::None, nullptr));
  scenarios->push_back(
      UndoTo("undo_floor_raised", {pack.p1, pack.p3}, schema::Reason::RefusedFloor, nullptr));
  scenarios->push_back(
      UndoTo("undo_in_trial", {pack.p1, pack.p2}, schema::Reason::TrialPending,
             [](Run& run) { DIPPER_CHECK(Ok(Healthy(run)) && Ok(StageNext(run, Pack().p3))); }));
  Scenario denied =
      UndoTo("undo_to_a_denied_model", {pack.p1, pack.p2}, schema::Reason::RefusedDenied, [](Run& run) {
        DIPPER_CHECK(Ok(run.store.Deny(DigestOf(Pack().p1), schema::Reason::SelfTest)));
        run.told.denied.insert(Key(Pack().p1));
      });
  denied.told.good.erase(Key(pack.p1));
  scenarios->push_back(denied);
  // One block of the next package has come: the slot is no longer the previous model.
  scenarios->push_back(
      UndoTo("undo_partly_overwritten", {pack.p1, pack.p2}, schema::Reason::NoPrevious, [](Run& run) {
        const Bytes& next = Pack().p3;
        DIPPER_CHECK(Ok(Healthy(run)));
        DIPPER_CHECK(Ok(run.store.BeginStage(DigestOf(next), VersionOf(next), next.size())));
        DIPPER_CHECK(Ok(run.store.WriteStage(0, base::ByteView(next).first(kChunkBytes))));
        DIPPER_CHECK(Ok(run.store.SyncStage()));
        run.told.stage_begun = true;
        run.told.samples.erase(Key(Pack().p1));
      }));
  scenarios->push_back(UndoTo("undo_to_damaged_bytes", {pack.p1, pack.p2}, schema::Reason::NoPrevious,
                              [](Run& run) { run.world.LosePackage(SlotId::kA); }));
  // The other slot holds a package that was never confirmed.
  scenarios->push_back(
      UndoTo("undo_to_an_unconfirmed_model", {pack.p1}, schema::Reason::NoPrevious, [](Run& run) {
        DIPPER_CHECK(Ok(Healthy(run)) && Ok(StageNext(run, Pack().p2)));
        DIPPER_CHECK(Ok(EndTrial(run, Pack().p2, schema::Reason::Cancelled)));
      }));
}

}  // namespace dipper::store
