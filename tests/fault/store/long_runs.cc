// Runs over many starts.
#include "tests/fault/store/long_runs.h"

namespace dipper::store {
namespace {

using base::Ok;
using base::Status;

struct Device {
  /// p1 confirmed in slot A; p2 staged.
  bool PrepareTrial() {
    auto store = world.NewStore();
    return store->Start({}).ok() && Ok(Install(*store, p1)) && Ok(Stage(*store, p2)) && CutNow(0);
  }
  bool CutNow(uint64_t seed) {
    world.Restart(seed);
    return true;
  }
  StoreWorld world;
  Bytes p1 = MakePackage(1, 1);
  Bytes p2 = MakePackage(1, 2);
};

}  // namespace

std::string NightlyPowerOff(uint64_t seed) {
  Device device;
  if (!device.PrepareTrial()) return "could not be prepared";
  uint32_t in_a_row = 0;
  uint64_t random = seed;
  uint32_t trial_starts = 0;
  for (int night = 0; night < 60; ++night) {
    random = random * 6364136223846793005 + 1442695040888963407;
    const uint64_t dice = random >> 33;
    if (dice % 5 == 0) device.world.power.cut_at = dice / 5 % 6;
    auto store = device.world.NewStore();
    const auto decision = store->Start({});
    if (!decision.ok()) return "a start was refused";
    if (device.world.power.on) {
      if (decision->digest != DigestOf(device.p1)) return "another champion serves";
      if (decision->rung != Rung::kNewestCheckpoint) return "power cuts took the champion a rung down";
      if (decision->trial && store->record().unexplained_starts != 0)
        return "a trial start counts against the champion";
      in_a_row = decision->trial ? in_a_row + 1 : 0U;
      trial_starts += decision->trial ? 1U : 0U;
      if (in_a_row > kTriesPerTrial) return "I5: more trial starts in a row than tries";
      // A mark that the cut interrupts may have landed all the same.
      if (dice % 3 != 0) {
        static_cast<void>(store->HealthyMark());
        in_a_row = 0;
      }
    }
    device.CutNow(dice);
    const auto record = device.world.CurrentRecord();
    if (!record) return "I1: no valid record";
    if (record->IsDenied(DigestOf(device.p2))) return "a good model is denied by power cuts";
  }
  if (trial_starts == 0) return "no trial was ever started";
  return trial_starts <= kTriesPerTrial + kMaxTriesGivenBack ? "" : "the trial does not end";
}

std::string PlannedStopsForEver() {
  Device device;
  if (!device.PrepareTrial()) return "could not be prepared";
  for (int start = 0; start <= kTriesPerTrial + kMaxTriesGivenBack; ++start) {
    auto store = device.world.NewStore();
    const auto decision = store->Start({});
    if (!decision.ok()) return "a start was refused";
    if (store->record().IsDenied(DigestOf(device.p2))) return "a planned stop denied a good model";
    if (decision->trial_ended) {
      if (start < kMaxTriesGivenBack) return "the trial ended too early";
      return decision->trial_end_reason == schema::Reason::OutOfTries ? "" : "ended for another reason";
    }
    if (!decision->trial || !Ok(store->PlannedStop())) return "the trial does not run";
    device.CutNow(0);
  }
  return "livelock: the trial never ends";
}

/// The newest checkpoint is poisoned and crashes its process an hour after each healthy start; a checkpoint
/// would be written as soon as the store allows it. The older one is good, and in the end must serve.
std::string PoisonedChampion() {
  Device device;
  const uint64_t good = 1000;
  {
    auto store = device.world.NewStore();
    if (!store->Start({}).ok() || !Ok(Install(*store, device.p1))) return "could not be prepared";
    if (!Ok(store->WriteCheckpoint(SlotId::kA, good, MakeImage(1)))) return "no first checkpoint";
    store->HealthyPeriod();
    if (!Ok(store->WriteCheckpoint(SlotId::kA, good + 1, MakeImage(2)))) return "no second checkpoint";
    // Poisoned from here on: nothing healthy passes any more, so the poison must not reach the other area
    // too.
    const Status third = store->WriteCheckpoint(SlotId::kA, good + 2, MakeImage(3));
    if (Ok(third)) return "both areas can be poisoned within one healthy period";
  }
  device.CutNow(0);
  LastRun last;
  bool was_good = false;
  for (int start = 0; start < 12; ++start) {
    auto store = device.world.NewStore();
    const auto decision = store->Start(last);
    if (!decision.ok() || decision->serve != SlotId::kA) return "another slot serves";
    Bytes image(2048);
    const auto loaded = store->ReadCheckpoint(SlotId::kA, decision->source, image);
    const bool served_good = loaded.ok() && loaded->samples == good;
    if (was_good && !served_good) return "livelock: the poisoned state came back";
    was_good = served_good;
    if (served_good && !Ok(store->HealthyMark())) return "no healthy mark";
    // Good state: a power cut now and then. Poisoned state: it crashes by itself before any healthy mark.
    last = {};
    if (!served_good) last = {true, DigestOf(device.p1), schema::Reason::Crash};
    device.CutNow(0);
  }
  return was_good ? "" : "the poisoned state serves for ever";
}

}  // namespace dipper::store
