// A device whose labels never come: what the vetoes of a trial stop, what they let pass, and what is told.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/agent/learn/spec_maker.h"
#include "tests/unit/agent/runtime/agent_world.h"

namespace dipper::runtime::test {
namespace {

using learn::testing::MakeForecastSpec;
using learn::testing::MakeSpec;
using learn::testing::Numbers;
using schema::UpdateState;

schema::SpecT Watcher(double raise) {
  schema::SpecT spec = MakeSpec("linear", 2, 0);
  spec.task = schema::Task::Anomaly;
  spec.target->kind = schema::TargetKind::None;
  schema::HalfSpaceTreesT trees;
  trees.window = 256;
  spec.learner.Set(trees);
  spec.anomaly = std::make_unique<schema::AnomalyScoreT>();
  spec.anomaly->raise = raise;
  spec.anomaly->clear = 0.9 * raise;
  spec.anomaly->hold = 0;
  return spec;
}

std::string TwoNumbers(uint64_t row) {
  Numbers numbers(row);
  const double first = numbers.Normal();
  return std::to_string(first) + "," + std::to_string(20 + numbers.Normal());
}

constexpr double kCalm = 0.999, kNervous = 0.5;

/// Long enough for the scores' calibration and the vetoes' warm-up, whatever a turn brings.
void LongTrial(schema::GatePolicyT& gate) {
  gate.deadline_seconds = 20;
  gate.max_alarm_excess = 0.05;
}

Release MakeWatcher(double raise, const std::string& version) {
  return MakeRelease(Watcher(raise), version, 0, LongTrial);
}

bool RunToEnd(World& world, UpdateState end) {
  for (int turn = 0; turn < 4000; ++turn) {
    if (world.updater().state() == end) return true;
    world.Turn(4);
  }
  return false;
}

struct Device {
  explicit Device(const Release& first) : world("f0,f1", TwoNumbers) {
    world.Offer(first, 1);
    EXPECT_TRUE(RunToEnd(world, UpdateState::Confirmed)) << "a first model has nobody to be compared with";
    for (int i = 0; i < 300; ++i) world.Turn(4);
  }
  World world;
};

TEST(Vetoes, AChallengerThatAlarmsMoreOftenFallsBackAndIsDenied) {
  const Release first = MakeWatcher(kCalm, "1"), nervous = MakeWatcher(kNervous, "2");
  Device device(first);
  device.world.Offer(nervous, 2);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::FellBack));
  EXPECT_EQ(device.world.updater().Status().champion, first.digest);
  const json step = device.world.Events("update_step").back();
  EXPECT_EQ(step["reason"], "alarm_rate");
  EXPECT_EQ(step["detail"], "the package is denied from now on");
  EXPECT_GT(step["gate.challenger_alarm_rate"].get<double>(),
            step["gate.champion_alarm_rate"].get<double>() + 0.05);
  EXPECT_GT(step["gate.compared"].get<uint64_t>(), 0U);
  EXPECT_EQ(step["gate.labelled"], 0);
  const uint64_t samples = device.world.updater().champion()->samples();
  device.world.Turn(10);
  EXPECT_EQ(device.world.updater().champion()->samples(), samples + 10) << "the champion goes on";
  device.world.Offer(nervous, 3);
  for (int i = 0; i < 10; ++i) device.world.Turn();
  EXPECT_EQ(device.world.Events("update_step").back()["reason"], "denied");
}

TEST(Vetoes, OneThatAlarmsLikeTheChampionIsConfirmedByThePolicy) {
  Device device(MakeWatcher(kCalm, "1"));
  const Release second = MakeWatcher(kCalm, "2");
  device.world.Offer(second, 2);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::Trial));
  for (int i = 0; i < 1000; ++i) device.world.Turn(4);
  ASSERT_EQ(device.world.updater().state(), UpdateState::Trial);
  const json metrics = device.world.Metrics();
  EXPECT_EQ(metrics["gate_label_coverage"], 0);
  EXPECT_NEAR(metrics["gate_alarm_excess"].get<double>(), 0, 0.05);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::Confirmed));
  const json step = device.world.Events("update_step").back();
  EXPECT_EQ(step["reason"], "policy_at_deadline");
  EXPECT_GT(step["gate.observed"].get<uint64_t>(), step["gate.compared"].get<uint64_t>());
  EXPECT_GT(step["gate.compared"].get<uint64_t>(), 1000U);
}

TEST(Vetoes, AChampionWithoutAlarmsHasNoneToBeComparedWith) {
  schema::SpecT forecast = MakeForecastSpec("rls", 2, 1), alarming = MakeForecastSpec("rls", 2, 1);
  forecast.anomaly = nullptr;
  forecast.drift.clear();
  alarming.anomaly->raise = kNervous;
  alarming.anomaly->clear = 0.9 * kNervous;
  Device device(MakeRelease(forecast, "1", 0, LongTrial));
  device.world.Offer(MakeRelease(alarming, "2", 0, LongTrial), 2);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::Confirmed));
}

TEST(Vetoes, AnswersOfAnotherKindFallBack) {
  const auto shift = [](schema::GatePolicyT& gate) {
    gate.deadline_seconds = 20;
    gate.max_score_shift = 0.5;
  };
  schema::SpecT first = MakeForecastSpec("rls", 2, 1), other = MakeForecastSpec("rls", 2, 1);
  other.target->feature = 1;  // 20 and more where the champion says about 0
  const Release stranger = MakeRelease(other, "2", 0, shift), again = MakeRelease(first, "3", 0, shift);
  Device device(MakeRelease(first, "1", 0, shift));
  device.world.Offer(stranger, 2);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::FellBack));
  const json step = device.world.Events("update_step").back();
  EXPECT_EQ(step["reason"], "score_shift");
  EXPECT_NEAR(step["gate.score_shift"].get<double>(), 1, 0.2);
  device.world.Offer(again, 3);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::Confirmed));
  EXPECT_NEAR(device.world.Events("update_step").back()["gate.score_shift"].get<double>(), 0, 0.1);
}

TEST(Vetoes, AnOperatorMayConfirmWhatTheyWouldStop) {
  Device device(MakeWatcher(kCalm, "1"));
  const Release nervous = MakeWatcher(kNervous, "2");
  device.world.Offer(nervous, 2);
  ASSERT_TRUE(RunToEnd(device.world, UpdateState::Trial));
  device.world.Turn(4);
  ASSERT_EQ(device.world.updater().state(), UpdateState::Trial);
  EXPECT_EQ(device.world.updater().Confirm(), schema::Reason::None);
  EXPECT_EQ(device.world.updater().Status().champion, nervous.digest);
}

TEST(Vetoes, TheReportTellsWhichPartOfTheSamplesHadLabels) {
  schema::SpecT spec = MakeSpec("naive_bayes", 1, 2);
  spec.target->name = "label";
  World world("f0,label", [](uint64_t row) {
    return std::to_string(Numbers(row).Normal()) + (row % 4 == 0 ? (row % 8 == 0 ? ",c0" : ",c1") : ",");
  });
  const auto longer = [](schema::GatePolicyT& gate) { gate.deadline_seconds = 20; };
  world.Offer(MakeRelease(spec, "1", 0, longer), 1);
  ASSERT_TRUE(RunToEnd(world, UpdateState::Confirmed));
  const json step = world.Events("update_step").back();
  EXPECT_NEAR(step["gate.labelled"].get<double>() / step["gate.observed"].get<double>(), 0.25, 0.01);
}

}  // namespace
}  // namespace dipper::runtime::test
