// Trials over many starts: nights without power, service restarts, crashes, refusals.
#include "tests/fault/store/scenario_parts.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

/// p1 serves, p2 is staged.
Scenario WithTrial(const char* name) {
  Scenario scenario = Prepared(name, {Pack().p1});
  RunBefore(scenario, {}, [](Run& run) { DIPPER_CHECK(Ok(Healthy(run)) && Ok(StageNext(run, Pack().p2))); });
  return scenario;
}

std::string TrialStill(StoreWorld& world) {
  const auto record = world.CurrentRecord();
  return record && record->trial_digest == DigestOf(Pack().p2) ? "" : "the trial is over";
}

/// Each night the power goes; each day there is time for a healthy mark. A good model lives through more
/// nights than it has tries.
void AddNights(std::vector<Scenario>* scenarios) {
  Scenario night = WithTrial("nightly_power_off.1");
  const auto day = [](Run& run) { static_cast<void>(Healthy(run)); };
  night.run = day;
  for (uint8_t number = 1; number <= 6; ++number) {
    night.name = "nightly_power_off." + std::to_string(number);
    night.reached = [number](StoreWorld& world, const Told&) {
      const auto record = world.CurrentRecord();
      const bool back = record && record->tries_left == kTriesPerTrial && record->tries_given_back == number;
      return back ? TrialStill(world) : std::string("the try was not given back, or not counted");
    };
    scenarios->push_back(night);
    RunBefore(night, {}, day);
  }
}

/// Too short for a mark: three tries, then the trial ends and nobody is denied; a new offer may come.
void AddShortDays(std::vector<Scenario>* scenarios) {
  Scenario scenario = WithTrial("short_days.1");
  for (int number = 1; number <= kTriesPerTrial; ++number) {
    scenario.name = "short_days." + std::to_string(number);
    scenario.reached = [](StoreWorld& world, const Told&) { return TrialStill(world); };
    scenarios->push_back(scenario);
    RunBefore(scenario, {}, [](Run&) {});
  }
  scenario.name = "short_days.out_of_tries";
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (!told.ended.contains(Key(Pack().p2))) return std::string("the trial goes on");
    return ServedIs(world, Pack().p1);
  };
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenarios->push_back(scenario);
}

/// Service restarts give the try back, once a start, twelve times; then it is over, without a denial.
void AddPlannedStops(std::vector<Scenario>* scenarios) {
  Scenario scenario = WithTrial("planned_stops.1");
  const auto stop = [](Run& run) {
    run.told.trial_starts = 0;
    static_cast<void>(run.store.PlannedStop());
  };
  for (int number = 1; number <= kMaxTriesGivenBack + kTriesPerTrial; ++number) {
    if (number == 1 || number == kMaxTriesGivenBack || number > kMaxTriesGivenBack + 1) {
      scenario.name = "planned_stops." + std::to_string(number);
      scenario.run = stop;
      scenario.reached = [](StoreWorld& world, const Told&) { return TrialStill(world); };
      scenarios->push_back(scenario);
    }
    RunBefore(scenario, {}, stop);
  }
  scenario.name = "planned_stops.no_more";
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (!told.ended.contains(Key(Pack().p2))) return std::string("livelock: the trial never ends");
    return ServedIs(world, Pack().p1);
  };
  scenarios->push_back(scenario);
}

/// A crash of the service, then a healthy run that is stopped: one try is back, not two.
Scenario MarkAndStop() {
  Scenario scenario = WithTrial("mark_and_planned_stop");
  RunBefore(scenario, {}, [](Run&) {});
  scenario.run = [](Run& run) {
    if (Ok(Healthy(run))) static_cast<void>(run.store.PlannedStop());
  };
  scenario.reached = [](StoreWorld& world, const Told&) {
    const auto record = world.CurrentRecord();
    return record && record->tries_left == 2 && record->tries_given_back == 1 ? ""
                                                                              : "not one try was given back";
  };
  return scenario;
}

/// The note names the challenger after its last try.
Scenario TrialCrashes() {
  Scenario scenario = WithTrial("trial_crashes");
  scenario.told.good.erase(Key(Pack().p2));
  for (int start = 0; start < kTriesPerTrial; ++start) RunBefore(scenario, Crashed(Pack().p2), [](Run&) {});
  scenario.last = Crashed(Pack().p2);
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    return told.denied.empty() ? "nothing was denied" : ServedIs(world, Pack().p1);
  };
  return scenario;
}

/// The champion crashes while a challenger is on trial, at its last try: the challenger is not to blame.
Scenario ChampionCrashesInTrial() {
  Scenario scenario = WithTrial("champion_crashes_in_trial");
  for (int start = 0; start < kTriesPerTrial; ++start) RunBefore(scenario, {}, [](Run&) {});
  scenario.told.good.erase(Key(Pack().p1));
  scenario.last = Crashed(Pack().p1);
  scenario.run = [](Run& run) { static_cast<void>(Healthy(run)); };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (!told.ended.contains(Key(Pack().p2))) return std::string("the trial goes on without tries");
    return ServedIs(world, Pack().p1);
  };
  return scenario;
}

/// What a stage refuses, it refuses without a write.
Scenario Refusals() {
  Scenario scenario = Prepared("stage_refusals", {Pack().p1, Pack().p3});
  scenario.told.good.erase(Key(Pack().p2));
  scenario.run = [](Run& run) {
    const auto begin = [&](const Bytes& package) {
      return run.store.BeginStage(DigestOf(package), VersionOf(package), package.size());
    };
    const Bytes high = MakePackage(3, 30);
    const Bytes denied = MakePackage(3, 31);
    const bool early = begin(high) == Status::kFailedPrecondition;
    if (!Ok(Healthy(run))) return;
    if (!Ok(run.store.Deny(DigestOf(denied), schema::Reason::SelfTest))) return;
    run.told.denied.insert(Key(denied));
    const bool below = begin(Pack().p2) == Status::kPermissionDenied;
    const bool champion = begin(Pack().p3) == Status::kAlreadyExists;
    const bool ring = begin(denied) == Status::kPermissionDenied;
    // Bytes that are not what was announced.
    Bytes wrong = high;
    wrong[900] ^= 1;
    bool bytes = Ok(begin(high));
    run.told.stage_begun = run.told.stage_begun || bytes;
    bytes = bytes && Ok(StageBytes(run.store, wrong)) && run.store.CommitStage() == Status::kDataLoss;
    if (!Ok(StageNext(run, high))) return;
    const bool pending = begin(MakePackage(4, 32)) == Status::kFailedPrecondition;
    if (early && below && champion && ring && bytes && pending) {
      static_cast<void>(EndTrial(run, high, schema::Reason::Cancelled));
    }
  };
  scenario.reached = [](StoreWorld& world, const Told& told) {
    if (told.ended.empty()) return std::string("a stage was not refused as it should");
    return ServedIs(world, Pack().p3);
  };
  return scenario;
}

/// Denied by mistake, offered again with a signed override.
Scenario Override() {
  Scenario scenario = Prepared("override_denied", {Pack().p1});
  scenario.told.good.erase(Key(Pack().p2));
  RunBefore(scenario, {}, [](Run& run) {
    DIPPER_CHECK(Ok(run.store.Deny(DigestOf(Pack().p2), schema::Reason::SelfTest)));
    run.told.denied.insert(Key(Pack().p2));
  });
  scenario.run = [](Run& run) {
    run.told.denied.erase(Key(Pack().p2));  // Being removed: denied or not.
    if (!Ok(run.store.OverrideDenied(DigestOf(Pack().p2)))) return;
    run.told.allowed.insert(Key(Pack().p2));
    if (Ok(Healthy(run))) static_cast<void>(StageNext(run, Pack().p2));
  };
  scenario.reached = [](StoreWorld& world, const Told&) { return TrialStill(world); };
  return scenario;
}

}  // namespace

void AddTrialScenarios(std::vector<Scenario>* scenarios) {
  AddNights(scenarios);
  AddShortDays(scenarios);
  AddPlannedStops(scenarios);
  scenarios->push_back(MarkAndStop());
  scenarios->push_back(TrialCrashes());
  scenarios->push_back(ChampionCrashesInTrial());
  scenarios->push_back(Refusals());
  scenarios->push_back(Override());
}

}  // namespace dipper::store
