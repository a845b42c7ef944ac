// Several models on one device: what one brings about must not count against another, and a model that is
// gone for good leaves its place empty.
#include "agent/store/model_places.h"
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;

/// The note names another model of the device.
LastRun Another() {
  LastRun last;
  last.another = true;
  return last;
}

/// As many unexplained starts as there may be; the last run was ended by another model. One more that counted
/// would take the champion a rung down.
Scenario AnotherAtTheLastStart() {
  Scenario scenario = Prepared("another_models_crash", {Pack().p1, Pack().p2});
  for (int start = 0; start < kMaxUnexplainedStarts; ++start) RunBefore(scenario, {}, [](Run&) {});
  scenario.last = Another();
  scenario.told.ladder = true;  // The next start that nobody explains is one too many.
  scenario.run = [](Run& run) { static_cast<void>(run.store.PlannedStop()); };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    if (record && record->unexplained_starts != kMaxUnexplainedStarts - 1) {
      return std::string("another model's crash or a planned stop counts as a start");
    }
    const bool top = record && record->rung == Rung::kNewestCheckpoint;
    return top ? ServedIs(world, Pack().p2)
               : std::string("another model's crash took the champion a rung down");
  };
  return scenario;
}

/// A challenger without tries; the last run was ended by another model, so that its try comes back.
Scenario AnotherInATrial() {
  Scenario scenario = Prepared("another_models_crash_in_trial", {Pack().p1});
  RunBefore(scenario, {}, [](Run& run) { DIPPER_CHECK(Ok(Healthy(run)) && Ok(StageNext(run, Pack().p2))); });
  for (int start = 0; start < kTriesPerTrial; ++start) RunBefore(scenario, {}, [](Run&) {});
  scenario.last = Another();
  --scenario.told.trial_starts;
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    const bool runs = record && record->trial_digest == DigestOf(Pack().p2) && record->tries_given_back == 1;
    return runs ? "" : "another model's crash used up a try";
  };
  return scenario;
}

/// A second model's record, with a floor and an offer of its own, at place 1.
void AddSecondModel(Run& run) {
  DIPPER_CHECK(Ok(run.counters->SetName(0, "main")) && Ok(run.counters->SetName(1, "gone")));
  DIPPER_CHECK(Ok(run.counters->SetOffer(1, {7, DigestOf(Pack().p3), {}, {}})));
  hal::PartitionSim a(StoreWorld::kSlot, nullptr), b(StoreWorld::kSlot, nullptr);
  ModelStoreConfig config;
  config.boot = &run.world.boot;
  config.record_index = 1;
  config.slot_a = &a;
  config.slot_b = &b;
  config.max_image_bytes = 2048;
  ModelStore second(config, run.world.verifier);
  DIPPER_CHECK(second.Start({}).ok() && Ok(Install(second, Pack().p3)));
}

/// The second model is forgotten; a third one takes its place.
Scenario ForgetsAModel() {
  Scenario scenario = Prepared("forget_a_model", {Pack().p1});
  scenario.told.trust = true;
  scenario.enumerated_touches = 8;  // A counters page and both copies of a record.
  RunBefore(scenario, {}, AddSecondModel);
  scenario.told.second_model = true;
  scenario.run = [](Run& run) {
    if (!Ok(ForgetModel(run.world.boot, *run.counters, "gone"))) return;
    run.told.forgotten = true;
    const std::array<PlaceRequest, 2> models = {PlaceRequest{"main", &run.world.a, &run.world.b},
                                                PlaceRequest{"next"}};
    std::array<uint32_t, 2> places{};
    static_cast<void>(AssignPlaces(run.world.boot, *run.counters, models, places));
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    Counters counters(world.boot);
    if (!told.forgotten || !Ok(counters.Load())) return std::string("nothing was forgotten");
    if (counters.name(1) != "next") return std::string("the place was not given away");
    return counters.offer(1).number == 0 ? ServedIs(world, Pack().p1)
                                         : std::string("a model got another one's numbers");
  };
  return scenario;
}

}  // namespace

void AddModelsScenarios(std::vector<Scenario>* scenarios) {
  scenarios->push_back(AnotherAtTheLastStart());
  scenarios->push_back(AnotherInATrial());
  scenarios->push_back(ForgetsAModel());
}

}  // namespace dipper::store
