// Crash tests of the store. A bounded slice by default; DIPPER_CRASH_SAMPLES=n makes it n times as thorough.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/fault/store/crash_harness.h"
#include "tests/fault/store/long_runs.h"

namespace dipper::store {
namespace {

HarnessLimits Limits() {
  const char* text = std::getenv("DIPPER_CRASH_SAMPLES");
  const uint64_t times = text == nullptr ? 1 : std::max(1UL, std::strtoul(text, nullptr, 10));
  HarnessLimits limits;
  limits.enumerated_touches = times > 1 ? 8 : 4;
  limits.samples = 6 * times;
  limits.second_cut_samples = 1 + times;
  return limits;
}

TEST(StoreCrash, EveryCutOfEveryScenarioKeepsTheInvariants) {
  uint64_t states = 0;
  uint64_t starts = 0;
  for (const Scenario& scenario : MakeScenarios()) {
    CrashHarness harness(Limits(), Mutation::kNone);
    harness.Run(scenario);
    EXPECT_EQ(harness.violation(), "");
    EXPECT_GT(harness.operations(), 2U) << scenario.name;
    std::cout << scenario.name << ": " << harness.operations() << " operations, " << harness.states()
              << " states, " << harness.starts() << " checked starts\n";
    states += harness.states();
    starts += harness.starts();
  }
  std::cout << "in all: " << states << " states, " << starts << " checked starts\n";
}

TEST(StoreCrash, NightlyPowerOffCondemnsNobody) {
  for (uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(NightlyPowerOff(seed, Mutation::kNone), "") << seed;
}

TEST(StoreCrash, PlannedStopsForEverEndATrialWithoutDenying) {
  EXPECT_EQ(PlannedStopsForEver(Mutation::kNone), "");
}

TEST(StoreCrash, APoisonedChampionGoesDownTheLadder) { EXPECT_EQ(PoisonedChampion(Mutation::kNone), ""); }

TEST(StoreCrash, OneFailingCallNeverStopsTheChampion) {
  for (const Scenario& scenario : MakeScenarios()) EXPECT_EQ(OneFailingCall(scenario), "") << scenario.name;
}

#if defined(DIPPER_TEST_FAULTS)
/// Each loosened rule is noticed by the checks above.
TEST(StoreCrash, LoosenedRulesAreNoticed) {
  for (const Mutation mutation :
       {Mutation::kNoRepairAtStart, Mutation::kRunBeforeTryIsDurable, Mutation::kWriteSameCopy,
        Mutation::kConfirmWithoutDuplicate, Mutation::kConfirmWithoutMark, Mutation::kUndoUnchecked,
        Mutation::kDenialNotDuplicated}) {
    std::string violation;
    for (const Scenario& scenario : MakeScenarios()) {
      if (!violation.empty()) break;
      HarnessLimits limits = Limits();
      limits.samples = 3;
      limits.second_cut_samples = 1;
      CrashHarness harness(limits, mutation);
      harness.Run(scenario);
      violation = harness.violation();
    }
    EXPECT_NE(violation, "") << "mutation " << static_cast<int>(mutation) << " was not noticed";
    std::cout << "mutation " << static_cast<int>(mutation) << ": " << violation << "\n";
  }
  EXPECT_NE(NightlyPowerOff(1, Mutation::kDenyOutOfTries), "");
  EXPECT_NE(NightlyPowerOff(1, Mutation::kCountTrialStarts), "");
  EXPECT_NE(PlannedStopsForEver(Mutation::kGiveBackUncounted), "");
  EXPECT_NE(PoisonedChampion(Mutation::kHealthResetsRung), "");
  EXPECT_NE(PoisonedChampion(Mutation::kNoCheckpointWait), "");
}
#endif

}  // namespace
}  // namespace dipper::store
